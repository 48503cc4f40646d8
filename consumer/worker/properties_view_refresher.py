"""Has the existing product's view of properties, which its search reads, refreshed once properties are committed.

One in every process. The database's own function takes care that one refreshes at a time, and not twice within half a
minute, however many ask; nothing of it is in a step's transaction.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime

from consumer.error_classification import classify
from consumer.store.database import Store
from consumer.store.properties_view_refresh import refresh_properties
from consumer.telemetry.logs import log
from consumer.worker.gate import Gate

REFRESH_SECONDS = 300.0
"""The longest that a refresh may take; its snapshot keeps dead rows for as long."""
RETRY_SECONDS = 30.0
"""After an error: a lock that somebody has, a right that is missing."""
ABSENT_SECONDS = 60.0
"""How long a database without the view is not asked again."""


class ViewRefresher:
    """Refreshes when asked to; while nobody asks, it does nothing."""

    def __init__(self, store: Store, gate: Gate, *, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._store = store
        self._gate = gate
        self._sleep = sleep
        self._asked = asyncio.Event()
        self._absent_until = float("-inf")
        self._last_error: str | None = None

    def ask(self) -> None:
        """Ask for what is committed by now to be in the view."""
        self._asked.set()

    async def run(self) -> None:
        """Refresh whenever somebody asks, and once at first: a process that died may have left it undone."""
        self.ask()
        while True:
            await self._asked.wait()
            await self._gate.wait_open()
            self._asked.clear()
            await self.run_once()

    async def run_once(self) -> None:
        """Have what is committed by now brought into the view, where the database has it."""
        if asyncio.get_running_loop().time() < self._absent_until:
            return
        asked_at: datetime | None = None
        while True:
            try:
                answer = await refresh_properties(self._store, asked_at, REFRESH_SECONDS)
            except Exception as error:
                self._note(classify(error).error)
                await self._sleep(RETRY_SECONDS)
                continue
            self._last_error = None
            if answer is None:
                self._absent_until = asyncio.get_running_loop().time() + ABSENT_SECONDS
                return
            if answer.seconds is None:
                return
            asked_at = answer.asked_at
            await self._sleep(answer.seconds)

    def _note(self, error: str) -> None:
        """Log an error, once as long as it is the same."""
        if error != self._last_error:
            log.warning("view of properties not refreshed", error=error)
        self._last_error = error
