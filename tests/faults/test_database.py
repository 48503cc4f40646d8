"""Section D: what a PostgreSQL may do to its clients, and what others may do in it. See also test_outages.py, 49."""

import asyncio
import os
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from consumer.app import App
from consumer.worker.gate import ClosedBy
from ops.sandbox.postgres import PostgresServer
from tests.factories import STEPS
from tests.faults.conftest import Scaled
from tests.faults.scene import SECONDS, Scene
from tests.faults.turnstile import Turnstile
from tests.roles import as_role, with_password
from tests.worker_processes import until

WORKERS = "datname = current_database() AND application_name = 'provisioner'"
WEBSITES = 30


async def sessions(scene: Scene, condition: str = "true") -> int:
    """Count the workers' sessions."""
    async with scene.connection() as connection:
        found: int = await connection.fetchval(
            f"SELECT count(*) FROM pg_stat_activity WHERE {WORKERS} AND ({condition})"
        )
    return found


async def database_away(app: App) -> None:
    """Wait until the worker pauses because of the database."""
    async with asyncio.timeout(SECONDS):
        await app.gate.wait_closed_by(ClosedBy.DATABASE)


async def terminate(scene: Scene, condition: str = "true") -> None:
    """Wait until workers have such sessions, and end them."""

    async def ended() -> bool:
        async with scene.connection() as connection:
            done: int = await connection.fetchval(
                f"""SELECT count(*) FILTER (WHERE pg_terminate_backend(pid)) FROM pg_stat_activity
                     WHERE {WORKERS} AND ({condition})"""
            )
        return done > 0

    await until(ended, SECONDS, f"a session to terminate: {condition}")


async def in_the_middle(scene: Scene, count: int = WEBSITES) -> None:
    """Publish signups, and wait until some are live."""
    await scene.sign_up(count)
    await scene.live(1)


@asynccontextmanager
async def slow_inserts(scene: Scene, table: str, seconds: float) -> AsyncIterator[None]:
    """Make each insert into a table take so long."""
    async with scene.connection() as connection:
        await connection.execute(
            f"""CREATE FUNCTION linger() RETURNS trigger LANGUAGE plpgsql AS
                  $$ BEGIN PERFORM pg_sleep({seconds}); RETURN NEW; END $$;
                CREATE TRIGGER lingering BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION linger()"""
        )
        try:
            yield
        finally:
            await connection.execute("DROP FUNCTION linger() CASCADE")


@pytest.mark.fault(48)
async def test_sessions_terminated_while_idle(scene: Scene) -> None:
    """Every idle session is ended by an administrator: the pool opens others."""
    await scene.start()
    await scene.sign_up(3)
    await scene.reckon({"live": 3})
    await terminate(scene, "state = 'idle'")
    await scene.sign_up(3)
    await scene.reckon({"live": 6})


@pytest.mark.fault(48)
@pytest.mark.parametrize("place", ["locked", "judged", "pre_commit"])
async def test_a_session_terminated_in_a_transaction(scene: Scene, turnstile: Turnstile, place: str) -> None:
    """The session of a transaction is ended under it: nothing of it stays, and it is done once more."""
    turnstile.shut(place, skip=2)
    async with scene.app(concurrency=1, idle_transaction_seconds=60) as app:
        await scene.sign_up(1)
        await turnstile.stand(place)
        await terminate(scene, "state = 'idle in transaction'")
        turnstile.open(place)
        await database_away(app)
        await scene.reckon({"live": 1})


@pytest.mark.fault(48, 57)
async def test_a_session_terminated_at_commit(database_scene: Scene) -> None:
    """A session is ended while its COMMIT waits for a standby: it is committed, and the worker is told nothing."""
    scene = database_scene
    await scene.start(statement_timeout_seconds=30, command_timeout_seconds=30, step_timeout_seconds=60)
    await scene.sign_up(3)
    await scene.reckon({"live": 3})
    async with scene.connection() as admin:
        await admin.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
        await admin.execute("SELECT pg_reload_conf()")
        try:
            await scene.sign_up(1)
            await terminate(scene, "wait_event = 'SyncRep' AND query = 'COMMIT'")
            assert await scene.count() == 4, "it is committed"
        finally:
            await admin.execute("ALTER SYSTEM RESET synchronous_standby_names")
            await admin.execute("SELECT pg_reload_conf()")
    await scene.paused("database")
    await scene.reckon({"live": 4})
    assert scene.lines(event="delivery", outcome="alreadydone", website_id=4), "the message came round again"


