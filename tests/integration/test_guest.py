"""The service as a guest in the existing product's database: that goes on as before, and what it does to websites of
this service's own is logged, published and kept within the rules."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from consumer.broker.protocol import BrokerError, Message
from consumer.broker.topology import Topology
from consumer.domain.existing_product_states import our_state
from consumer.store import schema_lifecycle
from consumer.store.database import Store
from consumer.store.rules_template import Mode
from consumer.store.schema_diff import inspect_schema
from consumer.worker.due_dispatcher import Dispatcher
from consumer.worker.gate import Gate
from consumer.worker.publishing_connection import Publisher
from consumer.worker.reconnect_backoff import Backoff
from ops.doctor.incomplete_migrations import schema_remarks
from statemachine import (
    CHAIN,
    TRANSITIONS,
    Facts,
    State,
    missing_items,
    next_trigger,
    progress,
    status_message,
    targets,
)
from tests import existing_product
from tests.conftest import make_schema
from tests.contract.faulty_broker import FaultyMemoryBroker
from tests.existing_product import CASES, EVENTS, IDS, LOCKED, NAMES, OPERATIONS, ROLE, STATES, Operation, carry_out

TOPOLOGY = Topology("guest")
OURS = "UPDATE pwb_websites SET provisioning_seq = 3, provisioning_published_seq = 3 WHERE id = $1"


async def website(connection: Any, website_id: int) -> dict[str, Any]:
    """Return a website's row."""
    return dict(await connection.fetchrow("SELECT * FROM pwb_websites WHERE id = $1", website_id))


async def log(connection: Any, website_id: int) -> list[Any]:
    """Return a website's log."""
    found: list[Any] = await connection.fetch(
        "SELECT *, detail::text AS text FROM provisioning_transitions WHERE website_id = $1 ORDER BY seq", website_id
    )
    return found


async def make_ours(connection: Any, website_id: int, **columns: Any) -> None:
    """Make a website one that has come where it is by this service, with all its events published."""
    await connection.execute(OURS, website_id)
    for name, value in columns.items():
        await connection.execute(f"UPDATE pwb_websites SET {name} = $2 WHERE id = $1", website_id, value)


@asynccontextmanager
async def undone(connection: Any) -> AsyncIterator[None]:
    """Take back all that the block does."""
    outer = connection.transaction()
    await outer.start()
    try:
        yield
    finally:
        await outer.rollback()


def operation(number: int, name: str | None = None) -> Operation:
    """Return one of the product's operations."""
    return next(each for each in OPERATIONS if each.number == number and name in (None, each.name))


# --------------------------------------------------------------------------------------- whose database it is


async def test_whose_database_it_is_is_decided_at_the_first_init(
    product: Any, empty_database_url: str, database_url: str
) -> None:
    """With tables of somebody else's it is a guest's, an empty one is its own; both are recorded, and stay."""
    for url, mode in ((empty_database_url, Mode.GUEST), (database_url, Mode.OWN)):
        store = Store(url, size=3)
        for _ in range(2):
            difference = await schema_lifecycle.apply(store)
            assert (difference.installation.mode, difference.outdated) == (mode, False)
        await store.close()
    comment = json.loads(await product.fetchval("SELECT obj_description('provisioning_migrations'::regclass)"))
    assert comment == {"mode": "guest", "state_default": "'live'", "upgraded": False}


@pytest.mark.parametrize("first", list(Mode))
async def test_people_may_say_whose_it_is(product: Any, empty_database_url: str, first: Mode) -> None:
    """What is asked for wins over what is found and over what is recorded, both ways, and each `init` is whole."""
    store = Store(empty_database_url, size=3)
    defaults = {Mode.GUEST: "'live'::character varying", Mode.OWN: "'pending'::character varying"}
    for mode in (first, *Mode, first):
        difference = await schema_lifecycle.apply(store, mode=mode)
        assert (difference.installation.mode, difference.outdated, difference.not_validated) == (mode, False, ()) or (
            mode == Mode.OWN and difference.not_validated
        ), difference
        default = """SELECT column_default FROM information_schema.columns
                      WHERE table_name = 'pwb_websites' AND column_name = 'provisioning_state'"""
        assert await product.fetchval(default) == defaults[mode]
        assert (await schema_lifecycle.apply(store)).installation.mode == mode
    await store.close()


