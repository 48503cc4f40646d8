"""Merges a seed pack with its parents: the child's entry wins, the parent fills in. Knows no files and no database."""

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import fields, replace
from typing import Any

from seeders.pack import AgencyEntry, FieldKeyEntry, Pack, PropertyEntry, natural_key
from seeders.pack_problems import PackProblem

ITS_OWN = ("name", "strict", "parents", "errors", "warnings")
INHERITED = tuple(field.name for field in fields(Pack) if field.name not in ITS_OWN)
"""What a pack takes from its parents: all but what it says of itself. Each is named after the step that seeds it."""
EMPTY = Pack(name="")


def merge(lineage: Sequence[Pack]) -> Pack:
    """Return the first of these packs with what the others, its parents, fill in, nearest first.

    Entries stand in the parent's order, a child's entry in the place of the one it replaces, and what is the child's
    alone after them. Only the first pack says whether it is strict. A step that has an error in one of the packs gets
    nothing, but for properties, which are independent of one another.
    """
    merged = lineage[-1]
    for child in reversed(lineage[:-1]):
        inherited = {name: _inherited(getattr(child, name), getattr(merged, name)) for name in INHERITED}
        merged = replace(child, **inherited)
    errors = tuple(error for pack in lineage for error in pack.errors)
    broken = {error.step for error in errors} - {"properties"}
    stems = _stems(merged.properties)
    return replace(
        merged,
        **{name: getattr(EMPTY, name) for name in INHERITED if name in broken},
        parents=tuple(pack.name for pack in lineage[1:]),
        errors=errors,
        properties=tuple(replace(entry, stem=stem) for entry, stem in zip(merged.properties, stems, strict=True)),
        warnings=(*(warning for pack in lineage for warning in pack.warnings), *_unknown_keys(merged)),
    )


def _inherited(child: Any, parent: Any) -> Any:
    """Return one field of a child with what its parent fills in: entries by natural key, an agency part by part."""
    if not child or not parent:
        return child or parent
    if isinstance(child, AgencyEntry):
        return AgencyEntry(*(getattr(child, part.name) or getattr(parent, part.name) for part in fields(child)))
    if not isinstance(child, tuple):
        return child
    united = tuple({natural_key(entry): entry for entry in (*parent, *child)}.values())
    if isinstance(united[0], FieldKeyEntry):
        # Each file numbered its own from 1: they are numbered as they now stand.
        return tuple(replace(key, sort_order=number) for number, key in enumerate(united, start=1))
    return united


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


def _unknown_keys(pack: Pack) -> Iterable[PackProblem]:
    """Return a warning for each property whose type or state is no field key of the pack, with or without prefix."""
    known = {key.global_key for key in pack.field_keys}
    for entry in pack.properties:
        for name, column in (("prop_type", "prop_type_key"), ("prop_state", "prop_state_key")):
            key = entry.columns[column]
            if key and known and not {key, key.partition(".")[2]} & known:
                remedy = "add it to field_keys.yml, or use one of those"
                reason = f"is {key!r}, which is no field key of {pack.name}; {remedy}"
                yield PackProblem(entry.file, reason, "properties", entry=entry.reference, key=name)
