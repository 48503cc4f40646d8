"""What people see of seed packs on a terminal."""

from collections.abc import Mapping
from typing import Any

from rich.text import Text

from ops.cli.tables.columns import cell, console, print_rows, print_table

MAX_PROPERTIES = 10
"""So many properties are listed; JSON has them all."""


def print_packs(found: Mapping[str, Any]) -> None:
    """Show the packs, a line each."""
    rows = []
    for pack in found["packs"]:
        errors, warnings = len(pack["errors"]), len(pack["warnings"])
        rows.append(
            (
                cell(pack["name"]),
                cell(", ".join(pack["parents"]) or None),
                cell("yes" if pack["rows"]["agency"] else None),
                *(cell(pack["rows"][field]) for field in ("links", "field_keys", "properties")),
                Text(str(errors), style="red" if errors else ""),
                Text(str(warnings), style="yellow" if warnings else ""),
                cell(pack["folder"]),
            )
        )
    print_rows(("pack", "parents", "agency", "links", "keys", "properties", "errors", "warnings", "folder"), rows)
    if found["errors"] or found["warnings"]:
        console.print("`provisioner packs check` says what the errors and warnings are")


def print_check(found: Mapping[str, Any]) -> None:
    """Show what is wrong with packs."""
    for problem in found["problems"]:
        _print_problem("error", "red", problem)
    for pack in found["packs"]:
        good = not pack["errors"] and not pack["warnings"]
        console.print(
            Text.assemble((pack["name"], "bold"), " ", cell(pack["folder"]), (" ok" if good else "", "green"))
        )
        _print_problems(pack)
    broken = sum(bool(pack["errors"]) for pack in found["packs"])
    console.print(
        f"{_counted(len(found['packs']), 'pack')} checked, {broken} with errors: "
        f"{_counted(found['errors'], 'error')}, {_counted(found['warnings'], 'warning')}"
    )


def print_pack(pack: Mapping[str, Any]) -> None:
    """Show one pack."""
    content = pack["content"]
    console.print(Text.assemble((pack["name"], "bold"), " ", cell(pack["folder"])))
    for folder in pack["hides"]:
        console.print(Text.assemble("  hides the pack of that name in ", cell(folder)))
    for site_type in pack["site_types"]:
        console.print(f"  seeds websites of site type {site_type} that ask for no pack")
    if pack["default"]:
        console.print("  seeds websites without a site type that ask for no pack")
    console.print(Text.assemble("  parents: ", cell(", ".join(pack["parents"]) or None)))
    console.print(f"  fallback: {'defaults are added where it does not suffice' if pack['fallback'] else 'none'}")
    _print_problems(pack)
    if not content:
        return
    agency = content["agency"] or {}
    named = ", ".join(f"{key} {value}" for key, value in agency.items() if value)
    console.print(
        Text.assemble("  agency: ", cell(named or ("named after the website" if content["agency"] else None)))
    )
    slugs = [link["slug"] for link in content["links"]]
    console.print(Text.assemble(f"  {_counted(len(slugs), 'link')}: ", cell(", ".join(slugs) or None)))
    tags: dict[str, list[str]] = {}
    for key in content["field_keys"]:
        tags.setdefault(key["tag"], []).append(key["global_key"])
    console.print(f"  {_counted(len(content['field_keys']), 'field key')}")
    for tag, keys in tags.items():
        console.print(Text.assemble("    ", cell(tag), ": ", cell(", ".join(keys))))
    _print_properties(content["properties"])


def _print_properties(properties: list[Mapping[str, Any]]) -> None:
    console.print(f"  {_counted(len(properties), 'property', 'properties')}")
    if not properties:
        return
    rows = [
        (
            cell(entry["reference"]), cell(entry["prop_type_key"]), cell(entry["city"]),
            _price(entry["sale"]), _price(entry["rental"]),
        )
        for entry in properties[:MAX_PROPERTIES]
    ]  # fmt: skip
    print_table(("reference", "type", "city", "sale", "rent a month"), rows)
    if len(properties) > MAX_PROPERTIES:
        console.print(f"  and {len(properties) - MAX_PROPERTIES} more; --json has them all")


def _price(listing: Mapping[str, Any] | None) -> Text:
    return cell(listing and f"{listing['cents'] / 100:.2f} {listing['currency']}")


def _print_problems(pack: Mapping[str, Any]) -> None:
    for problem in pack["errors"]:
        _print_problem("error", "red", problem)
    for problem in pack["warnings"]:
        _print_problem("warn", "yellow", problem)
    for consequence in pack["consequences"]:
        console.print(Text.assemble(("  so     ", "dim"), cell(consequence)))


def _print_problem(word: str, colour: str, problem: Mapping[str, Any]) -> None:
    console.print(Text.assemble((f"  {word:<6} ", colour), cell(problem["text"])))


def _counted(count: int, noun: str, plural: str = "") -> str:
    return f"{count} {noun if count == 1 else plural or f'{noun}s'}"
