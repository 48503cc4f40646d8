"""Forks worker processes out of one that has imported everything: a crash test needs hundreds of them.

{"start": {"PROVISIONER_…": "…"}, "log": "/path"}   -> {"pid": 42}
{"wait": 42}                                         -> {"status": -9}
"""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any


def die_of(words: str) -> None:
    """Make this process one that a message with these words in it kills."""
    import consumer.worker.delivery_loop

    honest = consumer.worker.delivery_loop.decode

    def deadly(delivery: Any) -> Any:
        if words.encode() in delivery.body:
            os._exit(137)
        return honest(delivery)

    consumer.worker.delivery_loop.decode = deadly


def serve() -> None:
    """Read requests from standard input until it ends."""
    import consumer.app
    import consumer.broker.rabbitmq.adapter  # noqa: F401
    from ops.cli.main import main

    for line in sys.stdin:
        request = json.loads(line)
        if "start" in request:
            pid = os.fork()
            if pid == 0:
                log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
                os.dup2(log, 1)
                os.dup2(log, 2)
                os.environ.update(request["start"])
                if request["killed_by"]:
                    die_of(request["killed_by"])
                main(["worker"])
                os._exit(0)
            answer: dict[str, Any] = {"pid": pid}
        else:
            _, status = os.waitpid(request["wait"], 0)
            answer = {"status": os.waitstatus_to_exitcode(status)}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


class Zygote:
    """The other end: starts workers and waits for their deaths."""

    def __init__(self, process: asyncio.subprocess.Process, environment: dict[str, str], log: Path) -> None:
        self._process = process
        self.running: set[int] = set()
        self._environment = environment
        self.log = log

    async def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        async with asyncio.timeout(60):
            answer: dict[str, Any] = json.loads(await self._process.stdout.readline())
        return answer

    async def start(self, killed_by: str = "", **environment: str) -> int:
        """Start a worker with these settings besides the test's; return its process id."""
        request = {"start": self._environment | environment, "log": str(self.log), "killed_by": killed_by}
        answer = await self._ask(request)
        pid: int = answer["pid"]
        self.running.add(pid)
        return pid

    async def wait(self, pid: int) -> int:
        """Wait for a worker's end; return its exit code, negative for a signal."""
        status: int = (await self._ask({"wait": pid}))["status"]
        self.running.discard(pid)
        return status

    async def kill(self, pid: int) -> None:
        """SIGKILL a worker and wait until it is gone."""
        os.kill(pid, 9)
        await self.wait(pid)


@asynccontextmanager
async def zygote(folder: Path, environment: dict[str, str]) -> AsyncIterator[Zygote]:
    """Lend one; it ends with its standard input."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.zygote",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, cwd=Path(__file__).parents[1],
    )  # fmt: skip
    nursery = Zygote(process, {"PROVISIONER_LOG_FORMAT": "json"} | environment, folder / "zygote.log")
    try:
        yield nursery
    finally:
        for pid in nursery.running:
            os.kill(pid, 9)
        assert process.stdin
        process.stdin.close()
        await process.wait()


if __name__ == "__main__":
    serve()
