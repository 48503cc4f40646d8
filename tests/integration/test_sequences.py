"""Ids and the sequences behind them: others bring ids of their own, a restore leaves sequences behind."""

import asyncio
import re
import uuid
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import structlog

import seeders
from consumer.domain.outcomes import Advanced, Attempted
from consumer.error_classification import Infrastructure, SequenceBehindError, classify
from consumer.messages.inbound import Command
from consumer.messages.inbound_contracts import MAX_ID, WebsiteCreated
from consumer.provisioning.use_case import Policy, ProvisioningUseCase
from consumer.store.database import Store
from consumer.store.sequences import TABLES, IdSequences, id_sequences
from ops.audit.queries import recent_actions
from ops.audit.trail import ActionItem, AuditTrail
from ops.doctor.findings import Level
from ops.doctor.sequence_checks import check_sequences
from ops.errors import InvalidInputError
from ops.websites.signups.submission import reserve_ids
from seeders import insert_statements, seeding
from seeders.loading.pack_library import PackLibrary
from seeders.seeding import Seeders
from statemachine import Trigger
from tests.roles import as_role, with_password
from tests.service import SECONDS, starter
from tests.worker_processes import until

PACKS = Path(seeders.__file__).parent / "packs"
SERIAL = "SELECT 1"
IDENTITY = """
ALTER TABLE pwb_websites ALTER id DROP DEFAULT;
DROP SEQUENCE pwb_websites_id_seq;
ALTER TABLE pwb_websites ALTER id ADD GENERATED {} AS IDENTITY;
"""
BORROWED = "ALTER SEQUENCE pwb_websites_id_seq OWNED BY NONE"
"""A default whose sequence belongs to no column, as some tools restore it."""
FORMS = [SERIAL, IDENTITY.format("BY DEFAULT"), IDENTITY.format("ALWAYS"), BORROWED]
"""Of the column `id`."""
DRAWN = 40
"""Websites that the product inserts meanwhile."""
RESTORED = """
INSERT INTO pwb_users (id, email, created_at, updated_at)
SELECT n, 'u' || n, now(), now() FROM generate_series(1, 40) AS n;
INSERT INTO pwb_websites (id, subdomain, created_at, updated_at, provisioning_due_at)
SELECT n, 'old-' || n, now(), now(), NULL FROM generate_series(1, 40) AS n;
INSERT INTO pwb_user_memberships (id, user_id, website_id, created_at, updated_at)
SELECT n, n, n, now(), now() FROM generate_series(1, 40) AS n;
INSERT INTO pwb_agencies (id, website_id, created_at, updated_at)
SELECT n, n, now(), now() FROM generate_series(1, 40) AS n;
INSERT INTO pwb_links (id, website_id, slug, created_at, updated_at)
SELECT n, 1, n, now(), now() FROM generate_series(1, 2000) AS n;
INSERT INTO pwb_field_keys (id, pwb_website_id, global_key, created_at, updated_at)
SELECT n, 1, n, now(), now() FROM generate_series(1, 40) AS n;
INSERT INTO provisioning_operator_actions (id, actor, verb) OVERRIDING SYSTEM VALUE
SELECT n, 'old', 'pause' FROM generate_series(1, 40) AS n;
"""
"""Rows with their ids, as a restore of the tables alone brings them: every sequence still gives 1 next."""


USED_UP = "ALTER SEQUENCE pwb_users_id_seq MAXVALUE 7; SELECT setval('pwb_users_id_seq', 7)"


def signups(*ids: int, **said: Any) -> list[Command]:
    """Return signups that bring ids of their own."""
    bodies = [{"website_id": n, "subdomain": f"site-{n}"[:40], "owner": {"email": f"a{n}@x.org"}} | said for n in ids]
    return [
        Command(uuid.uuid4(), "website.created", Trigger.ASSIGN_OWNER, body["website_id"],
                created=WebsiteCreated.model_validate(body))
        for body in bodies
    ]  # fmt: skip


def provision(store: Store) -> ProvisioningUseCase:
    return ProvisioningUseCase(store, Seeders(PackLibrary([PACKS])), Policy())


async def position(store: Store, table: str = "pwb_websites") -> int | None:
    """Return the value that a table's sequence gave last."""
    async with store.connection() as connection:
        (sequence,) = await id_sequences(connection, [table])
        return sequence.last_value


