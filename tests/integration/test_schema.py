"""The migrations: they make schema.sql of any database, run only where something differs, and lose nothing."""

import asyncio
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from consumer.store import schema_lifecycle
from consumer.store.database import Store
from consumer.store.migration_runner import MIGRATIONS, MigrationError, digest_of, runs_in
from consumer.store.rules_template import Mode
from consumer.store.schema_diff import inspect_schema
from ops.doctor.findings import Level
from ops.doctor.schema_checks import check_schema
from statemachine.definition_digest import DEFINITION, Definition
from tests.factories import LIVE
from tests.schema_files import CATALOGUE, SCHEMA, catalogue_text

RELEASED = Path(__file__).parents[1] / "released" / "schema_0.1.0.sql"
LONGER = DEFINITION | Definition(frozenset({("ready", "archived"), ("archived", "live")}))
OWN = [name for name in MIGRATIONS if runs_in(name, Mode.OWN)]
SHORTER = DEFINITION - Definition(frozenset({("ready", "suspended")}))

WHOLE_CATALOGUE = """
SELECT 'column' AS kind, format('%s.%s', attrelid::regclass, attname) AS name,
       concat_ws(' ', format_type(atttypid, atttypmod), attnotnull, attidentity, attgenerated, attcollation,
                 pg_get_expr(adbin, adrelid)) AS definition
  FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
  JOIN pg_class ON pg_class.oid = attrelid AND relnamespace = 'public'::regnamespace AND relkind = 'r'
 WHERE attnum > 0 AND NOT attisdropped
 UNION ALL
SELECT 'constraint', format('%s.%s', conrelid::regclass, conname),
       concat_ws(' ', pg_get_constraintdef(oid), convalidated, obj_description(oid, 'pg_constraint'))
  FROM pg_constraint WHERE connamespace = 'public'::regnamespace
 UNION ALL
SELECT 'index', indexrelid::regclass::text, concat_ws(' ', pg_get_indexdef(indexrelid), indisvalid, reloptions)
  FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid WHERE relnamespace = 'public'::regnamespace
 UNION ALL
SELECT 'trigger', tgname, concat_ws(' ', pg_get_triggerdef(oid), tgenabled) FROM pg_trigger WHERE NOT tgisinternal
 UNION ALL
SELECT 'function', proname, pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace = 'public'::regnamespace
 UNION ALL
SELECT relkind::text, relname, coalesce(array_to_string(reloptions, ' '), '') FROM pg_class
 WHERE relnamespace = 'public'::regnamespace
"""


@pytest.fixture
async def empty(empty_database_url: str) -> Any:
    """A store on a database with nothing in it."""
    store = Store(empty_database_url, size=3)
    yield store
    await store.close()


@pytest.fixture
async def connection(empty_database_url: str) -> Any:
    """A connection to that database."""
    connection = await asyncpg.connect(empty_database_url)
    yield connection
    await connection.close()


async def whole_catalogue(connection: Any) -> dict[tuple[str, str], str]:
    """Return all that the catalogue has of the schema, as PostgreSQL itself writes it down."""
    return {(row["kind"], row["name"]): row["definition"] for row in await connection.fetch(WHOLE_CATALOGUE)}


@pytest.fixture
async def as_in_schema_sql(database_url: str) -> Any:
    """The whole catalogue of a database that was made with schema.sql."""
    connection = await asyncpg.connect(database_url)
    await connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    await connection.execute(SCHEMA.read_text())
    made = await whole_catalogue(connection)
    await connection.close()
    return made


async def rows(connection: Any, table: str) -> list[dict[str, Any]]:
    """Return a table's rows, and the transactions that wrote them, without the columns that have been renamed."""
    found = await connection.fetch(f"SELECT ctid, xmin, * FROM {table}")
    renamed = ("skip_properties", "auto_go_live")
    return [{name: value for name, value in row.items() if not name.endswith(renamed)} for row in found]


async def records(connection: Any) -> list[Any]:
    """Return the ledger, with the transaction that wrote each of its rows."""
    found: list[Any] = await connection.fetch("SELECT xmin, * FROM provisioning_migrations ORDER BY name")
    return found


# ------------------------------------------------------------------------------------------- what the migrations make


async def test_an_empty_database_becomes_what_schema_sql_says(
    empty: Store, connection: Any, as_in_schema_sql: dict[Any, str]
) -> None:
    """Tables, columns, types, defaults, constraints, indexes, triggers, functions: none more, none less, all alike."""
    difference = await schema_lifecycle.apply(empty)
    assert await whole_catalogue(connection) == as_in_schema_sql
    assert (difference.outdated, difference.not_in_force, difference.kept.edges) == (False, (), frozenset())
    assert [row["name"] for row in await records(connection)] == [
        name for name in MIGRATIONS if runs_in(name, Mode.OWN)
    ]


