"""Behind a real PgBouncer: nothing of a session is relied on or left behind, and a wrong setting is one line."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import asyncpg
import pytest

from consumer.addresses.database import Pooler
from consumer.config import Settings
from consumer.error_classification import PoolerError
from consumer.store import schema_lifecycle
from consumer.store.database import Store
from consumer.store.migration_runner import MigrationError
from consumer.store.sessions.prepared_session import Session
from consumer.store.sessions.transaction_pooler_session import PooledSession
from consumer.worker.database_probe import DatabaseProbe
from consumer.worker.gate import ClosedBy, Gate
from consumer.worker.reconnect_backoff import Backoff
from ops.doctor.run import run_checks
from tests.contract.faulty_broker import FaultyMemoryBroker
from tests.factories import TOPOLOGY
from tests.integration.test_cluster_metrics import ended, make, snapshot_of
from tests.pgbouncer import DROPPED, PgBouncer, keeps_statements, private_pgbouncer
from tests.service import starter

Pool = Callable[..., PgBouncer]
SET = {
    "lock_timeout": "2s", "statement_timeout": "10s", "idle_in_transaction_session_timeout": "15s",
    "plan_cache_mode": "force_generic_plan", "enable_seqscan": "off", "jit": "off",
}  # fmt: skip
SETTINGS_NOW = "SELECT name, current_setting(name) AS value FROM unnest($1::text[]) AS name"


@pytest.fixture
def pool(pgbouncer: None, database_url: str) -> Iterator[Pool]:
    """Start PgBouncers in front of the test's database."""
    with ExitStack() as stack:
        yield lambda mode, **settings: stack.enter_context(private_pgbouncer(database_url, mode, **settings))


async def settings_of(connection: Any) -> dict[str, str]:
    """Return the settings that a statement runs with."""
    return {row["name"]: row["value"] for row in await connection.fetch(SETTINGS_NOW, list(SET))}


async def left_behind(url: str) -> tuple[dict[str, str], list[str], int]:
    """Return what another client of the pooler finds: settings, our prepared statements, advisory locks."""
    other = await asyncpg.connect(url, statement_cache_size=0)
    try:
        async with other.transaction():
            names = await other.fetch("SELECT name FROM pg_prepared_statements WHERE name NOT LIKE 'PGBOUNCER%'")
            locks = await other.fetchval("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")
            return await settings_of(other), [row["name"] for row in names], locks
    finally:
        await other.close()


async def test_in_transaction_mode_every_statement_has_our_settings_and_leaves_nothing(
    pool: Pool, database_url: str
) -> None:
    """Alone, in a transaction and in a read of a whole table; whoever gets the connection next finds none of it."""
    url = pool("transaction", default_pool_size="1").url(database_url)
    before = await left_behind(url)
    store = Store(f"{url}?pgbouncer=true", size=3)
    await store.probe()
    async with store.connection() as connection:
        assert await settings_of(connection) == SET
        assert await connection.fetchval("SELECT current_setting('timezone')") == "UTC"
        assert connection.keeps_statements == keeps_statements()
    async with store.transaction() as unit:
        assert await settings_of(unit.connection) == SET
    (row,) = await store.read_within(SETTINGS_NOW, ["enable_seqscan"], seconds=3) or ()
    assert row["value"] == "on"
    await store.close()
    assert await left_behind(url) == before
    assert before[0]["lock_timeout"] == "0"
    assert before[1:] == ([], 0)


async def test_two_connections_of_ours_share_one_of_the_poolers(pool: Pool, database_url: str) -> None:
    """An error of one rolls its statement back, and the other goes on: nobody keeps what the pooler lends."""
    url = pool("transaction", default_pool_size="1").url(database_url)
    store = Store(url, size=2, pooler=Pooler.TRANSACTION)
    async with store.connection() as one, store.connection() as other:
        with pytest.raises(asyncpg.DivisionByZeroError):
            await one.fetchval("SELECT 1 / $1::int", 0)
        assert await other.fetchval("SELECT 1 / $1::int", 1) == 1
        assert await one.fetchval("SELECT 1 / $1::int", 1) == 1
        with pytest.raises(asyncpg.DivisionByZeroError):
            await one.execute("SELECT 1 / 0")
        assert (
            await asyncio.gather(*(each.fetchval("SELECT pg_backend_pid()") for each in (one, other)))
            == [await one.fetchval("SELECT pg_backend_pid()")] * 2
        )
    await store.close()


async def test_statements_of_other_clients_are_never_ours(pool: Pool, database_url: str) -> None:
    """Somebody has left statements under asyncpg's own names on the pooler's only connection; ours run as written."""
    url = pool("transaction", default_pool_size="1").url(database_url)
    other = await asyncpg.connect(url, statement_cache_size=0)
    await other.execute("".join(f"PREPARE __asyncpg_stmt_{n:x}__ AS SELECT 'of another';" for n in range(1, 400)))
    store = Store(url, size=2, pooler=Pooler.TRANSACTION)
    await store.probe()
    async with store.transaction() as unit:
        assert await unit.known_users([1]) == set()
        assert await unit.connection.fetchval("SELECT $1::text", "ours") == "ours"
    await store.close()
    await other.close()


