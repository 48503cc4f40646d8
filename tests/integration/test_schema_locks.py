"""`init` beside others: it stops nobody for long, says who is in the way, and leaves decisions to people."""

import asyncio
import itertools
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from consumer.store import rules_template, schema_lifecycle
from consumer.store.database import Store
from consumer.store.index_builder import STATEMENT, index_statements
from consumer.store.lock_retries import LockWaitError, WaitPolicy
from consumer.store.migration_runner import IN_BATCHES, MIGRATIONS, OUTSIDE
from consumer.store.rules_template import Mode
from consumer.store.schema_diff import inspect_schema
from ops.doctor.incomplete_migrations import schema_remarks
from tests.existing_product import RELEASED, ROLE

SECONDS = 60
COLUMN = "ALTER TABLE pwb_websites DROP COLUMN provisioning_attempt_error"
UNIQUE_AGENCY = "index_pwb_agencies_unique_website_id"
SIGNUP = """
INSERT INTO pwb_websites (id, subdomain, created_at, updated_at) VALUES ({0}, 'w-{0}', now(), now());
INSERT INTO pwb_users (email, created_at, updated_at) VALUES ('{0}@example.com', now(), now());
INSERT INTO pwb_agencies (website_id, created_at, updated_at) VALUES ({0}, now(), now());
UPDATE pwb_websites SET updated_at = now() WHERE id = {0}
"""
PRODUCT_SIGNUP = """
INSERT INTO pwb_websites (subdomain, provisioning_state, created_at, updated_at)
     VALUES ('new-{0}', 'pending', now(), now());
INSERT INTO pwb_user_memberships (user_id, website_id, role, created_at, updated_at)
SELECT 1, id, 'owner', now(), now() FROM pwb_websites WHERE subdomain = 'new-{0}';
COMMIT;
UPDATE pwb_websites SET provisioning_state = 'owner_assigned' WHERE subdomain = 'new-{0}';
UPDATE pwb_websites SET provisioning_started_at = now() WHERE subdomain = 'new-{0}';
COMMIT;
INSERT INTO pwb_agencies (website_id, created_at, updated_at)
SELECT id, now(), now() FROM pwb_websites WHERE subdomain = 'new-{0}';
INSERT INTO pwb_realty_assets (website_id, reference, slug, created_at, updated_at)
SELECT id, 'r', 'r-{0}', now(), now() FROM pwb_websites WHERE subdomain = 'new-{0}';
UPDATE pwb_websites SET provisioning_state = 'agency_created' WHERE subdomain = 'new-{0}'
"""
AGENCY = "INSERT INTO pwb_agencies (website_id, created_at, updated_at) VALUES ({}, now(), now())"


class Told:
    """What `init` has said."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._more = asyncio.Event()

    def __call__(self, line: str) -> None:
        self.lines.append(line)
        self._more.set()

    async def about(self, text: str) -> str:
        """Wait for a line that has a text in it."""
        async with asyncio.timeout(SECONDS):
            while not (found := [line for line in self.lines if text in line]):
                self._more.clear()
                await self._more.wait()
        return found[0]


@asynccontextmanager
async def session(url: str, name: str) -> AsyncIterator[Any]:
    """Lend a session of another program, in a transaction."""
    connection = await asyncpg.connect(url, server_settings={"application_name": name})
    await connection.execute("BEGIN")
    try:
        yield connection
    finally:
        await connection.close()


def policy(told: Told, patience: float = SECONDS) -> WaitPolicy:
    """Return the service's own policy, faster."""
    return WaitPolicy(told, lock_seconds=0.3, pause_seconds=0.1, patience_seconds=patience)


async def remarks(store: Store) -> list[tuple[str, bool]]:
    """Return what `init` would say of the schema now."""
    async with store.connection() as connection:
        found = await schema_remarks(connection, await inspect_schema(connection))
    return [(remark.text, remark.undone) for remark in found]


async def index_names(store: Store, table: str) -> list[str]:
    """Return the names of a table's indexes, but for its primary key."""
    async with store.connection() as connection:
        rows = await connection.fetch("SELECT indexname FROM pg_indexes WHERE tablename = $1", table)
    return sorted(row["indexname"] for row in rows if not row["indexname"].endswith("_pkey"))


# ------------------------------------------------------------------------------------------------ who is in the way