@pytest.mark.parametrize(("column", "mode"), [("theme_name varchar", Mode.GUEST), ("", Mode.OWN)])
async def test_a_database_of_0_1_0_is_a_guests_where_it_has_other_columns(
    empty_database_url: str, column: str, mode: Mode
) -> None:
    """A column of pwb_websites that schema.sql lacks is the product's; the default that 0.1.0 took from it is told."""
    connection = await asyncpg.connect(empty_database_url)
    await connection.execute(existing_product.RELEASED.read_text())
    if column:
        await connection.execute(f"ALTER TABLE pwb_websites ADD COLUMN {column}")
    store = Store(empty_database_url, size=3)
    difference = await schema_lifecycle.apply(store)
    assert (difference.installation.mode, difference.outdated) == (mode, False)
    await schema_lifecycle.finish(store)
    texts = [remark.text for remark in await schema_remarks(connection, await inspect_schema(connection))]
    assert any("SET DEFAULT 'live'" in text for text in texts) == (mode == Mode.GUEST)
    await connection.execute("ALTER TABLE pwb_websites ALTER provisioning_state SET DEFAULT 'live'")
    assert (await inspect_schema(connection)).outdated == (mode == Mode.OWN)
    await store.close()
    await connection.close()


# ------------------------------------------------------------------------- the product's own rows are as before


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def before_and_after(postgres: Any) -> AsyncIterator[dict[str, Any]]:
    """Four databases that the same is done to: of the product alone, with the service in it as guest, and after it has
    left, as a guest and as one that had the database for its own."""
    connections = {}
    admin = await asyncpg.connect(postgres.url)
    for name, mode in (("alone", None), ("guest", None), ("left", None), ("left_own", Mode.OWN)):
        await admin.execute(f"CREATE DATABASE product_{name}")
        url = f"{postgres.url.rpartition('/')[0]}/product_{name}"
        connections[name] = await asyncpg.connect(url)
        await existing_product.fill(connections[name])
        await existing_product.make_role(connections[name], ROLE)
        if name != "alone":
            await make_schema(url, mode)
        if name.startswith("left"):
            store = Store(url, size=3)
            await schema_lifecycle.remove(store)
            await store.close()
    yield connections
    for name, connection in connections.items():
        await connection.close()
        await admin.execute(f"DROP DATABASE product_{name}")
    await admin.close()


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(("asked", "state"), CASES, ids=NAMES)
async def test_an_operation_of_the_product_is_as_before(
    before_and_after: dict[str, Any], asked: Operation, state: str | None
) -> None:
    """Each of them, from each state that it starts in, leaves the same in each of the product's tables; once the
    service has left, a second agency too."""
    columns = await existing_product.columns_of(before_and_after["alone"])
    seen = {}
    for name, connection in before_and_after.items():
        async with undone(connection):
            try:
                await carry_out(connection, ROLE, asked, IDS.get(state or ""))
                seen[name] = await existing_product.picture(connection, columns)
            except asyncpg.UniqueViolationError as error:
                seen[name] = error.constraint_name
    if asked.number == 21:
        assert seen["guest"] == "index_pwb_agencies_unique_website_id", "one agency is wanted"
    else:
        assert seen["guest"] == seen["alone"]
    assert seen["left"] == seen["left_own"] == seen["alone"]


async def test_no_column_is_named_as_an_event_of_the_product(guest: Any) -> None:
    """Serialising a website (#23) reads each attribute by its name, which would fire the event of that name."""
    assert not EVENTS & set(await website(guest, 1))


async def test_nothing_is_written_or_woken_by_init(product: Any, empty_database_url: str) -> None:
    """Its rows are the very same versions, none is due, and the default of its column is its own."""
    rows = "SELECT ctid, xmin, subdomain, provisioning_state FROM pwb_websites ORDER BY id"
    before = await product.fetch(rows)
    for _ in range(2):
        await make_schema(empty_database_url)
    assert await product.fetch(rows) == before
    assert await product.fetchval("SELECT count(provisioning_due_at) FROM pwb_websites") == 0


