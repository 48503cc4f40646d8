"""Real worker processes for acceptance tests: started, killed, restarted, read."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any


class WorkerProcesses:
    """Runs `provisioner worker` processes against the servers of a test, their logs in files."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder = folder
        self.environment = os.environ | {"PROVISIONER_LOG_FORMAT": "json"} | environment
        self.processes: list[asyncio.subprocess.Process] = []
        self.started = 0

    async def start(self, *arguments: str, **environment: str) -> asyncio.subprocess.Process:
        """Start one; its log is `worker-<n>.log`."""
        log = (self.folder / f"worker-{self.started}.log").open("wb")
        self.started += 1
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "ops", "worker", *arguments,
            env=self.environment | environment, stdout=log, stderr=log, cwd=self.folder,
        )  # fmt: skip
        log.close()
        self.processes.append(process)
        return process

    async def kill(self, process: asyncio.subprocess.Process) -> None:
        """SIGKILL one, and wait until it is gone."""
        if process.returncode is None:
            process.kill()
        await process.wait()
        self.processes.remove(process)

    async def stop(self, process: asyncio.subprocess.Process, seconds: float = 40) -> int:
        """SIGTERM one; return its exit code."""
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(seconds):
            code = await process.wait()
        self.processes.remove(process)
        return code

    def logs(self) -> list[dict[str, Any]]:
        """Return every log line of every worker so far."""
        return [json.loads(line) for line in self.text().splitlines() if line.startswith("{")]

    def text(self) -> str:
        """Return the raw logs of all workers."""
        return "".join(path.read_text(errors="replace") for path in sorted(self.folder.glob("worker-*.log")))


@asynccontextmanager
async def worker_processes(
    folder: Path, database_url: str, amqp_url: str, namespace: str, **environment: str
) -> AsyncIterator[WorkerProcesses]:
    """Lend worker processes; whatever still runs at the end is killed by its process id."""
    workers = WorkerProcesses(
        folder,
        {
            "PROVISIONER_DATABASE_URL": database_url,
            "PROVISIONER_AMQP_URL": amqp_url,
            "PROVISIONER_NAMESPACE": namespace,
        }
        | environment,
    )
    try:
        yield workers
    finally:
        for process in list(workers.processes):
            await workers.kill(process)


async def listens(port: int) -> bool:
    """Say whether somebody takes connections at a port of this machine."""
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


async def until(question: Any, seconds: float, what: str) -> Any:
    """Ask until the answer is true, and return it. Asking a server again is no sleep: it has no signal to give."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while True:
        try:
            async with asyncio.timeout_at(deadline) as limit:
                answer = await question()
        except TimeoutError:
            if not limit.expired():
                raise
            answer = None
        if answer:
            return answer
        assert loop.time() < deadline, f"not within {seconds} s: {what}"
        await asyncio.sleep(0.05)
