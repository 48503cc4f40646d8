"""Finds out when the database is back. Runs only while the gate is closed for it."""

import asyncio

from consumer.backoff import Backoff
from consumer.errors import classify
from consumer.gate import Gate
from consumer.logs import log
from consumer.store import Store
from consumer.worker import DATABASE

STEADY_SECONDS = 60.0
"""Where work fails within this time of a probe that saw nothing wrong, the probe is blind to what is wrong (a disk that
is nearly full, a table of the product's): then it waits longer each time before it lets work through again."""


class DatabaseProbe:
    """Asks the database, more and more rarely, whether it takes writes again."""

    def __init__(self, store: Store, gate: Gate, backoff: Backoff) -> None:
        self._store = store
        self._gate = gate
        self._backoff = backoff
        self._saw_nothing = -STEADY_SECONDS

    async def run(self) -> None:
        """Lift the gate whenever the database is back."""
        while True:
            await self._gate.closed_for(DATABASE)
            if asyncio.get_running_loop().time() - self._saw_nothing < STEADY_SECONDS:
                await self._backoff.wait()
            else:
                self._backoff.reset()
            await self.run_once()

    async def run_once(self) -> None:
        """Probe until the answer is good."""
        blind = True
        while True:
            try:
                async with asyncio.timeout(10):
                    await self._store.probe()
            except Exception as error:
                blind = False
                self._gate.close(DATABASE, classify(error).error)
                log.debug("database still away", error=classify(error).error)
                await self._backoff.wait()
            else:
                self._saw_nothing = asyncio.get_running_loop().time() if blind else -STEADY_SECONDS
                self._gate.lift(DATABASE)
                return
