"""Finish what was started: how many websites this process has under way, and how many more it may start.

A plain FIFO would advance every website of a burst one step at a time, and all would go live at its very end. Signups
start in crowds, which stay together: a batch of one kind of step costs little more than a single one. Only after a
silence a few go ahead, and are live before the crowd has begun (docs/decisions/0019).
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable

REFRESH_SECONDS = 0.05
"""How often the database is asked which admitted websites still move; only while signups wait for room."""
CROWD_SECONDS = 0.1
"""How long a smaller crowd than asked for waits for more room. What somebody has locked must not hold up the rest."""
SCOUTS = 4
"""Websites that go ahead after a silence."""
SCOUTING_SECONDS = 0.2
"""How long the others wait for the first of them to rest."""
SILENCE_SECONDS = 0.1
"""How long nothing was under way before the next ones are scouts."""


class Admission:
    """Counts admitted websites. Other processes finish some of them, so the database is asked who still moves."""

    def __init__(
        self,
        limit: int,
        under_way: Callable[[Iterable[int]], Awaitable[set[int]]],
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = lambda: asyncio.get_running_loop().time(),
    ) -> None:
        """Take the most websites under way at once, and what asks the database which of them still move."""
        self._limit = limit
        self._under_way = under_way
        self._sleep = sleep
        self._clock = clock
        self._admitted: set[int] = set()
        self._reserved = 0
        self._empty_since = float("-inf")
        self._scouting_until = float("-inf")
        self._crowded_since: float | None = None
        self._wanted = asyncio.Event()
        self.on_room: Callable[[], None] = lambda: None
        """Called when there is room again."""

    @property
    def taken(self) -> int:
        """Places that are taken."""
        return len(self._admitted) + self._reserved

    def grant(self, asked: int) -> int:
        """Return how many of `asked` signups may be started now: all that will ever fit, or none for the moment."""
        now = self._clock()
        if not self.taken and now - self._empty_since >= SILENCE_SECONDS:
            self._scouting_until = now + SCOUTING_SECONDS
        if now < self._scouting_until:
            return max(0, min(asked, self._limit, SCOUTS) - self.taken)
        room = self._limit - self.taken
        if room < min(asked, self._limit):
            self._crowded_since = now if self._crowded_since is None else self._crowded_since
            if now - self._crowded_since < CROWD_SECONDS:
                return 0
        self._crowded_since = None
        return max(0, min(asked, room))

    def reserve(self, count: int) -> None:
        """Count signups that a worker takes; each is settled by `admit` or `turn_away`."""
        self._reserved += count

    def admit(self, website_id: int) -> None:
        """A reserved signup is under way now."""
        self._reserved -= 1
        self._admitted.add(website_id)

    def turn_away(self) -> None:
        """A reserved signup has started nothing."""
        self._reserved -= 1
        self._rested()

    def release(self, website_id: int) -> None:
        """A website does not move by itself any more."""
        if website_id in self._admitted:
            self._admitted.remove(website_id)
            self._rested()

    def _rested(self) -> None:
        self._scouting_until = float("-inf")
        if not self.taken:
            self._empty_since = self._clock()
        self.on_room()

    def wanted(self) -> None:
        """Signups wait, and may not start: look whether other processes have finished some, and have another look."""
        self._wanted.set()

    async def run_once(self) -> None:
        """Ask which admitted websites are still under way, and forget the others."""
        still = await self._under_way(self._admitted)
        if self._admitted - still:
            self._admitted &= still
            self._rested()

    async def run(self) -> None:
        """Refresh whenever signups wait for room, at most every REFRESH_SECONDS."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            await self.run_once()
            await self._sleep(REFRESH_SECONDS)
            self.on_room()  # lets a worker look, and want again, as long as signups wait