# ------------------------------------------------------------------------------ when the product's rows are due

DUE = "extract(epoch FROM provisioning_due_at - now())::int"


async def test_a_pending_website_of_the_product_is_due_after_ten_minutes(guest: Any) -> None:
    """And ten minutes after each change that the product makes to it; once it rests, it is due no more."""
    due = f"SELECT {DUE} FROM pwb_websites WHERE id = $1"
    change = "UPDATE pwb_websites SET {} WHERE id = $1"
    await carry_out(guest, ROLE, operation(3), None)
    (website_id,) = await guest.fetchrow("SELECT max(id) FROM pwb_websites")
    assert await guest.fetchval(due, website_id) in range(590, 601)
    for number in (4, 20, 5, 6, 7, 8, 10, 20):
        # A change that the service makes to the due time is left as it is.
        await guest.execute(change.format("provisioning_due_at = now() + interval '7 s'"), website_id)
        assert await guest.fetchval(due, website_id) in range(8)
        await carry_out(guest, ROLE, operation(number), website_id)
        assert await guest.fetchval(due, website_id) in range(590, 601), f"#{number}"
    await carry_out(guest, ROLE, operation(11), website_id)
    assert await guest.fetchval(due, website_id) is None
    assert await log(guest, website_id) == []


async def test_one_that_the_product_fails_and_retries_is_due_again(guest: Any) -> None:
    """A website is due ten minutes after each retry or change by the product; while it is failed it is not due."""
    due = f"SELECT {DUE} FROM pwb_websites WHERE id = $1"
    await carry_out(guest, ROLE, operation(3), None)
    website_id = await guest.fetchval("SELECT max(id) FROM pwb_websites")
    for source in ("pending", "owner_assigned"):
        for asked in (15, 20):
            await carry_out(guest, ROLE, operation(asked), website_id)
            row = await website(guest, website_id)
            assert (row["provisioning_due_at"], row["provisioning_failed_from"]) == (None, source)
        await carry_out(guest, ROLE, operation(17), website_id)
        assert await guest.fetchval(due, website_id) in range(590, 601)
        assert (await website(guest, website_id))["provisioning_failed_from"] is None
        await carry_out(guest, ROLE, operation(4), website_id)
        assert await guest.fetchval(due, website_id) in range(590, 601)
    await carry_out(guest, ROLE, operation(15), website_id)
    await carry_out(guest, ROLE, operation(18), website_id)
    assert await guest.fetchval(due, website_id) is None
    assert await log(guest, website_id) == []


@pytest.mark.parametrize("state", STATES)
async def test_a_website_from_before_stays_asleep(guest: Any, state: str) -> None:
    """Whatever the product does to it, it is not due; so is one that it inserts in another state than pending."""
    await carry_out(guest, ROLE, operation(20), IDS[state])
    for asked, source in CASES:
        if source == state and asked.number not in (20, 22):
            await carry_out(guest, ROLE, asked, IDS[state])
            break
    assert (await website(guest, IDS[state]))["provisioning_due_at"] is None
    if state != "pending":
        await carry_out(guest, ROLE, operation(1, f"born {state}"), None)
        assert await guest.fetchval("SELECT count(provisioning_due_at) FROM pwb_websites") == 0


# ------------------------------------------------------------------------------------- rows of the service's own

MOVES = [
    (operation, state)
    for operation, state in CASES
    if state and 4 <= operation.number <= 19 and operation.number not in (11, 12, 13, 14)
]
EDGES = {(source, target) for edge in TRANSITIONS for source in edge.sources for target in targets(edge)}


def target(asked: Operation) -> str:
    """Return the state that an operation leads to."""
    (state,) = {
        state for state in STATES for statement in asked.statements if f"provisioning_state = '{state}'" in statement
    }
    return state


