"""website.created for websites that the existing product has moved by itself, or for which nothing is under way.

The product's statements are those of its own code, in its order: each event of its state machine is one transaction.
"""

import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

import seeders
from consumer.domain.outcomes import Advanced, AlreadyDone, Attempted, Outcome, Reason, Refused, Rejected, Stale
from consumer.domain.records import FailureCause
from consumer.messages.inbound import Command
from consumer.messages.inbound_contracts import WebsiteCreated
from consumer.provisioning.use_case import Policy, ProvisioningUseCase
from consumer.store.database import Store
from seeders.loading.pack_library import PackLibrary
from seeders.seeding import Seeders
from statemachine import CHAIN, State, Trigger
from tests.conftest import make_schema
from tests.existing_product import IDS, LOCKED, OPERATIONS, ROLE, SCHEMA, STATES
from tests.existing_product import carry_out as operate
from tests.factories import LIVE, before
from tests.invariants import check_effects, check_events, check_nothing_owed
from tests.service import SECONDS, Start, starter
from tests.worker_processes import until

PACKS = Path(seeders.__file__).parent / "packs"
MOVED_TO = [state.value for state in CHAIN[1:-1]]
"""The states to which the product can have moved a website that is not live yet."""
MOVES_ON = [state.value for state in CHAIN[:-2]]
"""Where a website has a step before it; at ready it is held here."""
NEEDED = {"agency_created": "agency", "links_created": "links", "field_keys_created": "field_keys"}
FORGOTTEN = [
    ("agency", "agency_created", "Agency creation failed - no agency record found"),
    ("links", "links_created", "Links creation failed - need at least 3, have 2"),
    ("field_keys", "field_keys_created", "Field keys creation failed - need at least 5, have 4"),
]


class Product:
    """The existing product: signup, and its own provisioning."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection

    async def reserve(self, subdomain: str | None = "sunny-meadow-42", *, owner: bool = True) -> int:
        """Row 3: insert the website as pending, and its owner's membership."""
        async with self.connection.transaction():
            website_id: int = await self.connection.fetchval(
                """INSERT INTO pwb_websites (subdomain, site_type, seed_pack_name, owner_email, provisioning_state,
                                             created_at, updated_at)
                   VALUES ($1, 'residential', 'base', 'ana@example.com', 'pending', now(), now()) RETURNING id""",
                subdomain,
            )
            if owner:
                await self.add_owner(website_id)
        return website_id

    async def add_owner(self, website_id: int) -> None:
        """Insert the user, and the membership that makes it the owner."""
        await self.connection.execute(
            """WITH ana AS (INSERT INTO pwb_users (email, created_at, updated_at)
                            VALUES ('ana@example.com', now(), now()) RETURNING id)
               INSERT INTO pwb_user_memberships (user_id, website_id, role, active, created_at, updated_at)
               SELECT id, $1, 'owner', true, now(), now() FROM ana""",
            website_id,
        )

    async def configure(self, website_id: int) -> None:
        """Row 4: change the state to owner_assigned, then the time."""
        async with self.connection.transaction():
            await self.move(website_id, "owner_assigned")
            await self.connection.execute(
                "UPDATE pwb_websites SET provisioning_started_at = now() WHERE id = $1", website_id
            )

    async def move(self, website_id: int, state: str) -> None:
        """Change the state, and nothing else."""
        await self.connection.execute(
            "UPDATE pwb_websites SET provisioning_state = $2, updated_at = now() WHERE id = $1", website_id, state
        )

    async def provision(self, website_id: int, state: str, forget: str | None = None) -> None:
        """Rows 5 to 10: step by step up to a state, each with the rows that it needs; one kind is forgotten."""
        for each in LIVE[1 : LIVE.index(state) + 1]:
            await self._insert(website_id, NEEDED.get(each), int(NEEDED.get(each) == forget))
            await self.move(website_id, each)

    async def _insert(self, website_id: int, kind: str | None, less: int) -> None:
        statements = {
            "agency": "INSERT INTO pwb_agencies (website_id, display_name, created_at, updated_at) "
            "SELECT $1, 'Sunny', now(), now() FROM generate_series(1, $2)",
            "links": "INSERT INTO pwb_links (website_id, slug, link_path, created_at, updated_at) "
            "SELECT $1, 'link-' || n, '/', now(), now() FROM generate_series(1, $2) AS n",
            "field_keys": "INSERT INTO pwb_field_keys (pwb_website_id, global_key, tag, created_at, updated_at) "
            "SELECT $1, 'types.' || n, 'property-types', now(), now() FROM generate_series(1, $2) AS n",
        }
        least = {"agency": 1, "links": 3, "field_keys": 5}
        if kind:
            await self.connection.execute(statements[kind], website_id, least[kind] - less)

    async def website(self, website_id: int) -> dict[str, Any]:
        """Return a website's row."""
        return dict(await self.connection.fetchrow("SELECT * FROM pwb_websites WHERE id = $1", website_id))

    async def history(self, website_id: int) -> list[tuple[str, str, str]]:
        """Return a website's transitions: trigger, from, to."""
        rows = await self.connection.fetch(
            "SELECT trigger, from_state, to_state FROM provisioning_transitions WHERE website_id = $1 ORDER BY seq",
            website_id,
        )
        return [tuple(row) for row in rows]