async def test_settings_of_the_database_change_nothing(empty_database_url: str, connection: Any) -> None:
    """An old database may read a backslash in a string as an escape, write dates its own way, and quote every name."""
    name = await connection.fetchval("SELECT current_database()")
    for setting in ("standard_conforming_strings = off", "datestyle = 'SQL, DMY'", "quote_all_identifiers = on"):
        await connection.execute(f"ALTER DATABASE {name} SET {setting}")
    store = Store(empty_database_url, size=3)
    assert (await schema_lifecycle.apply(store)).outdated is False
    assert {finding.level for finding in await check_schema(store)} == {Level.OK}
    await store.close()


async def test_a_database_of_0_1_0_becomes_what_schema_sql_says(
    empty: Store, connection: Any, as_in_schema_sql: dict[Any, str]
) -> None:
    """So it does with rows in it, which stay as they are; each migration is then in the ledger, with its digest."""
    await connection.execute(RELEASED.read_text())
    await connection.execute(
        """INSERT INTO pwb_websites (subdomain, created_at, updated_at) VALUES ('a', now(), now()), ('b', now(), now());
        UPDATE pwb_websites SET provisioning_state = 'failed', provisioning_error = 'x', provisioning_failed_at = now(),
                                provisioning_due_at = NULL, provisioning_seq = 1 WHERE subdomain = 'b';
        INSERT INTO pwb_agencies (website_id, created_at, updated_at) VALUES (1, now(), now());
        INSERT INTO provisioning_transitions (website_id, seq, trigger, from_state, to_state, message_id)
             VALUES (2, 1, 'fail_provisioning', 'pending', 'failed', gen_random_uuid())"""
    )
    tables = ("pwb_websites", "pwb_agencies", "provisioning_transitions")
    before = [await rows(connection, table) for table in tables]
    await schema_lifecycle.apply(empty)
    await schema_lifecycle.finish(empty)
    assert await whole_catalogue(connection) == as_in_schema_sql
    assert [await rows(connection, table) for table in tables] == before
    digests = {row["name"]: row["digest"] for row in await records(connection)}
    assert list(digests) == OWN
    assert digests["0001_tables"] == digest_of(MIGRATIONS["0001_tables"])


RENAMED = """SELECT skip_properties, provisioning_skip_properties, auto_go_live, provisioning_auto_go_live
               FROM pwb_websites WHERE id = $1"""


@pytest.mark.parametrize("prefix", ["", "provisioning_"])
async def test_renamed_columns_say_the_same_while_both_are_there(empty: Store, connection: Any, prefix: str) -> None:
    """Whichever a worker writes, of 0.1.0 or of this version, both have it; so do the rows that were there before."""
    columns = "(id, subdomain, skip_properties, auto_go_live, created_at, updated_at)"
    insert = "INSERT INTO pwb_websites {} VALUES ({}, 'w-{}', {}, {}, now(), now())"
    await connection.execute(RELEASED.read_text())
    await connection.execute(insert.format(columns, 1, 1, True, False))
    await schema_lifecycle.apply(empty)
    new = columns.replace("skip_", f"{prefix}skip_").replace("auto_", f"{prefix}auto_")
    await connection.execute(insert.format(new, 2, 2, True, False))
    await connection.execute(insert.format(new, 3, 3, False, True))
    for website_id, skips in ((1, True), (2, True), (3, False)):
        assert tuple(await connection.fetchrow(RENAMED, website_id)) == (skips, skips, not skips, not skips)
        update = f"UPDATE pwb_websites SET {prefix}auto_go_live = $2, {prefix}skip_properties = $3 WHERE id = $1"
        await connection.execute(update, website_id, skips, not skips)
        assert tuple(await connection.fetchrow(RENAMED, website_id)) == (not skips, not skips, skips, skips)
    await connection.execute("DROP TRIGGER provisioning_copies_renamed_columns ON pwb_websites")
    assert (await schema_lifecycle.apply(empty)).outdated is False
    assert await connection.fetchval("SELECT count(*) FROM pg_trigger WHERE tgname LIKE '%renamed_columns'") == 1
    await schema_lifecycle.finish(empty)
    kept = await connection.fetch("SELECT provisioning_skip_properties AS skips FROM pwb_websites ORDER BY id")
    assert [row["skips"] for row in kept] == [False, False, True]
    await schema_lifecycle.apply(empty)
    shape = await connection.fetchrow("SELECT * FROM pwb_websites")
    assert not {"skip_properties", "auto_go_live"} & set(shape.keys()), "an event of the existing product's own model"


async def test_the_expected_catalogue_is_generated(connection: Any) -> None:
    """consumer/store/expected_schema.json is what the migrations make; `make docs` writes it."""
    assert CATALOGUE.read_text() == await catalogue_text(connection), "generate it anew with `make docs`"


