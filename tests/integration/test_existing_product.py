"""The schema applied to a database such as the existing product's: its rows stay asleep, its new websites go live."""

import asyncio
import uuid
from typing import Any

from consumer.app import App
from consumer.config import Settings
from consumer.domain.outcomes import Reason, Rejected
from consumer.factories import SHIPPED_PACKS
from consumer.messages.inbound import Command
from consumer.provisioning.use_case import Policy, ProvisioningUseCase
from consumer.store.database import Store
from ops.publishing import publish_all, publishing, website_created
from seeders.loading.pack_library import PackLibrary
from seeders.seeding import Seeders
from statemachine import Trigger
from tests.contract.faulty_broker import FaultyMemoryBroker
from tests.existing_product import IDS, STATES
from tests.worker_processes import until


async def test_a_website_of_the_product_goes_live(guest: Any, guest_url: str) -> None:
    """A row that the product inserted walks to live beside the old ones, in columns without time zone."""
    website_id = await guest.fetchval(
        """INSERT INTO pwb_websites (subdomain, provisioning_state, created_at, updated_at)
            VALUES ('new', 'pending', now(), now()) RETURNING id"""
    )
    broker = FaultyMemoryBroker()
    settings = Settings(database_url=guest_url, namespace=f"t-{uuid.uuid4().hex[:8]}")
    app = App(settings, broker=broker)
    running = asyncio.create_task(app.run())
    body = {"website_id": website_id, "site_type": "residential", "owner": {"email": "ana@example.com"}}
    await broker.declare(app.topology)
    async with publishing(broker) as session:
        await publish_all(session, [website_created(app.topology, body)])

    async def live() -> bool:
        found = await guest.fetchrow("SELECT * FROM pwb_websites WHERE id = $1", website_id)
        return bool(found["provisioning_state"] == "live" and found["provisioning_due_at"] is None)

    await until(live, 60, "the product's website live")
    app.stopping.set()
    await running
    drift = await guest.fetchval(
        "SELECT max(abs(extract(epoch FROM (now() AT TIME ZONE 'UTC') - provisioning_started_at))) FROM pwb_websites"
    )
    assert drift < 60, "times are written in UTC"
    states = await guest.fetch("SELECT provisioning_state FROM pwb_websites WHERE id < $1 ORDER BY id", website_id)
    assert [record[0] for record in states] == list(STATES)
    records = await guest.fetch("SELECT DISTINCT website_id, actor FROM provisioning_transitions")
    assert {record["website_id"] for record in records} == {website_id}
    actors = {record["actor"] for record in records}
    assert actors == {None, "guest"}, "who signed up, by RabbitMQ; no write of ours is taken for the product's"


async def test_a_website_that_the_product_has_locked_is_the_products(guest: Any, guest_url: str) -> None:
    """It stays writable and leaves its state as the product sees fit; a command for it is illegal, and harms nobody."""
    store = Store(guest_url, size=2)
    provision = ProvisioningUseCase(store, Seeders(PackLibrary([SHIPPED_PACKS])), Policy())
    command = Command(uuid.uuid4(), "provisioning.go_live", Trigger.GO_LIVE, IDS["locked_pending_registration"])
    (outcome,) = await provision.batch([command])
    await store.close()
    assert isinstance(outcome, Rejected)
    assert outcome.reason == Reason.ILLEGAL
    assert "locked_pending_registration" in outcome.error
    change = f"UPDATE pwb_websites SET {{}} WHERE id = {IDS['locked_pending_registration']}"
    await guest.execute(change.format("theme_name = 'new'"))
    await guest.execute(change.format("provisioning_state = 'live'"))
