"""How tools get at dead letters: all at once, one tool at a time, and what is not acked goes back.

A dead letter in somebody's hands is in nobody else's: a tool that looked meanwhile would see too few, or none at all.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from consumer.broker import Broker, BrokerDown, ConsumerSession, Delivery, QueueCounts

MOST_AT_ONCE = 10_000
"""Dead letters that one look takes in: a tool holds their bodies, and a prefetch has 16 bits."""
QUIET_SECONDS = 2.0
"""Letters that are there come within milliseconds of one another."""
PATIENCE_SECONDS = 5.0
"""A look at ten thousand takes one second; to send them back takes three."""
POLL_SECONDS = 0.1


class InOtherHands(Exception):  # noqa: N818 - an answer, not a fault
    """Somebody else has the dead letters in hand just now; the text says what to do."""


@dataclass(frozen=True, slots=True)
class Hand:
    """Dead letters in our hands, the session on which they are acked, and how many lay beyond the limit."""

    session: ConsumerSession
    letters: list[Delivery]
    beyond: int


@asynccontextmanager
async def in_hand(broker: Broker, queue: str, limit: int = MOST_AT_ONCE) -> AsyncIterator[Hand]:
    """Lend the dead letters that are there now, up to `limit`; what is not acked goes back.

    What comes while we are at it, one of ours that was rejected again, is for the next time.

    Raises:
        InOtherHands: another tool has them, and did not put them down in time.
        BrokerDown: the broker is away, or delivers nothing of what it counts.
    """
    session = await broker.open_consumer()
    letters: list[Delivery] = []
    news = asyncio.Event()

    def arrived(letter: Delivery) -> None:
        letters.append(letter)
        news.set()

    try:
        ready = (await _alone(session, queue, limit, arrived, letters)).ready
        wanted = min(ready, limit)
        with suppress(TimeoutError):
            while len(letters) < wanted:
                news.clear()
                async with asyncio.timeout(QUIET_SECONDS):
                    await news.wait()
        if session.closed.is_set():
            raise BrokerDown(f"the connection was lost while {queue} was read; nothing was done")
        if wanted and not letters:
            raise BrokerDown(f"{queue} counts {wanted} messages and delivers none")
        yield Hand(session, letters[:wanted], ready - wanted)
    finally:
        await session.stop_consuming()
        await session.hand_back(letters)
        await session.close()


async def _alone(
    session: ConsumerSession, queue: str, limit: int, arrived: Callable[[Delivery], None], letters: list[Delivery]
) -> QueueCounts:
    """Begin to consume as the only one; return what the queue had. Raises InOtherHands.

    Nobody else is counted before we begin, twice, since a tool that is through cancels before its letters are back; and
    only we after that: of two that begin together at least the later sees both and steps back. (An exclusive consumer
    would be simpler; quorum queues let two in: decision 0015.)
    """
    clock = asyncio.get_running_loop().time
    deadline = clock() + PATIENCE_SECONDS
    while True:
        counts = await _free(session, queue)
        if counts is not None:
            if not counts.ready or limit <= 0:
                return counts
            await session.consume(queue, min(counts.ready, limit), arrived)
            if (await session.counts(queue)).consumers == 1:
                return counts
            await session.stop_consuming()
            await session.hand_back(letters)
            letters.clear()
        if clock() > deadline:
            raise InOtherHands(
                f"another tool has {queue} in hand: nothing was done; try again when it is through "
                "(one whose machine has died lets go after half a minute)"
            )
        # Two that have both stepped back must not come again together; chance would spoil the simulation's replays.
        await asyncio.sleep(POLL_SECONDS * (1 + clock() * 1e6 % 100 / 100))


async def _free(session: ConsumerSession, queue: str) -> QueueCounts | None:
    """Return what a queue has that nobody else has in hand; None where somebody has."""
    if (await session.counts(queue)).consumers:
        return None
    await asyncio.sleep(POLL_SECONDS / 4)
    counts = await session.counts(queue)
    return None if counts.consumers else counts
