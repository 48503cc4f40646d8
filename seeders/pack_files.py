"""Reads the files of one seed pack into rows that can be inserted. Knows nothing of its parents or of where packs are.

The files are the existing product's: `pack.yml`, `links.yml`, `field_keys.yml`, `properties/*.yml`.
"""

from pathlib import Path
from typing import Any

from seeders.pack import AgencyEntry, LinkEntry, ListingEntry, Pack, PropertyEntry
from seeders.pack_entries import MAX_ENTRIES, bounded, refuse_doubles
from seeders.pack_field_keys import TAGS, read_field_keys
from seeders.pack_layout import (
    HeadLayout,
    LinkLayout,
    PropertyLayout,
    RentalLayout,
    SaleLayout,
    StrictLayout,
    validated,
)
from seeders.pack_yaml import MAX_FILE_BYTES, read_yaml

__all__ = ["MAX_ENTRIES", "MAX_FILE_BYTES", "TAGS", "files_of", "read_head", "read_pack", "says_strict"]

CURRENCY = "EUR"
STATE = "states.good"


def files_of(root: Path, name: str) -> list[Path]:
    """Return the files that a pack is read from, those that are there."""
    folder = root / name
    heads = [folder / "pack.yml", folder / "links.yml", folder / "field_keys.yml"]
    return [path for path in heads if path.is_file()] + sorted((folder / "properties").glob("*.yml"))


def read_head(root: Path, name: str) -> HeadLayout:
    """Read a pack's pack.yml.

    Raises:
        PackError: naming file, entry and reason.
    """
    file = f"{name}/pack.yml"
    return validated(HeadLayout, read_yaml(root, file, dict) or {}, file)


def says_strict(root: Path, name: str) -> bool:
    """Return whether a pack.yml says `fallback: false`, whatever else is wrong with it.

    Raises:
        PackError: that much of it cannot be read.
    """
    file = f"{name}/pack.yml"
    return validated(StrictLayout, read_yaml(root, file, dict) or {}, file).fallback is False


def read_pack(root: Path, name: str) -> Pack:
    """Read one pack as its files say, without its parents.

    Raises:
        PackError: naming file, entry and reason.
    """
    head = read_head(root, name)
    currency = (head.website and head.website.currency) or CURRENCY
    said = head.agency
    properties, warnings = _read_properties(root, name, currency)
    return Pack(
        name=name,
        agency=AgencyEntry(said.display_name, said.email, said.phone) if said else None,
        links=_read_links(root, f"{name}/links.yml"),
        field_keys=read_field_keys(root, f"{name}/field_keys.yml"),
        properties=tuple(properties),
        strict=head.fallback is False,
        warnings=tuple(warnings),
    )


def _read_links(root: Path, file: str) -> tuple[LinkEntry, ...]:
    entries = bounded(read_yaml(root, file, list) or [], file)
    links = []
    for number, raw in enumerate(entries, start=1):
        slug = raw.get("slug") if isinstance(raw, dict) else None
        link = validated(LinkLayout, raw, file, _printable(slug) or f"number {number}")
        links.append(
            LinkEntry(
                slug=link.slug,
                page_slug=link.page_slug,
                link_path=link.link_path,
                link_path_params=link.link_path_params,
                link_url=link.link_url,
                placement=link.placement or 0,
                sort_order=number if link.sort_order is None else link.sort_order,
                visible=link.visible is not False,
                translations=_by_locale(link_title=link.link_title),
            )
        )
    refuse_doubles(links, file)
    return tuple(links)


def _read_properties(root: Path, name: str, currency: str) -> tuple[list[PropertyEntry], list[str]]:
    """Return the properties, and a warning for each that is not offered."""
    properties, warnings = [], []
    for path in bounded(sorted((root / name / "properties").glob("*.yml")), f"{name}/properties"):
        file = f"{name}/properties/{path.name}"
        raw = read_yaml(root, file, dict) or {}
        entry = _property(validated(PropertyLayout, raw, file, _printable(raw.get("reference"))), currency)
        properties.append(entry)
        if entry.sale is None and entry.rental is None:
            warnings.append(f"{file}: {entry.reference} is offered neither for sale nor for rent")
    refuse_doubles(properties, f"{name}/properties")
    return properties, warnings


def _property(layout: PropertyLayout, currency: str) -> PropertyEntry:
    return PropertyEntry(
        reference=layout.reference,
        columns={
            "prop_type_key": layout.prop_type,
            "prop_state_key": layout.prop_state or STATE,
            "street_address": layout.address,
            "city": layout.city,
            "region": layout.region,
            "country": layout.country,
            "postal_code": layout.postal_code,
            "latitude": layout.latitude,
            "longitude": layout.longitude,
            "count_bedrooms": layout.bedrooms or 0,
            "count_bathrooms": layout.bathrooms or 0.0,
            "count_garages": layout.garages or 0,
            "constructed_area": layout.constructed_area or 0.0,
            "plot_area": layout.plot_area or 0.0,
            "year_construction": layout.year_built or 0,
        },
        sale=_sale(layout.sale, currency) if layout.sale else None,
        rental=_rental(layout.rental, currency) if layout.rental else None,
    )


def _sale(sale: SaleLayout, currency: str) -> ListingEntry:
    return ListingEntry(
        cents=sale.price_cents or 0,
        currency=currency,
        highlighted=bool(sale.highlighted),
        translations=_by_locale(title=sale.title, description=sale.description),
    )


def _rental(rental: RentalLayout, currency: str) -> ListingEntry:
    # Some packs of the existing product write a rental's monthly price as price_cents.
    cents = rental.price_cents if rental.monthly_price_cents is None else rental.monthly_price_cents
    return ListingEntry(
        cents=cents or 0,
        currency=currency,
        highlighted=bool(rental.highlighted),
        long_term=bool(rental.long_term),
        short_term=bool(rental.short_term),
        furnished=bool(rental.furnished),
        translations=_by_locale(title=rental.title, description=rental.description),
    )


def _by_locale(**texts: dict[str, str | None] | None) -> dict[str, dict[str, str]]:
    """Return `{locale: {name: text}}` of texts by locale; a locale without a text is left out."""
    told: dict[str, dict[str, str]] = {}
    for name, by_locale in texts.items():
        for locale, text in (by_locale or {}).items():
            if text is not None:
                told.setdefault(locale, {})[name] = text
    return told


def _printable(key: Any) -> str:
    """Return a natural key to name an entry by; an empty text where there is none."""
    return key if isinstance(key, str) else ""
