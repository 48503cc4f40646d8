"""What a seed pack is once it has been read: rows that can be inserted. Knows no files and no database."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

Labels = Mapping[str, Mapping[str, str]]
"""Translations by locale: `{"en": {"label": "Villa"}}`, the shape in which the tables keep them."""


class PackError(Exception):
    """A seed pack cannot be used; the text names file, entry and reason, and what to do.

    `strict`: as far as the pack could be read, it says `fallback: false`.
    """

    def __init__(self, text: str, *, strict: bool = False) -> None:
        super().__init__(text)
        self.strict = strict


class Keyed(Protocol):
    """An entry with a natural key."""

    @property
    def key(self) -> str:
        """Its natural key."""


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

    @property
    def key(self) -> str:
        """Its natural key."""
        return self.slug


@dataclass(frozen=True, slots=True)
class FieldKeyEntry:
    """One field key; its natural key is the global key."""

    global_key: str
    tag: str
    sort_order: int = 0
    visible: bool = True
    translations: Labels = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Its natural key."""
        return self.global_key


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
    stem: str = ""
    """What its slug begins with, lower-case ASCII; no two of a pack have the same. The website id follows it."""

    @property
    def key(self) -> str:
        """Its natural key."""
        return self.reference


@dataclass(frozen=True, slots=True, eq=False)
class Pack:
    """A seed pack, its parents merged in. Two packs are equal only if they are the same object."""

    name: str
    agency: AgencyEntry | None = None
    links: tuple[LinkEntry, ...] = ()
    field_keys: tuple[FieldKeyEntry, ...] = ()
    properties: tuple[PropertyEntry, ...] = ()
    strict: bool = False
    """`fallback: false`: it must stand on its own, no defaults are added to it."""
    warnings: tuple[str, ...] = ()
    """What can be inserted and yet is probably a mistake."""
