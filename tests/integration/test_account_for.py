"""Errors that are accounted for: what a fault may and may not do to a website."""

import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

import seeders
from consumer.errors import Permanent, Transient
from consumer.messages import Command, WebsiteCreated
from consumer.outcomes import Attempted, Held, Reason, Refused, Rejected
from consumer.provision import Policy, Provision
from consumer.store import Store
from seeders import PackLibrary, Seeders
from statemachine import Trigger

PACKS = Path(seeders.__file__).parent / "packs"


@pytest_asyncio.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    """A store on a fresh database."""
    store = Store(database_url, size=2)
    yield store
    await store.close()


def provision(store: Store, budget: int = 8) -> Provision:
    """Return the use case with a retry budget."""
    return Provision(store, Seeders(PackLibrary([PACKS])), Policy(retry_budget=budget))


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
    outcome = await provision(store).account_for(signup(owner={"email": "ana@example.com"}), Transient("deadlock"))
    assert outcome == Attempted(1, "deadlock")
    website = await row(store)
    assert website["provisioning_state"] == "pending"
    assert website["provisioning_attempts"] == 1
    assert "ana@example.com" in str(website["provisioning_request"])


async def test_a_permanent_error_fails_the_website_at_once(store: Store) -> None:
    """Another attempt would end the same way."""
    outcome = await provision(store).account_for(signup(), Permanent("PostgreSQL 22001 too long"))
    assert isinstance(outcome, Refused)
    assert (await row(store))["provisioning_error"] == "PostgreSQL 22001 too long"


async def test_a_late_owner_charges_a_failed_website_nothing(store: Store) -> None:
    """The signup that retries a failed website is no step: a transient error leaves the website as it is."""
    (refused,) = await provision(store, budget=1).batch([signup()])
    assert isinstance(refused, Refused)
    before = await row(store)
    late = signup(owner={"email": "ana@example.com"})
    assert await provision(store).account_for(late, Transient("deadlock")) == Held("deadlock")
    assert await row(store) == before
    rejected = await provision(store).account_for(late, Permanent("broken"))
    assert rejected == Rejected(Reason.ERROR, "broken")
    assert await row(store) == before
