"""Merges a seed pack with its parents: the child's entry wins, the parent fills in. Knows no files and no database."""

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TypeVar

from seeders.pack import AgencyEntry, FieldKeyEntry, Keyed, Pack, PropertyEntry

Entry = TypeVar("Entry", bound=Keyed)


def merge(lineage: Sequence[Pack]) -> Pack:
    """Return the first of these packs with what the others, its parents, fill in, nearest first.

    Entries stand in the parent's order, a child's entry in the place of the one it replaces, and what is the child's
    alone after them. Only the first pack says whether it is strict.
    """
    merged = lineage[-1]
    for child in reversed(lineage[:-1]):
        merged = replace(
            child,
            agency=_filled(child.agency, merged.agency),
            links=_united(child.links, merged.links),
            field_keys=_renumbered(child.field_keys, merged.field_keys),
            properties=_united(child.properties, merged.properties),
        )
    stems = _stems(merged.properties)
    return replace(
        merged,
        properties=tuple(replace(entry, stem=stem) for entry, stem in zip(merged.properties, stems, strict=True)),
        warnings=(*(warning for pack in lineage for warning in pack.warnings), *_unknown_keys(merged)),
    )


def _filled(child: AgencyEntry | None, parent: AgencyEntry | None) -> AgencyEntry | None:
    if child is None or parent is None:
        return child or parent
    return AgencyEntry(
        child.display_name or parent.display_name, child.email or parent.email, child.phone or parent.phone
    )


def _united(child: tuple[Entry, ...], parent: tuple[Entry, ...]) -> tuple[Entry, ...]:
    entries = {entry.key: entry for entry in parent} | {entry.key: entry for entry in child}
    return tuple(entries.values())


def _renumbered(child: tuple[FieldKeyEntry, ...], parent: tuple[FieldKeyEntry, ...]) -> tuple[FieldKeyEntry, ...]:
    """Unite field keys, and number them as they then stand: each file numbered its own from 1."""
    if not child or not parent:
        return child or parent
    return tuple(replace(key, sort_order=number) for number, key in enumerate(_united(child, parent), start=1))


def _stems(properties: Sequence[PropertyEntry]) -> list[str]:
    """Return what each slug begins with: the reference, and a digest of it where that alone would not do."""
    plain = [_slugified(entry.reference) for entry in properties]
    return [
        stem
        if stem and plain.count(stem) == 1
        else "-".join(
            filter(None, (stem, hashlib.sha256(entry.reference.encode()).hexdigest()[:8])),
        )
        for stem, entry in zip(plain, properties, strict=True)
    ]


def _slugified(reference: str) -> str:
    ascii_only = unicodedata.normalize("NFKD", reference).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", ascii_only.lower()).strip("-")


def _unknown_keys(pack: Pack) -> Iterable[str]:
    """Return a warning for each property whose type or state is no field key of the pack, with or without prefix."""
    known = {key.global_key for key in pack.field_keys}
    for entry in pack.properties:
        for key in (entry.columns["prop_type_key"], entry.columns["prop_state_key"]):
            if key and known and not {key, key.partition(".")[2]} & known:
                yield f"{pack.name}: property {entry.reference} refers to {key!r}, which is no field key"