@pytest_asyncio.fixture
async def product_url(empty_database_url: str) -> AsyncIterator[str]:
    """A database of the existing product's, to which this service's schema has been applied."""
    connection = await asyncpg.connect(empty_database_url)
    await connection.execute(SCHEMA)
    await connection.close()
    await make_schema(empty_database_url)
    yield empty_database_url


@pytest_asyncio.fixture
async def product(product_url: str) -> AsyncIterator[Product]:
    """The product at its database."""
    connection = await asyncpg.connect(product_url)
    yield Product(connection)
    await connection.close()


@pytest_asyncio.fixture
async def store(product_url: str) -> AsyncIterator[Store]:
    """This service at the same database."""
    store = Store(product_url, size=3, lock_timeout_seconds=SECONDS)
    yield store
    await store.close()


@pytest.fixture
def start(product_url: str) -> Start:
    """Start this service at the same database, with the packs that it ships."""
    return starter(product_url, PACKS)


def created(website_id: int, **more: object) -> Command:
    """Return a website.created."""
    signup = WebsiteCreated.model_validate({"website_id": website_id, **more})
    return Command(uuid.uuid4(), "website.created", Trigger.ASSIGN_OWNER, website_id, created=signup)


def step(trigger: str, website_id: int, attempt: int = 0) -> Command:
    """Return the command that the dispatcher sends for a website without a log row."""
    name = f"provisioning.{trigger}"
    return Command(uuid.uuid4(), name, Trigger(trigger), website_id, expected_seq=0, attempt=attempt)


async def carry_out(store: Store, command: Command, budget: int = 8) -> Outcome:
    """Carry one command out, as a worker does that has traced an error or a lock to it."""
    policy = Policy(retry_budget=budget, retry_base_seconds=60)
    (outcome,) = await ProvisioningUseCase(store, Seeders(PackLibrary([PACKS])), policy).batch([command], alone=True)
    return outcome


# ------------------------------------------------------------------------------------------- with workers that run


async def test_a_signup_of_the_product_is_live_in_seconds(product: Product, start: Start) -> None:
    """The product commits pending → owner_assigned by itself, then publishes: nobody waits for ten minutes."""
    website_id = await product.reserve()
    await product.configure(website_id)
    async with start() as service:
        message_id = await service.publish("website.created", {"website_id": website_id})
        await service.reaches(website_id, "live")
        history = await service.history(website_id)
        first = history[0]
        assert (first["trigger"], first["from_state"]) == ("complete_agency", "owner_assigned")
        assert str(first["message_id"]) == message_id
        assert [row["to_state"] for row in history] == LIVE[1:]
        assert [event["body"]["seq"] for event in service.events()] == [row["seq"] for row in history]
        await service.publish("website.created", {"website_id": website_id}, message_id)
        await service.publish("website.created", {"website_id": website_id})
        await service.settled()
        assert await service.history(website_id) == history, "neither a copy nor a second message walks it again"
        assert service.letters() == []
        assert await product.connection.fetchval("SELECT count(*) FROM pwb_user_memberships") == 1
        await check_events(product.connection, service.events())


@pytest.mark.parametrize("asleep", [False, True], ids=["ten minutes", "asleep"])
@pytest.mark.parametrize("state", MOVED_TO)
async def test_wherever_the_product_left_it(product: Product, start: Start, state: str, asleep: bool) -> None:
    """From each state on the chain a website goes live by the steps that are left, asleep or not."""
    await product.connection.execute("DELETE FROM pwb_websites")
    website_id = await product.reserve()
    await product.configure(website_id)
    await product.provision(website_id, state)
    if asleep:
        await product.connection.execute("UPDATE pwb_websites SET provisioning_due_at = NULL")
    async with start() as service:
        await service.publish("website.created", {"website_id": website_id})
        await service.reaches(website_id, "live")
        assert [to for _, _, to in await product.history(website_id)] == LIVE[LIVE.index(state) + 1 :]
        assert service.letters() == []
        await check_events(product.connection, service.events())
    await check_effects(product.connection)
    await check_nothing_owed(product.connection)


