"""The lease on the dead-letter queue: one tool at a time receives all dead letters; what it does not ack goes back.

An unacknowledged delivery is invisible to every other consumer: two tools at once would each see a part, or nothing.
They are received in pages, so that a tool that keeps nothing of them needs the memory of two pages, however many and
large they are (docs/decisions/0042).
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from consumer.broker.protocol import Broker, BrokerDownError, ConsumerSession, Delivery, QueueCounts

MAX_LEASED = 10_000
"""Dead letters in one lease: all are unacknowledged until its end, and a prefetch has 16 bits."""
PAGE_LETTERS = 500
PAGE_BYTES = 4 << 20
"""Of bodies, in one page; the last of a page may go beyond. Headers come to at most 16 KiB each, 8 MiB in a page."""
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


@dataclass(slots=True, eq=False)
class PagedLease:
    """A lease whose dead letters come in pages, each once; what of them is kept is the caller's."""

    session: ConsumerSession
    queue: str
    ready: int
    """How many the queue had when it was leased."""
    expected: int
    """How many of these come in pages."""
    established: bool = False
    """Whether this is the only tool that consumes; until it knows, it has to read the broker's replies."""
    ended: bool = False
    """Whether nobody takes pages any more; what still arrives is given back unread."""
    _page: list[Delivery] = field(default_factory=list)
    _page_bytes: int = 0
    _received: int = 0
    _yielded: int = 0
    _wake: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def beyond_limit(self) -> int:
        """How many the queue has beyond the limit of the lease."""
        return self.ready - self.expected

    async def pages(self) -> AsyncIterator[list[Delivery]]:
        """Yield the leased dead letters, in the order of the queue. What has not arrived by then stays out.

        Raises:
            BrokerDownError: the connection was lost, or the broker delivers nothing of what it counts.
        """
        while self._yielded < self.expected and await self._page_arrived():
            page, self._page, self._page_bytes = self._page, [], 0
            self._yielded += len(page)
            self.session.resume()
            yield page
        if self.session.closed.is_set():
            raise BrokerDownError(f"the connection was lost while {self.queue} was read; nothing was done")
        if self.expected and not self._received:
            again = f"try again, and if that repeats see `rabbitmq-queues quorum_status {self.queue}`"
            raise BrokerDownError(f"{self.queue} counts {self.expected} messages and delivers none; {again}")

    def on_delivery(self, delivery: Delivery) -> None:
        """Add a delivery to the page that is coming; once that is full, read no further until it is taken."""
        self._received += 1
        if self.ended:
            return
        self._page.append(delivery)
        self._page_bytes += len(delivery.body)
        if self._is_full and self.established:
            self.session.pause()
            self._wake.set()
        elif self._received >= self.expected:
            self._wake.set()

    async def return_all(self) -> None:
        """Give all deliveries back that were not acked."""
        await self.session.nack_unsettled()
        self._page, self._page_bytes, self._received = [], 0, 0

    @property
    def _is_full(self) -> bool:
        return len(self._page) >= PAGE_LETTERS or self._page_bytes >= PAGE_BYTES

    async def _page_arrived(self) -> bool:
        """Wait until a page is full, all has arrived, or nothing arrives any more; return whether there is a page."""
        while not (self._is_full or self._received >= self.expected or self.session.closed.is_set()):
            before = self._received
            self._wake.clear()
            try:
                async with asyncio.timeout(ARRIVAL_SECONDS):
                    await self._wake.wait()
            except TimeoutError:
                if self._received == before:
                    break
        return bool(self._page) and not self.session.closed.is_set()


@asynccontextmanager
async def leased_pages(
    broker: Broker, queue: str, limit: int = MAX_LEASED, *, give_up_seconds: float | None = None
) -> AsyncIterator[PagedLease]:
    """Lease the dead letters that are in the queue now, up to `limit`; what is not acked goes back at the end.

    `give_up_seconds`: how long to wait for another tool; None: `GIVE_UP_SECONDS`. What arrives during
    the lease, such as one of these that was rejected again, is left for the next one.

    Raises:
        LeaseHeldError: another tool has them, and did not give them back in time.
        BrokerDownError: the broker is away.
    """
    session = await broker.open_consumer()
    lease = PagedLease(session, queue, 0, 0)
    try:
        await _consume_alone(lease, limit, GIVE_UP_SECONDS if give_up_seconds is None else give_up_seconds)
        yield lease
    finally:
        lease.ended = True
        session.resume()
        await session.stop_consuming()
        await lease.return_all()
        await session.close()


@asynccontextmanager
async def leased(
    broker: Broker, queue: str, limit: int = MAX_LEASED, *, keep: Callable[[Delivery], bool] = lambda _: True
) -> AsyncIterator[Lease]:
    """Lease the dead letters as `leased_pages` does, and hold those to `keep` in memory, whole.

    Raises:
        LeaseHeldError: another tool has them, and did not give them back in time.
        BrokerDownError: the broker is away, or delivers nothing of what it counts.
    """
    async with leased_pages(broker, queue, limit) as lease:
        kept = [delivery async for page in lease.pages() for delivery in page if keep(delivery)]
        yield Lease(lease.session, kept, lease.beyond_limit)


async def _consume_alone(lease: PagedLease, limit: int, give_up_seconds: float) -> None:
    """Begin to consume as the only consumer, and note what the queue had. Raises LeaseHeldError.

    The queue has to be without a consumer before, counted twice, since a tool that has finished cancels before its
    dead letters are back; and with one consumer after: of two that begin together at least the later sees both and
    steps back. (An exclusive consumer would be simpler; quorum queues let two in: decision 0015.)
    """
    session, queue = lease.session, lease.queue
    now = asyncio.get_running_loop().time
    deadline = now() + give_up_seconds
    while True:
        counts = await _counts_if_free(session, queue)
        if counts is not None:
            lease.ready, lease.expected = counts.ready, max(0, min(counts.ready, limit))
            if not lease.expected:
                return
            # First one letter: what comes before the reply to the count is held in memory, whatever its size.
            await session.consume(queue, 1, lease.on_delivery)
            if (await session.counts(queue)).consumers == 1:
                lease.established = True
                if lease.expected > 1:
                    await session.consume(queue, lease.expected - 1, lease.on_delivery)
                return
            await session.stop_consuming()
            await lease.return_all()
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
