"""The schema applied to a database such as the existing product's: its rows stay asleep, its new websites go live."""

import asyncio
import uuid
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from consumer.app import SHIPPED_PACKS, App
from consumer.broker_inprocess import InProcessBroker
from consumer.config import Settings
from consumer.messages import Command
from consumer.outcomes import Reason, Rejected
from consumer.provision import Policy, Provision
from consumer.store import Store
from ops.sending import publish_all, publishing, website_created
from seeders import PackLibrary, Seeders
from statemachine import Trigger
from tests.worker_processes import until

SCHEMA = (Path(__file__).parents[2] / "schema.sql").read_text()
EXISTING = """
CREATE TABLE pwb_websites (
    id serial PRIMARY KEY, subdomain varchar, slug varchar, site_type varchar, seed_pack_name varchar,
    owner_email varchar, theme_name varchar, default_currency varchar DEFAULT 'EUR',
    provisioning_state varchar NOT NULL DEFAULT 'live', provisioning_started_at timestamp(6),
    provisioning_completed_at timestamp(6), provisioning_failed_at timestamp(6), provisioning_error text,
    created_at timestamp(6) NOT NULL, updated_at timestamp(6) NOT NULL);
CREATE UNIQUE INDEX index_pwb_websites_on_subdomain ON pwb_websites (subdomain);
CREATE TABLE pwb_users (
    id serial PRIMARY KEY, email varchar NOT NULL DEFAULT '', encrypted_password varchar NOT NULL DEFAULT '',
    first_names varchar, last_names varchar, website_id integer, onboarding_state varchar NOT NULL DEFAULT 'active',
    created_at timestamp(6) NOT NULL, updated_at timestamp(6) NOT NULL);
CREATE UNIQUE INDEX index_pwb_users_on_email ON pwb_users (email);
CREATE TABLE pwb_user_memberships (
    id bigserial PRIMARY KEY, user_id bigint NOT NULL, website_id bigint NOT NULL,
    role varchar NOT NULL DEFAULT 'member', active boolean NOT NULL DEFAULT true,
    created_at timestamp(6) NOT NULL, updated_at timestamp(6) NOT NULL);
CREATE UNIQUE INDEX index_pwb_user_memberships_on_user_id_and_website_id
    ON pwb_user_memberships (user_id, website_id);
CREATE TABLE pwb_agencies (
    id serial PRIMARY KEY, display_name varchar, company_name varchar, email_primary varchar,
    phone_number_primary varchar, website_id integer,
    created_at timestamp(6) NOT NULL, updated_at timestamp(6) NOT NULL);
CREATE TABLE pwb_links (
    id serial PRIMARY KEY, website_id integer, slug varchar, link_path varchar, link_path_params varchar,
    link_url varchar, page_slug varchar, placement integer DEFAULT 0, sort_order integer DEFAULT 0,
    visible boolean DEFAULT true, translations jsonb NOT NULL DEFAULT '{}',
    created_at timestamp(6) NOT NULL, updated_at timestamp(6) NOT NULL);
CREATE UNIQUE INDEX index_pwb_links_on_website_id_and_slug ON pwb_links (website_id, slug);
CREATE TABLE pwb_field_keys (
    id bigserial PRIMARY KEY, global_key varchar, tag varchar, pwb_website_id bigint, visible boolean DEFAULT true,
    sort_order integer DEFAULT 0, translations jsonb NOT NULL DEFAULT '{}',
    created_at timestamp(6) NOT NULL, updated_at timestamp(6) NOT NULL);
CREATE UNIQUE INDEX index_field_keys_unique_per_website ON pwb_field_keys (pwb_website_id, global_key);
CREATE TABLE pwb_realty_assets (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(), website_id integer, reference varchar, slug varchar,
    prop_type_key varchar, prop_state_key varchar, street_address varchar, city varchar, region varchar,
    country varchar, postal_code varchar, latitude float, longitude float, count_bedrooms integer DEFAULT 0,
    count_bathrooms float DEFAULT 0, count_garages integer DEFAULT 0, constructed_area float DEFAULT 0,
    plot_area float DEFAULT 0, year_construction integer DEFAULT 0, translations jsonb NOT NULL DEFAULT '{}',
    created_at timestamp(6) NOT NULL, updated_at timestamp(6) NOT NULL);
CREATE UNIQUE INDEX index_pwb_realty_assets_on_slug ON pwb_realty_assets (slug);
INSERT INTO pwb_websites (subdomain, provisioning_state, created_at, updated_at)
     VALUES ('old-live', 'live', now(), now()), ('old-stranded', 'links_created', now(), now()),
            ('old-locked', 'locked_pending_registration', now(), now()), ('old-failed', 'failed', now(), now());
"""