async def test_an_owner_who_comes_late(product: Product, start: Start) -> None:
    """A missing owner is an attempt with backoff; the product adds it, and the website goes live."""
    website_id = await product.reserve(owner=False)
    await product.configure(website_id)
    async with start(retry_budget=50) as service:
        await service.publish("website.created", {"website_id": website_id})

        async def tried() -> bool:
            return bool((await product.website(website_id))["provisioning_attempts"] >= 3)

        await until(tried, SECONDS, "three attempts")
        assert await product.history(website_id) == [], "the next attempts prove the owner as well"
        await product.add_owner(website_id)
        await service.reaches(website_id, "live")
        emails = await product.connection.fetch("SELECT email_primary FROM pwb_agencies")
        assert [row[0] for row in emails] == ["ana@example.com"], "seeded after the owner came"


async def test_the_product_commits_while_the_message_waits(product: Product, start: Start, product_url: str) -> None:
    """website.created that comes before the product's COMMIT waits for the row, and is judged on what it says then."""
    website_id = await product.reserve()
    async with start(lock_timeout_seconds=0.1) as service:
        async with product.connection.transaction():
            await product.move(website_id, "owner_assigned")
            await service.publish("website.created", {"website_id": website_id})

            async def held() -> bool:
                return len(service.batches) > 2

            await until(held, SECONDS, "the message held")
        await service.reaches(website_id, "live")
    assert (await product.history(website_id))[0][:2] == ("complete_agency", "owner_assigned")


async def test_the_dispatcher_proves_the_guards_too(product: Product, start: Start) -> None:
    """Without a website.created, the website is rescued once its time has come, and fails for what is missing."""
    website_id = await product.reserve()
    await product.configure(website_id)
    await product.provision(website_id, "field_keys_created", forget="links")
    await product.connection.execute("UPDATE pwb_websites SET provisioning_due_at = now() WHERE id = $1", website_id)
    async with start() as service:
        failed = await service.reaches(website_id, "failed")
        assert failed["provisioning_error"] == "Links creation failed - need at least 3, have 2"
        assert await product.history(website_id) == [("fail_provisioning", "field_keys_created", "failed")]
        await service.command("retry_provisioning", website_id, expected_seq=1)
        await service.reaches(website_id, "live")
        assert (await product.history(website_id))[1] == ("retry_provisioning", "failed", "agency_created")


# ------------------------------------------------------------------------------------------------ one command each


@pytest.mark.parametrize(("forget", "state", "error"), FORGOTTEN)
async def test_a_guard_of_a_state_before_that_does_not_hold(
    product: Product, store: Store, forget: str, state: str, error: str
) -> None:
    """It fails the website from where it is, with its own error, before anything is seeded."""
    website_id = await product.reserve()
    await product.configure(website_id)
    await product.provision(website_id, state, forget=forget)
    message = created(website_id)
    outcome = await carry_out(store, message)
    assert isinstance(outcome, Refused)
    website = await product.website(website_id)
    assert (website["provisioning_error"], website["provisioning_failed_from"]) == (error, state)
    assert outcome.row.detail["error"] == error
    assert await product.connection.fetchval("SELECT count(*) FROM pwb_realty_assets") == 0
    again = await carry_out(store, message)
    assert again == AlreadyDone(outcome.row), "its copy says what it did"
    assert isinstance(await carry_out(store, created(website_id)), Stale), "and another one does nothing"


async def test_a_missing_owner_spends_the_budget_from_where_it_is(product: Product, store: Store) -> None:
    """Each attempt proves the owner, whoever asks for it; then the website fails from the state that it is in."""
    website_id = await product.reserve(owner=False)
    await product.configure(website_id)
    error = "Owner assignment failed - no active owner membership"
    assert await carry_out(store, created(website_id), budget=3) == Attempted(1, error, FailureCause.GUARD)
    assert await carry_out(store, step("complete_agency", website_id, 1), budget=3) == Attempted(
        2, error, FailureCause.GUARD
    )
    assert isinstance(await carry_out(store, step("complete_agency", website_id, 2), budget=3), Refused)
    website = await product.website(website_id)
    assert (website["provisioning_error"], website["provisioning_failed_from"]) == (error, "owner_assigned")
    assert await product.connection.fetchval("SELECT count(*) FROM pwb_agencies") == 0


