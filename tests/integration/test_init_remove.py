"""The way back: `init --remove` takes away what binds others and keeps the rest; the next `init` makes it again. And
what the product takes away itself, when it loads its schema anew."""

import asyncio
from pathlib import Path
from typing import Any

import asyncpg
import pytest

import seeders
from consumer.config import Settings
from consumer.store import rules_template, schema_lifecycle
from consumer.store.database import Store
from consumer.store.lock_retries import LockWaitError, WaitPolicy
from consumer.store.rules_template import Mode
from consumer.store.schema_diff import inspect_schema
from consumer.worker.gate import ClosedBy
from ops.doctor.incomplete_migrations import removal_remarks, schema_remarks
from ops.doctor.schema_checks import check_schema
from ops.doctor.website_checks import check_websites
from tests.conftest import make_schema
from tests.existing_product import IDS, OPERATIONS, RELEASED, ROLE, Operation, carry_out, moved
from tests.integration.test_schema import whole_catalogue
from tests.service import SECONDS, Service, starter
from tests.worker_processes import until

PACKS = Path(seeders.__file__).parent / "packs"
OURS = "UPDATE pwb_websites SET provisioning_seq = 3, provisioning_published_seq = 3 WHERE id = $1"
BINDS = """
SELECT tgname AS name FROM pg_trigger WHERE NOT tgisinternal
 UNION ALL
SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace
 UNION ALL
SELECT conname FROM pg_constraint WHERE conrelid = 'pwb_websites'::regclass AND contype = 'c'
"""
UNIQUE = "SELECT indexrelid::regclass::text FROM pg_index WHERE indisunique AND indrelid::regclass::text LIKE 'pwb%'"


async def unique_indexes(connection: Any) -> set[str]:
    """Return the unique indexes of the product's tables."""
    return {row[0] for row in await connection.fetch(UNIQUE)}


async def test_what_binds_others_is_gone_and_the_rest_stays(product: Any, empty_database_url: str) -> None:
    """No trigger, function, check or unique index of ours is left, the product's are; the rest of its catalogue and
    all rows are as before."""
    before, unique = await whole_catalogue(product), await unique_indexes(product)
    await make_schema(empty_database_url)
    await product.execute(OURS, IDS["live"])
    await carry_out(product, ROLE, Operation(0, "", (), [moved("suspended")]), IDS["live"])
    rows = await product.fetch("SELECT * FROM pwb_websites ORDER BY id")
    log = await product.fetch("SELECT * FROM provisioning_transitions")
    store = Store(empty_database_url, size=3)
    await schema_lifecycle.remove(store)
    await store.close()
    after = await whole_catalogue(product)
    assert [row["name"] for row in await product.fetch(BINDS)] == []
    assert await unique_indexes(product) == unique
    assert {part: after.get(part) for part in before} == before
    assert await product.fetch("SELECT * FROM pwb_websites ORDER BY id") == rows
    assert await product.fetch("SELECT * FROM provisioning_transitions") == log
    assert len(log) == 1


async def test_init_brings_all_back_twice(guest: Any, guest_store: Store) -> None:
    """As it was, each time, and whose database it is is not decided anew; to remove twice is to remove once."""
    whole = await whole_catalogue(guest)
    for _ in range(2):
        await schema_lifecycle.remove(guest_store)
        removed = await whole_catalogue(guest)
        assert removed != whole
        assert "index_pwb_agencies_unique_website_id" in await schema_lifecycle.lacking(guest_store), (
            "so no worker is ready"
        )
        await schema_lifecycle.remove(guest_store)
        assert await whole_catalogue(guest) == removed
        difference = await schema_lifecycle.apply(guest_store)
        assert (difference.outdated, difference.not_in_force, difference.installation.mode) == (False, (), Mode.GUEST)
        assert await whole_catalogue(guest) == whole


