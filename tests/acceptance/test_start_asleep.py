"""Websites of the existing product on a real database, started as people do: by typing what the tools print."""

import re
import shlex
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from consumer.broker.rabbitmq.adapter import RabbitBroker
from consumer.broker.topology import Topology
from tests import existing_product
from tests.acceptance.test_command_line import SECONDS, CommandLine, command_line, one_line
from tests.existing_product import CHAIN, IDS, ROLE
from tests.worker_processes import until, worker_processes

__all__ = ["command_line"]


@pytest_asyncio.fixture
async def beside_the_product(command_line: CommandLine, empty_database_url: str) -> Any:
    """The command line at the product's database, in which a website stands in each state; after `init`."""
    run = command_line
    connection = await asyncpg.connect(empty_database_url)
    await existing_product.fill(connection)
    await existing_product.make_role(connection, ROLE)
    run.environment["PROVISIONER_DATABASE_URL"] = empty_database_url
    await run.good("init")
    yield run, connection
    await connection.close()


def commands_in(text: str) -> list[list[str]]:
    """Return the commands that a text names, as they are to be typed."""
    return [shlex.split(command) for command in re.findall(r"`provisioner ([^`]+)`", text)]


@pytest.mark.usefixtures("durable")
async def test_what_the_tools_name_works_when_it_is_typed(
    beside_the_product: tuple[CommandLine, Any], amqp_url: str, namespace: str
) -> None:
    """The doctor names the command that starts all that sleep, `explain` the one for each website; workers carry it
    out, and then nothing sleeps, nothing has failed, and no live customer was touched."""
    run, connection = beside_the_product
    before = await connection.fetch("SELECT * FROM pwb_websites WHERE id > 7 ORDER BY id")
    doctor = (await run.good("doctor", "--json")).json
    (asleep,) = [each for each in doctor["findings"] if each["what"] == "asleep"]
    assert asleep["have"].startswith("7 websites: ")
    (all_of_them,) = commands_in(asleep["next"])
    assert "suspend" not in " ".join(each["next"] for each in doctor["findings"])
    plan = await run.good(*all_of_them, "--dry-run")
    assert "7 selected: 7 would go on, 0 would wait or fail, 0 would not be sent" in plan.out
    assert "website 2: would take complete_agency from owner_assigned, and go on to live" in plan.out
    assert "nothing was sent" in plan.out
    shown, explained = await run.good("status", "2"), await run.good("explain", "2")
    (one,) = commands_in(shown.out)
    assert commands_in(explained.out) == [one] == [["start", "2"]]
    assert "start      would take complete_agency from owner_assigned, and go on to live" in explained.out
    await RabbitBroker(amqp_url).declare(Topology(namespace))
    settings = run.environment
    async with worker_processes(run.folder, settings["PROVISIONER_DATABASE_URL"], amqp_url, namespace) as workers:
        await workers.start()
        assert "start sent to website 2" in (await run.good(*one, "--reason", "asked by phone")).out
        await until(lambda: live(connection, [2]), SECONDS, "website 2 live")
        assert "start by cli:" in (await run.good("explain", "2")).out
        assert "start sent to 6 websites" in (await run.good(*all_of_them)).out
        await until(lambda: live(connection, [IDS[state] for state in CHAIN]), SECONDS, "all live")
        assert "no website is asleep; nothing was sent" in (await run.good(*all_of_them)).out
        doctor = (await run.good("doctor", "--json")).json
        assert {
            each["what"] for each in doctor["findings"] if each["area"] == "websites" and each["level"] != "ok"
        } == (set())
    assert await connection.fetch("SELECT * FROM pwb_websites WHERE id > 7 ORDER BY id") == before
    assert "website 2" in (await run.good("actions", "list")).out
    actions = (await run.good("actions", "list", "--website", "2", "--json")).json["items"]
    assert [(each["verb"], each["reason"], each["outcome"]) for each in actions] == [
        ("start", "asked by phone", "published")
    ]


async def live(connection: Any, ids: list[int]) -> bool:
    """Say whether websites are live, with nothing unpublished."""
    sql = """SELECT count(*) FROM pwb_websites
              WHERE id = ANY ($1) AND provisioning_state = 'live' AND provisioning_due_at IS NULL"""
    return bool(await connection.fetchval(sql, ids) == len(ids))


async def test_what_is_not_started_says_what_to_type_instead(beside_the_product: tuple[CommandLine, Any]) -> None:
    """Exit code 1 and a line for each website; the command that it names is understood, and wrong usage is one line."""
    run, connection = beside_the_product
    await connection.execute("UPDATE pwb_websites SET provisioning_auto_go_live = false WHERE id = 7")
    answer = await run("start", *(str(number) for number in range(7, 14)))
    lines = answer.out.splitlines()
    assert (answer.code, answer.err) == (1, "")
    assert [re.match(r"website (\d+): not sent, it is ", line)[1] for line in lines] == list(map(str, range(7, 14)))
    named = [command for line in lines for command in commands_in(line)]
    assert named == [["go-live", "7"], ["requeue", "11"], ["reactivate", "12"]]
    for command in named:
        assert "sent to website" in (await run.good(*command)).out
    assert "not both" in one_line(await run("start", "1", "--asleep"), 2)
    assert "name websites or say --asleep" in one_line(await run("start"), 2)
    assert "no website with the id or subdomain 'nobody'" in one_line(await run("start", "nobody"), 1)
    away = {"PROVISIONER_AMQP_URL": "amqp://guest:guest@127.0.0.1:1/"}
    assert "RabbitMQ" in one_line(await run("start", "--asleep", **away), 3)
    assert (await run("start", "--asleep", "--dry-run", **away)).code == 0, "a dry run needs no broker"
