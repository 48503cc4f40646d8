"""Commands on what they cannot use: a locked table, a pooler, an odd encoding, a full disk. One line, no traceback."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import asyncpg
import pytest

from consumer.broker.rabbitmq.adapter import RabbitBroker
from consumer.broker.topology import Topology
from tests.acceptance.test_command_line import CommandLine, command_line, one_line, with_worker
from tests.pgbouncer import private_pgbouncer

__all__ = ["command_line", "with_worker"]
READING = (("list",), ("status", "1"), ("explain", "1"), ("failures", "list"))


def shell(run: CommandLine, script: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Run a shell script in which $P is the program."""
    program = f"{sys.executable} -m ops"
    return subprocess.run(
        ["bash", "-c", script], env=os.environ | run.environment | {"P": program} | environment, cwd=run.folder,
        capture_output=True, timeout=60, check=False,
    )  # fmt: skip


async def test_a_locked_table_is_one_line(command_line: CommandLine, database_url: str, amqp_url: str) -> None:
    """While a migration holds it: exit code 3, the SQLSTATE, what to do; the doctor says who holds it."""
    run, fast = command_line, {"PROVISIONER_LOCK_TIMEOUT_SECONDS": "0.2"}
    await RabbitBroker(amqp_url).declare(Topology(run.environment["PROVISIONER_NAMESPACE"]))
    connection = await asyncpg.connect(database_url)
    async with connection.transaction():
        await connection.execute("LOCK TABLE pwb_websites IN ACCESS EXCLUSIVE MODE")
        answers = await asyncio.gather(*(run(*arguments, **fast) for arguments in READING))
        for answer in answers:
            assert "55P03" in one_line(answer, 3)
            assert "try again" in answer.err
        waited = await run("submit", "--website-id", "2", "--subdomain", "two-2", "--wait", "--timeout", "5", **fast)
        nobody, error = waited.err.splitlines()
        assert (waited.code, "no worker runs" in nobody, "55P03" in error) == (3, True, True)
        doctor = await run("doctor", "--json", **fast)
        (locks,) = [finding for finding in doctor.json["findings"] if finding["what"] == "locks"]
        assert (doctor.code, doctor.err, locks["level"]) == (3, "", "fail")
        assert f"by process {connection.get_server_pid()}" in locks["have"]
    await connection.close()


async def test_a_database_that_is_not_utf8_is_refused(command_line: CommandLine, empty_database_url: str) -> None:
    """init makes nothing in it: the first name with a letter that it lacks would fail a website."""
    connection = await asyncpg.connect(empty_database_url)
    head, _, name = empty_database_url.rpartition("/")
    await connection.execute(
        f"CREATE DATABASE {name}_latin ENCODING 'LATIN1' LOCALE_PROVIDER libc LOCALE 'C' TEMPLATE template0"
    )
    try:
        answer = await command_line("init", PROVISIONER_DATABASE_URL=f"{head}/{name}_latin")
        assert "LATIN1" in one_line(answer, 1)
        assert "UTF8" in answer.err
    finally:
        await connection.execute(f"DROP DATABASE {name}_latin WITH (FORCE)")
        await connection.close()


async def test_a_search_path_to_no_schema_is_named(command_line: CommandLine, empty_database_url: str) -> None:
    """To run init again, which helps after a lost connection, would not help here."""
    answer = await command_line("init", PROVISIONER_DATABASE_URL=f"{empty_database_url}?search_path=nowhere")
    line = one_line(answer, 1)
    assert "3F000" in line
    assert "correct search_path in PROVISIONER_DATABASE_URL" in line


@pytest.mark.parametrize(
    ("script", "name"), [("$P {} >/dev/full", "ENOSPC"), ("$P {} >&-", "EBADF"), ("$P {} | true", "EPIPE")]
)
@pytest.mark.parametrize("arguments", ["list", "list --json", "--help"])
def test_standard_output_that_takes_nothing(command_line: CommandLine, script: str, name: str, arguments: str) -> None:
    """Full, closed or with a reader that is gone: exit code 1 and one line with the errno."""
    ended = shell(command_line, f"set -o pipefail; {script.format(arguments)}")
    assert (ended.returncode, ended.stdout) == (1, b"")
    assert ended.stderr.count(b"\n") == 1
    assert name.encode() in ended.stderr


