"""Supervises several worker processes under one parent: starts them, passes signals on, replaces the dead."""

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from consumer.config import PREFIX, Settings
from consumer.factories import make_store
from consumer.monitoring.http_server import HttpServer
from consumer.telemetry.logs import log
from consumer.worker.database_probe import raise_for_wrong_setting
from consumer.worker.stop_requests import stop_signals
from ops.errors import EXIT_USAGE
from ops.workers.health_aggregator import HealthAggregator

LAST_SECONDS = 5.0
"""What a process has after its drain, which ends it by itself 2 s later; one that hangs does not."""
MIN_LIFE_SECONDS = 5.0
"""A process that dies sooner is started again only after this long: no hot loop of crashes."""


class Supervisor:
    """Worker processes that live until a signal."""

    def __init__(self, concurrency: int | None, health: HealthAggregator | None = None, *, stop_seconds: float) -> None:
        """Take how many workers a process has, the aggregator of their health, and how long a process may take to end
        by itself."""
        self._health = health
        self._stop_seconds = stop_seconds
        self._command = [sys.executable, "-m", "ops", "worker"]
        if concurrency:
            self._command += ["--concurrency", str(concurrency)]
        self._stopping = asyncio.Event()
        self._running: set[asyncio.subprocess.Process] = set()
        # Nothing is ever written to it: the kernel closes our end when this process has ended, however it does.
        self._children_end, self._our_end = os.pipe()

    async def run(self, count: int) -> int:
        """Keep `count` processes alive until SIGTERM, SIGINT or SIGHUP; return the exit code for the parent."""
        loop = asyncio.get_running_loop()
        for signum in stop_signals():
            loop.add_signal_handler(signum, self._stop, signum)
        try:
            codes = await asyncio.gather(*(self._keep_one(number) for number in range(1, count + 1)))
        finally:
            os.close(self._our_end)  # whatever went wrong here, no child is left running
            os.close(self._children_end)
        # A child that a signal ended, as a second SIGTERM does, counts as one that stopped before its end: 1.
        return max(1 if code < 0 else code for code in codes)

    def _stop(self, signum: int) -> None:
        """Pass a signal on; a second one makes the children end at once, and those that hear none are killed later."""
        if not self._stopping.is_set():
            asyncio.get_running_loop().call_later(self._stop_seconds, self._kill)
        self._stopping.set()
        self._signal(signum)

    def _signal(self, signum: int) -> None:
        for process in self._running:
            with suppress(ProcessLookupError):  # it has just ended by itself
                process.send_signal(signum)

    def _kill(self) -> None:
        """End what has not ended by itself: a process that is stopped, or hangs, hears no other signal."""
        for process in self._running:
            log.error("worker process killed", process=process.pid, reason=f"it did not end in {self._stop_seconds} s")
            with suppress(ProcessLookupError):
                process.kill()

    async def _keep_one(self, number: int) -> int:
        environment = dict(os.environ) | {f"{PREFIX}PARENT_PIPE": str(self._children_end)}
        if self._health:
            environment[f"{PREFIX}HTTP_SOCKET"] = str(self._health.socket(number))
        while True:
            began = time.monotonic()
            # A session of its own: Ctrl-C reaches the parent alone, which passes it on once.
            process = await asyncio.create_subprocess_exec(
                *self._command, env=environment, start_new_session=True, pass_fds=(self._children_end,)
            )
            self._running.add(process)
            if self._stopping.is_set():
                with suppress(ProcessLookupError):
                    process.terminate()
            code = await process.wait()
            self._running.discard(process)
            if self._stopping.is_set() or code == EXIT_USAGE:
                return code
            if self._health:
                self._health.deaths.inc()
            log.error("worker process died", process=process.pid, what=f"exit code {code}")
            await self._wait(MIN_LIFE_SECONDS - (time.monotonic() - began))
            if self._stopping.is_set():
                return 0

    async def _wait(self, seconds: float) -> None:
        """Wait, unless a stop comes first."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()


async def run_processes(count: int, concurrency: int | None, settings: Settings) -> int:
    """Run `count` worker processes until a signal; return the exit code for this one.

    Raises:
        ListenError: the health listener's address cannot be bound.
        ConnectionSettingError: PostgreSQL, or a pooler before it, refuses a setting.
    """
    async with _health_listener(count, settings) as health:
        stop_seconds = settings.drain_seconds + LAST_SECONDS
        return await Supervisor(concurrency, health, stop_seconds=stop_seconds).run(count)


@asynccontextmanager
async def _health_listener(count: int, settings: Settings) -> AsyncIterator[HealthAggregator | None]:
    """Answer health checks for the processes, if a port is set; their sockets are in a folder for this user alone."""
    if settings.http_port is None:
        await _check_settings(settings)
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="provisioner-") as folder:
        health = HealthAggregator(Path(folder), count)
        listener = HttpServer(health.routes)
        port = await listener.listen(settings.http_host, settings.http_port)
        try:
            await _check_settings(settings)
            log.info("listening", host=settings.http_host, port=port)
            yield health
        finally:
            await listener.close()


async def _check_settings(settings: Settings) -> None:
    """Wait until the database has accepted the settings: each child would report the same error. Raises
    ConnectionSettingError."""
    store = make_store(settings, size=1)
    try:
        await raise_for_wrong_setting(store)
    finally:
        await store.close()