@pytest.mark.parametrize(
    ("asked", "state"), MOVES, ids=[f"{asked.number}-{asked.name}-{state}".replace(" ", "_") for asked, state in MOVES]
)
async def test_what_the_product_does_to_our_website_is_logged(guest: Any, asked: Operation, state: str) -> None:
    """One row more in the log, by the product, with all that its event says; due now; a failure is whole."""
    website_id, to = IDS[state], target(asked)
    await make_ours(guest, website_id, provisioning_auto_go_live=state != "ready")
    await carry_out(guest, ROLE, asked, website_id)
    row = await website(guest, website_id)
    (entry,) = await log(guest, website_id)
    assert (entry["seq"], entry["from_state"], entry["to_state"], entry["actor"]) == (4, state, to, "product")
    assert (row["provisioning_seq"], row["provisioning_published_seq"], row["provisioning_state"]) == (4, 3, to)
    assert await guest.fetchval(f"SELECT {DUE} FROM pwb_websites WHERE id = $1", website_id) <= 0
    failed = to == "failed"
    assert row["provisioning_error"] == ("Its own step failed" if failed else None)
    assert (row["provisioning_failed_at"] is not None) == failed
    origin = "ready" if state in LOCKED else state
    assert row["provisioning_failed_from"] == (origin if failed else None)
    detail = json.loads(entry["text"])
    assert detail["error"] == row["provisioning_error"]
    facts = Facts(owners=1, agencies=1, links=3, field_keys=5, subdomain="x")
    known = State(to)
    assert detail["progress"] == progress(known, facts, our_state(origin) if failed else None)
    skipped = asked.name != "properties"
    assert detail["message"] == status_message(known, error=row["provisioning_error"], skipped=skipped)
    assert detail["missing"] == []
    following = next_trigger(known, skip_properties=False, auto_go_live=state != "ready")
    assert detail["next"] == following


@pytest.mark.parametrize(("source", "to"), sorted(EDGES))
async def test_the_database_knows_the_machine(guest: Any, source: str, to: str) -> None:
    """Trigger, progress, message, missing items and the next trigger of each edge, for whatever a website has."""
    for skips in (False, True):
        async with undone(guest):
            await check_edge(guest, source, to, skips=skips)


async def check_edge(guest: Any, source: str, to: str, *, skips: bool) -> None:
    """Move a website of ours that lacks some things along an edge, and compare its log row with the machine."""
    website_id = IDS[source]
    has = {"owners": 0, "agencies": 1, "links": 2, "field_keys": 5}
    await guest.execute(
        """DELETE FROM pwb_user_memberships; DELETE FROM pwb_links WHERE slug = 'link-3';
        UPDATE pwb_websites SET subdomain = NULL"""
    )
    await make_ours(guest, website_id, provisioning_skip_properties=skips, provisioning_auto_go_live=not skips)
    await carry_out(guest, ROLE, Operation(0, "", (), [existing_product.moved(to)]), website_id)
    (entry,) = await log(guest, website_id)
    triggers = [edge for edge in TRANSITIONS if source in edge.sources and to in targets(edge)]
    expected = triggers[-1 if skips else 0].trigger
    facts, detail = Facts(**has, subdomain=None), json.loads(entry["text"])
    assert entry["trigger"] == expected
    assert detail["progress"] == progress(State(to), facts, State(source))
    assert detail["missing"] == missing_items(facts)
    error = (await website(guest, website_id))["provisioning_error"]
    assert detail["message"] == status_message(State(to), error=error, skipped=True), "it has no properties"
    assert detail["next"] == next_trigger(State(to), skip_properties=skips, auto_go_live=not skips)


@pytest.mark.parametrize("state", STATES)
async def test_our_website_keeps_to_the_edges(guest: Any, state: str) -> None:
    """From a state of ours only the machine's edges lead away; what the product has locked, it moves as it sees fit."""
    website_id = IDS[state]
    await make_ours(guest, website_id)
    for to in set(STATES) - {state}:
        async with undone(guest):
            change = Operation(0, "", (), [existing_product.moved(to)])
            if (state, to) in EDGES or state in LOCKED:
                await carry_out(guest, ROLE, change, website_id)
                assert (await website(guest, website_id))["provisioning_seq"] == 4
            else:
                with pytest.raises(asyncpg.CheckViolationError, match=f"cannot go from {state} to {to}"):
                    await carry_out(guest, ROLE, change, website_id)