async def test_a_missing_subdomain_at_ready(product: Product, store: Store) -> None:
    """The guard of go_live is proven as ever: an attempt, and the website goes live once it has its subdomain."""
    website_id = await product.reserve(subdomain=None)
    await product.configure(website_id)
    await product.provision(website_id, "ready")
    attempted = await carry_out(store, created(website_id))
    assert attempted == Attempted(1, "Cannot go live - missing: subdomain", FailureCause.GUARD)
    await product.connection.execute("UPDATE pwb_websites SET subdomain = 'late' WHERE id = $1", website_id)
    assert isinstance(await carry_out(store, step("go_live", website_id, 1)), Advanced)


async def test_a_website_that_is_held_is_due_nothing(product: Product, store: Store) -> None:
    """At ready with auto_go_live off it stays; once that is set, website.created takes it live."""
    website_id = await product.reserve()
    await product.configure(website_id)
    await product.provision(website_id, "ready")
    await product.connection.execute(
        "UPDATE pwb_websites SET provisioning_auto_go_live = false WHERE id = $1", website_id
    )
    assert await carry_out(store, created(website_id)) == Stale(
        "nothing is left to do for this signup: the website is ready"
    )
    await product.connection.execute(
        "UPDATE pwb_websites SET provisioning_auto_go_live = true, provisioning_due_at = NULL WHERE id = $1", website_id
    )
    assert isinstance(await carry_out(store, created(website_id)), Advanced)


async def test_a_website_under_way_is_not_moved(product: Product, store: Store) -> None:
    """Neither in mid-chain nor while it waits for an attempt: what the message brings is stored, and no more."""
    website_id = await product.reserve(owner=False)
    assert isinstance(await carry_out(store, created(website_id)), Attempted)
    waiting = await product.website(website_id)
    assert isinstance(await carry_out(store, created(website_id, owner={"email": "ana@example.com"})), Stale)
    website = await product.website(website_id)
    changed = {name for name in website if website[name] != waiting[name]}
    assert changed == {"provisioning_request", "updated_at"}
    assert isinstance(await carry_out(store, step("assign_owner", website_id, 1)), Advanced)
    moved = await product.website(website_id)
    assert await carry_out(store, created(website_id)) == Stale(
        "the website is under way: it is owner_assigned, at seq 1"
    )
    assert await product.website(website_id) == moved


async def test_asleep_with_a_log(product: Product, store: Store) -> None:
    """A website of ours that has lost its due time is started from where its log ends."""
    website_id = await product.reserve()
    assert isinstance(await carry_out(store, created(website_id)), Advanced)
    await product.connection.execute("UPDATE pwb_websites SET provisioning_due_at = NULL WHERE id = $1", website_id)
    outcome = await carry_out(store, created(website_id))
    assert isinstance(outcome, Advanced)
    assert (outcome.row.seq, outcome.row.trigger) == (2, Trigger.COMPLETE_AGENCY)
    website = await product.website(website_id)
    assert website["provisioning_due_at"] is not None
    assert website["provisioning_published_seq"] == 0, "it proves no event published"


async def test_the_product_moves_a_website_that_is_ours(product: Product, store: Store) -> None:
    """The database logs it, so that it is under way: the command that follows takes the step, its guards proven."""
    website_id = await product.reserve()
    assert isinstance(await carry_out(store, created(website_id)), Advanced)
    await product.move(website_id, "agency_created")
    assert isinstance(await carry_out(store, created(website_id)), Stale)
    refused = await carry_out(store, replace(step("complete_links", website_id), expected_seq=2))
    assert isinstance(refused, Refused)
    assert refused.row.detail["error"] == "Agency creation failed - no agency record found"
    assert refused.row.from_state == State.AGENCY_CREATED