async def test_remove_where_nothing_is(empty_database_url: str) -> None:
    """An empty database stays empty."""
    store = Store(empty_database_url, size=3)
    async with store.connection() as connection:
        await schema_lifecycle.remove(store)
        assert await whole_catalogue(connection) == {}
    await store.close()


OLD = "SELECT skip_properties FROM pwb_websites"


@pytest.mark.parametrize("known", [False, True], ids=["not seen", "upgraded"])
async def test_the_columns_of_0_1_0_go_where_their_values_are_kept(empty_database_url: str, *, known: bool) -> None:
    """They are named as events of the product's; but only what the new columns have may go."""
    store = Store(empty_database_url, size=3)
    async with store.connection() as connection:
        await connection.execute(RELEASED.read_text())
        await connection.execute("ALTER TABLE pwb_websites ADD COLUMN theme_name varchar")
        await connection.execute(
            "INSERT INTO pwb_websites (skip_properties, created_at, updated_at) VALUES (true, now(), now())"
        )
        if known:
            await schema_lifecycle.apply(store)
        await schema_lifecycle.remove(store)
        assert [row["name"] for row in await connection.fetch(BINDS)] == []
        remarks = await removal_remarks(connection, await inspect_schema(connection))
        if known:
            with pytest.raises(asyncpg.UndefinedColumnError):
                await connection.fetch(OLD)
            assert await connection.fetchval(OLD.replace("skip", "provisioning_skip")) is True
            assert [remark for remark in remarks if "SET DEFAULT 'live'" not in remark] == []
        else:
            assert await connection.fetchval(OLD) is True
            assert any("run `provisioner init`, then `provisioner init --remove`" in remark for remark in remarks)
    await store.close()


async def test_nothing_is_locked_where_nothing_is_left_to_remove(
    guest: Any, guest_store: Store, guest_url: str
) -> None:
    """A second removal goes through while somebody reads and writes the tables."""
    await schema_lifecycle.remove(guest_store)
    other = await asyncpg.connect(guest_url)
    async with other.transaction():
        await other.execute("UPDATE pwb_websites SET updated_at = now(); SELECT count(*) FROM pwb_agencies")
        await schema_lifecycle.remove(
            guest_store, WaitPolicy(lock_seconds=0.3, pause_seconds=0.05, patience_seconds=0.8)
        )
    await other.close()


async def test_a_removal_gives_way(guest: Any, guest_store: Store, guest_url: str) -> None:
    """It waits in turns, is given up with the name of who is in the way, and is done by the next one."""
    other = await asyncpg.connect(guest_url, server_settings={"application_name": "pg_dump"})
    async with other.transaction():
        await other.execute("SELECT count(*) FROM pwb_websites")
        with pytest.raises(LockWaitError, match="pwb_websites is in use by pg_dump"):
            await schema_lifecycle.remove(
                guest_store, WaitPolicy(lock_seconds=0.3, pause_seconds=0.05, patience_seconds=0.8)
            )
    await other.close()
    await schema_lifecycle.remove(guest_store)
    assert [row["name"] for row in await guest.fetch(BINDS)] == []


async def test_the_products_websites_are_not_woken_by_the_next_init(guest: Any, guest_store: Store) -> None:
    """One that was due in ten minutes is moved on by the product meanwhile, which nobody puts off; ours stays due."""
    await guest.execute(OURS, IDS["live"])
    await guest.execute("UPDATE pwb_websites SET provisioning_due_at = now() WHERE id = $1", IDS["live"])
    await guest.execute("UPDATE pwb_websites SET provisioning_due_at = now() WHERE id = $1", IDS["ready"])
    await schema_lifecycle.remove(guest_store)
    await schema_lifecycle.apply(guest_store)
    due = await guest.fetch("SELECT id FROM pwb_websites WHERE provisioning_due_at IS NOT NULL")
    assert [row["id"] for row in due] == [IDS["live"]]