@pytest.mark.parametrize("column", ["provisioning_seq = 1", "provisioning_attempts = 1", "provisioning_request = '{}'"])
async def test_what_makes_a_website_ours(guest: Any, column: str) -> None:
    """It has moved by this service, has tried to, or its request is stored; each is enough."""
    await guest.execute(f"UPDATE pwb_websites SET {column} WHERE id = $1", IDS["pending"])
    with pytest.raises(asyncpg.CheckViolationError):
        await carry_out(guest, ROLE, Operation(0, "", (), [existing_product.moved("live")]), IDS["pending"])
    with pytest.raises(asyncpg.CheckViolationError):
        await carry_out(guest, ROLE, Operation(0, "", (), [existing_product.moved("unheard_of")]), IDS["pending"])


async def test_a_failure_without_a_reason_has_one(guest: Any) -> None:
    """On our website, whether the product fails it or takes it up as it is; and it is gone when the website goes on."""
    ours, theirs = IDS["ready"], IDS["failed"]
    await make_ours(guest, ours)
    await carry_out(guest, ROLE, Operation(0, "", (), [existing_product.moved("failed")]), ours)
    row = await website(guest, ours)
    assert row["provisioning_error"] == "Failed by the product, which gave no reason"
    assert row["provisioning_failed_at"] is not None
    await guest.execute(
        "UPDATE pwb_websites SET provisioning_error = NULL, provisioning_failed_at = NULL WHERE id = $1", theirs
    )
    await guest.execute("UPDATE pwb_websites SET provisioning_request = '{}' WHERE id = $1", theirs)
    assert (await website(guest, theirs))["provisioning_failed_at"] is not None
    await carry_out(guest, ROLE, operation(18), theirs)
    row = await website(guest, theirs)
    assert (row["provisioning_state"], row["provisioning_error"], row["provisioning_failed_at"]) == (
        "terminated",
        None,
        None,
    )


async def test_times_are_utc_whatever_the_sessions_zone_is(guest: Any) -> None:
    """The product's columns have no time zone and hold UTC."""
    await make_ours(guest, IDS["ready"])
    async with guest.transaction():
        await guest.execute("SET LOCAL timezone = 'Asia/Tokyo'")
        await carry_out(guest, ROLE, Operation(0, "", (), [existing_product.moved("failed")]), IDS["ready"])
        late = "SELECT now() AT TIME ZONE 'UTC' = provisioning_failed_at FROM pwb_websites WHERE id = $1"
        assert await guest.fetchval(late, IDS["ready"])


async def test_several_moves_in_one_transaction_are_all_logged(guest: Any) -> None:
    """The reason of the last failure goes to its own row, and to no other."""
    website_id = IDS["pending"]
    await make_ours(guest, website_id)
    retry, fail = operation(17).statements, operation(15).statements
    again = [fail[0], existing_product.changed("provisioning_error = 'First'"), *retry, *fail]
    await carry_out(guest, ROLE, Operation(0, "", (), again), website_id)
    entries = await log(guest, website_id)
    assert [(entry["seq"], entry["to_state"]) for entry in entries] == [(4, "failed"), (5, "pending"), (6, "failed")]
    assert [json.loads(entry["text"])["error"] for entry in entries] == ["First", None, "Its own step failed"]
    # A later correction changes the row; the event is out.
    await carry_out(
        guest, ROLE, Operation(0, "", (), [existing_product.changed("provisioning_error = 'Later'")]), website_id
    )
    assert [json.loads(entry["text"])["error"] for entry in await log(guest, website_id)][-1] == "Its own step failed"