async def inserted(store: Store) -> int:
    """Insert a website as the existing product does, which draws its id; return that."""
    async with store.connection() as connection:
        found: int = await connection.fetchval(
            "INSERT INTO pwb_websites (created_at, updated_at) VALUES (now(), now()) RETURNING id"
        )
        return found


# ------------------------------------------------------------------------------------------ ids that signups bring


@pytest.mark.parametrize("form", FORMS)
async def test_the_product_goes_on_after_ids_of_signups(store: Store, form: str) -> None:
    """Whatever gives the ids, serial or identity, it is moved past those that signups bring."""
    async with store.connection() as connection:
        await connection.execute(form)
    outcomes = await provision(store).batch(signups(3, 1, 2))
    assert all(isinstance(outcome, Advanced) for outcome in outcomes)
    assert await inserted(store) == 4
    assert await reserve_ids(store, 2) == [5, 6]


@pytest.mark.parametrize("gap", [1, 5, 999, 1001, 5_000_000])
async def test_the_sequence_is_where_the_greatest_id_is(store: Store, gap: int) -> None:
    """Over a small gap by drawing, over a large one by setting; ids that lie behind move nothing."""
    ids = IdSequences(store)
    await ids.advance([gap, 1])
    assert await position(store) == gap
    await ids.advance([gap, gap - 1, 1])
    assert await position(store) == gap
    await ids.advance([gap + 3])
    assert await position(store) == gap + 3


async def test_a_huge_id_uses_up_nobodys_ids(store: Store) -> None:
    """The sequence is moved past what lies within reach; an id near its end leaves it be, and a doctor is content."""
    await provision(store).batch(signups(MAX_ID, 7, MAX_ID - 1))
    assert await inserted(store) == 8
    assert await reserve_ids(store, 2) == [9, 10]
    assert [finding.level for finding in await check_sequences(store)] == [Level.OK]