@pytest.mark.fault(50)
async def test_postgresql_away_at_the_start(scene: Scene, scaled: Scaled) -> None:
    """A worker that finds no PostgreSQL consumes nothing, and works once there is one."""
    proxy = await scene.postgres_proxy()
    await proxy.refuse()
    pid = await scene.start()
    await scene.paused("database")
    await scene.sign_up(5)
    await asyncio.sleep(scaled(0.5, 120))
    os.kill(pid, 0)
    await scene.consumers(0)
    await proxy.accept()
    await scene.reckon({"live": 5})


@pytest.mark.fault(51)
async def test_postgresql_away_under_load(database_scene: Scene, own_postgres: PostgresServer, scaled: Scaled) -> None:
    """Signups keep coming while PostgreSQL is away: no attempt, no dead letter, not even a delivery is counted."""
    scene = database_scene
    await scene.start()
    await in_the_middle(scene)
    await asyncio.to_thread(own_postgres.stop)
    try:
        await scene.paused("database")
        await scene.sign_up(WEBSITES)
        await asyncio.sleep(scaled(1, 600))
    finally:
        await asyncio.to_thread(own_postgres.start)
    await scene.reckon({"live": 2 * WEBSITES})
    assert not scene.lines(event="delivery", redelivered=True), "the broker counted a delivery"


@pytest.mark.fault(53)
async def test_a_deadlock(scene: Scene, postgres: PostgresServer) -> None:
    """A stranger locks in the opposite order; the worker is the victim, and tries again."""
    before = postgres.log.read_text().count("ERROR:  deadlock detected")
    async with scene.connection() as stranger:
        # A session looks for a deadlock once, so long after it began to wait: by then the stranger must wait, too.
        await stranger.execute(f"ALTER DATABASE {scene.database_url.rpartition('/')[2]} SET deadlock_timeout = '3s'")
        await stranger.execute("SET deadlock_timeout = '10min'")
        await stranger.execute("INSERT INTO pwb_websites (id, created_at, updated_at) VALUES (1, now(), now())")
        knot = stranger.transaction()
        await knot.start()
        await stranger.execute(
            "INSERT INTO pwb_agencies (website_id, display_name, created_at, updated_at) VALUES (1, 'K', now(), now())"
        )
        await scene.start(lock_timeout_seconds=20, statement_timeout_seconds=20, command_timeout_seconds=20)
        await scene.sign_up(1)

        async def worker_waits() -> bool:
            return await sessions(scene, "wait_event_type = 'Lock'") > 0

        await until(worker_waits, SECONDS, "a worker that waits for the stranger")
        # The worker holds the website and waits for the agency; now the stranger wants the website.
        await stranger.execute("SELECT id FROM pwb_websites WHERE id = 1 FOR UPDATE")
        await knot.rollback()
    assert postgres.log.read_text().count("ERROR:  deadlock detected") == before + 1
    await scene.reckon({"live": 1}, charged=True)


@pytest.mark.fault(54)
async def test_a_statement_timeout_in_a_step(scene: Scene) -> None:
    """A step's statement takes longer than it may: it is tried again by the clock, and once it is fast, all go live."""
    await scene.start(statement_timeout_seconds=0.2)
    async with slow_inserts(scene, "pwb_links", 30):
        await scene.sign_up(2)
        await scene.said(2, outcome="attempted")
    await scene.reckon({"live": 2}, charged=True)
    assert {"57014" in line["error"] for line in scene.lines(outcome="attempted")} == {True}


@pytest.mark.fault(55)
async def test_a_session_ended_for_idling_in_a_transaction(scene: Scene, turnstile: Turnstile) -> None:
    """The server gives up on a transaction that does nothing for too long: none of it stays, nothing is charged."""
    turnstile.shut("stepped", skip=2)
    async with scene.app(concurrency=1, idle_transaction_seconds=0.2) as app:
        await scene.sign_up(1)
        await turnstile.stand("stepped")
        async with scene.connection() as connection:
            before = await connection.fetchval("SELECT max(seq) FROM provisioning_transitions")

        async def ended() -> bool:
            return await sessions(scene, "state = 'idle in transaction'") == 0

        await until(ended, SECONDS, "the server's patience")
        turnstile.open("stepped")
        await database_away(app)
        assert before < STEPS
        await scene.reckon({"live": 1})
        async with scene.connection() as connection:
            assert await connection.fetchval("SELECT bool_and(provisioning_attempts = 0) FROM pwb_websites")