@pytest.mark.parametrize("states", [("live",), ("failed",), ("live", "suspended"), ("failed", "terminated")])
async def test_websites_at_rest_are_left_alone(product: Product, store: Store, states: tuple[str, ...]) -> None:
    """One that the product has brought to rest has nothing due."""
    website_id = await product.reserve()
    await product.configure(website_id)
    await product.provision(website_id, "ready")
    for state in states:
        failed = "now()" if state == "failed" else "NULL"
        await product.connection.execute(
            f"UPDATE pwb_websites SET provisioning_state = $2, provisioning_failed_at = {failed}, "
            f"provisioning_error = {failed}::text WHERE id = $1", website_id, state,
        )  # fmt: skip
    assert isinstance(await carry_out(store, created(website_id)), Stale)
    assert await product.history(website_id) == []


async def test_a_locked_website_is_illegal(product: Product, store: Store) -> None:
    """The product's own states are not moved (decision 0007)."""
    website_id = await product.reserve()
    await product.move(website_id, "locked_pending_registration")
    outcome = await carry_out(store, created(website_id))
    assert isinstance(outcome, Rejected)
    assert outcome.reason == Reason.ILLEGAL


async def test_a_batch_of_signups_from_different_states(product: Product, store: Store) -> None:
    """Websites of one batch take different steps, and what stops one does not touch the others."""
    ids = []
    for number, state in enumerate(["pending", *MOVED_TO]):
        website_id = await product.reserve(f"website-{number}", owner=number == 0)
        await product.connection.execute(
            "INSERT INTO pwb_user_memberships (user_id, website_id, role, created_at, updated_at) "
            "SELECT id, $1, 'owner', now(), now() FROM pwb_users ON CONFLICT DO NOTHING",
            website_id,
        )
        if state != "pending":
            await product.configure(website_id)
            await product.provision(website_id, state, forget="agency" if state == "links_created" else None)
        ids.append(website_id)
    policy = Policy()
    outcomes = await ProvisioningUseCase(store, Seeders(PackLibrary([PACKS])), policy).batch(list(map(created, ids)))
    states = [outcome.row.to_state for outcome in outcomes if isinstance(outcome, Advanced | Refused)]
    assert states == ["failed" if before(state) == "links_created" else state for state in LIVE]


DETAILS = [{}, {"owner": {"email": "owner@example.com"}, "site_type": "residential", "seed_pack": "base"}]


@pytest.mark.parametrize("more", DETAILS, ids=["the id alone", "with details"])
@pytest.mark.parametrize("state", STATES)
async def test_of_a_website_that_is_due_nothing_nothing_is_stored(
    guest: Any, guest_store: Store, state: str, more: dict[str, Any]
) -> None:
    """A stray website.created takes a website of the product's that has a step before it, and leaves each other as it
    is: byte for byte, and the product's own, so that its retry is driven by nobody else."""
    website_id = IDS[state]
    await guest.execute("UPDATE pwb_websites SET provisioning_failed_at = NULL WHERE provisioning_state = 'failed'")
    await guest.execute("UPDATE pwb_websites SET provisioning_auto_go_live = false WHERE provisioning_state = 'ready'")
    read = "SELECT * FROM pwb_websites WHERE id = $1"
    before_it = dict(await guest.fetchrow(read, website_id))
    outcome = await carry_out(guest_store, created(website_id, **more))
    if state in MOVES_ON:
        assert isinstance(outcome, Advanced)
        return
    assert isinstance(outcome, Rejected if state in LOCKED else Stale), outcome
    assert dict(await guest.fetchrow(read, website_id)) == before_it
    if state == "failed":
        (retry,) = [each for each in OPERATIONS if each.number == 17]
        await operate(guest, ROLE, retry, website_id)
        row = dict(await guest.fetchrow(read, website_id))
        assert (row["provisioning_state"], row["provisioning_seq"], row["provisioning_due_at"]) == ("pending", 0, None)


async def test_the_event_of_a_website_that_waits_is_sent_once(product: Product, start: Start) -> None:
    """A command proves that the event before it is published, also where its attempt does not succeed."""
    website_id = await product.reserve(owner=True)
    async with start(retry_base_seconds=0.01, retry_cap_seconds=0.01, retry_budget=50) as service:
        await product.connection.execute("UPDATE pwb_websites SET subdomain = NULL")
        await service.publish("website.created", {"website_id": website_id})

        async def tried() -> bool:
            return bool((await product.website(website_id))["provisioning_attempts"] >= 4)

        await until(tried, SECONDS, "four attempts at ready")
        website = await product.website(website_id)
        assert (website["provisioning_state"], website["provisioning_published_seq"]) == (
            "ready",
            website["provisioning_seq"],
        )
        sent = [event["body"]["seq"] for event in service.events()]
        assert sent == sorted(set(sent)), "none of them twice"