def test_no_stream_at_all(command_line: CommandLine) -> None:
    """Standard input, output and error closed, as some supervisors do: the exit code is that of the command."""
    assert shell(command_line, "$P list <&- 2>&-").returncode == 0
    assert shell(command_line, "$P status 404 <&- >&- 2>&-").returncode == 1
    assert (
        shell(command_line, "$P list 2>/dev/full", PROVISIONER_DATABASE_URL="postgresql://u@127.0.0.1:1/x").returncode
        == 3
    )


async def test_a_terminal_that_knows_ascii_alone(command_line: CommandLine, database_url: str) -> None:
    """Tables and JSON are printed all the same, and JSON means the same."""
    connection = await asyncpg.connect(database_url)
    await connection.execute("INSERT INTO provisioning_pauses (worker, actor, reason) VALUES ('all', 'é', 'später 🏠')")
    await connection.close()
    for variables in ({"PYTHONIOENCODING": "ascii", "LC_ALL": "C"}, {"PYTHONIOENCODING": "latin-1"}):
        table = shell(command_line, "$P workers && $P packs show residential", **variables)
        assert (table.returncode, table.stderr) == (0, b"")
        parsed = await command_line.good("workers", "--json")
        as_json = shell(command_line, "$P workers --json", **variables)
        assert json.loads(as_json.stdout.decode("latin-1")) == parsed.json
        assert b"sp\\u00e4ter" in as_json.stdout or variables["PYTHONIOENCODING"] == "latin-1"


async def test_the_traceback_is_there_for_who_asks(command_line: CommandLine) -> None:
    """--debug prints it above the line; the line and the exit code stay."""
    away = {"PROVISIONER_DATABASE_URL": "postgresql://u@127.0.0.1:1/x"}
    plain, debug = await asyncio.gather(command_line("list", **away), command_line("--debug", "list", **away))
    line = one_line(plain, 3)
    assert debug.code == 3
    assert debug.err.startswith("Traceback")
    assert debug.err.splitlines()[-1] == line.rstrip("\n")


async def test_what_answers_is_no_postgresql(command_line: CommandLine, amqp_url: str, tmp_path: Path) -> None:
    """Another program's port, TLS to a port without, a socket that is not there: 3, and a hint at the setting."""
    host = amqp_url.partition("@")[2].partition("/")[0]
    urls = (
        f"postgresql://u@{host}/x",
        f"postgresql://u@{host}/x?sslmode=disable",
        f"postgresql://u@/x?host={tmp_path}",
        command_line.environment["PROVISIONER_DATABASE_URL"] + "?sslmode=require",
    )
    answers = await asyncio.gather(
        *(command_line("list", PROVISIONER_DATABASE_URL=url, PROVISIONER_COMMAND_TIMEOUT_SECONDS="5") for url in urls)
    )
    for answer in answers:
        assert "PROVISIONER_DATABASE_URL" in one_line(answer, 3)


@pytest.mark.usefixtures("durable")
async def test_a_pooler_that_no_setting_names_is_one_line(
    pgbouncer: None, command_line: CommandLine, database_url: str, empty_database_url: str, amqp_url: str
) -> None:
    """Commands and workers end with 2 and say what to set; set so they work, and init goes past the pooler."""
    run, direct = command_line, command_line.environment["PROVISIONER_DATABASE_URL"]
    await RabbitBroker(amqp_url).declare(Topology(run.environment["PROVISIONER_NAMESPACE"]))
    with private_pgbouncer(database_url, "transaction") as pooler:
        run.environment["PROVISIONER_DATABASE_URL"] = pooler.url(direct)
        for arguments in (("list",), ("submit", "--owner-email", "a@example.com"), ("init",)):
            assert "set PROVISIONER_POOLER to its pool_mode" in one_line(await run(*arguments), 2)
        for processes in ("1", "2"):
            worker = await run("worker", "--processes", processes, "--json")
            assert "set PROVISIONER_POOLER to its pool_mode" in one_line(worker, 2)
        run.environment["PROVISIONER_POOLER"] = "transaction"
        for arguments in (("list",), ("doctor",), ("init",), ("submit", "--owner-email", "a@example.com")):
            await run.good(*arguments)
        run.environment["PROVISIONER_DATABASE_URL"] = pooler.url(empty_database_url)
        assert "lead PROVISIONER_DATABASE_URL to PostgreSQL itself" in one_line(await run("init"), 1)
        run.environment["PROVISIONER_DATABASE_URL"] = empty_database_url
        await run.good("init")


