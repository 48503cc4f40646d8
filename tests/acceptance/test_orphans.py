"""Workers whose parent or terminal is gone: they finish what they have started and end, as on SIGTERM."""

import asyncio
import os
import signal
import sys
from contextlib import suppress

import pytest

from ops.sandbox.reaper import is_running
from tests.terminals import own_terminal
from tests.worker_processes import WorkerProcesses, until

SECONDS = 60


async def consuming(workers: WorkerProcesses, count: int) -> list[int]:
    """Wait until that many processes consume; return their ids."""

    async def found() -> list[int]:
        lines = workers.logs()
        connected = [line for line in lines if line["event"] == "connected" and line.get("connection") == "consumer"]
        ids = [line["process"] for line in lines if line["event"] == "starting"]
        return ids if len(connected) >= count else []

    ids: list[int] = await until(found, SECONDS, f"{count} processes consume")
    return ids


async def all_end(workers: WorkerProcesses, ids: list[int]) -> None:
    """Wait until the processes have ended, each having stopped in order."""

    async def ended() -> bool:
        return not any(map(is_running, ids))

    await until(ended, SECONDS, f"the processes {ids} end")
    assert len([line for line in workers.logs() if line["event"] == "stopped"]) == len(ids)


async def test_children_end_with_their_killed_parent(workers: WorkerProcesses) -> None:
    """SIGKILL of the parent, as by the kernel where memory is short: nobody else would ever end them."""
    parent = await workers.start("--processes", "2")
    ids = await consuming(workers, 2)
    await workers.kill(parent)
    await all_end(workers, ids)
    assert "the parent process has ended" in workers.text()


async def test_a_child_that_hangs_is_killed_by_its_parent(workers: WorkerProcesses) -> None:
    """A stopped process hears no SIGTERM: after its time to drain the parent ends it, and says so."""
    parent = await workers.start("--processes", "2", PROVISIONER_DRAIN_SECONDS="1")
    ids = await consuming(workers, 2)
    os.kill(ids[0], signal.SIGSTOP)
    assert await workers.stop(parent) == 1
    assert not any(map(is_running, ids))
    (line,) = (line for line in workers.logs() if line["event"] == "worker process killed")
    assert line["process"] == ids[0]


async def test_a_closed_terminal_stops_parent_and_children(workers: WorkerProcesses) -> None:
    """Its window is closed while they run: SIGHUP, and standard error that cannot be written to any more."""
    ours, terminal = os.openpty()
    log = workers.folder / "worker-0.log"

    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "ops", "worker", "--processes", "2", env=workers.environment, cwd=workers.folder,
        stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True, preexec_fn=own_terminal,
    )  # fmt: skip
    os.close(terminal)
    workers.processes.append(parent)
    os.set_blocking(ours, False)

    async def shown() -> list[int]:
        with log.open("ab") as copy, suppress(BlockingIOError):
            copy.write(os.read(ours, 65536))
        lines = workers.logs()
        connected = [line for line in lines if line.get("connection") == "consumer"]
        return [line["process"] for line in lines if line["event"] == "starting"] if len(connected) == 2 else []

    ids = await until(shown, SECONDS, "two processes consume")
    os.close(ours)
    async with asyncio.timeout(SECONDS):
        assert await parent.wait() == 0

    async def ended() -> bool:
        return not any(map(is_running, ids))

    await until(ended, SECONDS, "its children end")


@pytest.mark.parametrize("arguments", [(), ("--processes", "2")])
async def test_sighup_is_a_graceful_stop(workers: WorkerProcesses, arguments: tuple[str, ...]) -> None:
    """Exit code 0, and every process has handed back what it had not started."""
    process = await workers.start(*arguments)
    ids = await consuming(workers, 2 if arguments else 1)
    process.send_signal(signal.SIGHUP)
    async with asyncio.timeout(SECONDS):
        assert await process.wait() == 0
    await all_end(workers, ids)


async def test_under_nohup_sighup_stops_nothing(workers: WorkerProcesses) -> None:
    """Who started it so that it outlives the terminal gets that; SIGTERM stops it still."""
    log = (workers.folder / "worker-0.log").open("wb")
    process = await asyncio.create_subprocess_exec(
        "nohup", sys.executable, "-m", "ops", "worker", env=workers.environment, cwd=workers.folder,
        stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log,
    )  # fmt: skip
    log.close()
    workers.processes.append(process)
    ids = await consuming(workers, 1)
    process.send_signal(signal.SIGHUP)
    assert await workers.stop(process) == 0
    assert [line["event"] for line in workers.logs()].count("stopping") == 1
    await all_end(workers, ids)
