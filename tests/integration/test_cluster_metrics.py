"""Metrics of the cluster on a real PostgreSQL: one process collects them, they are right, no statement reads much."""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from consumer.monitoring import cluster_metrics as cluster_metrics_module
from consumer.monitoring.cluster_metrics import SQL, ClusterMetrics
from consumer.store import schema_lifecycle
from consumer.store.database import Store
from consumer.worker.gate import Gate
from statemachine import State
from tests.contract.faulty_broker import FaultyMemoryBroker
from tests.factories import TOPOLOGY
from tests.worker_processes import until

FILL = """
INSERT INTO pwb_websites (id, subdomain, created_at, updated_at)
     SELECT n, 'site-' || n, now() - interval '1 hour', now() FROM generate_series(1, 300) AS n;
INSERT INTO provisioning_transitions (website_id, seq, trigger, from_state, to_state, message_id, occurred_at)
     SELECT n, 1, 'assign_owner', 'pending', 'owner_assigned', gen_random_uuid(), now() - n * interval '1 second'
       FROM generate_series(1, 300) AS n;
ALTER TABLE pwb_websites DISABLE TRIGGER USER;
UPDATE pwb_websites
   SET provisioning_state = CASE WHEN id <= 200 THEN 'live' WHEN id <= 250 THEN 'owner_assigned' ELSE 'pending' END,
       provisioning_seq = CASE WHEN id <= 250 THEN 1 ELSE 0 END,
       provisioning_attempts = CASE WHEN id BETWEEN 241 AND 250 THEN 1 ELSE 0 END,
       provisioning_due_at = CASE WHEN id > 200 THEN now() + (id - 230) * interval '10 seconds' END;
"""
"""200 live, 50 with an owner of which 10 wait for an attempt, 50 pending for an hour; 30 of them all are due."""


@pytest_asyncio.fixture
async def filled(database_url: str) -> AsyncIterator[Any]:
    """A database with 300 websites, as a session of its own."""
    connection = await asyncpg.connect(database_url)
    await connection.execute(FILL)
    yield connection
    await connection.close()


async def make(store: Store) -> ClusterMetrics:
    """Return cluster metrics that are collected often."""
    broker = FaultyMemoryBroker()
    await broker.declare(TOPOLOGY)
    return ClusterMetrics(store, broker, TOPOLOGY, Gate(), interval_seconds=0.02)


async def snapshot_of(metrics: ClusterMetrics) -> cluster_metrics_module.Snapshot:
    """Wait for a snapshot, and return it."""

    async def there() -> Any:
        return metrics.snapshot

    found: cluster_metrics_module.Snapshot = await until(there, 60, "a snapshot")
    return found


async def ended(task: asyncio.Task[None]) -> None:
    """Cancel a task and wait for its end."""
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_its_numbers_are_those_of_the_tables(store: Store, filled: Any) -> None:
    """By state, owed, due, waiting, stuck, and the oldest; what is not there is 0."""
    metrics = await make(store)
    task = asyncio.create_task(metrics.run())
    found = await snapshot_of(metrics)
    await ended(task)
    assert {state: count for state, count in found.states.items() if count} == {
        "live": 200, "owner_assigned": 50, "pending": 50,
    }  # fmt: skip
    assert set(found.states) == set(State)
    assert {name: found.due[name] for name in ("owed", "due", "waiting", "stuck")} == {
        "owed": 100, "due": 30, "waiting": 10, "stuck": 50,
    }  # fmt: skip
    assert found.due["oldest_seconds"] == pytest.approx(3600, abs=30)
    assert found.due["overdue_seconds"] == pytest.approx(290, abs=30)
    assert {name: counts.ready for name, counts in found.queues.items()} == dict.fromkeys(
        (TOPOLOGY.dead_letters, TOPOLOGY.signups, TOPOLOGY.commands), 0
    )


