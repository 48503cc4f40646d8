"""Finish what was started: how many websites this process has under way, and whether it may start more.

A plain FIFO would advance every website of a burst one step at a time, and all would go live at its very end.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable

REFRESH_SECONDS = 0.05
"""How often the database is asked which admitted websites still move; only while signups wait for room."""


class Admission:
    """Counts admitted websites. Other processes finish some of them, so the database is asked who still moves."""

    def __init__(
        self,
        limit: int,
        under_way: Callable[[Iterable[int]], Awaitable[set[int]]],
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._limit = limit
        self._under_way = under_way
        self._sleep = sleep
        self._admitted: set[int] = set()
        self._reserved = 0
        self._wanted = asyncio.Event()
        self.on_room: Callable[[], None] = lambda: None
        """Called when there is room again."""

    def room(self) -> int:
        """Return how many more signups may be started now."""
        return self._limit - len(self._admitted) - self._reserved

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
        self.on_room()

    def release(self, website_id: int) -> None:
        """A website does not move by itself any more."""
        if website_id in self._admitted:
            self._admitted.remove(website_id)
            self.on_room()

    def wanted(self) -> None:
        """Signups wait, and there is no room: look whether other processes have finished some."""
        self._wanted.set()

    async def run_once(self) -> None:
        """Ask which admitted websites are still under way, and forget the others."""
        still = await self._under_way(self._admitted)
        if self._admitted - still:
            self._admitted &= still
            self.on_room()

    async def run(self) -> None:
        """Refresh whenever signups wait for room, at most every REFRESH_SECONDS."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            await self.run_once()
            await self._sleep(REFRESH_SECONDS)
            if self.room() <= 0:
                self.on_room()  # lets a worker look, and want again, as long as signups wait
