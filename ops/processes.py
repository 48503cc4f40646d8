"""Several worker processes under one parent: starts them, passes signals on, replaces the dead."""

import asyncio
import os
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from consumer.config import PREFIX, Settings
from consumer.listener import Listener
from consumer.logs import log
from ops.answering import Group

MIN_LIFE_SECONDS = 5.0
"""A process that dies sooner is started again only after this long: no hot loop of crashes."""
WRONG_SETTING = 2


class Processes:
    """Worker processes that live until a signal."""

    def __init__(self, concurrency: int | None, group: Group | None = None) -> None:
        """Take how many workers a process has, and who answers for all of them."""
        self._group = group
        self._command = [sys.executable, "-m", "ops", "worker"]
        if concurrency:
            self._command += ["--concurrency", str(concurrency)]
        self._stopping = asyncio.Event()
        self._running: set[asyncio.subprocess.Process] = set()

    async def run(self, count: int) -> int:
        """Keep `count` processes alive until SIGTERM or SIGINT; return the exit code for the parent."""
        loop = asyncio.get_running_loop()
        for signum in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(signum, self._stop, signum)
        try:
            codes = await asyncio.gather(*(self._keep_one(number) for number in range(1, count + 1)))
        finally:
            self._signal(signal.SIGTERM)  # whatever went wrong here, no child is left behind
        # A child that a signal ended, as a second SIGTERM does, counts as one that stopped before its end: 1.
        return max(1 if code < 0 else code for code in codes)

    def _stop(self, signum: int) -> None:
        """Pass a signal on; a second one makes the children end at once."""
        self._stopping.set()
        self._signal(signum)

    def _signal(self, signum: int) -> None:
        for process in self._running:
            with suppress(ProcessLookupError):  # it has just ended by itself
                process.send_signal(signum)

    async def _keep_one(self, number: int) -> int:
        environment = dict(os.environ)
        if self._group:
            environment[f"{PREFIX}HTTP_SOCKET"] = str(self._group.socket(number))
        while True:
            began = time.monotonic()
            # A session of its own: Ctrl-C reaches the parent alone, which passes it on once.
            process = await asyncio.create_subprocess_exec(*self._command, env=environment, start_new_session=True)
            self._running.add(process)
            if self._stopping.is_set():
                with suppress(ProcessLookupError):
                    process.terminate()
            code = await process.wait()
            self._running.discard(process)
            if self._stopping.is_set() or code == WRONG_SETTING:
                return code
            if self._group:
                self._group.deaths.inc()
            log.error("worker process died", process=process.pid, what=f"exit code {code}")
            await self._rest(MIN_LIFE_SECONDS - (time.monotonic() - began))
            if self._stopping.is_set():
                return 0

    async def _rest(self, seconds: float) -> None:
        """Wait, unless a stop comes first."""
        if seconds > 0:
            stop = asyncio.ensure_future(self._stopping.wait())
            await asyncio.wait((stop,), timeout=seconds)
            stop.cancel()


async def run_processes(count: int, concurrency: int | None, settings: Settings) -> int:
    """Run `count` worker processes until a signal; return the exit code for this one.

    Raises:
        CannotListen: where this process should answer for them.
    """
    async with _answering(count, settings) as group:
        return await Processes(concurrency, group).run(count)


@asynccontextmanager
async def _answering(count: int, settings: Settings) -> AsyncIterator[Group | None]:
    """Answer for the processes, where the settings say so; their sockets are in a folder that nobody else may enter."""
    if settings.http_port is None:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="provisioner-") as folder:
        group = Group(Path(folder), count)
        listener = Listener(group.routes)
        port = await listener.listen(settings.http_host, settings.http_port)
        log.info("listening", host=settings.http_host, port=port)
        try:
            yield group
        finally:
            await listener.close()
