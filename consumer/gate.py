"""Whether the pool may take more work. Closed while something underneath is away; knows reasons, not remedies."""

import asyncio

from consumer.logs import log


class Gate:
    """Open unless somebody has closed it, for a reason of their own; each reason is lifted by whoever gave it."""

    def __init__(self) -> None:
        self._reasons: dict[str, str] = {}
        self._closings: dict[str, asyncio.Event] = {}
        self._open = asyncio.Event()
        self._open.set()

    @property
    def reasons(self) -> dict[str, str]:
        """What it is closed for: what is away, and the error that showed it."""
        return dict(self._reasons)

    def close(self, what: str, error: str) -> None:
        """Close it because of `what`."""
        if self._reasons.get(what) != error:
            log.warning("paused", what=what, error=error)
        self._reasons[what] = error
        self._open.clear()
        self._closing(what).set()

    def lift(self, what: str) -> None:
        """Say that `what` is back."""
        if self._reasons.pop(what, None) is not None:
            log.info("resumed", what=what)
        self._closing(what).clear()
        if not self._reasons:
            self._open.set()

    def _closing(self, what: str) -> asyncio.Event:
        return self._closings.setdefault(what, asyncio.Event())

    async def closed_for(self, what: str) -> None:
        """Wait until it is closed because of `what`."""
        await self._closing(what).wait()

    async def passed(self) -> None:
        """Wait until it is open."""
        await self._open.wait()
