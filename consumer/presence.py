"""Says every few seconds that this process is there, and hears whether people have paused it.

A paused process takes nothing, finishes what it has started, gives back the rest, and says so. It goes on saying that
it is there: this role alone asks the database while the gate is closed.
"""

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable
from importlib.metadata import PackageNotFoundError, version
from uuid import uuid4

from consumer.consumption import Consumption
from consumer.errors import classify
from consumer.gate import Gate
from consumer.intake import Intake
from consumer.logs import log
from consumer.store import Sighting, Store

OPERATOR = "operator"
"""What the gate is closed for: a person wants it, or has not been asked yet."""
ANSWER_SECONDS = 1.0
"""Whoever pauses or resumes waits for the answer: meanwhile it comes so often, and no more often."""
GONE_SECONDS = 600.0
"""Of a process that has not been seen for so long the row is deleted. Until then people see that it died."""
LEAVE_SECONDS = 1.0
"""A stop does not wait longer than this for the row to be deleted: it would be deleted later all the same."""


class Presence:
    """One process's row in provisioning_workers, and its ear for provisioning_pauses."""

    def __init__(
        self,
        store: Store,
        gate: Gate,
        consumption: Consumption,
        intake: Intake,
        *,
        interval_seconds: float,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._store = store
        self._gate = gate
        self._consumption = consumption
        self._intake = intake
        self._interval_seconds = interval_seconds
        self._sleep = sleep
        self.id = uuid4()
        self._host, self._version = socket.gethostname(), _version()
        self._began: float | None = None
        self._turn = asyncio.Lock()
        self._left = False
        self._wanted = False
        self._known = False
        self._told_paused = False
        self._trouble: str | None = None
        gate.close(OPERATOR, "not known yet")

    async def run(self) -> None:
        """Say and hear, again and again."""
        while True:
            try:
                await self.run_once()
            except Exception as error:
                self._cannot(classify(error).error)
            answered = self._known and self._told_paused == self._wanted
            await self._sleep(self._interval_seconds if answered else min(ANSWER_SECONDS, self._interval_seconds))

    async def run_once(self) -> None:
        """Say that we are there, and do as people want."""
        async with self._turn:
            if self._left:
                return
            here = self._sighting()
            pause = await self._store.appear(here, GONE_SECONDS)
        self._trouble, self._known, self._told_paused = None, True, here.paused
        self._wanted = pause is not None
        if pause is None:
            self._consumption.resume()
            self._gate.lift(OPERATOR)
        else:
            who = "all workers are" if pause.everybody else "this worker is"
            self._gate.close(OPERATOR, f"{who} paused by {pause.actor} since {pause.since:%Y-%m-%d %H:%M:%S} UTC")
            self._consumption.pause()

    async def leave(self) -> None:
        """Take the row away: this process has stopped."""
        self._left = True
        try:
            async with asyncio.timeout(LEAVE_SECONDS), self._turn:
                await self._store.leave(self.id)
        except Exception as error:
            log.debug("row of this worker stays", error=classify(error).error)

    def _sighting(self) -> Sighting:
        now = asyncio.get_running_loop().time()
        self._began = now if self._began is None else self._began
        last = self._consumption.last_delivery
        return Sighting(
            self.id, self._host, os.getpid(), self._version, now - self._began, self._intake.in_flight,
            self._consumption.at_rest, None if last is None else now - last,
        )  # fmt: skip

    def _cannot(self, error: str) -> None:
        """Keep to what was last wanted; a process that has not heard anything yet takes nothing, and says why."""
        if not self._known:
            self._gate.close(OPERATOR, f"not known yet: {error}")
        elif error != self._trouble:
            log.warning("presence unsaid", error=error)
        self._trouble = error


def _version() -> str:
    try:
        return version("website-provisioner")
    except PackageNotFoundError:
        return "unknown"