# ----------------------------------------------------------------------------------------------------- what is run


async def test_an_up_to_date_schema_is_left_alone(database_url: str, store: Store) -> None:
    """Nothing runs and no table is locked: not even while all of them are locked by somebody else."""
    connection = await asyncpg.connect(database_url)
    before = await records(connection)
    async with connection.transaction():
        tables = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        ledger = {"provisioning_migrations"}  # which is read, as any table is
        for (table,) in tables:
            mode = "ROW EXCLUSIVE" if table in ledger else "ACCESS EXCLUSIVE"
            await connection.execute(f"LOCK TABLE {table} IN {mode} MODE")
        async with asyncio.timeout(60):
            difference = await schema_lifecycle.apply(store)
            assert await schema_lifecycle.lacking(store) == []
    assert (difference.outdated, difference.not_in_force) == (False, ())
    assert await records(connection) == before
    await connection.close()


async def test_six_at_once(empty_database_url: str, connection: Any, as_in_schema_sql: dict[Any, str]) -> None:
    """They wait for one another, all succeed, and the schema is whole."""
    stores = [Store(empty_database_url, size=3) for _ in range(6)]
    differences = await asyncio.gather(*(schema_lifecycle.apply(store) for store in stores))
    await asyncio.gather(*(store.close() for store in stores))
    assert not any(difference.outdated for difference in differences)
    assert await whole_catalogue(connection) == as_in_schema_sql


async def test_a_new_migration_is_run_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """It runs where the ledger lacks it, though nothing is missing, and never again; the others do not run."""
    monkeypatch.setitem(MIGRATIONS, "0009_count", "UPDATE runs SET count = count + 1")
    async with store.connection() as connection:
        await connection.execute("CREATE TABLE runs AS SELECT 0 AS count")
        before = await records(connection)
        await schema_lifecycle.apply(store)
        await schema_lifecycle.apply(store)
        assert await connection.fetchval("SELECT count FROM runs") == 1
        assert [row for row in await records(connection) if row["name"] != "0009_count"] == before


