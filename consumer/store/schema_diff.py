"""Compares PostgreSQL's catalogue with the schema of this version, by name and trait, without a lock on any table.

What the schema has stands in expected_schema.json: what the migrations make on an empty database, as the service's own
and as the existing product's, written by `make docs` and compared by a test. What a database has besides, a newer
version's columns or the existing product's, is no difference.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache
from importlib import resources
from typing import Any, NamedTuple

from consumer.store.rules_template import Mode, installed_definition, render
from seeders.sql_loader import read_statements
from statemachine.definition_digest import DEFINITION, Definition

SQL = read_statements("consumer.store.sql.unprepared")


class Part(NamedTuple):
    """One thing in the catalogue; `table` is empty for a function."""

    kind: str
    table: str
    name: str

    def __str__(self) -> str:
        """Name it as people do."""
        return f"{self.kind} {f'{self.table}.' if self.kind == 'column' else ''}{self.name}"


@dataclass(frozen=True, slots=True)
class Installation:
    """What the first `init` found, kept as the comment of provisioning_migrations, which any role may read."""

    mode: Mode
    state_default: str | None
    """The default of provisioning_state at that time, as SQL."""
    upgraded: bool
    """Whether version 0.1.0 was there before, which had set that default itself."""

    @classmethod
    def read(cls, comment: str | None) -> "Installation | None":
        """Return what a comment says; None where it is not there, or somebody else's."""
        try:
            found = json.loads(comment or "{}")
            return cls(Mode(found["mode"]), found["state_default"], found["upgraded"])
        except (ValueError, KeyError, TypeError):
            return None

    @property
    def comment(self) -> str:
        """The comment that says this."""
        return json.dumps(asdict(self))


@dataclass(frozen=True, slots=True)
class Difference:
    """What a database has otherwise than this version."""

    missing: tuple[Part, ...]
    """Of a table that is missing, the table alone."""
    changed: Mapping[Part, str | None]
    """What is there with another trait, which is given: another text or default, or not unique."""
    not_in_force: tuple[Part, ...]
    """Disabled triggers, invalid indexes, checks that are NOT VALID."""
    machine: Definition
    """The states and edges of this version."""
    installed: Definition
    """Those that the database allows."""
    installation: Installation
    """Whose database it is, as it is recorded, asked for or decided."""
    recorded: bool
    """Whether the database says the same of itself."""
    born: str | None
    """The default of provisioning_state, as SQL."""

    @property
    def outdated(self) -> bool:
        """Whether there is something to make or to replace."""
        return bool(self.missing or self.changed or not self.recorded)

    @property
    def not_validated(self) -> tuple[str, ...]:
        """The checks that rows may break."""
        return tuple(part.name for part in self.not_in_force if part.kind == "constraint")

    @property
    def kept(self) -> Definition:
        """Edges of another version, which stay legal: who takes one away must know that no worker counts on it."""
        return self.installed - self.machine

    @property
    def legal(self) -> Definition:
        """The edges that the database is to allow: this version's, and those that are kept."""
        return self.machine | self.installed


RENAMED = ("skip_properties", "auto_go_live")
"""Columns of version 0.1.0; their new names begin with provisioning_."""
COPYING = Part("trigger", "pwb_websites", "provisioning_copies_renamed_columns")
"""What is needed as long as they are there."""
EDGES = Part("function", "", "provisioning_refuse_illegal_change")
"""The trigger function whose text has the edges."""
BORN = Part("column", "pwb_websites", "provisioning_state")
"""Its trait is the state in which a website is born that does not say one."""
RECORD = Part("comment", "provisioning_migrations", "installation")


@cache
def schema_parts(mode: Mode) -> Mapping[Part, str | None]:
    """Return what the schema has, each with its trait: a text has places for the states and edges."""
    found = json.loads((resources.files("consumer.store") / "expected_schema.json").read_text())
    return {Part(kind, table, name): trait for kind, table, name, trait in (*found["both"], *found[mode])}


@cache
def table_names() -> list[str]:
    """Return the tables of the schema, in the order of their names."""
    return sorted(part.name for part in schema_parts(Mode.OWN) if part.kind == "table")


async def read_catalogue(connection: Any, tables: Iterable[str], functions: Iterable[str]) -> Mapping[Part, Any]:
    """Return what the catalogue has of tables and functions: rows with `trait` and `in_force`."""
    records = await connection.fetch(SQL["catalogue"], list(tables), list(functions))
    return {Part(record["kind"], record["of"], record["name"]): record for record in records}


async def inspect_schema(connection: Any, machine: Definition = DEFINITION, asked: Mode | None = None) -> Difference:
    """Compare the database with this version, with a definition of the machine, and with what is asked for."""
    functions = {part.name for mode in Mode for part in schema_parts(mode) if part.kind == "function"}
    rows = await read_catalogue(connection, table_names(), functions)
    recorded = Installation.read(rows[RECORD]["trait"] if RECORD in rows else None)
    installation = recorded or _decide(rows)
    installation = replace(installation, mode=asked or installation.mode)
    parts = schema_parts(installation.mode)
    if any(Part("column", "pwb_websites", name) in rows for name in RENAMED):
        parts = {**parts, COPYING: None}
    installed = installed_definition(rows[EDGES]["trait"] if EDGES in rows else "")
    traits = {part: trait and render(trait, machine | installed, installation.mode) for part, trait in parts.items()}
    tables = {part.table for part in parts if part.kind == "table" and part not in rows}
    found = {part: rows[part] for part in parts if part in rows}
    missing = [p for p in parts if p not in rows and (p.kind == "table" or p.table not in tables)]
    return Difference(
        tuple(part for part in missing if not _is_served(part, traits[part], rows)),
        {part: row["trait"] for part, row in found.items() if traits[part] and not _serves(row["trait"], traits[part])},
        tuple(part for part, row in found.items() if not row["in_force"]),
        machine,
        installed,
        installation,
        recorded == installation,
        rows[BORN]["trait"] if BORN in rows else None,
    )


def _decide(rows: Mapping[Part, Any]) -> Installation:
    """Decide whose database it is that no `init` of this version has seen: by what is in it."""
    columns = {part.name for part in rows if (part.kind, part.table) == ("column", "pwb_websites")}
    ours = {part.name for part in schema_parts(Mode.OWN) if (part.kind, part.table) == ("column", "pwb_websites")}
    upgraded = "provisioning_seq" in columns
    guest = columns and (not upgraded or columns - ours - set(RENAMED))
    default = rows[BORN]["trait"] if BORN in rows else None
    return Installation(Mode.GUEST if guest else Mode.OWN, default, upgraded=upgraded)


def _is_served(part: Part, trait: str | None, rows: Mapping[Part, Any]) -> bool:
    """Say whether the work of an index is done by one of another name. The predicate of a partial one is not known."""
    return (
        part.kind == "index"
        and trait is not None
        and not trait.endswith(" where")
        and any(
            (other.kind, other.table) == (part.kind, part.table) and row["in_force"] and _serves(row["trait"], trait)
            for other, row in rows.items()
        )
    )


def _serves(trait: str | None, wanted: str | None) -> bool:
    """Say whether what has one trait can stand for what has another: a unique index for one that need not be."""
    return trait in (wanted, f"unique {wanted}")
