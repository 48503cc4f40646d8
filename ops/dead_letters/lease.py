"""The lease on the dead-letter queue: one tool at a time receives all dead letters; what it does not ack goes back.

An unacknowledged delivery is invisible to every other consumer: two tools at once would each see a part, or nothing.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from consumer.broker.protocol import Broker, BrokerDownError, ConsumerSession, Delivery, QueueCounts

MAX_LEASED = 10_000
"""Dead letters in one lease: a tool holds their bodies in memory, and a prefetch has 16 bits."""
ARRIVAL_SECONDS = 2.0
"""The longest pause between two deliveries; those that are in the queue come within milliseconds of one another."""
GIVE_UP_SECONDS = 5.0
"""How long to wait for another tool: reading ten thousand takes one second, sending them back three."""
POLL_SECONDS = 0.1


class LeaseHeldError(Exception):
    """Another tool has the dead letters leased; the text says what to do."""


@dataclass(frozen=True, slots=True)
class Lease:
    """Leased dead letters, the session on which they are acked, and how many lie beyond the limit."""

    session: ConsumerSession
    deliveries: list[Delivery]
    beyond_limit: int


@asynccontextmanager
async def leased(broker: Broker, queue: str, limit: int = MAX_LEASED) -> AsyncIterator[Lease]:
    """Lease the dead letters that are in the queue now, up to `limit`; what is not acked goes back at the end.

    What arrives during the lease, such as one of these that was rejected again, is left for the next one.

    Raises:
        LeaseHeldError: another tool has them, and did not give them back in time.
        BrokerDownError: the broker is away, or delivers nothing of what it counts.
    """
    session = await broker.open_consumer()
    deliveries: list[Delivery] = []
    arrived = asyncio.Event()

    def on_delivery(delivery: Delivery) -> None:
        deliveries.append(delivery)
        arrived.set()

    try:
        ready = (await _consume_alone(session, queue, limit, on_delivery, deliveries)).ready
        expected = min(ready, limit)
        with suppress(TimeoutError):
            while len(deliveries) < expected:
                arrived.clear()
                async with asyncio.timeout(ARRIVAL_SECONDS):
                    await arrived.wait()
        if session.closed.is_set():
            raise BrokerDownError(f"the connection was lost while {queue} was read; nothing was done")
        if expected and not deliveries:
            again = f"try again, and if that repeats see `rabbitmq-queues quorum_status {queue}`"
            raise BrokerDownError(f"{queue} counts {expected} messages and delivers none; {again}")
        yield Lease(session, deliveries[:expected], ready - expected)
    finally:
        await session.stop_consuming()
        await session.nack_all(deliveries)
        await session.close()


async def _consume_alone(
    session: ConsumerSession, queue: str, limit: int, on_delivery: Callable[[Delivery], None], received: list[Delivery]
) -> QueueCounts:
    """Begin to consume as the only consumer; return what the queue had. Raises LeaseHeldError.

    The queue has to be without a consumer before, counted twice, since a tool that has finished cancels before its
    dead letters are back; and with one consumer after: of two that begin together at least the later sees both and
    steps back. (An exclusive consumer would be simpler; quorum queues let two in: decision 0015.)
    """
    now = asyncio.get_running_loop().time
    deadline = now() + GIVE_UP_SECONDS
    while True:
        counts = await _counts_if_free(session, queue)
        if counts is not None:
            if not counts.ready or limit <= 0:
                return counts
            await session.consume(queue, min(counts.ready, limit), on_delivery)
            if (await session.counts(queue)).consumers == 1:
                return counts
            await session.stop_consuming()
            await session.nack_all(received)
            received.clear()
        if now() > deadline:
            raise LeaseHeldError(
                f"another tool is reading {queue}: nothing was done; try again when it has finished "
                "(if its machine died, RabbitMQ frees the queue within half a minute)"
            )
        # Two that have both stepped back must not come again together; randomness would spoil the simulation's replays.
        await asyncio.sleep(POLL_SECONDS * (1 + now() * 1e6 % 100 / 100))


async def _counts_if_free(session: ConsumerSession, queue: str) -> QueueCounts | None:
    """Return the counts of a queue that has no consumer; None where it has one."""
    if (await session.counts(queue)).consumers:
        return None
    await asyncio.sleep(POLL_SECONDS / 4)
    counts = await session.counts(queue)
    return None if counts.consumers else counts