@pytest.mark.fault(56)
async def test_a_half_open_client_holds_the_lock(scene: Scene, scaled: Scaled) -> None:
    """A worker vanishes with a row lock: the server frees it in time, and another worker takes the website on."""
    patience = scaled(0.5, 15)
    proxy = await scene.postgres_proxy()
    vanished = await scene.start("locked=stop@3", idle_transaction_seconds=patience)
    await scene.sign_up(1)
    await scene.said(event="failpoint")
    proxy.hold("server", "client")
    os.kill(vanished, signal.SIGCONT)
    began = asyncio.get_running_loop().time()
    async with scene.app():
        # Whoever gets the command first finds it locked; then the clock has it.

        async def taken_on() -> bool:
            return await scene.count("provisioning_seq > 1") == 1

        await until(taken_on, SECONDS, "another worker's step")
        assert proxy.hits["hold server"], "what the vanished worker said did not arrive"
        assert asyncio.get_running_loop().time() - began < patience + 5
        proxy.heal()
        await scene.reckon({"live": 1})


@pytest.mark.fault(57)
async def test_commit_applied_and_its_answer_lost(scene: Scene) -> None:
    """COMMIT arrives and its answer does not, five times: committed once each, nothing failed, nothing doubled."""
    proxy = await scene.postgres_proxy()
    await scene.start(concurrency=1, batch_size=1)
    for lost in range(1, 6):
        await scene.sign_up(1)
        proxy.cut_answer_to = b"COMMIT\0"  # the statement; the word alone stands in a comment of another one

        async def cut(lost: int = lost) -> bool:
            return proxy.hits["answer cut"] >= lost

        await until(cut, SECONDS, f"{lost} answers cut")
    await scene.reckon({"live": 5})
    assert scene.lines(event="delivery", outcome="alreadydone"), "one was committed, and nobody knew"


@pytest.mark.fault(58)
async def test_the_pool_exhausted(scene: Scene) -> None:
    """Eight workers share one connection, and somebody keeps that: they wait without charge, and nothing leaks."""
    async with scene.app(concurrency=8, command_timeout_seconds=0.3) as app:
        app.store._size = 1
        await scene.sign_up(3)
        await scene.live(3)
        async with app.store.connection():
            await scene.sign_up(WEBSITES)
            await database_away(app)
        await scene.reckon({"live": 3 + WEBSITES})
        pool = app.store._pool
        assert (pool.get_size(), pool.get_max_size()) == (1, 1)

        async def all_back() -> bool:
            return bool(pool.get_idle_size() == 1)

        await until(all_back, SECONDS, "the connection back in the pool")


@pytest.mark.fault(59)
async def test_the_disk_full(database_scene: Scene, own_postgres: PostgresServer) -> None:
    """Tables cannot grow: the pool pauses and charges nothing, and goes on when there is room."""
    scene = database_scene
    async with small_disk(scene, own_postgres) as ballast:
        await scene.start()
        await scene.sign_up(60)
        await scene.paused("database", error="53100")
        assert await scene.count("provisioning_state = 'live'") < 60
        ballast.unlink()
        await scene.reckon({"live": 60})


@asynccontextmanager
async def small_disk(scene: Scene, server: PostgresServer) -> AsyncIterator[Path]:
    """Put links on a disk of their own that is nearly full; lend what fills it."""
    disk = server.data_dir.parent / "disk"
    async with scene.connection() as admin:
        user, group = server.data_dir.stat().st_uid, server.data_dir.stat().st_gid
        disk.mkdir()
        options = f"size=16m,uid={user},gid={group},mode=700"
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(disk)], check=True)
        try:
            room = disk / "tablespace"
            room.mkdir()
            os.chown(room, user, group)
            await admin.execute(f"CREATE TABLESPACE small LOCATION '{room}'")
            await admin.execute("ALTER TABLE pwb_links SET TABLESPACE small")
            ballast = disk / "ballast"
            ballast.write_bytes(b"x" * (16 * 2**20 - 24 * 1024 - disk_used(disk)))
            yield ballast
            await admin.execute("ALTER TABLE pwb_links SET TABLESPACE pg_default")
            await admin.execute("DROP TABLESPACE small")
        finally:
            subprocess.run(["umount", "--lazy", str(disk)], check=True)