REFUSED = {
    "-c%20nosuch=1": '42704 unrecognized configuration parameter "nosuch"',
    "-c%20work_mem=much": '22023 invalid value for parameter "work_mem": "much"',
    "-c%20lock_timeout=-9": '22023 -9 ms is outside the valid range for parameter "lock_timeout"',
    "garbage": "42601 invalid command-line argument for server process: garbage",
    "-c%20max_connections=3": '55P02 parameter "max_connections" cannot be changed',
}


@pytest.mark.parametrize("options", REFUSED)
async def test_a_parameter_that_the_server_refuses_is_a_wrong_setting(
    command_line: CommandLine, database_url: str, options: str
) -> None:
    """The line names the parameter and has the server's words; the exit code is that of wrong settings."""
    wrong = {"PROVISIONER_DATABASE_URL": f"{database_url}?options={options}"}
    for answer in await asyncio.gather(*(command_line(name, **wrong) for name in ("list", "init", "worker"))):
        line = one_line(answer, 2)
        assert "PROVISIONER_DATABASE_URL: parameter options is refused, the server answers" in line
        assert REFUSED[options] in line
        assert line.endswith(": mend it or leave it out\n")
    doctor = await command_line("doctor", "--json", **wrong)
    assert [finding["have"] for finding in doctor.json["findings"] if finding["what"] == "parameters"]


async def test_of_two_parameters_the_refused_one_is_named(command_line: CommandLine, database_url: str) -> None:
    """The hint is chosen by the server's words."""
    wrong = {"PROVISIONER_DATABASE_URL": f"{database_url}?options=-c%20geqo=off&search_path=%22a"}
    assert "parameter search_path is refused" in one_line(await command_line("list", **wrong), 2)


@pytest.mark.parametrize("processes", ["1", "2"])
async def test_a_wrong_start_says_one_line(
    command_line: CommandLine, database_url: str, amqp_url: str, processes: str
) -> None:
    """Whoever reads the log of a container finds what is wrong in it, and nothing else."""
    port = amqp_url.partition("@")[2].partition("/")[0].rpartition(":")[2]
    health = {"PROVISIONER_HTTP_PORT": "0"}
    for wrong, words in (
        (
            {"PROVISIONER_DATABASE_URL": f"{database_url}?options=-c%20nosuch=1"} | health,
            "parameter options is refused",
        ),
        (
            {"PROVISIONER_HTTP_HOST": "nosuch.invalid"} | health,
            "HTTP_HOST: cannot listen on nosuch.invalid",
        ),
        ({"PROVISIONER_HTTP_HOST": "203.0.113.7"} | health, "HTTP_HOST: cannot listen on 203.0.113.7"),
        ({"PROVISIONER_HTTP_PORT": port}, f"PROVISIONER_HTTP_PORT: cannot listen on 127.0.0.1:{port}"),
    ):
        assert words in one_line(await command_line("worker", "--processes", processes, **wrong), 2)


async def test_a_start_logs_no_pause_that_is_none(with_worker: CommandLine) -> None:
    """A connection that is not open yet when a process starts is not logged as an outage."""
    lines = [json.loads(line) for path in with_worker.folder.glob("*.log") for line in path.read_text().splitlines()]
    assert lines[0]["event"] == "starting", lines
    assert not [line for line in lines if line["event"] == "paused"]


@pytest.mark.parametrize(
    "arguments",
    ["submit --owner-email a@example.com", "submit --wait", "list", "status 1", "explain 1", "workers", "failures list",
     "requeue 1", "start 1", "events replay --since 1h", "actions list", "pause --all --reason x"],
)  # fmt: skip
async def test_a_database_without_the_schema(
    command_line: CommandLine, empty_database_url: str, amqp_url: str, arguments: str
) -> None:
    """Every command says which command makes it."""
    await RabbitBroker(amqp_url).declare(Topology(command_line.environment["PROVISIONER_NAMESPACE"]))
    answer = await command_line(*arguments.split(), PROVISIONER_DATABASE_URL=empty_database_url)
    assert "run `provisioner init`" in one_line(answer, 3)
