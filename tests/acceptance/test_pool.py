"""The pool as operators steer it, with real worker processes: paused over a restart, doctored, completed in a shell."""

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from consumer.broker.rabbitmq.adapter import RabbitBroker
from consumer.broker.topology import Topology
from tests.acceptance.test_command_line import SECONDS, CommandLine, command_line, one_line
from tests.worker_processes import until, worker_processes

__all__ = ["command_line"]
WHY = ("--reason", "database maintenance", "--actor", "ops:ana")


@pytest.mark.usefixtures("durable")
async def test_a_paused_pool_stays_paused_over_a_restart(
    command_line: CommandLine, database_url: str, amqp_url: str, namespace: str
) -> None:
    """Signups wait at the broker, whoever dies or starts; the doctor says why nothing moves; resumed, all go live."""
    run = command_line
    often = {"PROVISIONER_PRESENCE_SECONDS": "0.2"}
    async with worker_processes(run.folder, database_url, amqp_url, namespace, **often) as workers:
        first = await workers.start()
        second = await workers.start()

        async def known() -> list[dict[str, Any]]:
            found: list[dict[str, Any]] = (await run.good("workers", "--json")).json["workers"]
            return found if len(found) == 2 else []

        await until(known, SECONDS, "both are known")
        one = await run.good("pause", f"{(await known())[0]['id'][:8]}", *WHY)
        assert "1 of 1 workers answered" in one.out
        every = await run.good("pause", "--all", *WHY, "--json")
        assert [worker["answered"] for worker in every.json["workers"]] == [True, True]
        await workers.stop(first)
        await workers.kill(second)
        await workers.start()
        await run.good("submit", "--count", "20", "--owner-email", "ana@example.com")
        doctor = await run.good("doctor", "--json")
        found = {each["what"]: each for each in doctor.json["findings"] if each["area"] in ("workers", "broker")}
        assert (found["paused"]["level"], "ops:ana" in found["paused"]["have"]) == ("warn", True)
        assert "20 in" in found["backlog"]["have"]
        assert "all workers are paused by ops:ana since" in (await starts_paused(workers))["error"]
        text = (await run.good("workers")).out
        assert "all workers are paused: ops:ana: database maintenance" in text
        connection = await asyncpg.connect(database_url)
        assert await connection.fetchval("SELECT count(*) FROM pwb_websites") == 0
        await run("resume", "--all", "--wait", "1")  # it waits for the killed one, too
        live = "SELECT count(*) = 20 FROM pwb_websites WHERE provisioning_state = 'live'"
        await until(lambda: connection.fetchval(live), SECONDS, "20 websites live")
        await connection.close()
        told = (await run.good("actions", "list", "--json")).json["items"]
        assert [(act["verb"], act["actor"].split(":")[0]) for act in told] == [
            ("resume", "cli"), ("submit", "cli"), ("pause", "ops"), ("pause", "ops"),
        ]  # fmt: skip
        assert "database maintenance; done" in (await run.good("actions", "list")).out


async def starts_paused(workers: Any) -> Any:
    """Wait until the worker that started last has said that it is paused."""
    path = workers.folder / f"worker-{workers.started - 1}.log"

    async def said() -> Any:
        lines = [line for line in workers.logs() if line["event"] == "paused" and line.get("what") == "operator"]
        return lines[-1] if "paused by" in path.read_text() else None

    return await until(said, SECONDS, "it says that it starts paused")


@pytest.mark.usefixtures("durable")
async def test_the_doctors_exit_code_says_how_it_is(
    command_line: CommandLine, database_url: str, amqp_url: str
) -> None:
    """0 with warnings, 1 where something is broken, 3 where a server is away; what to do stands in the table."""
    await RabbitBroker(amqp_url).declare(Topology(command_line.environment["PROVISIONER_NAMESPACE"]))
    healthy = await command_line.good("doctor")
    assert "next: start `provisioner worker`" in healthy.out
    connection = await asyncpg.connect(database_url)
    await connection.execute("DROP TRIGGER provisioning_born_pending ON pwb_websites")
    await connection.close()
    broken = await command_line("doctor", PROVISIONER_CONCURENCY="3")
    assert (broken.code, "FAIL schema: up to date: trigger provisioning_born_pending is missing" in broken.out) == (
        1,
        True,
    )
    assert "is PROVISIONER_CONCURRENCY meant?" in broken.out
    away = await command_line("doctor", "--json", PROVISIONER_AMQP_URL="amqp://nobody:secret@127.0.0.1:1/")
    assert (away.code, away.json["away"], "secret" in away.out) == (3, True, False)


async def test_wrong_usage_is_one_line(command_line: CommandLine) -> None:
    """Neither names nor --all, both, nobody of that name, no reason."""
    assert "say --all" in one_line(await command_line("pause", *WHY), 2)
    assert "say --all" in one_line(await command_line("resume", "--all", "web:1"), 2)
    assert "`provisioner workers` lists them" in one_line(await command_line("pause", "web:1", *WHY), 1)
    assert (await command_line("pause", "--all")).code == 2


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
async def test_a_shell_completes(command_line: CommandLine, shell: str) -> None:
    """What is printed is for that shell; a real bash completes a verb with it."""
    script = (await command_line.good("completion", shell)).out
    assert f"_PROVISIONER_COMPLETE={shell}_complete" in script
    if shell == "bash":
        typed = "COMP_WORDS=(provisioner dead-letters re); COMP_CWORD=2; _provisioner_completion provisioner"
        process = await asyncio.create_subprocess_exec(
            "bash", "-c", f'{script}\n{typed}\necho "${{COMPREPLY[@]}}"',
            env=os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
            stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, _ = await process.communicate()
        assert out.decode().split() == ["redrive"]