async def test_a_reader_in_the_way_stops_nobody_else(store: Store, database_url: str) -> None:
    """What comes after an `init` that waits for a reader gets through while the reader is still there; `init` says who
    reads, in one line without values, and goes on once the reader is gone."""
    told = Told()
    async with store.connection() as connection:
        await connection.execute(COLUMN)
    async with session(database_url, "pg_dump") as reader, session(database_url, "shop") as other:
        await reader.execute("/* a@example.com */ SELECT count(*) FROM pwb_websites WHERE subdomain <> 'secret'")
        init = asyncio.create_task(schema_lifecycle.apply(store, policy=policy(told)))
        line = await told.about("pg_dump")
        async with asyncio.timeout(SECONDS):
            await other.execute("UPDATE pwb_websites SET updated_at = now(); SELECT count(*) FROM pwb_websites; COMMIT")
        assert not init.done()
        assert line.startswith("waiting: pwb_websites is in use by pg_dump (pid ")
        assert line.endswith("; its last statement is a SELECT")
        assert "secret" not in line
        await reader.execute("COMMIT")
        assert not (await init).outdated


async def test_a_wait_is_given_up_and_says_for_whom(store: Store, database_url: str) -> None:
    """An `init` that gets no lock ends with the name of the holder, and has done nothing by halves."""
    async with store.connection() as connection:
        await connection.execute(COLUMN)
    async with session(database_url, "backup") as reader:
        await reader.execute("SELECT count(*) FROM pwb_websites")
        with pytest.raises(LockWaitError, match="given up after 1 s: pwb_websites is in use by backup"):
            await schema_lifecycle.apply(store, policy=policy(Told(), patience=1))
    assert not (await schema_lifecycle.apply(store)).outdated


