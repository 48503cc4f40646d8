"""Whether the schema in the database is the one in schema.sql. Reads that file: there is no second list."""

import re
from dataclasses import dataclass

from consumer.store import Store, schema_text
from ops.doctor.findings import Area, Finding
from ops.reading import SQL

AREA = Area("schema")
INIT = "run `provisioner init`"
TABLE = re.compile(r"^CREATE TABLE IF NOT EXISTS (\w+) \(\n(.*?)^\);", re.MULTILINE | re.DOTALL)
COLUMN = re.compile(r"^    ([a-z]\w*) ", re.MULTILINE)
ADDED = re.compile(r"^ALTER TABLE (\w+) ADD COLUMN IF NOT EXISTS (\w+)", re.MULTILINE)
INDEX = re.compile(r"^CREATE (UNIQUE )?INDEX IF NOT EXISTS (\w+)\s+ON (\w+)", re.MULTILINE)
TRIGGER = re.compile(r"^CREATE OR REPLACE TRIGGER (\w+) .*? ON (\w+)", re.MULTILINE)
RULE = re.compile(r"^        \('(provisioning_\w+)',$", re.MULTILINE)
NAMED = re.compile(r"^    CONSTRAINT (\w+) ", re.MULTILINE)
FUNCTION = re.compile(r"^CREATE OR REPLACE FUNCTION (\w+)\(\).*? AS \$\$(.*?)\$\$;", re.MULTILINE | re.DOTALL)
BORN = "pwb_websites", "provisioning_state"
MOST_NAMED = 8

Part = tuple[str, str, str]
"""Kind, of what, name."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What schema.sql makes."""

    parts: frozenset[Part]
    unique: frozenset[str]
    functions: dict[str, str]

    @property
    def tables(self) -> list[str]:
        """The tables, in order of their names."""
        return sorted({of for kind, of, _ in self.parts if kind == "column"})


def expected(text: str) -> Expected:
    """Read schema.sql."""
    parts: set[Part] = {("column", table, column) for table, column in ADDED.findall(text)}
    for table, body in TABLE.findall(text):
        parts |= {("column", table, column) for column in COLUMN.findall(body)}
        parts |= {("constraint", table, name) for name in NAMED.findall(body)}
    indexes = INDEX.findall(text)
    parts |= {("index", table, name) for _, name, table in indexes}
    parts |= {("trigger", table, name) for name, table in TRIGGER.findall(text)}
    parts |= {("constraint", BORN[0], name) for name in RULE.findall(text)}
    functions = dict(FUNCTION.findall(text))
    parts |= {("function", "", name) for name in functions}
    return Expected(frozenset(parts), frozenset(name for unique, name, _ in indexes if unique), functions)


async def look(store: Store) -> list[Finding]:
    """Return what there is to say of the schema: missing, of another version, switched off, not validated."""
    wanted = expected(schema_text())
    async with store.connection() as connection:
        rows = await connection.fetch(SQL["doctor_schema"], wanted.tables, sorted(wanted.functions))
    there = {(row["kind"], row["of"], row["name"]): row for row in rows}
    missing = sorted(wanted.parts - set(there))
    tables = [table for table in wanted.tables if not any(of == table for _, of, _ in there)]
    if tables:
        return [AREA.fail("tables", f"missing: {', '.join(tables)}", f"{len(wanted.tables)} tables", INIT)]
    columns = [part for part in missing if part[0] == "column"]
    others = [part for part in missing if part[0] != "column"]
    good = f"{len(wanted.tables)} tables, {len(wanted.parts)} columns, indexes, triggers, constraints and functions"
    ours = {part: row for part, row in there.items() if part in wanted.parts}
    details = {(kind, name): row["detail"] for (kind, _, name), row in ours.items()}
    changed = [name for name, body in wanted.functions.items() if details.get(("function", name), body) != body]
    changed += [name for name in sorted(wanted.unique) if details.get(("index", name), "unique") != "unique"]
    off = [
        f"{kind} {name}" for (kind, _, name), row in ours.items() if not row["good"] and kind in ("trigger", "index")
    ]
    unproven = [name for (kind, _, name), row in ours.items() if not row["good"] and kind == "constraint"]
    findings = [
        AREA.judged("columns", _named(columns), "all that schema.sql makes", "all that schema.sql makes", INIT),
        AREA.judged("up to date", _named(others), good, "all that schema.sql makes", INIT),
        AREA.judged("functions and unique indexes", changed, "as in schema.sql", "as in schema.sql", INIT),
        AREA.judged(
            "triggers and indexes in force", off, "all", "enabled and valid",
            "ALTER TABLE … ENABLE TRIGGER, or REINDEX INDEX CONCURRENTLY",
        ),
        _default(there.get(("column", *BORN), {"detail": None})["detail"]),
    ]  # fmt: skip
    if unproven:
        then = "mend the rows that break it, then ALTER TABLE pwb_websites VALIDATE CONSTRAINT …"
        findings.append(AREA.warn("constraints", f"NOT VALID: {', '.join(unproven)}", "validated", then))
    elif not missing:
        findings.append(AREA.ok("constraints", "validated"))
    return findings


def _named(parts: list[Part]) -> list[str]:
    named = [f"{kind} {f'{of}.' if kind == 'column' else ''}{name} is missing" for kind, of, name in parts]
    more = len(named) - MOST_NAMED
    return [*named[:MOST_NAMED], *([f"and {more} more"] if more > 0 else [])]


def _default(default: str | None) -> Finding:
    """A website is born pending, whatever the existing product's own default was."""
    if default and default.startswith("'pending'"):
        return AREA.ok("born pending", "provisioning_state defaults to pending")
    then = f"{INIT}: a website that is born otherwise is refused, or goes live unguarded"
    return AREA.fail("born pending", f"the default of provisioning_state is {default}", "'pending'", then)
