"""An event loop with a clock of its own and dice: which ready callback runs next is drawn, and no time is waited for.

A seed replays exactly. There are no threads, no files and no sockets; what needs one fails.
"""

import asyncio
import heapq
import random
from collections.abc import Callable
from typing import Any


class NothingLeftError(Exception):
    """Everybody waits, and nothing will ever happen."""


class TooLongError(Exception):
    """A run did more than any run may: a hot loop."""


class SeededLoop(asyncio.BaseEventLoop):
    """Runs callbacks in drawn order. `steps` counts them; `trace` is a fingerprint of all that was drawn."""

    def __init__(self, dice: random.Random, *, limit: int = 2_000_000) -> None:
        super().__init__()
        self.steps = 0
        self.trace = 0
        self._dice = dice
        self._limit = limit
        self._now = 0.0
        self._ready: list[asyncio.Handle] = []
        self._scheduled: list[asyncio.TimerHandle] = []
        self._at_step: list[tuple[int, int, Callable[[], Any]]] = []

    def time(self) -> float:
        """Seconds since the run began; they pass only while nothing is ready."""
        return self._now

    def at_step(self, step: int, callback: Callable[[], Any]) -> None:
        """Call something between two steps: this is where a process can die, at any await."""
        heapq.heappush(self._at_step, (max(step, self.steps + 1), len(self._at_step) + self.steps, callback))

    def unlimit(self) -> None:
        """Let what is left come to its end."""
        self._limit = self.steps + 100_000
        self._at_step.clear()

    def _run_once(self) -> None:
        while self._scheduled and (self._scheduled[0]._cancelled or (self._scheduled[0]._when <= self._now)):
            self._due(heapq.heappop(self._scheduled))
        if not self._ready:
            if not self._scheduled:
                raise NothingLeftError
            self._now = self._scheduled[0]._when
            while self._scheduled and self._scheduled[0]._when <= self._now:
                self._due(heapq.heappop(self._scheduled))
        self.steps += 1
        if self.steps > self._limit:
            raise TooLongError(f"{self.steps} steps in {self._now:.0f} s of its own time")
        while self._at_step and self._at_step[0][0] <= self.steps:
            heapq.heappop(self._at_step)[2]()
        if not self._ready:
            return
        count = len(self._ready)
        drawn = int(self._dice.random() * count)
        self.trace = hash((self.trace, count, drawn))
        handle = self._ready[drawn]
        last = self._ready.pop()
        if handle is not last:
            self._ready[drawn] = last
        if not handle._cancelled:
            handle._run()

    def _due(self, handle: asyncio.TimerHandle) -> None:
        handle._scheduled = False
        if not handle._cancelled:
            self._ready.append(handle)

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Nothing to count: a cancelled timer is dropped when its time comes."""

    def _process_events(self, event_list: Any) -> None:
        """There are no files."""

    def _write_to_self(self) -> None:
        raise RuntimeError("a thread has no place in a simulation")
