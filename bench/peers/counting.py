"""What is left when nothing moves any more: which websites are stuck or lost, which rows are doubled or missing."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.arena import SITE_TYPES
from consumer.factories import SHIPPED_PACKS
from seeders.loading.pack_library import PackLibrary
from statemachine import CHAIN

SEEDED = {
    "pwb_users": "owner_assigned",
    "pwb_user_memberships": "owner_assigned",
    "pwb_agencies": "agency_created",
    "pwb_links": "links_created",
    "pwb_field_keys": "field_keys_created",
    "pwb_realty_assets": "properties_seeded",
    "pwb_sale_listings": "properties_seeded",
    "pwb_rental_listings": "properties_seeded",
}
"""From which state on a website has its rows in a table."""
LOG = "provisioning_transitions"
WEBSITE_COLUMN = {"pwb_field_keys": "pwb_website_id"}
LISTINGS = ("pwb_sale_listings", "pwb_rental_listings")

States = Mapping[int, str]
Counts = Mapping[str, Mapping[int, int]]
"""Rows a table and website."""


@dataclass(frozen=True, slots=True)
class Reckoning:
    """Counts over all websites that were signed up."""

    signed_up: int
    live: int
    stuck: int
    """They have a row, and will never be live."""
    lost: int
    """They have no row at all: their signup is gone."""
    doubled: int
    """Rows beyond those that a website's state stands for, log and packs together."""
    missing: int
    """Rows that a website's state stands for, and which are not there."""

    @property
    def exact(self) -> bool:
        """Whether every website is live, with each of its rows once."""
        return self.live == self.signed_up and not self.doubled and not self.missing


def reckon(signed_up: int, states: States, found: Counts, of_packs: Counts) -> Reckoning:
    """Compare what is there with what the states promise. Pure.

    `of_packs` has the rows that each website gets in each table, `found` those that it has.
    """
    places = {str(state): place for place, state in enumerate(CHAIN)}
    live = doubled = missing = 0
    for website_id in range(1, signed_up + 1):
        state = states.get(website_id)
        live += state == "live"
        place = places.get(state or "pending", 0)
        promised = {table: of_packs[table][website_id] * (place >= places[since]) for table, since in SEEDED.items()}
        promised[LOG] = place
        for table, expected in promised.items():
            beyond = found[table].get(website_id, 0) - expected
            doubled += max(0, beyond)
            missing += max(0, -beyond)
    lost = sum(website_id not in states for website_id in range(1, signed_up + 1))
    return Reckoning(signed_up, live, signed_up - live - lost, lost, doubled, missing)


async def reckoning_of(connection: Any, signed_up: int) -> Reckoning:
    """Read what is there, and reckon."""
    records = await connection.fetch("SELECT id, provisioning_state FROM pwb_websites")
    states = {record["id"]: record["provisioning_state"] for record in records}
    found = {table: dict(await connection.fetch(_counting(table))) for table in (*SEEDED, LOG)}
    return reckon(signed_up, states, found, await rows_of_packs(signed_up))


def _counting(table: str) -> str:
    if table in LISTINGS:
        return (
            f"SELECT asset.website_id, count(*) FROM {table} AS listing "
            "JOIN pwb_realty_assets AS asset ON asset.id = listing.realty_asset_id GROUP BY 1"
        )
    return f"SELECT {WEBSITE_COLUMN.get(table, 'website_id')}, count(*) FROM {table} GROUP BY 1"


async def rows_of_packs(count: int) -> dict[str, dict[int, int]]:
    """Return how many rows of each kind each website has when it is live, their ids from 1 on."""
    library = PackLibrary([SHIPPED_PACKS])
    rows: dict[str, dict[int, int]] = {table: {} for table in SEEDED}
    packs = {name: await library.get(name) for name in SITE_TYPES}
    for website_id in range(1, count + 1):
        pack = packs[SITE_TYPES[website_id % len(SITE_TYPES)]]
        sizes = (
            *(1, 1, 1, len(pack.links), len(pack.field_keys), len(pack.properties)),
            sum(bool(home.sale) for home in pack.properties),
            sum(bool(home.rental) for home in pack.properties),
        )
        for table, size in zip(SEEDED, sizes, strict=True):
            rows[table][website_id] = size
    return rows
