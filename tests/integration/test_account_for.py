"""Errors that are accounted for: what a fault may and may not do to a website."""

import uuid
from pathlib import Path

import asyncpg
import pytest

import seeders
from consumer.domain.outcomes import Advanced, Attempted, Held, Reason, Refused, Rejected, Stale
from consumer.error_classification import Permanent, Transient, classify
from consumer.messages.inbound import Command
from consumer.messages.inbound_contracts import WebsiteCreated
from consumer.provisioning.use_case import Policy, ProvisioningUseCase
from consumer.store.database import Store
from seeders.loading.pack_library import PackLibrary
from seeders.seeding import Seeders
from statemachine import Trigger

PACKS = Path(seeders.__file__).parent / "packs"


def provision(store: Store, budget: int = 8) -> ProvisioningUseCase:
    """Return the use case with a retry budget."""
    return ProvisioningUseCase(store, Seeders(PackLibrary([PACKS])), Policy(retry_budget=budget))


def signup(**said: object) -> Command:
    """Return a website.created for website 1."""
    created = WebsiteCreated.model_validate({"website_id": 1, "subdomain": "sunny-meadow-1", **said})
    return Command(uuid.uuid4(), "website.created", Trigger.ASSIGN_OWNER, 1, created=created)


async def row(store: Store) -> dict[str, object]:
    """Return what provisioning knows of website 1."""
    async with store.connection() as connection:
        record = await connection.fetchrow("SELECT * FROM pwb_websites WHERE id = 1")
    return {name: value for name, value in record.items() if name.startswith("provisioning_")}


async def test_a_first_attempt_that_fails_keeps_the_signup(store: Store) -> None:
    """The registration was rolled back with its step; the attempt that accounts for it stores what was brought."""
    outcome = await provision(store).record_fault(signup(owner={"email": "ana@example.com"}), Transient("deadlock"))
    assert outcome == Attempted(1, "deadlock")
    website = await row(store)
    assert website["provisioning_state"] == "pending"
    assert website["provisioning_attempts"] == 1
    assert "ana@example.com" in str(website["provisioning_request"])


async def test_a_permanent_error_fails_the_website_at_once(store: Store) -> None:
    """Another attempt would end the same way."""
    outcome = await provision(store).record_fault(signup(), Permanent("PostgreSQL 22001 too long"))
    assert isinstance(outcome, Refused)
    assert (await row(store))["provisioning_error"] == "PostgreSQL 22001 too long"


async def test_a_late_owner_charges_a_failed_website_nothing(store: Store) -> None:
    """The signup that retries a failed website is no step: a transient error leaves the website as it is."""
    (refused,) = await provision(store, budget=1).batch([signup()])
    assert isinstance(refused, Refused)
    before = await row(store)
    late = signup(owner={"email": "ana@example.com"})
    assert await provision(store).record_fault(late, Transient("deadlock")) == Held("deadlock", locked=False)
    assert await row(store) == before
    rejected = await provision(store).record_fault(late, Permanent("broken"))
    assert rejected == Rejected(Reason.ERROR, "broken")
    assert await row(store) == before


async def test_a_late_subdomain_that_is_taken_is_no_defect(store: Store) -> None:
    """A row without a subdomain, and a signup that brings somebody else's: said to its sender, charged to nobody."""
    async with store.connection() as connection:
        await connection.execute(
            """INSERT INTO pwb_websites (id, subdomain, created_at, updated_at)
               VALUES (1, NULL, now(), now()), (2, 'sunny-meadow-1', now(), now())"""
        )
    before = await row(store)
    late = signup(owner={"email": "ana@example.com"})
    with pytest.raises(asyncpg.UniqueViolationError) as raised:
        await provision(store).batch([late], alone=True)
    fault = classify(raised.value)
    assert isinstance(fault, Permanent)
    outcome = await provision(store).record_fault(late, fault)
    assert isinstance(outcome, Rejected)
    assert outcome.reason == Reason.SUBDOMAIN_TAKEN
    assert await row(store) == before


async def test_an_error_of_a_signup_by_a_stranger_registers_nothing(store: Store) -> None:
    """Its owner does not exist: the website is not inserted on the way to saying so."""
    outcome = await provision(store).record_fault(signup(owner={"user_id": 99}), Transient("deadlock"))
    assert isinstance(outcome, Rejected)
    assert outcome.reason == Reason.UNKNOWN_USER
    async with store.connection() as connection:
        assert await connection.fetchval("SELECT count(*) FROM pwb_websites") == 0


async def test_a_stale_signup_still_fills_what_is_missing(store: Store) -> None:
    """The row began to move without it: its subdomain and owner are kept for the steps to come, whatever the state."""
    async with store.connection() as connection:
        await connection.execute("INSERT INTO pwb_websites (id, created_at, updated_at) VALUES (1, now(), now())")
        await connection.execute("UPDATE pwb_websites SET provisioning_attempts = 1")
    late = signup(owner={"email": "ana@example.com"}, site_type="residential", seed_pack="base")
    (outcome,) = await provision(store).batch([late])
    assert isinstance(outcome, Stale)
    async with store.connection() as connection:
        found = await connection.fetchrow("SELECT * FROM pwb_websites")
    said = (found["subdomain"], found["site_type"], found["seed_pack_name"], found["owner_email"])
    assert said == ("sunny-meadow-1", "residential", "base", "ana@example.com")
    assert "ana@example.com" in found["provisioning_request"]


async def test_a_website_inserted_again_goes_on_where_its_log_ends(store: Store) -> None:
    """It was deleted, its log was not: the new row walks, and no seq is used twice."""
    (first,) = await provision(store).batch([signup(owner={"email": "ana@example.com"})])
    assert isinstance(first, Advanced)
    async with store.connection() as connection:
        await connection.execute("DELETE FROM pwb_websites")
    (again,) = await provision(store).batch([signup(owner={"email": "bob@example.com"})])
    assert isinstance(again, Advanced)
    assert (again.row.seq, again.row.from_state) == (2, "pending")
    assert (await row(store))["provisioning_published_seq"] == 1