def disk_used(disk: Path) -> int:
    """Return how many bytes of a disk are used."""
    stat = os.statvfs(disk)
    return (stat.f_blocks - stat.f_bfree) * stat.f_frsize


@pytest.mark.fault(60)
async def test_the_database_read_only(scene: Scene) -> None:
    """Sessions that were opened while the database was read-only stay so; once it is not, they are replaced."""
    name = scene.database_url.rpartition("/")[2]
    await scene.start(concurrency=4)
    await scene.sign_up(3)
    await scene.reckon({"live": 3})
    async with scene.connection() as admin:
        await admin.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        await terminate(scene)
        await scene.sign_up(WEBSITES)
        await scene.paused("database", error="25006")
        await admin.execute("SET default_transaction_read_only = off")
        await admin.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
    await scene.reckon({"live": 3 + WEBSITES})


@pytest.mark.fault(61)
async def test_a_serialization_failure(scene: Scene, postgres: PostgresServer) -> None:
    """Where transactions are serializable, somebody else's update of the row ends ours; it is tried again."""
    before = postgres.log.read_text().count("ERROR:  could not serialize access")
    name = scene.database_url.rpartition("/")[2]
    async with scene.connection() as stranger:
        await stranger.execute(f"ALTER DATABASE {name} SET default_transaction_isolation = 'serializable'")
        await stranger.execute("INSERT INTO pwb_websites (id, created_at, updated_at) VALUES (1, now(), now())")
        rival = stranger.transaction()
        await rival.start()
        await stranger.execute("UPDATE pwb_websites SET updated_at = now() WHERE id = 1")
        await scene.start(lock_timeout_seconds=20, statement_timeout_seconds=20, command_timeout_seconds=20)
        await scene.sign_up(1)

        async def worker_waits() -> bool:
            return await sessions(scene, "wait_event_type = 'Lock'") > 0

        await until(worker_waits, SECONDS, "a worker that waits for the stranger")
        await rival.commit()
    await scene.reckon({"live": 1}, charged=True)
    assert postgres.log.read_text().count("ERROR:  could not serialize access") > before


@pytest.mark.fault(62)
async def test_a_migration_holds_a_table(scene: Scene, scaled: Scaled) -> None:
    """A migration locks the table of websites: whoever needs it waits and charges nothing, and goes on after it."""
    await scene.start(lock_timeout_seconds=0.1)
    await in_the_middle(scene)
    async with scene.connection() as migration, migration.transaction():
        await migration.execute("LOCK TABLE pwb_websites")
        done = await migration.fetchval("SELECT count(*) FROM pwb_websites WHERE provisioning_state = 'live'")

        async def waits() -> bool:
            return await sessions(scene, "wait_event_type = 'Lock'") > 0

        # Between two tries nobody waits: seen once is enough, and it goes on for as long as the catalogue says.
        await until(waits, SECONDS, "a session that waits for the table")
        await asyncio.sleep(scaled(0, 20))
    assert done < WEBSITES, "the fault came too late to matter"
    await scene.reckon({"live": WEBSITES})


@pytest.mark.fault(63)
async def test_too_many_connections(scene: Scene) -> None:
    """No connection is to be had: the pool pauses, and goes on when there is room."""
    role = scene.topology.namespace.replace("-", "_")
    async with scene.connection() as admin:
        await admin.execute(
            f"""CREATE ROLE {role} {with_password(scene.database_url)} CONNECTION LIMIT 20;
                GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role};
                GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {role}"""
        )
        await scene.start(database_url=as_role(scene.database_url, role))
        await in_the_middle(scene)
        await admin.execute(f"ALTER ROLE {role} CONNECTION LIMIT 0")
        await terminate(scene)
        await scene.paused("database", error="53300")
        await admin.execute(f"ALTER ROLE {role} CONNECTION LIMIT 20")
        await scene.reckon({"live": WEBSITES})
        for pid in list(scene.zygote.running):
            await scene.zygote.kill(pid)
        await admin.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")
