"""One look at the database a second, shared by every event stream of this process; none while nobody watches."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

from consumer.errors import classify
from consumer.store import Store
from ops import progressing, reading, searching

LOOK_SECONDS = 1.0
REST_OF_A_LOOK = 10
"""The next look comes no sooner than ten times as long as the last one took: watching costs a tenth at most."""
ESTIMATES_SECONDS = 30.0
HEARTBEAT_SECONDS = 15.0
"""A comment in a silent stream, so that proxies keep it open, and a browser that is gone is noticed."""
A_WEBSITE_LIMIT = 20
"""Streams that follow one website: its token may be in many hands."""


class TooManyStreams(Exception):  # noqa: N818
    """As many event streams are open as may be."""


class Pulse:
    """Looks for everybody, and tells each stream what has changed for it."""

    def __init__(self, store: Store, *, domain: str, limit: int) -> None:
        """Remember where to look; `limit` streams at once, `domain` is that of live websites."""
        self._store = store
        self._domain = domain
        self._limit = limit
        self._streams: dict[asyncio.Queue[tuple[str, Any]], int | None] = {}
        self._wanted = asyncio.Event()
        self._estimates: tuple[float, dict[str, list[float]]] = (-ESTIMATES_SECONDS, {})
        self._counts: dict[str, int] = {}
        self._fresh: set[int | None] = set()
        """What streams that came since the last look are about: told once more, so that nothing falls between."""
        self._marks: dict[int, tuple[int, int]] = {}
        self.looks = 0
        """How often the database was looked at for streams."""
        self.stopping: Callable[[], bool] = lambda: False

    async def estimates(self) -> dict[str, list[float]]:
        """Return how long recent websites took, at most half a minute old."""
        told_at, known = self._estimates
        if time.monotonic() - told_at > ESTIMATES_SECONDS:
            known = await progressing.durations(self._store)
            self._estimates = (time.monotonic(), known)
        return known

    async def progress(self, ids: list[int]) -> dict[int, dict[str, Any]]:
        """Return websites' progress as their customers may see it."""
        return await progressing.followed(self._store, ids, await self.estimates(), self._domain)

    async def run(self) -> None:
        """Look as long as somebody watches, until cancelled."""
        while True:
            await self._wanted.wait()
            began = time.monotonic()
            try:
                await self._look()
            except Exception as error:
                # Streams stay open: the next look tells what they missed.
                for follows in set(self._streams.values()):
                    self._tell(follows, "unavailable", {"error": type(classify(error)).__name__})
            took = time.monotonic() - began
            await asyncio.sleep(max(LOOK_SECONDS, took * REST_OF_A_LOOK))

    async def _look(self) -> None:
        self.looks += 1
        watched = set(self._streams.values())
        fresh, self._fresh = self._fresh, set()
        if None in watched:
            counts = await reading.states(self._store)
            if counts != self._counts or None in fresh:
                self._counts = counts
                self._tell(None, "states", counts)
        ids = [website_id for website_id in watched if website_id is not None]
        if ids:
            marks = await searching.marks(self._store, ids)
            moved = [number for number in marks if number in fresh or marks[number] != self._marks.get(number)]
            self._marks = marks
            for website_id, progress in (await self.progress(moved)).items() if moved else ():
                self._tell(website_id, "provisioning", progress)

    def _tell(self, website_id: int | None, event: str, value: Any) -> None:
        for queue, follows in self._streams.items():
            if follows == website_id:
                if queue.full():
                    # A browser that reads too slowly gets the latest, not everything.
                    queue.get_nowait()
                queue.put_nowait((event, value))

    async def stream(self, website_id: int | None, first: tuple[str, Any]) -> AsyncIterator[bytes]:
        """Yield server-sent events: `first`, then every change of one website, or of the numbers in each state."""
        queue = self.enter(website_id)
        try:
            yield _event(*first)
            while not self.stopping():
                silent_since = time.monotonic()
                while not self.stopping() and time.monotonic() - silent_since < HEARTBEAT_SECONDS:
                    with suppress(TimeoutError):
                        async with asyncio.timeout(1):
                            yield _event(*await queue.get())
                            silent_since = time.monotonic()
                yield b": still here\n\n"
        finally:
            self.leave(queue)

    def room(self, website_id: int | None) -> None:
        """Raise TooManyStreams where one more would be too many."""
        same = sum(follows == website_id for follows in self._streams.values()) if website_id is not None else 0
        if len(self._streams) >= self._limit or same >= A_WEBSITE_LIMIT:
            raise TooManyStreams(f"{len(self._streams)} event streams are open; try again later")

    def enter(self, website_id: int | None) -> asyncio.Queue[tuple[str, Any]]:
        """Add a stream; `room` was asked before."""
        queue: asyncio.Queue[tuple[str, Any]] = asyncio.Queue(16)
        self._streams[queue] = website_id
        self._fresh.add(website_id)
        self._wanted.set()
        return queue

    def leave(self, queue: asyncio.Queue[tuple[str, Any]]) -> None:
        """Remove a stream; without any, nobody looks."""
        self._streams.pop(queue, None)
        if not self._streams:
            self._wanted.clear()


def _event(event: str, value: Any) -> bytes:
    """Return one server-sent event; JSON has no line ends, so a value cannot forge another event."""
    return f"event: {event}\ndata: {json.dumps(value, ensure_ascii=True)}\n\n".encode()