async def test_a_large_state_is_estimated(store: Store, filled: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Past the bound by the planner's statistics; before there are any, it is the bound."""
    monkeypatch.setattr(cluster_metrics_module, "COUNT_LIMIT", 60)
    metrics = await make(store)
    async with store.connection() as connection:
        assert (await metrics._collect(connection)).states["live"] == 60
        await filled.execute("ANALYZE pwb_websites")
        counts = (await metrics._collect(connection)).states
    assert (counts["live"], counts["owner_assigned"]) == (pytest.approx(200, abs=2), 50)


FALLBACK = """
UPDATE provisioning_transitions SET detail = '{"fallback": {"step": "links"}}'
 WHERE website_id = ANY ($1::bigint[])
"""


async def test_websites_that_went_live_on_defaults_are_counted(store: Store, filled: Any) -> None:
    """Those that are live, once each; neither those under way, nor a step that failed, nor one of the day before."""
    metrics = await make(store)
    async with store.connection() as connection:
        assert (await metrics._collect(connection)).on_defaults == 0
        await filled.execute(FALLBACK, [1, 2, 3, 201, 260])
        await filled.execute(
            "INSERT INTO provisioning_transitions (website_id, seq, trigger, from_state, to_state, message_id, detail)"
            " SELECT 1, 2, trigger, from_state, to_state, gen_random_uuid(), detail"
            "   FROM provisioning_transitions WHERE website_id = 1"
        )
        assert (await metrics._collect(connection)).on_defaults == 3
        await filled.execute("UPDATE provisioning_transitions SET to_state = 'failed' WHERE website_id = 2")
        await filled.execute(
            "UPDATE provisioning_transitions SET occurred_at = now() - interval '2 days' WHERE website_id = 3"
        )
        assert (await metrics._collect(connection)).on_defaults == 1


async def test_a_transaction_that_somebody_left_open_is_seen(store: Store, filled: Any) -> None:
    """However idle it is."""
    metrics = await make(store)
    async with filled.transaction(), store.connection() as connection:
        await filled.fetchval("SELECT pg_sleep(0.05)")
        assert (await metrics._collect(connection)).transaction_seconds >= 0.05


async def test_one_of_all_collects_and_another_takes_over(store: Store, database_url: str) -> None:
    """A stop hands the lock on although the connection goes back to its pool; a lost connection does so too."""
    stores = [store, Store(database_url, size=2), Store(database_url, size=2)]
    processes = [await make(each) for each in stores]
    tasks = [asyncio.create_task(metrics.run()) for metrics in processes]

    async def collecting() -> list[int]:
        return [number for number, metrics in enumerate(processes) if metrics.snapshot]

    (first,) = await until(collecting, 60, "one snapshot")
    await ended(tasks[first])
    assert processes[first].snapshot is None
    assert [*processes[first].collect()] == []
    (second,) = await until(collecting, 60, "another snapshot")
    assert second != first
    admin = await asyncpg.connect(database_url)
    sql = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted"
    assert await admin.fetchval(sql)
    await admin.close()

    async def lost() -> bool:
        return processes[second].snapshot is None

    await until(lost, 60, "the snapshot of a lost connection is forgotten")
    assert len(await until(collecting, 60, "a snapshot again")) == 1
    for task in tasks:
        await ended(task)
    for other in stores[1:]:
        await other.close()


async def test_a_collection_that_takes_too_long_is_given_up(
    store: Store, filled: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It holds nothing then, and no number is exported."""
    monkeypatch.setattr(cluster_metrics_module, "STATEMENT_SECONDS", 0.1)
    metrics = await make(store)
    async with filled.transaction():
        await filled.execute("LOCK TABLE pwb_websites IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(TimeoutError):
            await metrics.run_once()
        assert await filled.fetchval("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == 0
    assert metrics.snapshot is None


@pytest.mark.parametrize("name", [name for name, text in SQL.items() if re.search(r"FROM (pwb|provisioning)_", text)])
@pytest.mark.parametrize("empty", [True, False])
async def test_no_statement_reads_a_whole_table(store: Store, filled: Any, name: str, *, empty: bool) -> None:
    """Whatever the tables were when a worker's session planned it, rows are found by an index, up to a limit."""
    if empty:
        await filled.execute("TRUNCATE pwb_websites CASCADE; TRUNCATE provisioning_transitions")
    await filled.execute("ANALYZE")
    async with store.connection() as connection:
        await connection.execute(f"PREPARE looked_at AS {SQL[name]}")
        plan = [record[0] for record in await connection.fetch("EXPLAIN EXECUTE looked_at(NULL, NULL)")]
        await connection.execute("DEALLOCATE looked_at")
    text = "\n".join(plan)
    assert not re.search(r"(Seq|Bitmap Heap) Scan on (pwb_|provisioning_)", text), text
    reads = [line for line in plan if re.search(r"Scan using \w+ on pwb_websites", line)]
    assert reads
    assert all(re.search(r"on_provisioning_(state|due_at)|pwb_websites_pkey", line) for line in reads), text
    assert "Limit" in text


async def test_what_a_database_lacks_of_the_schema_is_named(store: Store, filled: Any) -> None:
    """Tables, columns and indexes; nothing, where `init` has made all."""
    assert await schema_lifecycle.lacking(store) == []
    await filled.execute("DROP INDEX index_pwb_websites_on_provisioning_due_at")
    await filled.execute("ALTER TABLE pwb_websites DROP COLUMN provisioning_attempt_error")
    await filled.execute("DROP TABLE provisioning_operator_actions CASCADE")
    lacks = await schema_lifecycle.lacking(store)
    assert {
        "index_pwb_websites_on_provisioning_due_at", "pwb_websites.provisioning_attempt_error",
        "provisioning_operator_actions",
    } <= set(lacks)  # fmt: skip
    assert all("due_at" in name or "attempt_error" in name or "action" in name for name in lacks)
