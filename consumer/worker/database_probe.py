"""Probes the database while the gate is closed by it, and lifts the gate once it takes writes again."""

import asyncio
from dataclasses import dataclass

from consumer.error_classification import ConnectionSettingError, classify
from consumer.store.database import Store
from consumer.telemetry.logs import log
from consumer.worker.gate import ClosedBy, Gate
from consumer.worker.reconnect_backoff import Backoff

PROBE_SECONDS = 10.0
STEADY_SECONDS = 60.0
"""Where work fails within this time of a probe that found nothing wrong, the probe cannot see what is wrong (a nearly
full disk, a table of the product's): then it waits longer each time before it lifts the gate again."""
START_SECONDS = 10.0
"""How long a start waits for the answer whether the settings are right; a database that is away is waited for later."""


async def raise_for_wrong_setting(store: Store) -> None:
    """Query the database once, and raise if a setting is wrong; any other error is left to the probe.

    Raises:
        ConnectionSettingError: PostgreSQL, or a pooler before it, refuses a setting.
    """
    try:
        async with asyncio.timeout(START_SECONDS):
            error = await store.unreachable()
    except Exception as unexpected:
        # The probe gets the same error, and repeats its attempts.
        log.debug("database not asked", error=classify(unexpected).error)
        return
    if isinstance(error, ConnectionSettingError):
        raise error


@dataclass(eq=False)
class DatabaseProbe:
    """Asks the database, more and more rarely, whether it takes writes again."""

    store: Store
    gate: Gate
    backoff: Backoff
    _nothing_found_at: float = -STEADY_SECONDS
    _has_answered: bool = False

    async def run(self) -> None:
        """Lift the gate whenever the database is back."""
        while True:
            await self.gate.wait_closed_by(ClosedBy.DATABASE)
            if asyncio.get_running_loop().time() - self._nothing_found_at < STEADY_SECONDS:
                await self.backoff.wait()
            else:
                self.backoff.reset()
            await self.run_once()

    async def run_once(self) -> None:
        """Probe until the database takes writes.

        Raises:
            ConnectionSettingError: the first answer refuses a setting. A later one counts as an outage.
        """
        nothing_found = True
        while True:
            try:
                async with asyncio.timeout(PROBE_SECONDS):
                    await self.store.probe()
            except Exception as error:
                if isinstance(error, ConnectionSettingError) and not self._has_answered:
                    raise
                nothing_found = False
                self.gate.close(ClosedBy.DATABASE, classify(error).error)
                log.debug("database still away", error=classify(error).error)
                await self.backoff.wait()
            else:
                self._has_answered = True
                self._nothing_found_at = asyncio.get_running_loop().time() if nothing_found else -STEADY_SECONDS
                self.gate.lift(ClosedBy.DATABASE)
                return
