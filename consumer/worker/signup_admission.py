"""Admission: how many websites this process has under way, and how many more signups it may start.

A plain FIFO would advance every website of a burst one step at a time, and all would go live at its very end: so what
was started is finished first. Signups that start together stay together: a batch of one kind of step costs little more
than a single one, so they start in cohorts. After an idle moment a small first batch goes ahead, and is live before the
rest has begun (docs/decisions/0019).
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable

REFRESH_SECONDS = 0.05
"""How often the database is asked which admitted websites are still under way; only while signups wait for room."""
COHORT_SECONDS = 0.1
"""How long a smaller cohort than asked for waits for more room. What somebody has locked must not hold up the rest."""
FIRST_BATCH = 4
"""Websites that go ahead after an idle moment."""
FIRST_BATCH_SECONDS = 0.2
"""How long the others wait for the first of them to rest."""
IDLE_SECONDS = 0.1
"""How long nothing was under way before the next ones are a first batch."""


class Reservation:
    """One place, kept for a signup while a worker has it. Settled by `Admission.admit` or `Admission.cancel`."""

    __slots__ = ()


class Admission:
    """Counts admitted websites. Other processes finish some of them: the database knows which are still under way."""

    def __init__(
        self,
        limit: int,
        under_way: Callable[[Iterable[int]], Awaitable[set[int]]],
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = lambda: asyncio.get_running_loop().time(),
    ) -> None:
        """Take the most websites under way at once, and what asks the database which of some still are."""
        self._limit = limit
        self._under_way = under_way
        self._sleep = sleep
        self._clock = clock
        self._admitted: set[int] = set()
        self._reserved: set[Reservation] = set()
        self._empty_since = float("-inf")
        self._first_batch_until = float("-inf")
        self._short_since: float | None = None
        self._refresh = asyncio.Event()
        self.on_room: Callable[[], None] = lambda: None
        """Called when there is room again."""

    @property
    def taken(self) -> int:
        """Places that are taken."""
        return len(self._admitted) + len(self._reserved)

    def grant(self, asked: int) -> int:
        """Return how many of `asked` signups may be started now: all that will ever fit, or none for the moment."""
        now = self._clock()
        if not self.taken and now - self._empty_since >= IDLE_SECONDS:
            self._first_batch_until = now + FIRST_BATCH_SECONDS
        if now < self._first_batch_until:
            return max(0, min(asked, self._limit, FIRST_BATCH) - self.taken)
        room = self._limit - self.taken
        if room < min(asked, self._limit):
            self._short_since = now if self._short_since is None else self._short_since
            if now - self._short_since < COHORT_SECONDS:
                return 0
        self._short_since = None
        return max(0, min(asked, room))

    def reserve(self) -> Reservation:
        """Keep a place for a signup that a worker takes."""
        reservation = Reservation()
        self._reserved.add(reservation)
        return reservation

    def admit(self, reservation: Reservation, website_id: int) -> None:
        """Settle a reservation: its website is under way now."""
        self._reserved.remove(reservation)
        self._admitted.add(website_id)

    def cancel(self, reservation: Reservation) -> None:
        """Settle a reservation: its signup has started nothing. One that is settled already stays so."""
        if reservation in self._reserved:
            self._reserved.remove(reservation)
            self._room_freed()

    def release(self, website_id: int) -> None:
        """Give back the place of a website that rests."""
        if website_id in self._admitted:
            self._admitted.remove(website_id)
            self._room_freed()

    def _room_freed(self) -> None:
        self._first_batch_until = float("-inf")
        if not self.taken:
            self._empty_since = self._clock()
        self.on_room()

    def request_refresh(self) -> None:
        """Ask the database soon whether other processes have finished some: signups wait, and may not start."""
        self._refresh.set()

    async def run_once(self) -> None:
        """Ask which admitted websites are still under way, and forget the others."""
        still = await self._under_way(self._admitted)
        if self._admitted - still:
            self._admitted &= still
            self._room_freed()

    async def run(self) -> None:
        """Refresh whenever that was requested, at most every REFRESH_SECONDS."""
        while True:
            await self._refresh.wait()
            self._refresh.clear()
            await self.run_once()
            await self._sleep(REFRESH_SECONDS)
            self.on_room()  # a worker asks again, and requests the next refresh, as long as signups wait
