"""How demos, workers and waits end: whatever ends a demo it leaves nothing, a log that is gone stops no worker, and who
waits for nobody is told at once."""

import asyncio
import fcntl
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from consumer.broker.memory.broker import MemoryBroker
from consumer.broker.rabbitmq.adapter import RabbitBroker
from consumer.broker.topology import Topology
from ops.cli import demo_cleanup
from ops.sandbox.rabbitmq import RabbitServer
from tests.acceptance.test_command_line import CommandLine, command_line
from tests.terminals import own_terminal, read_until
from tests.worker_processes import until, worker_processes

__all__ = ["command_line"]
SECONDS = 60


@contextmanager
def demo(rabbitmq: RabbitServer, folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Run a demo on a broker of others, on a terminal; lend it and our end of that, once its signups are published.

    It stands still then, so that it cannot come to its own end first: whoever signals it lets it go on.
    """
    ours, terminal = os.openpty()
    running = subprocess.Popen(
        [sys.executable, "-m", "ops", "demo", "--count", "2000"],
        env=os.environ | {"PROVISIONER_AMQP_URL": rabbitmq.url, "TMPDIR": str(folder), "TERM": "dumb"}, cwd=folder,
        stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True, preexec_fn=own_terminal,  # noqa: PLW1509 - there are no threads here
    )  # fmt: skip
    os.close(terminal)
    try:
        read_until(ours, b"signups published", SECONDS)
        running.send_signal(signal.SIGSTOP)
        yield running, ours
    finally:
        if running.poll() is None:
            running.kill()
        running.wait()
        with suppress(OSError):
            os.close(ours)


def left_at(rabbitmq: RabbitServer) -> list[str]:
    """Return the queues and exchanges of demos that a broker has."""
    names = (rabbitmq.ctl("list_queues", "name") + rabbitmq.ctl("list_exchanges", "name")).split()
    return [name for name in names if name.startswith("demo-")]


@pytest.mark.parametrize("how", ["SIGTERM", "SIGQUIT", "closed terminal"])
def test_a_demo_that_is_ended_leaves_nothing(rabbitmq: RabbitServer, tmp_path: Path, how: str) -> None:
    """Neither at the broker, which is not its own, nor among the temporary files."""
    with demo(rabbitmq, tmp_path) as (running, ours):
        assert left_at(rabbitmq)
        if how == "closed terminal":
            os.close(ours)  # the kernel lets it go on, too
        else:
            running.send_signal(signal.Signals[how])
            running.send_signal(signal.SIGCONT)
            read_until(ours, None, SECONDS)
        code = running.wait(SECONDS)
    assert code == {"SIGTERM": 143, "SIGQUIT": 131, "closed terminal": 129}[how]
    assert left_at(rabbitmq) == []
    assert list(tmp_path.glob("provisioner-demo-*")) == []


def test_the_next_demo_removes_what_a_killed_one_left(rabbitmq: RabbitServer, tmp_path: Path) -> None:
    """SIGKILL leaves queues, exchanges and a folder; the next demo removes them, and not those of one that runs."""
    with demo(rabbitmq, tmp_path) as (killed, _):
        killed.kill()
    left = set(left_at(rabbitmq))
    (folder,) = tmp_path.glob("provisioner-demo-*")
    with demo(rabbitmq, tmp_path) as (running, _):
        there = set(left_at(rabbitmq))
        assert there
        assert not there & left
        assert not folder.exists()
        running.send_signal(signal.SIGTERM)
        running.send_signal(signal.SIGCONT)
        assert running.wait(SECONDS) == 143
    assert left_at(rabbitmq) == []


async def has_queues(broker: MemoryBroker, topology: Topology) -> bool:
    """Whether a topology is at a broker."""
    return all(entity.exists for entity in (await broker.inspect(topology)).entities)


@pytest.mark.parametrize(
    ("namespace", "runs", "removed"),
    [("demo-0123abcd", False, True), ("demo-0123abcd", True, False), ("provisioning", False, False)],
)
def test_what_is_taken_for_left_over(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, namespace: str, *, runs: bool, removed: bool
) -> None:
    """A demo that runs is left alone, and so is every name that is no demo's, whatever a temporary file says."""
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path))
    broker, topology, folder = MemoryBroker(), Topology(namespace), tmp_path / f"{demo_cleanup.PREFIX}x"
    folder.mkdir()
    asyncio.run(broker.declare(topology))
    mark = folder / demo_cleanup.MARK
    mark.write_text(f'{{"namespace": "{namespace}", "broker": "inprocess://"}}')
    with mark.open() as held:
        if runs:
            fcntl.flock(held, fcntl.LOCK_EX)
        demo_cleanup.remove_leftovers(broker, "inprocess://")
    assert folder.exists() is not removed
    assert asyncio.run(has_queues(broker, topology)) is not removed


