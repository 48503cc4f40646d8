"""Reads the overview for the pages and streams of this process, again and again, only while somebody looks.

No page waits for a reading, but for the first after a pause, and for that a second at most.
"""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from consumer.error_classification import classify
from consumer.telemetry.logs import log
from ops.doctor.overview import COST_FACTOR, OverviewReader

READ_SECONDS = 3.0
"""Between two readings at least; and ten times what the last one took."""
PAGE_SECONDS = 1.0
"""The longest that a page waits for a reading."""
FRESH_SECONDS = 15.0
"""A page shows what is younger without waiting for the next."""
LOOK_SECONDS = 15.0
"""Somebody who has asked for a page looks at it for so long at least; with a script the page has a stream."""

PAGES = {
    "database": "/doctor", "broker": "/doctor", "failed": "/failures", "dead_letters": "/dead-letters",
    "waiting": "/websites", "workers": "/workers", "on_defaults": "/websites?on_defaults=true", "doctor": "/doctor",
}  # fmt: skip
"""The page about each item."""


class OverviewFeed:
    """The last overview, and who gets the next."""

    def __init__(
        self, reader: OverviewReader, *, is_streamed: Callable[[], bool], publish: Callable[[dict[str, Any]], None]
    ) -> None:
        """Read by `reader`, while a page was asked for lately or `is_streamed`; `publish` is called after each."""
        self._reader = reader
        self._is_streamed = is_streamed
        self._publish = publish
        self.latest: dict[str, Any] | None = None
        """The last overview, with `every_seconds`: in how many seconds the next follows."""
        self._read_at = 0.0
        self._asked_at = 0.0
        self._asked = asyncio.Event()
        self._began_at: float | None = None
        """When the reading that is under way began."""
        self._was_read = asyncio.Event()
        self.readings = 0
        """How often it was read."""

    async def run(self) -> None:
        """Read as long as somebody looks, until cancelled."""
        try:
            while True:
                if not self._is_streamed() and time.monotonic() - self._asked_at > LOOK_SECONDS:
                    self._asked.clear()
                    await self._asked.wait()
                await asyncio.sleep(await self._read())
        finally:
            await self._reader.close()

    async def _read(self) -> float:
        """Read once, and return how long to wait before the next."""
        self._began_at = time.monotonic()
        self.readings += 1
        try:
            overview = await self._reader.read()
        except Exception as error:
            # The band shows the time of what it has; whoever asks for a page is answered with the error.
            log.error("overview failed", error=classify(error).error)
            return max(READ_SECONDS, COST_FACTOR * (time.monotonic() - self._began_at))
        else:
            pause = max(READ_SECONDS, COST_FACTOR * self._reader.cost_seconds)
            self.latest = _with_pages(overview) | {"every_seconds": round(pause, 1)}
            self._read_at = time.monotonic()
            self._publish(self.latest)
            return pause
        finally:
            self._began_at = None
            self._was_read.set()
            self._was_read = asyncio.Event()

    def wake(self) -> None:
        """Begin to read, where nobody has looked until now."""
        self._asked_at = time.monotonic()
        self._asked.set()

    async def current(self) -> dict[str, Any] | None:
        """Return the last overview, after a wait of a second at most where it is old; None where there is none yet."""
        now = time.monotonic()
        self.wake()
        if self.latest is None or now - self._read_at > FRESH_SECONDS + self.latest["every_seconds"]:
            waited = 0.0 if self._began_at is None else now - self._began_at
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, PAGE_SECONDS - waited)):
                    await self._was_read.wait()
        return self.latest


def _with_pages(overview: dict[str, Any]) -> dict[str, Any]:
    """Return the overview with the page about each item; what waits is the website that has waited longest."""
    oldest = overview["oldest"]
    pages = PAGES | ({"waiting": f"/websites/{oldest['website_id']}"} if oldest else {})
    return overview | {"items": [item | {"page": pages[item["name"]]} for item in overview["items"]]}