async def test_what_the_product_did_meanwhile_is_made_to_comply(guest: Any, guest_store: Store) -> None:
    """Websites of ours that it failed without a time, or terminated with their error, are whole after the next `init`;
    its own are as it left them. No check is left open."""
    await guest.execute(OURS, IDS["ready"])
    await guest.execute(OURS, IDS["failed"])
    await schema_lifecycle.remove(guest_store)
    for operation, state in ((16, "ready"), (18, "failed"), (16, "links_created")):
        (asked,) = [each for each in OPERATIONS if each.number == operation]
        await carry_out(guest, ROLE, asked, IDS[state])
    theirs = "SELECT * FROM pwb_websites WHERE provisioning_seq = 0 ORDER BY id"
    before = await guest.fetch(theirs)
    difference = await schema_lifecycle.apply(guest_store)
    assert (difference.not_validated, await schema_remarks(guest, difference)) == ((), [])
    whole = "SELECT provisioning_error, provisioning_failed_at IS NULL FROM pwb_websites WHERE id = $1"
    assert tuple(await guest.fetchrow(whole, IDS["ready"])) == ("Its own step failed", False)
    assert tuple(await guest.fetchrow(whole, IDS["failed"])) == (None, True)
    assert await guest.fetch(theirs) == before


async def published_ours(connection: Any, state: str, failed_from: str | None = None) -> None:
    """Make a website one that this service has brought to its state, by one row of the log, and whose event is out."""
    await connection.execute(
        """INSERT INTO provisioning_transitions (website_id, seq, trigger, from_state, to_state, message_id,
                                                 occurred_at)
           VALUES ($1, 1, 'moved', 'pending', $2, gen_random_uuid(), now())""",
        IDS[state], state,
    )  # fmt: skip
    await connection.execute(
        """UPDATE pwb_websites SET provisioning_seq = 1, provisioning_published_seq = 1, provisioning_failed_from = $2
            WHERE id = $1""",
        IDS[state], failed_from,
    )  # fmt: skip


MEANWHILE = [
    ("live", [19], ("suspended", "suspend")),
    ("suspended", [19, 20], ("live", "reactivate")),
    ("ready", [11, 12], ("locked_pending_registration", "verify_owner_email")),
    ("ready", [11, 12, 13], ("live", "go_live")),
    ("links_created", [15], ("failed", "fail_provisioning")),
    ("failed", [17], ("pending", "retry_provisioning")),
    ("failed", [17, 4, 5], ("agency_created", "retry_provisioning")),
    ("failed", [18], ("terminated", "terminate")),
    ("properties_seeded", [10, 19], ("suspended", "moved_by_product")),
]


@pytest.mark.parametrize(("state", "numbers", "logged"), MEANWHILE)
async def test_what_the_product_did_meanwhile_is_logged(
    guest: Any, guest_store: Store, state: str, numbers: list[int], logged: tuple[str, str]
) -> None:
    """As one transition of the product's from where the log ended, due now; `init` says of how many websites, once, and
    the doctor finds nothing of it but that one has failed; asleep are the product's own."""
    await published_ours(guest, state, "links_created" if state == "failed" else None)
    await schema_lifecycle.remove(guest_store)
    at = state
    for number in numbers:
        asked = next(each for each in OPERATIONS if each.number == number and (not each.sources or at in each.sources))
        await carry_out(guest, ROLE, asked, IDS[state])
        at = await guest.fetchval("SELECT provisioning_state FROM pwb_websites WHERE id = $1", IDS[state])
    target, trigger = logged
    assert at == target
    told: list[str] = []
    await schema_lifecycle.apply(guest_store, policy=WaitPolicy(told.append))
    entries = await guest.fetch(
        """SELECT seq, trigger, from_state, to_state, actor, detail ->> 'message' AS message
             FROM provisioning_transitions WHERE website_id = $1 ORDER BY seq""",
        IDS[state],
    )
    assert [tuple(entry)[:5] for entry in entries][1:] == [(2, trigger, state, target, "product")]
    assert entries[1]["message"]
    row = await guest.fetchrow("SELECT * FROM pwb_websites WHERE id = $1", IDS[state])
    assert (row["provisioning_seq"], row["provisioning_published_seq"]) == (2, 1)
    assert await guest.fetchval("SELECT provisioning_due_at <= now() FROM pwb_websites WHERE id = $1", IDS[state])
    assert next(line for line in told if "moved by the product" in line).startswith("1 website of this service was ")
    settings = Settings.model_validate({"amqp_url": "inprocess://"})
    found = {each.what: each for each in await check_websites(guest_store, settings, full=True, idle=True)}
    expected = {"asleep", "failed"} if target == "failed" else {"asleep"}
    assert {what for what, each in found.items() if each.level in ("fail", "warn")} == expected, found
    told.clear()
    await schema_lifecycle.apply(guest_store, policy=WaitPolicy(told.append))
    assert told == []
    assert await guest.fetchval("SELECT count(*) FROM provisioning_transitions") == 2


