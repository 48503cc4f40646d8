"""The census on a real PostgreSQL: one process takes it, its numbers are right, and no statement of it reads much."""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from consumer import census as census_module
from consumer import schema
from consumer.broker_inprocess import InProcessBroker
from consumer.census import SQL, Census
from consumer.gate import Gate
from consumer.store import Store
from statemachine import State
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


async def make(store: Store) -> Census:
    """Return a census that is taken often."""
    broker = InProcessBroker()
    await broker.declare(TOPOLOGY)
    return Census(store, broker, TOPOLOGY, Gate(), interval_seconds=0.02)


async def taken(census: Census) -> census_module.Taken:
    """Wait for a census, and return it."""

    async def there() -> Any:
        return census.taken

    found: census_module.Taken = await until(there, 5, "a census")
    return found


async def ended(task: asyncio.Task[None]) -> None:
    """Cancel a task and wait for its end."""
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_its_numbers_are_those_of_the_tables(store: Store, filled: Any) -> None:
    """By state, owed, due, waiting, stuck, and the oldest; what is not there is 0."""
    census = await make(store)
    task = asyncio.create_task(census.run())
    found = await taken(census)
    await ended(task)
    assert {state: count for state, count in found.states.items() if count} == {
        "live": 200, "owner_assigned": 50, "pending": 50,
    }  # fmt: skip
    assert set(found.states) == set(State)
    assert {name: found.owed[name] for name in ("owed", "due", "waiting", "stuck")} == {
        "owed": 100, "due": 30, "waiting": 10, "stuck": 50,
    }  # fmt: skip
    assert found.owed["oldest_seconds"] == pytest.approx(3600, abs=30)
    assert found.owed["overdue_seconds"] == pytest.approx(290, abs=30)
    assert {name: counts.ready for name, counts in found.queues.items()} == dict.fromkeys(
        (TOPOLOGY.dead_letters, TOPOLOGY.signups, TOPOLOGY.commands), 0
    )


async def test_a_large_state_is_estimated(store: Store, filled: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Past the bound the planner's statistics tell, and before there are any, the bound."""
    monkeypatch.setattr(census_module, "COUNT_LIMIT", 60)
    census = await make(store)
    async with store.connection() as connection:
        assert (await census._take(connection)).states["live"] == 60
        await filled.execute("ANALYZE pwb_websites")
        counts = (await census._take(connection)).states
    assert (counts["live"], counts["owner_assigned"]) == (pytest.approx(200, abs=2), 50)


async def test_a_transaction_that_somebody_left_open_is_seen(store: Store, filled: Any) -> None:
    """However idle it is."""
    census = await make(store)
    async with filled.transaction(), store.connection() as connection:
        await filled.fetchval("SELECT pg_sleep(0.05)")
        assert (await census._take(connection)).transaction_seconds >= 0.05


async def test_one_of_all_takes_it_and_another_takes_over(store: Store, database_url: str) -> None:
    """A stop hands the lock on although the connection goes back to its pool; a lost connection does so too."""
    stores = [store, Store(database_url, size=2), Store(database_url, size=2)]
    censuses = [await make(each) for each in stores]
    tasks = [asyncio.create_task(census.run()) for census in censuses]

    async def taking() -> list[int]:
        return [number for number, census in enumerate(censuses) if census.taken]

    (first,) = await until(taking, 5, "one census")
    await ended(tasks[first])
    assert censuses[first].taken is None
    assert [*censuses[first].collect()] == []
    (second,) = await until(taking, 5, "another census")
    assert second != first
    admin = await asyncpg.connect(database_url)
    sql = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted"
    assert await admin.fetchval(sql)
    await admin.close()

    async def lost() -> bool:
        return censuses[second].taken is None

    await until(lost, 5, "the census of a lost connection is forgotten")
    assert len(await until(taking, 5, "a census again")) == 1
    for task in tasks:
        await ended(task)
    for other in stores[1:]:
        await other.close()


async def test_a_census_that_takes_too_long_is_given_up(
    store: Store, filled: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It holds nothing then, and no number is told."""
    monkeypatch.setattr(census_module, "STATEMENT_SECONDS", 0.1)
    census = await make(store)
    async with filled.transaction():
        await filled.execute("LOCK TABLE pwb_websites IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(TimeoutError):
            await census.run_once()
        assert await filled.fetchval("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == 0
    assert census.taken is None


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
    assert all(re.search(r"on_provisioning_(state|due_at)", line) for line in reads), text
    assert "Limit" in text


async def test_what_a_database_lacks_of_the_schema_is_named(store: Store, filled: Any) -> None:
    """Tables, columns and indexes; nothing, where `init` has made all."""
    assert await schema.lacking(store) == []
    await filled.execute("DROP INDEX index_pwb_websites_on_provisioning_due_at")
    await filled.execute("ALTER TABLE pwb_websites DROP COLUMN provisioning_attempt_error")
    await filled.execute("DROP TABLE provisioning_operator_actions")
    lacks = await schema.lacking(store)
    assert {
        "index_pwb_websites_on_provisioning_due_at", "pwb_websites.provisioning_attempt_error",
        "provisioning_operator_actions",
    } <= set(lacks)  # fmt: skip
    assert all("due_at" in name or "attempt_error" in name or "operator_actions" in name for name in lacks)