@pytest.fixture
async def connection(empty_database_url: str) -> Any:
    """A connection to a database that looks like the existing product's."""
    connection = await asyncpg.connect(empty_database_url)
    await connection.execute(EXISTING)
    yield connection
    await connection.close()


async def test_rows_that_are_there_are_not_woken(connection: Any) -> None:
    """Applying the schema twice leaves every existing row as it was, and none of them due."""
    before = await connection.fetch("SELECT id, subdomain, provisioning_state FROM pwb_websites ORDER BY id")
    for _ in range(2):
        await connection.execute(SCHEMA)
    after = await connection.fetch("SELECT id, subdomain, provisioning_state FROM pwb_websites ORDER BY id")
    assert before == after
    assert await connection.fetchval("SELECT count(*) FROM pwb_websites WHERE provisioning_due_at IS NOT NULL") == 0
    await connection.execute(
        "INSERT INTO pwb_websites (subdomain, created_at, updated_at) VALUES ('new', now(), now())"
    )
    new = await connection.fetchrow("SELECT * FROM pwb_websites WHERE subdomain = 'new'")
    assert new["provisioning_state"] == "pending"
    assert new["provisioning_due_at"] is not None


async def test_doubled_agencies_are_named(connection: Any) -> None:
    """Two agencies of one website stop the schema with a sentence that names the website, and nothing is applied."""
    await connection.execute(
        "INSERT INTO pwb_agencies (website_id, created_at, updated_at) VALUES (1, now(), now()), (1, now(), now())"
    )
    with pytest.raises(asyncpg.RaiseError, match="more than one agency for websites 1"):
        await connection.execute(SCHEMA)
    tables = await connection.fetchval("SELECT to_regclass('provisioning_transitions')")
    assert tables is None


async def test_a_website_of_the_product_goes_live(connection: Any, empty_database_url: str) -> None:
    """A row that the product inserted walks to live beside the old ones, in columns without time zone."""
    await connection.execute(SCHEMA)
    website_id = await connection.fetchval(
        "INSERT INTO pwb_websites (subdomain, created_at, updated_at) VALUES ('new', now(), now()) RETURNING id"
    )
    broker = InProcessBroker()
    settings = Settings(database_url=empty_database_url, namespace=f"t-{uuid.uuid4().hex[:8]}")
    app = App(settings, broker=broker)
    running = asyncio.create_task(app.run())
    body = {"website_id": website_id, "site_type": "residential", "owner": {"email": "ana@example.com"}}
    await broker.declare(app.topology)
    async with publishing(broker) as session:
        await publish_all(session, [website_created(app.topology, body)])

    async def live() -> bool:
        found = await connection.fetchrow("SELECT * FROM pwb_websites WHERE id = $1", website_id)
        return bool(found["provisioning_state"] == "live" and found["provisioning_due_at"] is None)

    await until(live, 20, "the product's website live")
    app.stopping.set()
    await running
    drift = await connection.fetchval(
        "SELECT max(abs(extract(epoch FROM (now() AT TIME ZONE 'UTC') - provisioning_started_at))) FROM pwb_websites"
    )
    assert drift < 60, "times are written in UTC"
    states = await connection.fetch("SELECT provisioning_state FROM pwb_websites WHERE id < $1 ORDER BY id", website_id)
    assert [record[0] for record in states] == ["live", "links_created", "locked_pending_registration", "failed"]


async def test_a_website_that_the_product_has_locked_is_the_products(connection: Any, empty_database_url: str) -> None:
    """It stays writable and leaves its state as the product sees fit; a command for it is illegal, and harms nobody."""
    await connection.execute(SCHEMA)
    found = await connection.fetchrow("SELECT * FROM pwb_websites WHERE subdomain = 'old-locked'")
    store = Store(empty_database_url, size=2)
    provision = Provision(store, Seeders(PackLibrary([SHIPPED_PACKS])), Policy())
    command = Command(uuid.uuid4(), "provisioning.go_live", Trigger.GO_LIVE, found["id"])
    (outcome,) = await provision.batch([command])
    await store.close()
    assert isinstance(outcome, Rejected)
    assert outcome.reason == Reason.ILLEGAL
    assert "locked_pending_registration" in outcome.error
    change = "UPDATE pwb_websites SET {} WHERE subdomain = 'old-locked'"
    await connection.execute(change.format("theme_name = 'new'"))
    await connection.execute(change.format("provisioning_state = 'live'"))
    with pytest.raises(asyncpg.CheckViolationError):
        await connection.execute(change.format("provisioning_state = 'locked_pending_registration'"))