@pytest.mark.usefixtures("durable")
@pytest.mark.parametrize("mode", ["session", "transaction"])
async def test_websites_go_live_behind_a_pooler(pool: Pool, database_url: str, tmp_path: Any, mode: str) -> None:
    """From signup to live in both modes, with no attempt spent; the doctor sees it and finds nothing wrong."""
    url = pool(mode).url(database_url)
    changes = {"database_url": url, "pooler": mode, "presence_seconds": 0.05}
    async with starter(database_url, tmp_path)(**changes) as service:
        for website_id in range(1, 21):
            await service.created(website_id)
        for website_id in range(1, 21):
            row = await service.reaches(website_id, "live")
            assert row["provisioning_attempts"] == 0
        assert service.letters() == []
        store = Store(url, size=2, pooler=Pooler(mode))
        settings = Settings.model_validate(changes | {"namespace": "t", "amqp_url": "inprocess://"})
        report = await run_checks(settings, store, service.broker, {})
        await store.close()
    bad = [(each["area"], each["what"]) for each in report["findings"] if each["level"] in ("warn", "fail")]
    assert bad == [("database", "role")]
    (pooler,) = [each for each in report["findings"] if each["what"] == "pooler"]
    assert f"one in {mode} mode" in pooler["have"]


async def test_a_schema_that_changes_under_a_connection_costs_one_statement_at_most(
    pool: Pool, database_url: str
) -> None:
    """A column gets another type: alone a statement is run again, in a transaction it fails as without a pooler."""
    url = pool("transaction", default_pool_size="1").url(database_url)
    owner = await asyncpg.connect(database_url)
    await owner.execute("CREATE TABLE changing (a int); INSERT INTO changing VALUES (7)")
    store = Store(url, size=1, pooler=Pooler.TRANSACTION)
    ask = "SELECT a FROM changing WHERE a = ANY($1)"
    async with store.connection() as connection:
        assert await connection.fetchval(ask, [7]) == 7
        await owner.execute("ALTER TABLE changing ALTER a TYPE bigint")
        assert await connection.fetchval(ask, [7]) == 7
        await owner.execute("ALTER TABLE changing ALTER a TYPE int")
        with pytest.raises(asyncpg.InvalidCachedStatementError):
            async with connection.transaction():
                await connection.fetchval(ask, [7])
        async with connection.transaction():
            assert await connection.fetchval(ask, [7]) == 7
    await store.probe()
    await store.close()
    await owner.close()


