"""The yardstick: the same job as somebody competent writes it by hand, with aio-pika and asyncpg. Runs as a process.

One message, one transaction: lock the row, seed, look whether the guard holds, move the state, write history, commit;
then publish the next command, persistent and confirmed, then ack. It writes the same rows out of the same packs into
the same schema, one multi-row insert a table, and works on the same kind of quorum queue. What it leaves out: events,
deduplication, retries, rescues, logs. A worker killed between COMMIT and publish leaves its website stuck for ever.
"""

import asyncio
import json
import signal
import uuid
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import aio_pika
import asyncpg
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage

from consumer.broker.topology import Topology
from consumer.config import load_settings
from consumer.factories import SHIPPED_PACKS
from seeders.loading.pack_library import PackLibrary
from seeders.pack import Pack
from statemachine import steps

PREFETCH = 32
"""Enough to keep the ten connections of asyncpg's default pool busy. 16 and 64 were no faster."""
SITE_TYPES = ("residential", "commercial", "vacation_rental")


@dataclass(frozen=True, slots=True)
class Step:
    """One edge of the happy path."""

    before: str
    after: str
    guard: str
    """A question to the database; true or null lets the website move."""
    next: str | None


OWNER = "SELECT EXISTS (SELECT FROM pwb_user_memberships WHERE website_id = $1 AND role = 'owner' AND active)"
AGENCY = "SELECT EXISTS (SELECT FROM pwb_agencies WHERE website_id = $1)"
LINKS = f"SELECT count(*) >= {steps.LINKS.minimum} FROM pwb_links WHERE website_id = $1"
FIELD_KEYS = f"SELECT count(*) >= {steps.FIELD_KEYS.minimum} FROM pwb_field_keys WHERE pwb_website_id = $1"
COMPLETE = f"SELECT ({OWNER}) AND ({AGENCY}) AND ({LINKS}) AND ({FIELD_KEYS})"

GUARDS = {
    "assign_owner": OWNER,
    "complete_agency": AGENCY,
    "complete_links": LINKS,
    "complete_field_keys": FIELD_KEYS,
    "mark_ready": COMPLETE,
    "go_live": COMPLETE,
}
WAY = [step for step in steps.STEPS if not step.skips]
FOLLOWING = [*(step.trigger.value for step in WAY[1:]), None]
STEPS = {
    step.trigger.value: Step(step.source.value, step.target.value, GUARDS.get(step.trigger, ""), following)
    for step, following in zip(WAY, FOLLOWING, strict=True)
}

REGISTER = """
    INSERT INTO pwb_websites (id, subdomain, site_type, owner_email, created_at, updated_at)
    VALUES ($1, $2, $3, $4, now(), now()) ON CONFLICT (id) DO NOTHING"""
LOCK = """
    SELECT subdomain, site_type, owner_email, provisioning_state, provisioning_seq
      FROM pwb_websites WHERE id = $1 FOR UPDATE"""
MOVE = """
    UPDATE pwb_websites
       SET provisioning_state = $2::text, provisioning_seq = provisioning_seq + 1,
           provisioning_started_at = coalesce(provisioning_started_at, now()),
           provisioning_completed_at = CASE WHEN $2::text = 'ready' THEN now() ELSE provisioning_completed_at END,
           updated_at = now()
     WHERE id = $1"""
HISTORY = """
    INSERT INTO provisioning_transitions (website_id, seq, trigger, from_state, to_state, message_id, occurred_at)
    VALUES ($1, $2, $3, $4, $5, $6, statement_timestamp())"""
INSERT_USER = """
    INSERT INTO pwb_users (email, first_names, last_names, website_id, created_at, updated_at)
    VALUES ($1, $2, $3, $4, now(), now()) ON CONFLICT (lower(email)) DO NOTHING"""
INSERT_MEMBERSHIP = """
    INSERT INTO pwb_user_memberships (user_id, website_id, role, created_at, updated_at)
    SELECT id, $1::bigint, 'owner', now(), now() FROM pwb_users WHERE lower(email) = $2 ON CONFLICT DO NOTHING"""
INSERT_AGENCY = """
    INSERT INTO pwb_agencies (website_id, display_name, email_primary, created_at, updated_at)
    VALUES ($1, $2, $3, now(), now()) ON CONFLICT (website_id) DO NOTHING"""
