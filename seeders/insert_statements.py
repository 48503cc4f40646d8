"""Composes inserts of many websites' rows out of their packs, one statement a table. Runs nothing.

Some write to tables and columns of the existing product that a database may lack; a database of the service's own has
none of them. What each needs is listed here. The store asks the catalogue which are there, once a connection and again
from time to time, never for each delivery; the others are not composed.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from seeders.pack import Pack
from seeders.sql_loader import read_statements
from seeders.website_to_seed import Tenant

Needs = dict[str, tuple[str, tuple[str, ...]]]
TIMES = ("created_at", "updated_at")
FEATURES: Needs = {"pwb_features": ("INSERT", ("realty_asset_id", "feature_key", *TIMES))}
PHOTOS: Needs = {"pwb_prop_photos": ("INSERT", ("realty_asset_id", "sort_order", "external_url", *TIMES))}
NEEDS: dict[str, Needs] = {
    "insert_features": FEATURES,
    "insert_photos": PHOTOS,
    "count_photos": PHOTOS | {"pwb_realty_assets": ("UPDATE", ("prop_photos_count",))},
    "count_properties": {"pwb_websites": ("UPDATE", ("realty_assets_count",))},
}
"""By optional statement, the columns that it writes to, by table, and the privilege that it takes beside reading."""
INSERTS = read_statements("seeders.sql")
FIND_COLUMNS = INSERTS.pop("writable_columns")
"""Returns which of some columns are there and can be written to."""
OPTIONAL = {name: INSERTS[name] for name in NEEDS}
"""The statements that a database may lack the tables for."""
SQL = {name: text for name, text in INSERTS.items() if name not in NEEDS}
"""The statements that can be run in every database."""
NEEDED_COLUMNS = {
    name: {(table, column, privilege) for table, (privilege, columns) in needs.items() for column in columns}
    for name, needs in NEEDS.items()
}
"""By optional statement, which columns it needs, each with its table and the privilege."""

MAX_COMPOSED = 256
"""Arrays of a pack's rows that are kept, one for each table; a worker meets a handful of packs."""


Insert = tuple[str, tuple[Any, ...]]
"""One statement, by its name in `seeders/sql/`, and its arguments."""
Pair = tuple[Tenant, Pack]
"""A website and the pack that it is seeded from."""
Compose = Callable[[Sequence[Pair]], list[Insert]]
"""Returns the inserts for websites and their packs."""


@dataclass(frozen=True, slots=True)
class Table:
    """An insert of one row for each entry of a pack, for all websites that are seeded from it.

    Attributes:
        statement: its name in `seeders/sql/`. It joins websites and rows, two sets of arrays, by the pack's number: a
            row of a pack is sent once, however many websites take it.
        field: the field of Pack that has the entries.
        columns: where an entry has the statement's values, in the order of its parameters; `sale.cents` is a value of a
            part. A mapping or a tuple is sent as JSON.
        part: only entries that have this part have a row.
    """

    statement: str
    field: str
    columns: tuple[str, ...]
    part: str = ""


def joined(*tables: Table) -> Compose:
    """Return a function that returns the inserts into these tables, in order; a table that gets no row has none."""
    return lambda pairs: [insert for table in tables for insert in _insert(table, pairs)]


def counted(statement: str, *, part: str = "") -> Compose:
    """Return what composes a statement that counts again, for the websites whose pack has properties with this part."""

    def compose(pairs: Sequence[Pair]) -> list[Insert]:
        websites = [
            tenant.website_id
            for tenant, pack in pairs
            if any(getattr(entry, part) if part else entry for entry in pack.properties)
        ]
        return [(statement, (websites,))] if websites else []

    return compose


def rows_of(pack: Pack, field: str) -> Sequence[Any]:
    """Return the rows that a step takes from a pack."""
    found = getattr(pack, field)
    return found if isinstance(found, tuple) else [found] if found is not None else []


def _insert(table: Table, pairs: Sequence[Pair]) -> list[Insert]:
    number_of = {pack: number for number, pack in enumerate(dict.fromkeys(pack for _, pack in pairs))}
    parts = [(number, columns) for pack, number in number_of.items() if (columns := _columns(table, pack))]
    if not parts:
        return []
    numbers = [number for number, columns in parts for _ in columns[0]]
    columns = [[value for part in same for value in part] for same in zip(*(part for _, part in parts), strict=True)]
    websites = [tenant.website_id for tenant, _ in pairs]
    return [(table.statement, (websites, [number_of[pack] for _, pack in pairs], numbers, *columns))]


@lru_cache(maxsize=MAX_COMPOSED)
def _columns(table: Table, pack: Pack) -> list[list[Any]]:
    entries = [entry for entry in rows_of(pack, table.field) if not table.part or getattr(entry, table.part)]
    return [[_value(entry, path) for entry in entries] for path in table.columns] if entries else []


def _value(entry: Any, path: str) -> Any:
    for name in path.split("."):
        entry = entry.get(name) if isinstance(entry, Mapping) else getattr(entry, name)
    if isinstance(entry, Mapping | tuple):
        return json.dumps(entry, ensure_ascii=False, separators=(",", ":"))
    return entry


def agencies(pairs: Sequence[Pair]) -> list[Insert]:
    """Return the insert of each pack's agency; what it leaves out is the website's own name and address."""
    known = [(tenant, pack.agency) for tenant, pack in pairs if pack.agency]
    if not known:
        return []
    arguments = (
        [tenant.website_id for tenant, _ in known],
        [agency.display_name or titleized(tenant.subdomain) or nameless(tenant) for tenant, agency in known],
        [agency.email or tenant.owner_email or None for tenant, agency in known],
        [agency.phone for _, agency in known],
    )
    return [("insert_agencies", arguments)]


def titleized(subdomain: str | None) -> str:
    """Return a subdomain as a name: `sunny-meadow-42` becomes `Sunny Meadow 42`; an empty text where there is none."""
    return " ".join(word.capitalize() for word in (subdomain or "").split("-") if word)


def nameless(tenant: Tenant) -> str:
    """Return the name of an agency that neither pack nor subdomain name."""
    return f"Agency {tenant.website_id}"


def remark_nameless(tenant: Tenant, pack: Pack) -> str | None:
    """Return a remark where an agency was named by its website's id; else None."""
    if pack.agency is None or pack.agency.display_name or titleized(tenant.subdomain):
        return None
    return f"there is no subdomain to name the agency after, so it is called {nameless(tenant)!r}"