async def test_renamed_columns_are_copied_beside_writers(
    empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The upgrade from 0.1.0 waits for a writer in the last batch, without a lock on the table, and what it has copied
    is committed: another writes to a copied row meanwhile, and nobody has to wait for an index of this version."""
    monkeypatch.setattr(rules_template, "BATCH_ROWS", 2)
    told, store = Told(), Store(empty_database_url, size=3)
    other = await asyncpg.connect(empty_database_url, server_settings={"application_name": "shop"})
    await other.execute(RELEASED.read_text())
    await other.execute(
        """INSERT INTO pwb_websites (subdomain, skip_properties, created_at, updated_at)
           SELECT 'w-' || n, true, now(), now() FROM generate_series(1, 6) AS n"""
    )
    # Its own migrations are there, so that the writer is in the way of the copying alone.
    await schema_lifecycle.apply(store)
    await other.execute(
        """DROP TRIGGER provisioning_copies_renamed_columns ON pwb_websites;
        UPDATE pwb_websites SET provisioning_skip_properties = false;
        CREATE TRIGGER provisioning_copies_renamed_columns BEFORE INSERT OR UPDATE ON pwb_websites
            FOR EACH ROW EXECUTE FUNCTION provisioning_copy_renamed_columns();
        DELETE FROM provisioning_migrations WHERE name = '0003_renamed_columns'"""
    )
    async with session(empty_database_url, "shop") as writer:
        await writer.execute("UPDATE pwb_websites SET updated_at = now() WHERE id = 6")
        init = asyncio.create_task(schema_lifecycle.apply(store, policy=policy(told)))
        await told.about("shop")
        copied = "SELECT array_agg(id ORDER BY id) FROM pwb_websites WHERE provisioning_skip_properties"
        assert await other.fetchval(copied) == [1, 2, 3, 4]
        async with asyncio.timeout(SECONDS):
            await other.execute("UPDATE pwb_websites SET updated_at = now() WHERE id = 1; SELECT * FROM pwb_websites")
        assert not init.done()
        await writer.execute("COMMIT")
        assert not (await init).outdated
    assert await other.fetchval(copied) == [1, 2, 3, 4, 5, 6]
    await other.close()
    await store.close()


def test_what_changes_rows_commits_after_each_batch() -> None:
    """Each UPDATE of a migration is in one that runs in batches, and is followed by a COMMIT."""
    for name, whole in MIGRATIONS.items():
        text = re.sub(r"AS \$\$$.*?^\$\$;$", "", whole, flags=re.MULTILINE | re.DOTALL)  # functions run later
        parts = re.split(r"^ *UPDATE pwb_websites", text, flags=re.MULTILINE)[1:]
        assert not parts or text.startswith(IN_BATCHES), name
        assert all("COMMIT;" in part for part in parts), name


async def test_a_deadlock_is_tried_again(store: Store, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The migration that a deadlock has ended runs once the other has what it wanted."""
    monkeypatch.setitem(MIGRATIONS, "0009_two", "LOCK TABLE pwb_users; LOCK TABLE pwb_links")
    told = Told()
    async with session(database_url, "shop") as other:
        await other.execute("SET LOCAL deadlock_timeout = '1min'; SET LOCAL lock_timeout = 0; LOCK TABLE pwb_links")
        patient = WaitPolicy(told, lock_seconds=SECONDS, pause_seconds=0.1)
        init = asyncio.create_task(schema_lifecycle.apply(store, policy=patient))
        await told.about("pwb_links is in use by shop")
        await other.execute("LOCK TABLE pwb_users")
        await other.execute("COMMIT")
        await init
    async with store.connection() as connection:
        assert await connection.fetchval("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")


async def test_six_at_once_under_load(store: Store, database_url: str) -> None:
    """All of them succeed while others write to the tables that they change, and no writer fails."""
    async with store.connection() as connection:
        await connection.execute(
            f"""{COLUMN}; DROP INDEX {UNIQUE_AGENCY}; DROP INDEX index_pwb_users_on_lower_email;
            DROP TRIGGER provisioning_continues_log ON pwb_websites;
            ALTER TABLE pwb_websites DROP CONSTRAINT provisioning_counters_sane"""
        )
    stopping, written = asyncio.Event(), asyncio.Semaphore(0)
    numbers = itertools.count(1)

    async def write() -> None:
        connection = await asyncpg.connect(database_url)
        while not stopping.is_set():
            async with connection.transaction():
                await connection.execute(SIGNUP.format(next(numbers)))
            written.release()
        await connection.close()

    writers = [asyncio.create_task(write()) for _ in range(4)]
    stores = [Store(database_url, size=3) for _ in range(6)]
    await written.acquire()
    differences = await asyncio.gather(*(schema_lifecycle.apply(each, policy=policy(Told())) for each in stores))
    stopping.set()
    await asyncio.gather(*writers, *(each.close() for each in stores))
    assert not any(difference.outdated or difference.not_in_force for difference in differences)


async def test_an_init_of_a_guest_that_is_up_to_date_locks_nothing(guest_url: str) -> None:
    """It is through while somebody has locked every table, and finds nothing to remark."""
    store = Store(guest_url, size=3)
    async with session(guest_url, "shop") as other:
        for (table,) in await other.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'"):
            ledger = table == "provisioning_migrations"  # which is read
            await other.execute(f"LOCK TABLE {table} IN {'ROW EXCLUSIVE' if ledger else 'ACCESS EXCLUSIVE'} MODE")
        async with asyncio.timeout(SECONDS):
            assert not (await schema_lifecycle.apply(store)).outdated
            assert await remarks(store) == []
    await store.close()


async def test_six_at_once_in_the_products_database_under_load(product: Any, empty_database_url: str) -> None:
    """The first `init` of all, six times, while the product signs up: no deadlock, no failed write, a whole schema."""
    stopping, written = asyncio.Event(), asyncio.Semaphore(0)
    numbers = itertools.count(1)

    async def sign_up() -> None:
        connection = await asyncpg.connect(empty_database_url)
        while not stopping.is_set():
            for statements in PRODUCT_SIGNUP.format(next(numbers)).split("COMMIT;"):
                async with connection.transaction():
                    await connection.execute(f"SET LOCAL ROLE {ROLE}; {statements}; RESET ROLE")
            written.release()
        await connection.close()

    signups = [asyncio.create_task(sign_up()) for _ in range(4)]
    stores = [Store(empty_database_url, size=3) for _ in range(6)]
    await written.acquire()
    differences = await asyncio.gather(*(schema_lifecycle.apply(each) for each in stores))
    stopping.set()
    await asyncio.gather(*signups, *(each.close() for each in stores))
    assert not any(difference.outdated or difference.not_in_force for difference in differences)
    assert await product.fetchval("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()") == 0


# ---------------------------------------------------------------------------------------------------------- indexes


def test_every_index_of_a_migration_is_read() -> None:
    """What stands in a file that runs outside a transaction are such statements and comments, nothing else."""
    texts = [text for text in MIGRATIONS.values() if text.startswith(OUTSIDE)]
    assert texts
    for text in texts:
        left = STATEMENT.sub("", text).splitlines()
        assert not [line for line in left if line and not line.startswith("--")]
    for text in set(MIGRATIONS.values()) - set(texts):
        assert not index_statements(text)


async def test_an_index_waits_for_older_transactions_and_stops_nobody(store: Store, database_url: str) -> None:
    """While it is built, the table is read and written; who keeps it waiting is named."""
    told = Told()
    async with store.connection() as connection:
        await connection.execute(f"DROP INDEX {UNIQUE_AGENCY}")
    async with session(database_url, "report") as older:
        await older.execute(AGENCY.format(1))
        init = asyncio.create_task(schema_lifecycle.apply(store, policy=policy(told)))
        assert "its last statement is a INSERT" in await told.about("report")
        async with session(database_url, "shop") as other, asyncio.timeout(SECONDS):
            await other.execute(AGENCY.format(2))
            await other.execute("COMMIT")
        assert not init.done()
        await older.execute("COMMIT")
        assert not (await init).outdated


async def test_a_build_that_is_given_up_is_begun_again(store: Store, database_url: str) -> None:
    """The invalid index that it leaves behind is dropped and built by the next `init`."""
    async with store.connection() as connection:
        await connection.execute(f"DROP INDEX {UNIQUE_AGENCY}")
    async with session(database_url, "report") as older:
        await older.execute(AGENCY.format(1))
        with pytest.raises(LockWaitError, match="report"):
            await schema_lifecycle.apply(store, policy=policy(Told(), patience=0.5))
        async with store.connection() as connection:
            assert [part.name for part in (await inspect_schema(connection)).not_in_force] == [UNIQUE_AGENCY]
        await older.execute("COMMIT")
    difference = await schema_lifecycle.apply(store)
    assert (difference.outdated, difference.not_in_force) == (False, ())


@pytest.mark.parametrize(
    ("table", "name", "equal"),
    [
        ("pwb_agencies", UNIQUE_AGENCY, "CREATE UNIQUE INDEX theirs ON pwb_agencies (website_id)"),
        (
            "pwb_user_memberships",
            "index_pwb_user_memberships_on_user_id_and_website_id",
            "CREATE UNIQUE INDEX theirs ON pwb_user_memberships (user_id, website_id)",
        ),
        (
            "pwb_user_memberships",
            "index_pwb_user_memberships_on_website_id",
            "CREATE UNIQUE INDEX theirs ON pwb_user_memberships (website_id)",
        ),
    ],
)
async def test_no_second_index_where_one_does_its_work(store: Store, table: str, name: str, equal: str) -> None:
    """One of another name on the same columns will do, if it is as unique; nothing is missing then."""
    async with store.connection() as connection:
        await connection.execute(f"DROP INDEX {name}; {equal}")
    before = await index_names(store, table)
    assert not (await schema_lifecycle.apply(store)).outdated
    assert await schema_lifecycle.lacking(store) == []
    assert await index_names(store, table) == before


@pytest.mark.parametrize(
    "other",
    [
        "CREATE INDEX theirs ON pwb_agencies (website_id)",
        "CREATE UNIQUE INDEX theirs ON pwb_agencies (website_id, id)",
        "CREATE UNIQUE INDEX theirs ON pwb_agencies (website_id) WHERE website_id > 0",
        "CREATE UNIQUE INDEX theirs ON pwb_agencies ((website_id + 0))",
    ],
)
async def test_an_index_that_does_less_is_no_substitute(store: Store, other: str) -> None:
    """Not unique, other columns, only some of the rows, an expression: ours is built beside it."""
    async with store.connection() as connection:
        await connection.execute(f"DROP INDEX {UNIQUE_AGENCY}; {other}")
    assert await schema_lifecycle.lacking(store) == [UNIQUE_AGENCY]
    await schema_lifecycle.apply(store)
    assert await index_names(store, "pwb_agencies") == [UNIQUE_AGENCY, "theirs"]


# ------------------------------------------------------------------------------------------------- rows in the way


AGENCIES = (
    "INSERT INTO pwb_agencies (website_id, created_at, updated_at) SELECT {}, now(), now() FROM generate_series(1, {})"
)
ASSETS = """INSERT INTO pwb_realty_assets (website_id, reference, slug, created_at, updated_at)
            SELECT {}, {}, gen_random_uuid(), now(), now() FROM generate_series(1, {})"""
UNIQUE_REFERENCE = "index_pwb_realty_assets_unique_website_id_and_reference"


@pytest.mark.parametrize(
    ("index", "rows", "told"),
    [
        (
            UNIQUE_AGENCY,
            AGENCIES.format(7, 3),
            "the same in website_id, by id: 1 and 2 and 3; ",
        ),
        (UNIQUE_AGENCY, AGENCIES.format("1 + generate_series / 2", 25), "; and 2 more; keep one of each"),
        (
            UNIQUE_REFERENCE,
            ASSETS.format(7, "'r'", 2),
            "the same in website_id, reference, by id: ",
        ),
    ],
)
async def test_doubled_rows_are_named_and_the_rest_is_made(store: Store, index: str, rows: str, told: str) -> None:
    """The unique index that they break is the one thing that is missing; with the rows gone, it is made."""
    async with store.connection() as connection:
        await connection.execute(f"DROP INDEX {index}; {COLUMN}; {rows}")
    difference = await schema_lifecycle.apply(store)
    assert [part.name for part in difference.missing] == [index]
    ((text, undone),) = await remarks(store)
    assert (told in text, undone, "run `provisioner init` again" in text) == (True, True, True)
    async with store.connection() as connection:
        await connection.execute("DELETE FROM pwb_agencies; DELETE FROM pwb_realty_assets")
    assert not (await schema_lifecycle.apply(store)).outdated
    assert await remarks(store) == []


async def test_a_guest_may_give_two_properties_one_reference(guest: Any, guest_store: Store) -> None:
    """Its index that an earlier version built goes, also where rows are doubled by now, and is missed by nobody; in a
    database that becomes the service's own it is wanted, and names them."""
    assert not [name for name in await index_names(guest_store, "pwb_realty_assets") if "reference" in name]
    await guest.execute(f"CREATE UNIQUE INDEX {UNIQUE_REFERENCE} ON pwb_realty_assets (website_id, reference)")
    await schema_lifecycle.apply(guest_store)
    await guest.execute(ASSETS.format(7, "'r'", 2))
    assert not (await schema_lifecycle.apply(guest_store)).outdated
    assert await remarks(guest_store) == []
    assert await schema_lifecycle.lacking(guest_store) == []
    difference = await schema_lifecycle.apply(guest_store, mode=Mode.OWN)
    assert [part.name for part in difference.missing] == [UNIQUE_REFERENCE]


@pytest.mark.parametrize(
    ("index", "rows"),
    [(UNIQUE_AGENCY, AGENCIES.format("NULL", 3)), (UNIQUE_REFERENCE, ASSETS.format("NULL", "'r'", 3))],
)
async def test_rows_of_no_website_are_no_doubles(store: Store, index: str, rows: str) -> None:
    """A NULL in a unique index equals nothing, so those rows are in nobody's way."""
    async with store.connection() as connection:
        await connection.execute(f"DROP INDEX {index}; {rows}")
    assert not (await schema_lifecycle.apply(store)).outdated


async def test_what_init_does_not_change_is_named_with_what_to_do(product: Any, empty_database_url: str) -> None:
    """A column that the product's table lacks, and an index of the name that is not unique, are people's to mend."""
    await product.execute(
        """ALTER TABLE pwb_agencies DROP COLUMN phone_number_primary; DROP INDEX index_pwb_links_on_website_id_and_slug;
        CREATE INDEX index_pwb_links_on_website_id_and_slug ON pwb_links (website_id, slug)"""
    )
    store = Store(empty_database_url, size=3)
    await schema_lifecycle.apply(store)
    (column, undone), (index, undone_too) = await remarks(store)
    assert undone, undone_too
    assert "column pwb_agencies.phone_number_primary; add it to the existing product's table" in column
    assert "index index_pwb_links_on_website_id_and_slug; drop it" in index
    await product.execute(
        """ALTER TABLE pwb_agencies ADD COLUMN phone_number_primary varchar;
        DROP INDEX index_pwb_links_on_website_id_and_slug"""
    )
    assert not (await schema_lifecycle.apply(store)).outdated
    assert await remarks(store) == []
    await store.close()


async def test_rows_that_break_a_check_are_named(store: Store) -> None:
    """The first of them by id, and how many there are; nothing is undone, since the check holds for what is written."""
    async with store.connection() as connection:
        await connection.execute(
            """ALTER TABLE pwb_websites DROP CONSTRAINT provisioning_failed_has_error;
            INSERT INTO pwb_websites (subdomain, created_at, updated_at, provisioning_error)
                 SELECT 'w-' || n, now(), now(), 'old' FROM generate_series(1, 12) AS n"""
        )
    await schema_lifecycle.apply(store)
    ((text, undone),) = await remarks(store)
    assert "provisioning_failed_has_error, by id: 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 2 more; " in text
    assert not undone