INSERT_LINKS = """
    INSERT INTO pwb_links (website_id, slug, page_slug, link_path, link_path_params, link_url, placement, sort_order,
                           visible, translations, created_at, updated_at)
    SELECT $1::bigint, link.*, now(), now()
      FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::int[], $8::int[], $9::bool[],
                  $10::jsonb[]) AS link
        ON CONFLICT (website_id, slug) DO NOTHING"""
INSERT_FIELD_KEYS = """
    INSERT INTO pwb_field_keys (pwb_website_id, global_key, tag, visible, sort_order, translations,
                                created_at, updated_at)
    SELECT $1::bigint, field_key.*, now(), now()
      FROM unnest($2::text[], $3::text[], $4::bool[], $5::int[], $6::jsonb[]) AS field_key
        ON CONFLICT (pwb_website_id, global_key) DO NOTHING"""
ASSET_COLUMNS = {
    "prop_type_key": "text", "prop_state_key": "text", "street_address": "text", "city": "text", "region": "text",
    "country": "text", "postal_code": "text", "latitude": "float8", "longitude": "float8", "count_bedrooms": "int",
    "count_bathrooms": "float8", "count_garages": "int", "constructed_area": "float8", "plot_area": "float8",
    "year_construction": "int",
}  # fmt: skip
INSERT_ASSETS = f"""
    INSERT INTO pwb_realty_assets (website_id, reference, slug, {", ".join(ASSET_COLUMNS)}, created_at, updated_at)
    SELECT $1::bigint, reference, stem || '-' || $1::bigint, {", ".join(ASSET_COLUMNS)}, now(), now()
      FROM unnest($2::text[], $3::text[], {", ".join(f"${n}::{t}[]" for n, t in enumerate(ASSET_COLUMNS.values(), 4))})
           AS asset (reference, stem, {", ".join(ASSET_COLUMNS)})
        ON CONFLICT (website_id, reference) DO NOTHING"""
INSERT_SALES = """
    INSERT INTO pwb_sale_listings (realty_asset_id, active, visible, price_sale_current_cents,
                                   price_sale_current_currency, highlighted, translations, created_at, updated_at)
    SELECT asset.id, true, true, cents, currency, highlighted, listing.translations, now(), now()
      FROM unnest($2::text[], $3::bigint[], $4::text[], $5::bool[], $6::jsonb[])
           AS listing (reference, cents, currency, highlighted, translations)
      JOIN pwb_realty_assets AS asset ON asset.website_id = $1 AND asset.reference = listing.reference
        ON CONFLICT DO NOTHING"""
INSERT_RENTALS = """
    INSERT INTO pwb_rental_listings (realty_asset_id, active, visible, price_rental_monthly_current_cents,
                                     price_rental_monthly_current_currency, highlighted, translations,
                                     for_rent_long_term, for_rent_short_term, furnished, created_at, updated_at)
    SELECT asset.id, true, true, cents, currency, highlighted, listing.translations, long_term, short_term, furnished,
           now(), now()
      FROM unnest($2::text[], $3::bigint[], $4::text[], $5::bool[], $6::jsonb[], $7::bool[], $8::bool[], $9::bool[])
           AS listing (reference, cents, currency, highlighted, translations, long_term, short_term, furnished)
      JOIN pwb_realty_assets AS asset ON asset.website_id = $1 AND asset.reference = listing.reference
        ON CONFLICT DO NOTHING"""


@dataclass(frozen=True, slots=True)
class Rows:
    """What one pack brings, as the inserts take it: one array a column."""

    links: list[list[Any]]
    field_keys: list[list[Any]]
    assets: list[list[Any]]
    sales: list[list[Any]]
    rentals: list[list[Any]]


def rows_of(pack: Pack) -> Rows:
    """Return a pack's rows by columns, once and for all."""
    return Rows(
        _columns(
            (*(link.slug, link.page_slug, link.link_path, link.link_path_params, link.link_url),
             *(link.placement, link.sort_order, link.visible, json.dumps(link.translations)))
            for link in pack.links
        ),
        _columns(
            (key.global_key, key.tag, key.visible, key.sort_order, json.dumps(key.translations))
            for key in pack.field_keys
        ),
        _columns(
            (home.reference, home.stem, *(home.columns.get(name) for name in ASSET_COLUMNS))
            for home in pack.properties
        ),
        _columns(
            (home.reference, sale.cents, sale.currency, sale.highlighted, json.dumps(sale.translations))
            for home in pack.properties if (sale := home.sale)
        ),
        _columns(
            (*(home.reference, rent.cents, rent.currency, rent.highlighted, json.dumps(rent.translations)),
             *(rent.long_term, rent.short_term, rent.furnished))
            for home in pack.properties if (rent := home.rental)
        ),
    )  # fmt: skip