def _as_link(mark: Path) -> None:
    mark.rename(mark.with_name("elsewhere"))
    mark.symlink_to(mark.with_name("elsewhere"))


def _as_pipe(mark: Path) -> None:
    mark.unlink()
    os.mkfifo(mark)


def _in_a_linked_folder(mark: Path) -> None:
    elsewhere = mark.parent.rename(mark.parent.with_name("elsewhere"))
    mark.parent.symlink_to(elsewhere)


FORGERIES = {
    "a link": _as_link,
    "a pipe": _as_pipe,
    "in a linked folder": _in_a_linked_folder,
    "that others may write": lambda mark: mark.chmod(0o666),
    "in a folder that others may write": lambda mark: mark.parent.chmod(0o777),
}


@pytest.mark.parametrize("forged", FORGERIES)
def test_a_mark_that_others_may_have_made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, forged: str) -> None:
    """Temporary folders are everybody's: what may be another user's names no queues to delete, and holds nothing up."""
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path))
    broker, topology, folder = MemoryBroker(), Topology("demo-0123abcd"), tmp_path / f"{demo_cleanup.PREFIX}x"
    folder.mkdir()
    asyncio.run(broker.declare(topology))
    mark = folder / demo_cleanup.MARK
    mark.write_text(f'{{"namespace": "{topology.namespace}", "broker": "inprocess://"}}')
    FORGERIES[forged](mark)
    demo_cleanup.remove_leftovers(broker, "inprocess://")
    assert asyncio.run(has_queues(broker, topology))
    assert folder.exists()


@pytest.mark.parametrize("how", ["reader gone", "closed"])
async def test_a_worker_works_on_without_its_log(
    command_line: CommandLine, amqp_url: str, namespace: str, how: str
) -> None:
    """The program that read its standard error has died, or it never had one: websites go live, and it stops well."""
    await RabbitBroker(amqp_url).declare(Topology(namespace))
    script = f"exec {sys.executable} -m ops worker" + (" 2>&-" if how == "closed" else "")
    read, write = os.pipe()
    process = await asyncio.create_subprocess_exec(
        "bash", "-c", script, env=os.environ | command_line.environment, cwd=command_line.folder,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=write,
    )  # fmt: skip
    os.close(write)
    os.close(read)
    try:
        waited = await command_line("submit", "--count", "3", "--wait", "--json")
        assert (waited.code, [each["state"] for each in waited.json]) == (0, ["live"] * 3)
        process.terminate()
        async with asyncio.timeout(SECONDS):
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_who_waits_for_nobody_is_told_at_once(
    command_line: CommandLine, database_url: str, amqp_url: str, namespace: str
) -> None:
    """Without a worker `submit --wait` says so, shows how it stands, and goes on until one has done the work."""
    await RabbitBroker(amqp_url).declare(Topology(namespace))
    ours, terminal = os.openpty()
    os.set_blocking(ours, False)
    waiting = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "ops", "submit", "--wait", "--json", cwd=command_line.folder,
        env=os.environ | command_line.environment, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
        stderr=terminal,
    )  # fmt: skip
    os.close(terminal)
    shown = b""

    async def told() -> bool:
        nonlocal shown
        with suppress(BlockingIOError):
            shown += os.read(ours, 65536)
        return b"0 of 1 at rest after" in shown

    try:
        await until(told, SECONDS, "it shows how it stands")
        assert b"no worker runs: start `provisioner worker`" in shown
        assert shown.index(b"no worker runs") < shown.index(b"0 of 1")
        async with worker_processes(command_line.folder, database_url, amqp_url, namespace) as workers:
            await workers.start()
            out: Any
            async with asyncio.timeout(SECONDS):
                out, _ = await waiting.communicate()
        assert (waiting.returncode, b'"live"' in out) == (0, True)
    finally:
        os.close(ours)
        if waiting.returncode is None:
            waiting.kill()
            await waiting.wait()
