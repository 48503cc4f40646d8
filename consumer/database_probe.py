"""Finds out when the database is back. Runs only while the gate is closed for it."""

import asyncio

from consumer.backoff import Backoff
from consumer.errors import classify
from consumer.gate import Gate
from consumer.logs import log
from consumer.store import Store
from consumer.worker import DATABASE


class DatabaseProbe:
    """Asks the database, more and more rarely, whether it takes writes again."""

    def __init__(self, store: Store, gate: Gate, backoff: Backoff) -> None:
        self._store = store
        self._gate = gate
        self._backoff = backoff

    async def run(self) -> None:
        """Lift the gate whenever the database is back."""
        while True:
            await self._gate.closed_for(DATABASE)
            await self.run_once()

    async def run_once(self) -> None:
        """Probe until the answer is good."""
        while True:
            try:
                async with asyncio.timeout(10):
                    await self._store.probe()
            except Exception as error:
                self._gate.close(DATABASE, classify(error).error)
                log.debug("database still away", error=classify(error).error)
                await self._backoff.wait()
            else:
                self._backoff.reset()
                self._gate.lift(DATABASE)
                return