@pytest.mark.parametrize(("last", "id_", "wanted"), [(9_000, 5_000, 9_000), (4_999, 5_000, 5_000), (0, 5_000, 5_000)])
async def test_never_backwards(store: Store, last: int, id_: int, wanted: int) -> None:
    """A worker that waits for its turn looks again where the sequence is: another may have moved it."""
    ids = IdSequences(store)
    await ids.advance([0])
    async with store.connection() as other, other.transaction():
        lock = "SELECT pg_advisory_xact_lock('pg_class'::regclass::int, 'pwb_websites_id_seq'::regclass::int)"
        await other.execute(lock)
        waiting = asyncio.create_task(ids.advance([id_]))

        async def waits() -> bool:
            return bool(
                await other.fetchval("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
            )

        await until(waits, SECONDS, "the worker waits for the lock")
        if last:
            await other.execute("SELECT setval('pwb_websites_id_seq', $1)", last)
    await waiting
    assert await position(store) == wanted


async def test_two_workers_and_the_product(store: Store, database_url: str) -> None:
    """Two workers register signups while the product inserts websites: no id is given twice, and none is behind."""
    another = Store(database_url, size=2)
    workers = [provision(store), provision(another)]
    batches = [range(100 * n + 1, 100 * n + 20 + n % 3) for n in range(30)]
    drawn: list[int] = []

    async def work(which: int) -> None:
        for batch in batches[which::2]:
            await workers[which].batch(signups(*batch))

    async def product() -> None:
        while len(drawn) < DRAWN:
            drawn.append(await inserted(store))

    # The product may draw an id that a signup then brings before the product has inserted its row: nobody can help it.
    results = await asyncio.gather(work(0), work(1), product(), return_exceptions=True)
    assert results[:2] == [None, None]
    assert len(set(drawn)) == len(drawn)
    assert drawn == sorted(drawn), "a sequence that went backwards"
    assert await inserted(store) > max(max(batch) for batch in batches)
    await another.close()


async def test_a_role_without_rights_registers_all_the_same(store: Store, database_url: str) -> None:
    """What the role may not move stays, no website fails, and the doctor says which right is lacking."""
    role = f"ids_{database_url[-8:]}"
    async with store.connection() as connection:
        await connection.execute(f"""CREATE ROLE {role} {with_password(database_url)};
            GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role};
            GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {role};
            REVOKE ALL ON SEQUENCE pwb_websites_id_seq FROM {role}""")
    poor = Store(as_role(database_url, role), size=2)
    (outcome,) = await provision(poor).batch(signups(1))
    assert isinstance(outcome, Advanced)
    assert await position(store) == 0
    (finding,) = await check_sequences(poor)
    assert (finding.level, finding.what) == (Level.WARN, "rights on sequences")
    assert "pwb_websites_id_seq" in finding.have
    assert "GRANT USAGE, SELECT, UPDATE ON SEQUENCE pwb_websites_id_seq" in finding.next
    (finding,) = await check_sequences(store)
    assert (finding.level, finding.what) == (Level.FAIL, "sequences")
    # With USAGE alone, all that an INSERT needs, it is drawn forward, however far.
    async with store.connection() as connection:
        await connection.execute(f"GRANT USAGE ON SEQUENCE pwb_websites_id_seq TO {role}")
    await provision(poor).batch(signups(3000))
    assert await inserted(store) == 3001
    await poor.close()
    async with store.connection() as connection:
        await connection.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


async def test_a_sequence_that_was_restarted_is_not_set_back(store: Store) -> None:
    """One that is to give 10,000 next has given nothing yet: it is no less far for that."""
    async with store.connection() as connection:
        await connection.execute("ALTER SEQUENCE pwb_websites_id_seq RESTART WITH 10000")
    await provision(store).batch(signups(5000))
    assert await inserted(store) > 10_000
    async with store.connection() as connection:
        await connection.execute("ALTER SEQUENCE pwb_websites_id_seq RESTART WITH 20000")
    assert [finding.level for finding in await check_sequences(store)] == [Level.OK]


# ------------------------------------------------------------------------------------------------- after a restore


async def test_websites_go_live_after_a_restore(store: Store, database_url: str, tmp_path: Path) -> None:
    """Each sequence starts anew behind its table: every website goes live, from its own pack, at no attempt."""
    async with store.connection() as connection:
        await connection.execute(RESTORED)
    async with starter(database_url, tmp_path)(concurrency=2) as service:
        for website_id in range(101, 121):
            await service.created(website_id, site_type="residential")
        for website_id in range(101, 121):
            await service.reaches(website_id, "live")
        assert service.letters() == []
        told = "SELECT count(*) FROM provisioning_transitions WHERE to_state = 'failed' OR detail ? 'fallback'"
        assert await service.connection.fetchval(told) == 0
    assert [finding.level for finding in await check_sequences(store)] == [Level.OK]


async def test_an_insert_that_skips_conflicts_skips_no_owner(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where conflicts of any unique index are skipped, one of the id is, too: the owner is missed, then inserted."""
    skipping = re.sub(r"ON CONFLICT .*DO NOTHING", "ON CONFLICT DO NOTHING", seeding.STATEMENTS["insert_users"])
    monkeypatch.setitem(insert_statements.SQL, "insert_users", skipping)
    async with store.connection() as connection:
        await connection.execute(RESTORED)
    for outcome in await provision(store).batch(signups(100, 101)):
        assert isinstance(outcome, Advanced)
    # An owner who is not there for another reason is a guard that does not hold, as ever.
    monkeypatch.setitem(
        insert_statements.SQL,
        "insert_users",
        "SELECT 1 WHERE $1::bigint[] IS NULL AND $2::text[] IS NULL AND $3::text[] IS NULL",
    )
    (outcome,) = await provision(store).batch(signups(102))
    assert isinstance(outcome, Attempted)


@pytest.mark.parametrize("done", [0, 1, 2])
async def test_alone_too_a_pack_is_not_to_blame(store: Store, done: int) -> None:
    """A batch of one tries its pack in a savepoint: an id that is taken is no row that the database refuses."""
    commands = [
        *signups(50),
        Command(uuid.uuid4(), "provisioning.complete_agency", Trigger.COMPLETE_AGENCY, 50),
        Command(uuid.uuid4(), "provisioning.complete_links", Trigger.COMPLETE_LINKS, 50),
    ]
    use_case = provision(store)
    for command in commands[:done]:
        await use_case.batch([command])
    async with store.connection() as connection:
        await connection.execute("""
            INSERT INTO pwb_users (id, email, created_at, updated_at)
            SELECT n, 'u' || n, now(), now() FROM generate_series(2, 40) AS n;
            INSERT INTO pwb_agencies (id, website_id, created_at, updated_at)
            SELECT n, n + 1000, now(), now() FROM generate_series(2, 40) AS n;
            INSERT INTO pwb_links (id, website_id, slug, created_at, updated_at)
            SELECT n, 1, n, now(), now() FROM generate_series(1, 40) AS n;
            SELECT setval(pg_get_serial_sequence(name, 'id'), 2, false)
              FROM unnest(ARRAY['pwb_users', 'pwb_agencies', 'pwb_links']) AS name""")
    (outcome,) = await use_case.batch(commands[done : done + 1], alone=True)
    assert isinstance(outcome, Advanced)
    assert "fallback" not in outcome.row.detail


async def test_a_sequence_that_may_not_be_moved_fails_no_website(store: Store, database_url: str) -> None:
    """An identity column needs no right to insert: the error is that of a missing right, which pauses and counts
    nothing."""
    role = f"ids_{database_url[-8:]}"
    async with store.connection() as connection:
        await connection.execute(f"""
            ALTER TABLE pwb_user_memberships ALTER id DROP DEFAULT;
            DROP SEQUENCE pwb_user_memberships_id_seq;
            ALTER TABLE pwb_user_memberships ALTER id ADD GENERATED BY DEFAULT AS IDENTITY;
            {RESTORED} CREATE ROLE {role} {with_password(database_url)};
            GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role};
            GRANT USAGE, UPDATE ON ALL SEQUENCES IN SCHEMA public TO {role};
            REVOKE ALL ON SEQUENCE pwb_user_memberships_id_seq FROM {role}""")
    poor = Store(as_role(database_url, role), size=2)
    with pytest.raises(SequenceBehindError) as raised:
        await provision(poor).batch(signups(100))
    fault = classify(raised.value)
    assert isinstance(fault, Infrastructure)
    assert "GRANT USAGE, SELECT, UPDATE ON SEQUENCE pwb_user_memberships_id_seq" in fault.error
    async with store.connection() as connection:
        await connection.execute(f"GRANT USAGE ON SEQUENCE pwb_user_memberships_id_seq TO {role}")
    (outcome,) = await provision(poor).batch(signups(100))
    assert isinstance(outcome, Advanced)
    await poor.close()
    async with store.connection() as connection:
        await connection.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


async def test_ids_that_have_run_out_fail_no_website(store: Store) -> None:
    """A sequence at its end is nothing that a signup could mend: the worker waits, and the error names the sequence."""
    async with store.connection() as connection:
        await connection.execute(USED_UP)
    with pytest.raises(asyncpg.SequenceGeneratorLimitExceededError) as raised:
        await provision(store).batch(signups(1), alone=True)
    fault = classify(raised.value)
    assert isinstance(fault, Infrastructure)
    assert '"pwb_users_id_seq"' in fault.error
    async with store.connection() as connection:
        await connection.execute("ALTER SEQUENCE pwb_users_id_seq NO MAXVALUE")
    (outcome,) = await provision(store).batch(signups(1))
    assert isinstance(outcome, Advanced)


async def test_the_doctor_finds_sequences_that_have_few_ids_left(store: Store) -> None:
    """At the end it fails, before it warns; what an integer column can hold counts, too."""
    async with store.connection() as connection:
        await connection.execute(USED_UP)
        await connection.execute(
            """ALTER TABLE pwb_agencies ALTER id TYPE integer;
               SELECT setval('pwb_agencies_id_seq', 2000000000);
               SELECT setval('pwb_links_id_seq', 2000000000)"""
        )
    used_up, few = await check_sequences(store)
    assert (used_up.level, few.level) == (Level.FAIL, Level.WARN)
    assert "pwb_users_id_seq is at 7" in used_up.have
    assert "pwb_agencies can have ids up to 2147483647" in few.have
    assert "ALTER TABLE pwb_agencies ALTER id TYPE bigint" in few.next


async def test_another_unique_index_is_no_id(store: Store) -> None:
    """What breaks a rule of the data stays an error, once."""
    async with store.connection() as connection:
        await connection.execute(
            """INSERT INTO pwb_websites (id, subdomain, created_at, updated_at)
               VALUES (1, NULL, now(), now()), (2, 'site-1', now(), now())"""
        )
    with pytest.raises(asyncpg.UniqueViolationError):
        await provision(store).batch(signups(1), alone=True)


async def test_what_operators_do_is_recorded_after_a_restore(store: Store) -> None:
    """The audit trail has an identity column, whose sequence a restore leaves behind as well."""
    async with store.connection() as connection:
        await connection.execute(RESTORED)
    for number in (41, 42):
        async with AuditTrail(store, "ana").action("pause") as action:
            assert (await action.record([ActionItem(), ActionItem()]), action.id) == ([1, 2], number)
    assert [action["actor"] for action in await recent_actions(store, limit=2)] == ["ana", "ana"]


async def test_the_doctor_finds_each_table_and_says_what_to_run(store: Store) -> None:
    """Each sequence that is behind is named, and after what the finding says, none is."""
    async with store.connection() as connection:
        await connection.execute(RESTORED)
        known = await id_sequences(connection, TABLES)
    assert {sequence.table for sequence in known} == {
        "pwb_websites", "pwb_users", "pwb_user_memberships", "pwb_agencies", "pwb_links", "pwb_field_keys",
        "provisioning_operator_actions",
    }  # fmt: skip
    (finding,) = await check_sequences(store)
    assert finding.level == Level.FAIL
    assert all(f"{sequence.name} is at 0" in finding.have for sequence in known)
    async with store.connection() as connection:
        await connection.execute(finding.next.partition(":")[0])
    assert [finding.level for finding in await check_sequences(store)] == [Level.OK]


async def test_in_the_existing_products_database(guest_url: str, guest: Any) -> None:
    """There too: integer and bigint ids, whatever else the product's tables have."""
    store = Store(guest_url, size=2)
    greatest = await guest.fetchval("SELECT coalesce(max(id), 0) FROM pwb_websites")
    assert [finding.level for finding in await check_sequences(store)] == [Level.OK]
    outcomes = await provision(store).batch(signups(greatest + 5, greatest + 3))
    assert all(isinstance(outcome, Advanced) for outcome in outcomes)
    assert await reserve_ids(store, 1) == [greatest + 6]
    await guest.execute("SELECT setval(pg_get_serial_sequence('pwb_users', 'id'), 1, false)")
    (finding,) = await check_sequences(store)
    assert (finding.level, "pwb_users" in finding.have) == (Level.FAIL, True)
    (outcome,) = await provision(store).batch(signups(greatest + 7))
    assert isinstance(outcome, Advanced)
    assert [finding.level for finding in await check_sequences(store)] == [Level.OK]
    await store.close()


# ---------------------------------------------------------------------------------------------------- reserved ids


async def test_reserved_ids_are_free(store: Store) -> None:
    """The sequence gives ids that others have brought: `submit` without an id gets none of those."""
    async with store.connection() as connection:
        await connection.execute(
            """INSERT INTO pwb_websites (id, created_at, updated_at)
               SELECT n, now(), now() FROM generate_series(1, 3) AS n"""
        )
    assert await reserve_ids(store, 3) == [4, 5, 6]


async def test_reserved_ids_need_a_sequence(store: Store) -> None:
    """Where ids come from elsewhere, the refusal says to name one."""
    async with store.connection() as connection:
        await connection.execute("ALTER TABLE pwb_websites ALTER id DROP DEFAULT; DROP SEQUENCE pwb_websites_id_seq")
    with pytest.raises(InvalidInputError, match="has no sequence"):
        await reserve_ids(store, 1)
    (outcome,) = await provision(store).batch(signups(1))
    assert isinstance(outcome, Advanced)


async def test_who_holds_the_lock_of_a_sequence_delays_one_batch(store: Store, database_url: str) -> None:
    """Anybody who can connect may hold an advisory lock: websites go on, and one wait is enough."""
    stranger = await asyncpg.connect(database_url)
    hold = "SELECT pg_advisory_lock('pg_class'::regclass::int, 'pwb_websites_id_seq'::regclass::int)"
    await stranger.execute(hold)
    use_case = provision(store)
    with structlog.testing.capture_logs() as lines:
        for first in (100, 200, 300):
            for outcome in await use_case.batch(signups(first, first + 1)):
                assert isinstance(outcome, Advanced)
    assert [line["event"] for line in lines if line["log_level"] == "warning"] == ["sequence not moved"]
    await stranger.close()
