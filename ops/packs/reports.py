"""Reports on seed packs: where they are, what they bring, what is wrong. Reads files, neither database nor broker.

What is wrong is what the library says to workers: nothing is judged anew here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ops.errors import NotFoundError
from ops.packs.pack_argument import Selection
from seeders.insert_statements import rows_of
from seeders.loading.pack_library import PackLibrary
from seeders.pack import ListingEntry, Pack, PropertyEntry
from seeders.pack_problems import PackError, PackProblem
from seeders.seeding import PACK_BY_SITE_TYPE, PACK_OTHERWISE, shortage
from seeders.step_bindings import BINDINGS, FromPack
from statemachine import STEP_OF, Requirement, needed

REQUIREMENTS: dict[str, Requirement] = {
    seeder.field: entry
    for trigger, binding in BINDINGS.items()
    if isinstance(seeder := binding.seeder, FromPack) and (entry := STEP_OF[trigger].requirement)
}
"""What steps require that take rows from a pack, by the field of Pack that has them."""


async def check_packs(selection: Selection) -> dict[str, Any]:
    """Return what is wrong with packs, as JSON has it: a report for each, and how much in all."""
    reports = [await pack_report(selection.library, name) for name in selection.names]
    errors = [_as_json(problem) for problem in selection.problems]
    counted = {kind: sum(len(each[kind]) for each in reports) for kind in ("errors", "warnings")}
    return {
        "packs": reports,
        "problems": errors,
        "errors": counted["errors"] + len(errors),
        "warnings": counted["warnings"],
    }


async def pack_report(library: PackLibrary, name: str) -> dict[str, Any]:
    """Return what one pack is and brings, and what is wrong with it, as JSON has it."""
    folders = [str(folder) for folder in library.folders(name)]
    pack = await read_pack(library, name)
    short = _shortages(pack) if isinstance(pack, Pack) else []
    errors, warnings = [*pack.errors], [*pack.warnings]
    (errors if pack.strict else warnings).extend(short)
    return {
        "name": name,
        "folder": folders[0] if folders else None,
        "hides": folders[1:],
        "site_types": [site_type for site_type, seeds in PACK_BY_SITE_TYPE.items() if seeds == name],
        "default": name == PACK_OTHERWISE,
        "parents": list(pack.parents) if isinstance(pack, Pack) else [],
        "fallback": not pack.strict,
        "rows": {field: len(rows_of(pack, field)) if isinstance(pack, Pack) else 0 for field in REQUIREMENTS},
        "errors": [_as_json(problem) for problem in errors],
        "warnings": [_as_json(problem) for problem in warnings],
        "consequences": _consequences(pack, short),
    }


async def read_pack(library: PackLibrary, name: str) -> Pack | PackError:
    """Return a pack, or why there is none."""
    try:
        return await library.get(name)
    except PackError as error:
        return error


async def pack_content(library: PackLibrary, name: str) -> dict[str, Any]:
    """Return a report with every row that the pack brings.

    Raises:
        NotFoundError: there is no such pack.
    """
    pack = await read_pack(library, name)
    if isinstance(pack, PackError) and not library.folders(name):
        raise NotFoundError(str(pack))
    content: dict[str, Any] = {}
    if isinstance(pack, Pack):
        content = {
            "agency": asdict(pack.agency) if pack.agency else None,
            "links": [asdict(link) for link in pack.links],
            "field_keys": [asdict(key) for key in pack.field_keys],
            "properties": [_property(entry) for entry in pack.properties],
        }
    return await pack_report(library, name) | {"content": content}


def _property(entry: PropertyEntry) -> dict[str, Any]:
    return {
        "reference": entry.reference,
        **entry.columns,
        "sale": _listing(entry.sale),
        "rental": _listing(entry.rental),
        "features": list(entry.features),
        "photo_url": entry.photo_url,
    }


def _listing(listing: ListingEntry | None) -> Mapping[str, Any] | None:
    return asdict(listing) if listing else None


def _shortages(pack: Pack) -> list[PackProblem]:
    """Return a problem for each step to which a pack brings too few rows."""
    return [
        PackProblem("", reason + ("" if pack.strict else "; defaults are added"), field)
        for field, requirement in REQUIREMENTS.items()
        if not pack.error_of(field) and (reason := shortage(requirement, pack, field))
    ]


def _consequences(pack: Pack | PackError, short: Sequence[PackProblem]) -> list[str]:
    """Return what the errors of a pack, and what it is short of, mean for websites that ask for it."""
    if isinstance(pack, PackError):
        return ["websites that ask for it fail" if pack.strict else "websites that ask for it get the defaults instead"]
    found = []
    broken = {error.step for error in pack.errors} | ({problem.step for problem in short} if pack.strict else set())
    for field, requirement in REQUIREMENTS.items():
        if field not in broken:
            continue
        if not needed(requirement):
            rows = len(rows_of(pack, field))
            found.append(f"{field}: {rows or 'none'} of them {'is' if rows == 1 else 'are'} seeded")
        else:
            found.append(f"{field}: websites {'fail there' if pack.strict else 'get the defaults instead'}")
    return found


def _as_json(problem: PackProblem) -> dict[str, Any]:
    return asdict(problem) | {"text": str(problem)}
