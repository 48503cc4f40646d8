"""What a seed pack is once it has been read: rows that can be inserted. Knows no files and no database."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from seeders.pack_problems import PackProblem

Labels = Mapping[str, Mapping[str, str]]
"""Translations by locale: `{"en": {"label": "Villa"}}`, the shape in which the tables keep them."""


def natural_key(entry: Any) -> str:
    """Return an entry's natural key, which is unique among its kind in a pack and in the database: its first field."""
    key: str = getattr(entry, fields(entry)[0].name)
    return key


@dataclass(frozen=True, slots=True)
class AgencyEntry:
    """The agency of a pack. What it leaves out is the website's own: its name, its owner's e-mail address."""

    display_name: str | None = None
    email: str | None = None
    phone: str | None = None


@dataclass(frozen=True, slots=True)
class LinkEntry:
    """One navigation link; its natural key is the slug."""

    slug: str
    page_slug: str | None = None
    link_path: str | None = None
    link_path_params: str | None = None
    link_url: str | None = None
    placement: int = 0
    """0 top navigation, 1 footer, 2 social media, 3 admin."""
    sort_order: int = 0
    visible: bool = True
    translations: Labels = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FieldKeyEntry:
    """One field key; its natural key is the global key."""

    global_key: str
    tag: str
    sort_order: int = 0
    visible: bool = True
    translations: Labels = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ListingEntry:
    """What a sample property is offered for, at a price in cents of `currency`; a rental's price is for a month."""

    cents: int
    currency: str
    highlighted: bool = False
    long_term: bool = False
    short_term: bool = False
    furnished: bool = False
    translations: Labels = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PropertyEntry:
    """One sample property; its natural key is the reference."""

    reference: str
    columns: Mapping[str, Any]
    """The asset's columns by their names in the database."""
    sale: ListingEntry | None = None
    rental: ListingEntry | None = None
    features: tuple[str, ...] = ()
    """Field keys of what it has, each once."""
    photo_url: str | None = None
    """Where its picture is; None where it has none, or nobody has set where pictures are."""
    stem: str = ""
    """What its slug begins with, lower-case ASCII; no two of a pack have the same. The website id follows it."""
    file: str = ""
    """Where it was read, below the folder of packs."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Pack:
    """A seed pack, its parents merged in. Two packs are equal only if they are the same object."""

    name: str
    agency: AgencyEntry | None = None
    links: tuple[LinkEntry, ...] = ()
    field_keys: tuple[FieldKeyEntry, ...] = ()
    properties: tuple[PropertyEntry, ...] = ()
    strict: bool = False
    """`fallback: false`: it must stand on its own, no defaults are added to it."""
    parents: tuple[str, ...] = ()
    """The names of the packs that it inherits from, the nearest first."""
    errors: tuple[PackProblem, ...] = ()
    """What cannot be inserted. Of a step with an error a pack brings nothing; of the properties, those without one."""
    warnings: tuple[PackProblem, ...] = ()
    """What can be inserted and yet is probably a mistake."""

    def error_of(self, step: str) -> str | None:
        """Return why a step cannot take all its rows from this pack; None where it can."""
        found = [str(error) for error in self.errors if error.step == step]
        if len(found) < 2:  # noqa: PLR2004 - one of several
            return found[0] if found else None
        return f"{found[0]} (and {len(found) - 1} more: `provisioner packs check {self.name}` lists them)"