def _columns(rows: Any) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]


class Naive:
    """The consumer."""

    def __init__(self, stepping: "Stepping", channel: AbstractChannel, queue: str) -> None:
        self._stepping = stepping
        self._channel = channel
        self._queue = queue

    async def on_message(self, message: AbstractIncomingMessage) -> None:
        """Carry one message out."""
        body = json.loads(message.body)
        name = str(message.type)
        trigger = "assign_owner" if name == "website.created" else name.removeprefix("provisioning.")
        following = await self._stepping.advance(trigger, body, str(message.message_id))
        if following:
            await self._channel.default_exchange.publish(
                aio_pika.Message(
                    json.dumps({"website_id": body["website_id"]}).encode(),
                    type=f"provisioning.{following}",
                    message_id=str(uuid.uuid4()),
                    content_type="application/json",
                    delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
                ),
                routing_key=self._queue,
            )
        await message.ack()


class Stepping:
    """What a step is, whatever brought its message: bench/peers shares it."""

    def __init__(self, pool: Any, packs: dict[str, Rows]) -> None:
        self._pool = pool
        self._packs = packs

    async def advance(self, trigger: str, body: dict[str, Any], message_id: str) -> str | None:
        """Move a website by one step; return the trigger of the next, None where there is none."""
        step, website_id = STEPS[trigger], body["website_id"]
        async with self._pool.acquire() as connection, connection.transaction():
            if trigger == "assign_owner":
                owner = body["owner"]
                await connection.execute(REGISTER, website_id, body["subdomain"], body["site_type"], owner["email"])
            website = await connection.fetchrow(LOCK, website_id)
            if website is None or website["provisioning_state"] != step.before:
                return None  # a duplicate
            for statement, *arguments in seeding(trigger, website_id, website, body, self._packs):
                await connection.execute(statement, *arguments)
            after, following = step.after, step.next
            if step.guard and not await connection.fetchval(step.guard, website_id):
                raise RuntimeError(f"website {website_id} lacks what {trigger} needs")
            await connection.execute(MOVE, website_id, after)
            seq = website["provisioning_seq"] + 1
            await connection.execute(HISTORY, website_id, seq, trigger, step.before, after, message_id)
        return following


def seeding(trigger: str, website_id: int, website: Any, body: dict[str, Any], packs: dict[str, Rows]) -> list[Any]:
    """Return the inserts of a step, each a statement followed by its arguments."""
    match trigger:
        case "assign_owner":
            owner = body["owner"]
            first, _, last = owner["name"].rpartition(" ")
            return [
                (INSERT_USER, owner["email"], first, last, website_id),
                (INSERT_MEMBERSHIP, website_id, owner["email"]),
            ]
        case "complete_agency":
            name = website["subdomain"].replace("-", " ").title()
            return [(INSERT_AGENCY, website_id, name, website["owner_email"])]
        case "complete_links":
            return [(INSERT_LINKS, website_id, *packs[website["site_type"]].links)]
        case "complete_field_keys":
            return [(INSERT_FIELD_KEYS, website_id, *packs[website["site_type"]].field_keys)]
        case "seed_properties":
            rows = packs[website["site_type"]]
            tables = (INSERT_ASSETS, rows.assets), (INSERT_SALES, rows.sales), (INSERT_RENTALS, rows.rentals)
            return [(statement, website_id, *columns) for statement, columns in tables if columns]
        case _:
            return []


async def packs_by_site_type() -> dict[str, Rows]:
    """Return the rows of the packs that ship."""
    library = PackLibrary([SHIPPED_PACKS])
    return {name: rows_of(await library.get(name)) for name in SITE_TYPES}


async def main() -> None:
    """Consume until SIGTERM."""
    settings = load_settings()
    packs = await packs_by_site_type()
    queue_name = Topology(settings.namespace).commands
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    async with asyncpg.create_pool(settings.database_url.get_secret_value()) as pool:
        connection = await aio_pika.connect_robust(settings.amqp_url.get_secret_value())
        async with connection:
            channel = await connection.channel()
            await channel.set_qos(prefetch_count=PREFETCH)
            queue = await channel.get_queue(queue_name)
            await queue.consume(Naive(Stepping(pool, packs), channel, queue_name).on_message)
            await stopping.wait()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(main())
