"""`provisioner overview`: how the service does in a few lines, once, watched, and where a server is away."""

import asyncio
import json
import os
import signal
import sys
from typing import Any

import asyncpg
import pytest

from consumer.broker.rabbitmq.adapter import RabbitBroker
from consumer.broker.topology import Topology
from tests.acceptance.test_command_line import CommandLine, command_line

__all__ = ["command_line"]
LABELS = ["failed", "dead letters", "waiting", "workers", "on defaults", "doctor", "as of"]
SECONDS = 60


async def add_failed(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    await connection.execute(
        "INSERT INTO pwb_websites (id, created_at, updated_at) SELECT n, now(), now() FROM generate_series(1, 12) AS n"
    )
    await connection.execute(
        "UPDATE pwb_websites SET provisioning_state = 'failed', provisioning_failed_at = now(), "
        "provisioning_attempts = 8, provisioning_error = 'no agency'"
    )
    await connection.close()


async def test_it_says_how_the_service_does(
    command_line: CommandLine, database_url: str, amqp_url: str, namespace: str
) -> None:
    """A line an item, with what to do next; the same as JSON; the doctor names the failed websites."""
    await RabbitBroker(amqp_url).declare(Topology(namespace))
    await add_failed(database_url)
    lines = (await command_line.good("overview")).out.splitlines()
    assert [line[:14].rstrip() for line in lines] == LABELS
    assert "12  next: `provisioner failures list`" in lines[0]
    assert "none  next: start `provisioner worker`" in lines[3]
    found = (await command_line.good("overview", "--json")).json
    assert (found["failed"], found["dead_letters"], found["away"]) == (12, 0, {})
    assert found["doctor"]["worst"] in ("warn", "fail")
    doctor = (await command_line("doctor")).out
    assert "warn websites: failed: 12 websites: 12, 11, 10, 9, 8, …" in " ".join(doctor.split())


AWAY = {
    "broker": {"PROVISIONER_AMQP_URL": "amqp://nobody:secret@127.0.0.1:1/"},
    "database": {"PROVISIONER_DATABASE_URL": "postgresql://nobody:secret@127.0.0.1:1/x"},
}


@pytest.mark.parametrize("server", AWAY)
async def test_a_server_that_is_away_costs_its_own_figures(
    command_line: CommandLine, database_url: str, amqp_url: str, namespace: str, server: str
) -> None:
    """Exit code 3, with what the other server says and why this one says nothing; no password in it."""
    await RabbitBroker(amqp_url).declare(Topology(namespace))
    await add_failed(database_url)
    answer = await command_line("overview", "--json", **AWAY[server])
    assert (answer.code, answer.err, "secret" in answer.out) == (3, "", False)
    assert server in answer.json["away"]
    assert (answer.json["failed"], answer.json["dead_letters"]) == ((12, None) if server == "broker" else (None, 0))
    text = await command_line("overview", **AWAY[server])
    assert (text.code, "127.0.0.1" in text.out) == (3, True)


async def test_wrong_settings_are_one_line(command_line: CommandLine) -> None:
    """As everywhere: exit code 2."""
    answer = await command_line("overview", PROVISIONER_DATABASE_URL="mysql://x/y")
    assert (answer.code, answer.out, answer.err.count("\n")) == (2, "", 1)


async def watching(command_line: CommandLine, *arguments: str) -> Any:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "ops", "overview", "--watch", *arguments,
        env=os.environ | command_line.environment, cwd=command_line.folder,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip


@pytest.mark.parametrize("arguments", [(), ("--json",)])
async def test_it_is_watched_until_ctrl_c(
    command_line: CommandLine, database_url: str, amqp_url: str, namespace: str, arguments: tuple[str, ...]
) -> None:
    """In a pipe a block each time, or an object a line, renewed with what has happened; it ends with exit code 0."""
    await RabbitBroker(amqp_url).declare(Topology(namespace))
    process = await watching(command_line, *arguments)
    try:
        async with asyncio.timeout(SECONDS):
            first = await process.stdout.readline()
            await add_failed(database_url)
            while not is_renewed(line := await process.stdout.readline(), as_json=bool(arguments)):
                assert line
            process.send_signal(signal.SIGINT)
            _, errors = await process.communicate()
        assert (process.returncode, errors) == (0, b"")
        assert b"failed" in first
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def is_renewed(line: bytes, *, as_json: bool) -> bool:
    """Say whether a line has the twelve websites that have failed meanwhile."""
    if as_json:
        return bool(json.loads(line)["failed"] == 12)
    return line.split()[:2] == [b"failed", b"12"]
