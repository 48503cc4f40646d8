"""No hot statement reads a whole table, however its plan was cached: filled, analysed, explained, one by one.

Those of the cluster's metrics are checked in test_cluster_metrics.py: they may go along an index, up to a limit.
"""

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest_asyncio

from consumer.store.database import Store
from consumer.store.provisioning_statements import SQL as CONSUMER
from seeders.seeding import STATEMENTS as SEEDERS
from tests.factories import STEPS
from tests.service import SECONDS, starter
from tests.worker_processes import until

WEBSITES = 3000
STATEMENTS = {
    **{f"consumer/{name}": text for name, text in CONSUMER.items()},
    **{f"seeders/{n}": t for n, t in SEEDERS.items()},
}
SESSION = {
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "plan_cache_mode": "force_generic_plan",
    "jit": "off",
}
KEYS = (
    r"Index Cond: \(*((id|worker|website_id|pwb_website_id|user_id|lower\(\(email\)::text\))( |\b)"
    r"|provisioning_due_at <= now)"
)
"""What rows are looked up by. A condition on anything else, or none, reads as many as the table happens to have."""
SMALL = " on provisioning_workers"
"""As many rows as processes: this table is read as a whole."""
TABLES = ("pwb_", "provisioning_transitions")
FILL = f"""
INSERT INTO pwb_websites (id, subdomain, created_at, updated_at)
     SELECT n, 'site-' || n, now(), now() FROM generate_series(1, {WEBSITES}) AS n;
INSERT INTO pwb_users (id, email, created_at, updated_at)
     SELECT n, 'owner-' || n || '@example.com', now(), now() FROM generate_series(1, {WEBSITES}) AS n;
SELECT setval(pg_get_serial_sequence('pwb_users', 'id'), {WEBSITES});
INSERT INTO pwb_user_memberships (user_id, website_id, role, created_at, updated_at)
     SELECT n, n, 'owner', now(), now() FROM generate_series(1, {WEBSITES}) AS n;
INSERT INTO pwb_agencies (website_id, created_at, updated_at)
     SELECT n, now(), now() FROM generate_series(1, {WEBSITES}) AS n;
INSERT INTO pwb_links (website_id, slug, created_at, updated_at)
     SELECT n, 'link-' || k, now(), now() FROM generate_series(1, {WEBSITES}) AS n, generate_series(1, 10) AS k;
INSERT INTO pwb_field_keys (pwb_website_id, global_key, created_at, updated_at)
     SELECT n, 'key-' || k, now(), now() FROM generate_series(1, {WEBSITES}) AS n, generate_series(1, 10) AS k;
INSERT INTO pwb_realty_assets (website_id, reference, slug, created_at, updated_at)
     SELECT n, 'ref-' || k, 'ref-' || k || '-' || n, now(), now()
       FROM generate_series(1, {WEBSITES}) AS n, generate_series(1, 5) AS k;
INSERT INTO provisioning_transitions (website_id, seq, trigger, from_state, to_state, message_id)
     SELECT n, k, 'assign_owner', 'pending', 'owner_assigned', gen_random_uuid()
       FROM generate_series(1, {WEBSITES}) AS n, generate_series(1, {STEPS}) AS k;
UPDATE pwb_websites SET provisioning_due_at = NULL WHERE id % 10 <> 0;
SELECT brin_summarize_new_values('index_provisioning_transitions_on_occurred_at');
"""
"""At its end what autovacuum does for a BRIN index when it comes by: PostgreSQL counts that as a table read whole."""


@pytest_asyncio.fixture
async def filled(database_url: str) -> Any:
    """A database with rows to scan, and a session such as a worker's."""
    connection = await asyncpg.connect(database_url, server_settings=SESSION)
    await connection.execute(FILL)
    await connection.execute("ANALYZE")
    yield connection
    await connection.close()


async def test_no_hot_statement_reads_a_whole_table(filled: Any) -> None:
    """Every statement of workers, dispatcher and seeders finds its rows by their keys, with a generic plan."""
    assert not await _whole_tables(filled)