async def test_the_products_own_way_from_ready_to_live(guest: Any, guest_store: Store) -> None:
    """A website that is held at ready is locked, verified and registered by the product; each has its event."""
    website_id = IDS["ready"]
    await make_ours(guest, website_id)
    lock = operation(11)
    with pytest.raises(asyncpg.CheckViolationError):
        await carry_out(guest, ROLE, lock, website_id)  # it is to go live by itself
    await guest.execute("UPDATE pwb_websites SET provisioning_auto_go_live = false WHERE id = $1", website_id)
    for number in (11, 12, 13):
        await carry_out(guest, ROLE, operation(number), website_id)
    bodies = await published(guest_store)
    assert [(body["seq"], body["trigger"], body["to_state"], body["progress"], body["message"]) for body in bodies] == [
        (4, "enter_locked_state", LOCKED[0], 95, "Please check your email to verify your account"),
        (5, "verify_owner_email", LOCKED[1], 98, "Email verified! Please create your account to continue"),
        (6, "complete_owner_registration", "live", 100, "Your website is live!"),
    ]
    assert bodies[-1]["url"] == "https://site-7.example.com"
    row = await website(guest, website_id)
    assert (row["provisioning_published_seq"], row["provisioning_due_at"]) == (6, None)


@pytest.mark.parametrize("state", LOCKED)
async def test_a_locked_website_of_ours_rests(guest: Any, guest_store: Store, state: str) -> None:
    """Its event is published, nothing follows, and it is due no more."""
    website_id = IDS["ready"]
    await make_ours(guest, website_id, provisioning_auto_go_live=False)
    for number in (11, 12)[: LOCKED.index(state) + 1]:
        await carry_out(guest, ROLE, operation(number), website_id)
    assert [body["to_state"] for body in await published(guest_store)][-1] == state
    row = await website(guest, website_id)
    assert (row["provisioning_published_seq"], row["provisioning_due_at"]) == (row["provisioning_seq"], None)
    async with guest_store.queries() as queries:
        assert await queries.under_way([website_id]) == set()


async def test_the_product_moves_it_on_and_the_engine_goes_on_from_there(guest: Any, guest_store: Store) -> None:
    """The event of the product's step is published, then the command that follows; commands before it are stale."""
    await make_ours(guest, IDS["pending"])
    await carry_out(guest, ROLE, operation(4), IDS["pending"])
    broker = ListeningBroker()
    (body,) = await published(guest_store, broker)
    assert (body["trigger"], body["to_state"], body["actor"]) == ("assign_owner", "owner_assigned", "product")
    (command,) = await broker.peek(TOPOLOGY.commands, 10)
    assert (command.type, json.loads(command.body)["expected_seq"]) == ("provisioning.complete_agency", 4)


class ListeningBroker(FaultyMemoryBroker):
    """Keeps all that it accepts."""

    def __init__(self) -> None:
        super().__init__()
        self.accepted: list[Message] = []

    def accept(self, message: Message) -> BrokerError | None:
        self.accepted.append(message)
        return super().accept(message)


async def published(store: Store, broker: "ListeningBroker | None" = None) -> list[dict[str, Any]]:
    """Let a dispatcher do a round; return the events that it publishes."""
    broker = broker or ListeningBroker()
    await broker.declare(TOPOLOGY)
    gate = Gate()
    publisher = Publisher(broker, gate, Backoff(0.01, 0.01))
    running = asyncio.create_task(publisher.run())
    await gate.wait_open()
    dispatcher = Dispatcher(
        store, publisher, TOPOLOGY, gate, stall_seconds=120, interval_seconds=1, base_domain="example.com"
    )
    assert await dispatcher.run_once() == 1
    running.cancel()
    return [json.loads(m.body) for m in broker.accepted if m.exchange == TOPOLOGY.events_exchange]


DEFINERS = """SELECT proname FROM pg_proc
               WHERE pronamespace = 'public'::regnamespace AND prosecdef AND prorettype = 'trigger'::regtype
               ORDER BY 1"""


async def test_no_other_table_can_use_the_services_rights(guest: Any) -> None:
    """The trigger functions that read and write its tables for whoever fires them cannot be put on another table."""
    await guest.execute(f"GRANT CREATE ON SCHEMA public TO {ROLE}")
    names = [row["proname"] for row in await guest.fetch(DEFINERS)]
    assert "provisioning_log_product_move" in names
    for name in names:
        async with guest.transaction():
            await guest.execute(f"SET LOCAL ROLE {ROLE}; CREATE TABLE forged (LIKE pwb_websites)")
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                async with guest.transaction():
                    await guest.execute(
                        f"CREATE TRIGGER forge BEFORE UPDATE ON forged FOR EACH ROW EXECUTE FUNCTION {name}()"
                    )
            await guest.execute("DROP TABLE forged; RESET ROLE")
    fixed = "SELECT bool_and(proconfig::text LIKE '%search_path=%pg_temp%') FROM pg_proc WHERE prosecdef"
    assert await guest.fetchval(fixed)


