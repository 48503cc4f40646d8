"""Whether this process may take more work: closed while something that it needs is away. Knows causes, not remedies."""

import asyncio
from enum import StrEnum

from consumer.telemetry.logs import log


class ClosedBy(StrEnum):
    """What closes the gate. The value stands in log lines, in /readyz, and in the label of `provisioner_paused`."""

    DATABASE = "database"
    """It does not answer, or takes no writes."""
    PUBLISHING = "publishing"
    """There is no connection to publish on."""
    OPERATOR = "operator"
    """A person has paused this process, or it could not find out yet whether one has."""


class Gate:
    """Open unless something has closed it; each cause is lifted by whoever watches for its end."""

    def __init__(self) -> None:
        self._reasons: dict[ClosedBy, str] = {}
        self._closings = {cause: asyncio.Event() for cause in ClosedBy}
        self._open = asyncio.Event()
        self._open.set()

    @property
    def reasons(self) -> dict[ClosedBy, str]:
        """What it is closed by now, each with the error that showed it."""
        return dict(self._reasons)

    def begin_closed(self, closed_by: ClosedBy, reason: str) -> None:
        """Close it by that cause without a line in the log: at the start, when nothing has failed yet."""
        self._reasons[closed_by] = reason
        self._open.clear()
        self._closings[closed_by].set()

    def close(self, closed_by: ClosedBy, error: str) -> None:
        """Close it by that cause."""
        if self._reasons.get(closed_by) != error:
            log.warning("paused", what=closed_by, error=error)
        self.begin_closed(closed_by, error)

    def lift(self, closed_by: ClosedBy) -> None:
        """Remove that cause; without any other the gate is open."""
        if self._reasons.pop(closed_by, None) is not None:
            log.info("resumed", what=closed_by)
        self._closings[closed_by].clear()
        if not self._reasons:
            self._open.set()

    async def wait_closed_by(self, closed_by: ClosedBy) -> None:
        """Wait until it is closed by that cause."""
        await self._closings[closed_by].wait()

    async def wait_open(self) -> None:
        """Wait until it is open."""
        await self._open.wait()