async def test_nor_with_plans_that_were_made_on_empty_tables(database_url: str) -> None:
    """As a worker makes them that connects to a new system, and keeps them while it fills."""
    connection = await asyncpg.connect(database_url, server_settings=SESSION)
    assert not await _whole_tables(connection)
    await connection.close()


async def _whole_tables(connection: Any) -> dict[str, str]:
    """Return the statements that read more of a table than the rows that they are asked for, and where in the plan."""
    found: dict[str, str] = {}
    async for name, plan in _plans(connection):
        for line, following in zip(plan, [*plan[1:], ""], strict=True):
            scanned = "Seq Scan on" in line and any(table in line for table in TABLES)
            unkeyed = re.search(r"Index (Only )?Scan (using|on)", line) and not re.match(KEYS, following)
            if (scanned or unkeyed) and SMALL not in line:
                found[name] = f"{line} / {following}"
    return found


async def _plans(connection: Any) -> AsyncIterator[tuple[str, list[str]]]:
    """Yield each statement's name and the lines of its generic plan."""
    for name, text in STATEMENTS.items():
        await connection.execute(f"PREPARE looked_at AS {text}")
        count = len(set(re.findall(r"\$(\d+)", text)))
        arguments = f"({', '.join(['NULL'] * count)})" if count else ""
        plan = [record[0].strip() for record in await connection.fetch(f"EXPLAIN EXECUTE looked_at{arguments}")]
        await connection.execute("DEALLOCATE looked_at")
        yield name, plan


PACKS = {"insert_links", "insert_field_keys", "insert_assets", "insert_sale_listings", "insert_rental_listings"}
"""These pair each website with the rows of its pack: a batch has few packs, and most pairs become a row."""


async def test_no_hot_statement_compares_each_of_a_batch_with_each(filled: Any) -> None:
    """Without hash joins, a list joined with a list costs the square of the batch: 9,216 comparisons for 96."""
    paired = {name async for name, plan in _plans(filled) if any("Join Filter" in line for line in plan)}
    assert paired - {"consumer/report_worker"} == {f"seeders/{name}" for name in PACKS}, "one process reports at a time"


READ = """
SELECT relname AS name, seq_scan > 0 AS whole, seq_tup_read AS rows FROM pg_stat_user_tables
 UNION ALL
SELECT indexrelname, false, idx_tup_read FROM pg_stat_user_indexes
"""
OF_THE_POOL = {"provisioning_workers", "provisioning_pauses"}


async def test_nor_does_what_statements_set_off(filled: Any, database_url: str, tmp_path: Path) -> None:
    """Triggers, foreign keys, and what is in no file: PostgreSQL counts what was read for three websites up to live."""
    ids = range(WEBSITES + 1, WEBSITES + 4)
    await filled.execute("SELECT pg_stat_force_next_flush()")
    await filled.execute("SELECT pg_stat_reset()")
    async with starter(database_url, tmp_path)() as service:
        for website_id in ids:
            await service.created(website_id)
        for website_id in ids:
            await service.reaches(website_id, "live")
        await service.command("suspend", ids[0])
        await service.command("reactivate", ids[0])

    async def alone() -> bool:
        others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        return bool(await filled.fetchval(f"{others} AND backend_type = 'client backend'") == 1)

    await until(alone, SECONDS, "every session of the service has ended, and with that has told what it read")
    read = {row["name"]: row for row in await filled.fetch(READ)}
    assert read["provisioning_transitions_pkey"]["rows"] > 0, "it has counted"
    assert {name for name, row in read.items() if row["whole"]} <= OF_THE_POOL
    assert {name: row["rows"] for name, row in read.items() if row["rows"] >= WEBSITES} == {}


async def test_a_workers_session_is_such_a_session(database_url: str) -> None:
    """What is explained above is what workers run."""
    store = Store(database_url, size=1)
    async with store.connection() as connection:
        assert {name: await connection.fetchval(f"SHOW {name}") for name in SESSION} == SESSION
    await store.close()


async def test_the_check_can_fail(filled: Any) -> None:
    """A statement without an index is seen to scan: the check above looks at the right words."""
    plan = await filled.fetch("EXPLAIN SELECT count(*) FROM pwb_links WHERE page_slug = 'x'")
    assert any("Seq Scan on pwb_links" in record[0] for record in plan)
