"""Composes what is inserted for many websites at once, one statement a table. Runs nothing and knows no connection.

Websites and packs are two sets of arrays that the statement joins: a row of a pack is sent once, however many
websites take it.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from seeders.defaults import PACK_BY_SITE_TYPE, PACK_OTHERWISE, titleized
from seeders.pack import FieldKeyEntry, Labels, LinkEntry, ListingEntry, Pack
from seeders.sql_files import read_statements

SQL = read_statements("seeders.sql")

MAX_COMPOSED = 64
"""Packs whose arrays are kept; a worker meets a handful."""

ASSET_COLUMNS = (
    "prop_type_key", "prop_state_key", "street_address", "city", "region", "country", "postal_code", "latitude",
    "longitude", "count_bedrooms", "count_bathrooms", "count_garages", "constructed_area", "plot_area",
    "year_construction",
)  # fmt: skip
"""In the order of insert_assets.sql."""


@dataclass(frozen=True, slots=True)
class Tenant:
    """What a seeder may know of a website."""

    website_id: int
    subdomain: str | None
    owner_email: str | None
    site_type: str | None
    seed_pack: str | None
    """`seed_pack_name` of its row; None: the site type's pack, without a site type `base`."""

    @property
    def pack_name(self) -> str:
        """The pack it asked for: its own, else the site type's, else base."""
        return self.seed_pack or PACK_BY_SITE_TYPE.get(self.site_type or "", PACK_OTHERWISE)

    @property
    def name(self) -> str | None:
        """What its agency is called unless a pack says otherwise; None where there is no subdomain to tell it."""
        return titleized(self.subdomain or "") or None


Pair = tuple[Tenant, Pack]
"""A website and the pack that it is seeded from."""
Columns = tuple[list[Any], ...]
"""Arrays of equal length, in the order of a statement's parameters."""


@dataclass(frozen=True, slots=True)
class Insert:
    """One statement and its arguments."""

    statement: str
    arguments: tuple[Any, ...]


def agencies(pairs: Sequence[Pair]) -> list[Insert]:
    """Return the insert of each pack's agency; what it leaves out is the website's own."""
    known = [(tenant, pack.agency) for tenant, pack in pairs if pack.agency]
    if not known:
        return []
    arguments = (
        [tenant.website_id for tenant, _ in known],
        [agency.display_name or tenant.name or nameless(tenant) for tenant, agency in known],
        [agency.email or tenant.owner_email for tenant, agency in known],
        [agency.phone for _, agency in known],
    )
    return [Insert(SQL["insert_agencies"], arguments)]


def nameless(tenant: Tenant) -> str:
    """Return what an agency is called that neither pack nor subdomain name."""
    return f"Agency {tenant.website_id}"


def links(pairs: Sequence[Pair]) -> list[Insert]:
    """Return the insert of each pack's links."""
    return _joined("insert_links", pairs, _link_columns)


def field_keys(pairs: Sequence[Pair]) -> list[Insert]:
    """Return the insert of each pack's field keys."""
    return _joined("insert_field_keys", pairs, _field_key_columns)


def properties(pairs: Sequence[Pair]) -> list[Insert]:
    """Return the inserts of each pack's properties: assets first, then their listings, for sale and for rent.

    The listings find their assets by reference: one that was there without its listing gets it now.
    """
    return [
        *_joined("insert_assets", pairs, _asset_columns),
        *_joined("insert_sale_listings", pairs, _sale_columns),
        *_joined("insert_rental_listings", pairs, _rental_columns),
    ]


def _joined(statement: str, pairs: Sequence[Pair], columns_of: Callable[[Pack], Columns]) -> list[Insert]:
    """Return an insert that joins websites with the rows of their packs by the pack's number; none without rows."""
    packs = list(dict.fromkeys(pack for _, pack in pairs))
    number_of = {pack: number for number, pack in enumerate(packs)}
    told = [columns_of(pack) for pack in packs]
    numbers = [number for number, columns in enumerate(told) for _ in columns[0]]
    if not numbers:
        return []
    websites = [tenant.website_id for tenant, _ in pairs]
    columns = [[value for part in parts for value in part] for parts in zip(*told, strict=True)]
    return [Insert(SQL[statement], (websites, [number_of[pack] for _, pack in pairs], numbers, *columns))]


def _columns(rows: Sequence[Any], *getters: Callable[[Any], Any]) -> Columns:
    return tuple([getter(row) for row in rows] for getter in getters)


def _json(value: Labels) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


@lru_cache(maxsize=MAX_COMPOSED)
def _link_columns(pack: Pack) -> Columns:
    rows: Sequence[LinkEntry] = pack.links
    return _columns(
        rows,
        lambda link: link.slug,
        lambda link: link.page_slug,
        lambda link: link.link_path,
        lambda link: link.link_path_params,
        lambda link: link.link_url,
        lambda link: link.placement,
        lambda link: link.sort_order,
        lambda link: link.visible,
        lambda link: _json(link.translations),
    )


@lru_cache(maxsize=MAX_COMPOSED)
def _field_key_columns(pack: Pack) -> Columns:
    rows: Sequence[FieldKeyEntry] = pack.field_keys
    return _columns(
        rows,
        lambda key: key.global_key,
        lambda key: key.tag,
        lambda key: key.visible,
        lambda key: key.sort_order,
        lambda key: _json(key.translations),
    )


@lru_cache(maxsize=MAX_COMPOSED)
def _asset_columns(pack: Pack) -> Columns:
    told = [(entry.reference, entry.stem, *map(entry.columns.get, ASSET_COLUMNS)) for entry in pack.properties]
    return tuple([row[place] for row in told] for place in range(2 + len(ASSET_COLUMNS)))


@lru_cache(maxsize=MAX_COMPOSED)
def _sale_columns(pack: Pack) -> Columns:
    return _listing_columns([(entry.reference, entry.sale) for entry in pack.properties if entry.sale])


@lru_cache(maxsize=MAX_COMPOSED)
def _rental_columns(pack: Pack) -> Columns:
    rows = [(entry.reference, entry.rental) for entry in pack.properties if entry.rental]
    return (
        *_listing_columns(rows),
        [listing.long_term for _, listing in rows],
        [listing.short_term for _, listing in rows],
        [listing.furnished for _, listing in rows],
    )


def _listing_columns(rows: Sequence[tuple[str, ListingEntry]]) -> Columns:
    return (
        [reference for reference, _ in rows],
        [listing.cents for _, listing in rows],
        [listing.currency for _, listing in rows],
        [listing.highlighted for _, listing in rows],
        [_json(listing.translations) for _, listing in rows],
    )