async def test_one_that_was_inserted_again_meanwhile_is_no_move(guest: Any, guest_store: Store) -> None:
    """A website inserted again under the id of one that was live or failed begins at pending: nothing is logged."""
    await published_ours(guest, "live")
    await published_ours(guest, "failed")
    await schema_lifecycle.remove(guest_store)
    again = (
        "UPDATE pwb_websites SET provisioning_state = 'pending', created_at = now() AT TIME ZONE 'UTC' WHERE id = $1"
    )
    for state in ("live", "failed"):
        await guest.execute(again, IDS[state])
    await schema_lifecycle.apply(guest_store)
    assert await guest.fetchval("SELECT max(seq) FROM provisioning_transitions") == 1


async def test_many_moves_are_logged_in_batches(
    guest: Any, guest_store: Store, guest_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each batch is committed by itself; one with a locked row is tried again, and nothing is logged twice."""
    monkeypatch.setattr(rules_template, "BATCH_ROWS", 3)
    states = [state for state in IDS if state not in ("pending", "suspended")]
    for state in states:
        await published_ours(guest, state)
    await schema_lifecycle.remove(guest_store)
    await guest.execute(
        "UPDATE pwb_websites SET provisioning_state = 'suspended' WHERE provisioning_state <> 'pending'"
    )
    told: list[str] = []
    other = await asyncpg.connect(guest_url, server_settings={"application_name": "shop"})
    transaction = other.transaction()
    await transaction.start()
    await other.execute("UPDATE pwb_websites SET updated_at = now() WHERE id = $1", IDS[states[-1]])
    policy = WaitPolicy(told.append, lock_seconds=0.3, pause_seconds=0.05)
    init = asyncio.create_task(schema_lifecycle.apply(guest_store, policy=policy))

    # The rules wait for the writer as well.
    await until(lambda: _told(told, "shop"), SECONDS, "the rules wait for the writer")
    await transaction.rollback()
    await init
    await other.close()
    assert await guest.fetchval("SELECT count(*) FROM provisioning_transitions WHERE actor = 'product'") == len(states)
    assert [line for line in told if line.startswith(f"{len(states)} websites of this service")]


async def _told(lines: list[str], text: str) -> bool:
    return any(text in line for line in lines)


async def test_after_a_removal_the_doctor_says_one_thing(guest: Any, guest_store: Store) -> None:
    """The doctor says that all is removed, and to run `provisioner init`; no finding says that the schema is right."""
    await schema_lifecycle.remove(guest_store)
    whose, finding = await check_schema(guest_store)
    assert (whose.level, whose.what) == ("ok", "whose database")
    assert (finding.level, finding.what) == ("fail", "up to date")
    assert "`provisioner init --remove` has removed them" in finding.have
    assert finding.next.startswith("run `provisioner init`")
    await schema_lifecycle.apply(guest_store)
    assert {each.level.value for each in await check_schema(guest_store)} == {"ok"}


async def test_a_worker_that_is_started_too_early_waits(guest: Any, guest_url: str, guest_store: Store) -> None:
    """Without our unique indexes it carries nothing out that needs them: no attempt is counted and nothing fails; after
    the next `init` the website goes live."""
    await schema_lifecycle.remove(guest_store)
    async with starter(guest_url, PACKS)() as service:
        await service.publish("website.created", {"website_id": 70, "subdomain": "new", "owner": {"email": "a@b.cd"}})
        await until(lambda: waits(service, 70), SECONDS, "the gate closed in the middle of it")
        row = await service.website(70)
        assert (row["provisioning_attempts"], row["provisioning_error"], service.letters()) == (0, None, [])
        await schema_lifecycle.apply(guest_store)
        await service.reaches(70, "live")
        assert service.letters() == []


async def waits(service: Service, website_id: int) -> bool:
    """Return whether a website is there, and the workers take nothing, because of the database."""
    return ClosedBy.DATABASE in service.app.gate.reasons and await service.website(website_id) is not None


# ------------------------------------------------------------------------------ what the product takes away itself


@pytest.mark.parametrize(
    "reload",
    [
        # As `rails db:schema:load`: tables are made anew, with checks and indexes, without triggers and comments.
        """DO $$ DECLARE found record; BEGIN
            FOR found IN SELECT tgname FROM pg_trigger WHERE NOT tgisinternal LOOP
                EXECUTE format('DROP TRIGGER %I ON pwb_websites', found.tgname);
            END LOOP;
            FOR found IN SELECT conname FROM pg_constraint
                          WHERE conrelid = 'pwb_websites'::regclass AND contype = 'c' LOOP
                EXECUTE format('COMMENT ON CONSTRAINT %I ON pwb_websites IS NULL', found.conname);
            END LOOP;
        END $$""",
        # Into a new database, whose ledger is empty and which has no functions.
        """DO $$ DECLARE found record; BEGIN
            FOR found IN SELECT oid::regprocedure AS name FROM pg_proc WHERE pronamespace = 'public'::regnamespace LOOP
                EXECUTE format('DROP FUNCTION %s CASCADE', found.name);
            END LOOP;
        END $$;
        DELETE FROM provisioning_migrations; COMMENT ON TABLE provisioning_migrations IS NULL""",
        "DROP TRIGGER provisioning_logs_product_moves ON pwb_websites",
        "ALTER TABLE pwb_websites DROP CONSTRAINT provisioning_state_known",
        "DROP TABLE provisioning_migrations",
        "ALTER FUNCTION provisioning_log_product_move() SECURITY INVOKER",
        "ALTER FUNCTION provisioning_log_product_move() RESET search_path",
    ],
)
async def test_what_the_product_takes_away_is_found_and_made_again(guest: Any, guest_store: Store, reload: str) -> None:
    """The doctor names what is missing and `provisioner init`, which makes it; then nothing is found, and a move of the
    product's is logged again."""
    whole = await whole_catalogue(guest)
    await guest.execute(reload)
    failed = [finding for finding in await check_schema(guest_store) if finding.level.value == "fail"]
    assert failed
    assert all("run `provisioner init`" in finding.next for finding in failed)
    difference = await schema_lifecycle.apply(guest_store)
    assert (difference.outdated, difference.installation.mode) == (False, Mode.GUEST)
    assert await whole_catalogue(guest) == whole
    assert [finding.level.value for finding in await check_schema(guest_store) if finding.level.value != "ok"] == []
    await guest.execute(OURS, IDS["live"])
    await carry_out(guest, ROLE, Operation(0, "", (), [moved("suspended")]), IDS["live"])
    assert await guest.fetchval("SELECT count(*) FROM provisioning_transitions") == 1