WRONG = {
    "nothing is set, and it refuses our settings": ("transaction", None, {}, "set PROVISIONER_POOLER to its pool_mode"),
    "nothing is set, and it drops our settings": (
        "transaction", None, {"ignore_startup_parameters": DROPPED}, "set PROVISIONER_POOLER to its pool_mode",
    ),
    "nothing is set, in session mode": (
        "session", None, {"ignore_startup_parameters": DROPPED}, "set PROVISIONER_POOLER to its pool_mode",
    ),
    "session is set": ("transaction", "session", {}, "set it to transaction"),
    "statement mode, transaction is set": ("statement", "transaction", {}, "the pooler is in statement mode"),
    "statement mode, session is set": ("statement", "session", {}, "the pooler is in statement mode"),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
async def test_a_setting_that_does_not_fit_is_one_line_at_the_start(pool: Pool, database_url: str, what: str) -> None:
    """The worker ends with it, at its first contact, and the doctor has it; nothing is left at the pooler's."""
    mode, set_to, more, text = WRONG[what]
    url = pool(mode, **more).url(database_url)
    store = Store(url, size=3, pooler=Pooler(set_to) if set_to else None)
    gate = Gate()
    gate.close(ClosedBy.DATABASE, "as the test begins")
    # Several connect at once, as the loops of a worker do.
    probe = DatabaseProbe(store, gate, Backoff(1, 1)).run_once()
    wrong, *_ = await asyncio.gather(probe, store.probe(), store.probe(), return_exceptions=True)
    assert isinstance(wrong, PoolerError), wrong
    assert text in str(wrong)
    assert "\n" not in str(wrong)
    settings = Settings.model_validate({"database_url": url, "pooler": set_to, "amqp_url": "inprocess://"})
    broker = FaultyMemoryBroker()
    await broker.declare(TOPOLOGY)
    report = await run_checks(settings, store, broker, {})
    (found,) = [each for each in report["findings"] if each["area"] == "database"]
    assert (found["what"], found["level"], report["away"]) == ("pooler", "fail", False)
    assert text in f"{found['have']}: {found['next']}"
    await store.close()
    if mode != "statement":
        assert (await left_behind(url))[1:] == ([], 0)


async def test_a_pooler_that_changes_later_is_an_outage(database_url: str, pool: Pool) -> None:
    """Once the database has answered, no answer ends the worker: it waits, and says why."""
    store = Store(pool("session").url(database_url), size=1)
    gate, tries = Gate(), list[str]()

    async def between_tries(_seconds: float) -> None:
        tries.append(gate.reasons[ClosedBy.DATABASE])
        raise asyncio.CancelledError

    probe = DatabaseProbe(store, gate, Backoff(1, 1, sleep=between_tries))
    probe._has_answered = True
    with pytest.raises(asyncio.CancelledError):
        await probe.run_once()
    assert "a pooler answers" in tries[0]
    await store.close()


async def test_a_schema_is_made_past_the_pooler_and_checked_through_it(
    pool: Pool, database_url: str, empty_database_url: str
) -> None:
    """In session mode it can be made through it; in transaction mode one line says how, unless nothing is due."""
    transaction, session = pool("transaction"), pool("session")
    store = Store(transaction.url(database_url), size=3, pooler=Pooler.TRANSACTION)
    assert not (await schema_lifecycle.apply(store)).missing
    await store.close()
    store = Store(transaction.url(empty_database_url), size=3, pooler=Pooler.TRANSACTION)
    with pytest.raises(
        MigrationError, match=r"0001_tables is due, .* lead PROVISIONER_DATABASE_URL to PostgreSQL itself"
    ):
        await schema_lifecycle.apply(store)
    await store.close()
    store = Store(session.url(empty_database_url), size=3, pooler=Pooler.SESSION)
    assert not (await schema_lifecycle.apply(store)).missing
    async with store.connection() as connection:
        assert await settings_of(connection) == SET
    await store.close()


async def test_the_clusters_metrics_are_collected_by_one_in_transaction_mode(pool: Pool, database_url: str) -> None:
    """Its lock lasts for a transaction; two behind the pooler and one without share it, and another takes over."""
    url = pool("transaction").url(database_url)
    stores = [
        Store(f"{url}?pgbouncer=true", size=2),
        Store(f"{url}?pgbouncer=true", size=2),
        Store(database_url, size=2),
    ]
    first, second, third = [await make(store) for store in stores]
    # Between two transactions of the first, another may take the lock: so the first is not asked to collect often.
    first.interval_seconds = 3600
    running = asyncio.create_task(first.run())
    await snapshot_of(first)
    await second.run_once()
    await third.run_once()
    assert (second.snapshot, third.snapshot) == (None, None)
    await ended(running)
    assert first.snapshot is None
    running = asyncio.create_task(second.run())
    await snapshot_of(second)
    await ended(running)
    running = asyncio.create_task(third.run())
    await snapshot_of(third)
    await ended(running)
    for store in stores:
        await store.close()


async def test_a_statement_goes_out_in_one_piece_without_a_name(database_url: str) -> None:
    """Parse to Sync at once: a worker that freezes in a transaction freezes where a timeout runs (decision 0018)."""
    sent: list[tuple[str, bytes]] = []
    port = int(database_url.rpartition(":")[2].partition("/")[0])
    server = await asyncio.start_server(lambda *ends: relay(port, sent, *ends), "127.0.0.1", 0)
    ours = server.sockets[0].getsockname()[1]
    store = Store(database_url.replace(f":{port}/", f":{ours}/"), size=1, pooler=Pooler.TRANSACTION)
    await store.probe()
    sent.clear()
    async with store.transaction() as unit:
        await unit.known_users([1])
        await unit.known_websites([1])
        await unit.known_websites([2])
    await store.close()
    server.close()
    assert "".join(kind for kind, _ in sent) == "Q" + "PBES" * 3 + "Q" + "X"
    assert all(body.startswith(b"\0") for kind, body in sent if kind == "P")


def test_no_method_of_ours_hides_one_of_asyncpgs_by_accident() -> None:
    """Only these are replaced on purpose; a release of asyncpg that brings another such name is noticed."""
    ours = {name for kind in (Session, PooledSession) for name in vars(kind) if not name.startswith("__")}
    public = {"fetch", "fetchrow", "fetchval", "execute", "executemany"}
    inside = {"_drop_local_statement_cache", "_get_statement", "_get_unique_id"}
    assert {name for name in ours if hasattr(asyncpg.Connection, name)} == public | inside


async def relay(
    port: int, sent: list[tuple[str, bytes]], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Hand on what client and server say, and note the messages of the client after its first."""
    server_reader, server_writer = await asyncio.open_connection("127.0.0.1", port)

    async def answers() -> None:
        while found := await server_reader.read(65536):
            writer.write(found)
        writer.close()

    answering = asyncio.create_task(answers())
    encrypted = await reader.readexactly(8)  # the question for TLS
    server_writer.write(encrypted)
    length = await reader.readexactly(4)
    server_writer.write(length + await reader.readexactly(int.from_bytes(length) - 4))
    try:
        while True:
            head = await reader.readexactly(5)
            body = await reader.readexactly(int.from_bytes(head[1:]) - 4)
            sent.append((chr(head[0]), body))
            server_writer.write(head + body)
    except asyncio.IncompleteReadError:
        server_writer.close()
    await answering