async def test_names_of_the_products_session_mean_nothing_to_triggers(guest: Any) -> None:
    """Whatever its search_path is, empty or with tables and functions of these names, our tables are used."""
    await make_ours(guest, IDS["live"])
    await guest.execute(f"CREATE SCHEMA theirs AUTHORIZATION {ROLE}")
    async with guest.transaction():
        await guest.execute(
            f"""SET LOCAL ROLE {ROLE};
            CREATE TABLE theirs.provisioning_transitions (LIKE pwb_users);
            CREATE TEMP TABLE provisioning_transitions (nothing int) ON COMMIT DROP;
            CREATE FUNCTION theirs.starts_with(text, text) RETURNS boolean LANGUAGE sql AS 'SELECT true';
            SET LOCAL search_path = theirs, pg_catalog, public;
            UPDATE public.pwb_websites SET provisioning_state = 'suspended' WHERE id = {IDS["live"]};
            SET LOCAL search_path = '';
            UPDATE public.pwb_websites SET provisioning_state = 'live' WHERE id = {IDS["live"]};
            INSERT INTO public.pwb_websites (subdomain, provisioning_state, created_at, updated_at)
                 VALUES ('new', 'pending', now(), now());
            SET LOCAL search_path = public; RESET ROLE"""
        )
    assert [entry["to_state"] for entry in await log(guest, IDS["live"])] == ["suspended", "live"]


async def test_many_rows_in_one_statement(guest: Any) -> None:
    """Each of ours is logged, whatever kind of statement moves them; what a savepoint takes back is not."""
    ours = [IDS["ready"], IDS["live"]]
    for website_id in ours:
        await make_ours(guest, website_id)
    async with guest.transaction():
        await guest.execute(f"SET LOCAL ROLE {ROLE}")
        await guest.execute(f"UPDATE pwb_websites SET provisioning_state = 'suspended' WHERE id IN {tuple(ours)}")
        async with undone(guest):
            await guest.execute(f"UPDATE pwb_websites SET provisioning_state = 'terminated' WHERE id IN {tuple(ours)}")
        await guest.execute(
            f"""INSERT INTO pwb_websites (id, subdomain, provisioning_state, created_at, updated_at)
                     VALUES ({ours[0]}, 'x', 'live', now(), now())
            ON CONFLICT (id) DO UPDATE SET provisioning_state = EXCLUDED.provisioning_state"""
        )
        await guest.execute("RESET ROLE")
    moves = [[(entry["seq"], entry["to_state"]) for entry in await log(guest, website_id)] for website_id in ours]
    assert moves == [[(4, "suspended"), (5, "live")], [(4, "suspended")]]


# ------------------------------------------------------------------------------------------- as its own database


async def test_a_database_of_its_own_is_as_strict_as_ever(postgres: Any, database_url: str) -> None:
    """No website is born otherwise than pending, moves otherwise than along an edge, or fails without saying why."""
    connection = await asyncpg.connect(database_url)
    insert = "INSERT INTO pwb_websites (provisioning_state, created_at, updated_at) VALUES ($1, now(), now())"
    for state in STATES[1:]:
        with pytest.raises(asyncpg.CheckViolationError):
            await connection.execute(insert, state)
    await connection.execute(insert, "pending")
    for state in set(STATES) - {"pending", "owner_assigned"}:
        with pytest.raises(asyncpg.CheckViolationError):
            await connection.execute("UPDATE pwb_websites SET provisioning_state = $1", state)
    assert await connection.fetchval(f"SELECT {DUE} FROM pwb_websites") in range(590, 601)
    await connection.close()
    assert len(CHAIN) == len(STATES) - 5, "the machine's own states, and three beside the chain, and two that it lacks"
