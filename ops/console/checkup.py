"""The doctor, for as many people as ask: one examination at a time, and a fresh one is shown to all."""

import asyncio
import os
import time
from typing import Any

from consumer.broker import Broker
from consumer.config import Settings
from consumer.store import Store
from ops.doctor.examining import examine

FRESH_SECONDS = 10.0


class Checkup:
    """Examines at most once in a while, whoever asks and however often."""

    def __init__(self, settings: Settings, store: Store, broker: Broker) -> None:
        """Remember what to examine."""
        self._parts = settings, store, broker
        self._turn = asyncio.Lock()
        self._last: dict[str, Any] | None = None
        self._at = 0.0

    async def report(self) -> dict[str, Any]:
        """Return the doctor's report, ten seconds old at most."""
        async with self._turn:
            if self._last is None or time.monotonic() - self._at > FRESH_SECONDS:
                self._last = await examine(*self._parts, os.environ)
                self._at = time.monotonic()
            return self._last
