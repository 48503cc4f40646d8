"""A requeue in bulk whose tool dies, and events for who came late: real processes, real servers, a real SIGKILL."""

import asyncio
import os
import sys

import asyncpg

from consumer.broker.rabbitmq.adapter import RabbitBroker
from consumer.broker.topology import Topology
from tests.acceptance.test_command_line import SECONDS, CommandLine, command_line
from tests.factories import STEPS
from tests.foreign_client import foreign_client
from tests.worker_processes import until, worker_processes

__all__ = ["command_line"]


async def test_a_requeue_that_was_killed_is_run_again(command_line: CommandLine, amqp_url: str, namespace: str) -> None:
    """SIGKILL half-way through a slow requeue: run again it sends to all, and each website is sent round once; a
    subscriber that came late gets its events again."""
    run, count, topology = command_line, 12, Topology(namespace)
    broker = RabbitBroker(amqp_url)
    await broker.declare(topology)
    connection = await asyncpg.connect(run.environment["PROVISIONER_DATABASE_URL"])
    await connection.execute(
        "INSERT INTO pwb_websites (id, subdomain, provisioning_request, created_at, updated_at) "
        "SELECT n, 'site-' || n, "
        "jsonb_build_object('owner', jsonb_build_object('email', 'ana@example.com')), now(), now() "
        "FROM generate_series(1, 12) AS n;"
        "UPDATE pwb_websites SET provisioning_state = 'failed', provisioning_failed_from = 'pending', "
        "provisioning_failed_at = now(), provisioning_error = 'out of ' || id"
    )
    every = ("requeue", "--failed", "--error", "OUT OF")
    slow = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "ops", *every, "--rate", "4", env=os.environ | run.environment, cwd=run.folder,
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    session = await broker.open_consumer()

    async def half_way() -> bool:
        return (await session.counts(topology.commands)).ready >= 4

    await until(half_way, SECONDS, "some commands")
    slow.kill()
    await slow.wait()
    assert 4 <= (await session.counts(topology.commands)).ready < count, "it died half-way"
    await session.close()
    told = await run.good(*every, "--dry-run")
    assert f"{count} selected: unknown: {count} from pending" in told.out
    assert "seeded first: owner from its signup (12)" in told.out
    assert "12 of them: no guard wrote this error, so its cause may be there still: out of #" in told.out
    assert len((await run.good(*every, "--advancing", "--json")).json) == count
    settings = run.environment
    async with worker_processes(run.folder, settings["PROVISIONER_DATABASE_URL"], amqp_url, namespace) as workers:
        await workers.start()
        live = "SELECT count(*) = 12 FROM pwb_websites WHERE provisioning_state = 'live'"
        await until(lambda: connection.fetchval(live), SECONDS, "all live")
    retries = await connection.fetch(
        "SELECT website_id FROM provisioning_transitions WHERE trigger = 'retry_provisioning'"
    )
    assert sorted(row["website_id"] for row in retries) == list(range(1, count + 1)), "each once"
    assert "nothing was sent" in (await run.good(*every)).out
    async with foreign_client(amqp_url, namespace) as late:
        one = await run.good("events", "replay", "--since", "1h", "--website", "site-3", "--json")
        assert one.json == {"events": STEPS + 1, "refused": 0, "pruned_websites": 0, "dry_run": False}
        await late.until_events(STEPS + 1, SECONDS)
        assert [event["body"]["seq"] for event in late.events] == list(range(1, STEPS + 2))
    dry_run = await run.good("events", "replay", "--since", "1h", "--dry-run")
    assert f"{12 * (STEPS + 1)} events; nothing was published" in dry_run.out
    assert f"{STEPS + 1} events, 0 refused" in (await run.good("actions", "list")).out
    await connection.close()