async def test_a_migration_that_fails_leaves_nothing_of_itself(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its transaction is rolled back, the ledger lacks it, and the next `init` tries it again."""
    monkeypatch.setitem(MIGRATIONS, "0009_broken", "CREATE TABLE half (); SELECT 1 / 0")
    with pytest.raises(MigrationError, match="refuses migration 0009_broken: PostgreSQL 22012"):
        await schema_lifecycle.apply(store)
    async with store.connection() as connection:
        assert await connection.fetchval("SELECT to_regclass('half')") is None
        assert "0009_broken" not in [row["name"] for row in await records(connection)]
    monkeypatch.setitem(MIGRATIONS, "0009_broken", "CREATE TABLE half ()")
    await schema_lifecycle.apply(store)
    async with store.connection() as connection:
        assert await connection.fetchval("SELECT to_regclass('half')") is not None


@pytest.mark.parametrize(
    "change",
    [
        "DROP TABLE provisioning_pauses",
        "DROP TABLE provisioning_migrations",
        "ALTER TABLE pwb_websites DROP COLUMN provisioning_attempt_error",
        "DROP INDEX index_pwb_websites_on_provisioning_due_at",
        "DROP TRIGGER provisioning_continues_log ON pwb_websites",
        "DROP FUNCTION provisioning_refuse_illegal_change CASCADE",
        "ALTER TABLE pwb_websites ALTER provisioning_state SET DEFAULT 'live'",
        "ALTER TABLE pwb_websites ALTER provisioning_due_at DROP DEFAULT",
        "CREATE OR REPLACE FUNCTION provisioning_continue_log() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN END'",
        """ALTER TABLE pwb_websites DROP CONSTRAINT provisioning_state_known,
               ADD CONSTRAINT provisioning_state_known CHECK (true)""",
        "ALTER TABLE pwb_websites DROP CONSTRAINT provisioning_counters_sane",
    ],
)
async def test_what_was_lost_is_made_again(store: Store, change: str, as_in_schema_sql: dict[Any, str]) -> None:
    """Whatever a person, or the existing product's own schema reload, takes away: `init` brings it back."""
    async with store.connection() as connection:
        await connection.execute(change)
        assert (await inspect_schema(connection)).outdated
    assert not (await schema_lifecycle.apply(store)).outdated
    async with store.connection() as connection:
        assert await whole_catalogue(connection) == as_in_schema_sql


async def test_what_cannot_be_made_is_told(store: Store) -> None:
    """An index of the name that is not unique stays, since rows may be doubled."""
    async with store.connection() as connection:
        await connection.execute(
            """DROP INDEX index_pwb_users_on_lower_email;
            CREATE INDEX index_pwb_users_on_lower_email ON pwb_users (lower(email))"""
        )
    difference = await schema_lifecycle.apply(store)
    assert [str(part) for part in difference.changed] == ["index index_pwb_users_on_lower_email"]


# ------------------------------------------------------------------------------------------------ states and edges


async def test_a_longer_machine_is_legal_after_init(store: Store) -> None:
    """A new state may be entered and left, in a session that is open already; an edge that is not there may not."""
    async with store.connection() as connection:
        website_id = await connection.fetchval(
            "INSERT INTO pwb_websites (subdomain, created_at, updated_at) VALUES ('a', now(), now()) RETURNING id"
        )
        move = "UPDATE pwb_websites SET provisioning_state = $2 WHERE id = $1"
        for state in LIVE[:-1]:
            await connection.execute(move, website_id, state)
        with pytest.raises(asyncpg.CheckViolationError):
            await connection.execute(move, website_id, "archived")
        before = await records(connection)
        difference = await schema_lifecycle.apply(store, LONGER)
        assert (difference.installed, difference.not_validated) == (LONGER, ())
        ran = [row["name"] for row in await records(connection) if row not in before]
        assert ran == ["rules", "validation"], "no other table is locked"
        await connection.execute(move, website_id, "archived")
        with pytest.raises(asyncpg.CheckViolationError):
            await connection.execute(move, website_id, "terminated")
        await connection.execute(move, website_id, "live")


async def test_states_and_edges_of_another_version_stay_legal(store: Store) -> None:
    """Neither the shorter machine's `init` nor the doctor takes them for a fault, and both name them; nothing runs."""
    await schema_lifecycle.apply(store, LONGER)
    async with store.connection() as connection:
        before = await records(connection)
        difference = await schema_lifecycle.apply(store)
        assert await records(connection) == before
    assert difference.kept.names == ["archived -> live", "ready -> archived"]
    assert not difference.outdated
    (finding,) = [each for each in await check_schema(store) if each.what == "states and edges"]
    assert (finding.level.value, "ready -> archived" in finding.have, DEFINITION.digest in finding.have) == (
        "ok",
        True,
        True,
    )


async def test_an_edge_that_the_database_refuses_is_found_and_made_legal(store: Store) -> None:
    """The doctor names it, before a worker meets it; `init` replaces the function."""
    async with store.connection() as connection:
        body = await connection.fetchval("SELECT pg_get_functiondef('provisioning_refuse_illegal_change'::regproc)")
        await connection.execute(body.replace("        'ready -> suspended',\n", ""))
        assert (await inspect_schema(connection)).installed == SHORTER
    (finding,) = [each for each in await check_schema(store) if each.what == "states and edges"]
    assert (finding.level.value, finding.have) == ("fail", "refused: ready -> suspended")
    assert (await schema_lifecycle.apply(store)).installed == DEFINITION


async def test_versions_side_by_side_do_not_undo_each_other(store: Store) -> None:
    """Two whose machines each have an edge that the other lacks: after one `init` of each nothing runs any more."""
    other = SHORTER | Definition(frozenset({("live", "archived"), ("archived", "live")}))
    await schema_lifecycle.apply(store, other)
    async with store.connection() as connection:
        before = await records(connection)
        for machine in (DEFINITION, other, DEFINITION):
            await schema_lifecycle.apply(store, machine)
        assert await records(connection) == before
        assert (await inspect_schema(connection)).installed == DEFINITION | other


async def test_a_check_that_rows_break_is_validated_once_they_comply(empty: Store, connection: Any) -> None:
    """Until then it is NOT VALID, holds for what is written anew, and nothing but its validation is tried again."""
    await connection.execute(RELEASED.read_text())
    await connection.execute("ALTER TABLE pwb_websites DROP CONSTRAINT provisioning_failed_has_error")
    await connection.execute(
        """INSERT INTO pwb_websites (subdomain, created_at, updated_at) VALUES ('a', now(), now());
        UPDATE pwb_websites SET provisioning_state = 'failed'"""
    )
    assert (await schema_lifecycle.apply(empty)).not_validated == ("provisioning_failed_has_error",)
    before = await records(connection)
    difference = await schema_lifecycle.apply(empty)
    assert (difference.outdated, difference.not_validated) == (False, ("provisioning_failed_has_error",))
    assert [row["name"] for row in await records(connection) if row not in before] == ["validation"]
    with pytest.raises(asyncpg.CheckViolationError):
        await connection.execute("UPDATE pwb_websites SET subdomain = 'b'")
    await connection.execute("UPDATE pwb_websites SET provisioning_error = 'x', provisioning_failed_at = now()")
    assert (await schema_lifecycle.apply(empty)).not_validated == ()
