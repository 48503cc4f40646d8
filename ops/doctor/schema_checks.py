"""Checks of the schema: whether the database has all that this version needs, unchanged and in force."""

from collections.abc import Sequence

from consumer.store.database import Store
from consumer.store.migration_runner import RULE_KINDS
from consumer.store.rules_template import Mode
from consumer.store.schema_diff import BORN, Difference, inspect_schema, schema_parts, table_names
from ops.doctor.findings import Area, Finding

AREA = Area("schema")
INIT = "run `provisioner init`"
ALL = "all that schema.sql has"
MAX_NAMED = 8
WHOSE = {
    Mode.GUEST: "the existing product's: this service is a guest, and its rules apply to its own websites alone",
    Mode.OWN: "this service's own: its rules apply to every website",
}
REMOVED = (
    "no trigger, function or check of this service exists: `provisioner init --remove` has removed them, or the "
    "product has loaded its schema anew"
)


async def check_schema(store: Store) -> list[Finding]:
    """Return the findings: what is missing, of another version, disabled, or not validated."""
    async with store.connection() as connection:
        difference = await inspect_schema(connection)
    tables = [part.name for part in difference.missing if part.kind == "table"]
    if tables:
        return [AREA.fail("tables", f"missing: {', '.join(tables)}", f"{len(table_names())} tables", INIT)]
    whose = AREA.ok("whose database", WHOSE[difference.installation.mode])
    if _is_removed(difference):
        return [whose, AREA.fail("up to date", REMOVED, ALL, f"{INIT}, which makes them again")]
    columns = [f"{part} is missing" for part in difference.missing if part.kind == "column"]
    others = [f"{part} is missing" for part in difference.missing if part.kind != "column"]
    changed = [str(part) for part in difference.changed if part != BORN]
    disabled = [str(part) for part in difference.not_in_force if part.kind != "constraint"]
    parts = len(schema_parts(difference.installation.mode)) - len(table_names())
    counted = f"{len(table_names())} tables, {parts} columns, indexes, triggers, "
    as_there = "those that are there are as in schema.sql" if others else "as in schema.sql"
    findings = [
        whose,
        AREA.fail_or_ok("columns", _first(columns), ALL, ALL, INIT),
        AREA.fail_or_ok("up to date", _first(others), f"{counted}constraints and functions", ALL, INIT),
        AREA.fail_or_ok(
            "functions and unique indexes", changed, as_there, "as in schema.sql",
            f"{INIT}, which replaces all but an index: DROP that first",
        ),
        AREA.fail_or_ok(
            "triggers and indexes in force", disabled, "all", "enabled and valid",
            "ALTER TABLE … ENABLE TRIGGER, or REINDEX INDEX CONCURRENTLY",
        ),
        _default_state(difference),
        _states_and_edges(difference),
    ]  # fmt: skip
    if checks := ", ".join(difference.not_validated):
        then = f"correct the rows that break it, then {INIT}"
        findings.append(AREA.warn("constraints", f"NOT VALID: {checks}", "validated", then))
    elif not difference.missing:
        findings.append(AREA.ok("constraints", "validated"))
    return findings


def _is_removed(difference: Difference) -> bool:
    """Say whether nothing of what the rules make is left; checks of the service's own tables do not count."""
    parts = schema_parts(difference.installation.mode)
    rules = {part for part in parts if part.kind in RULE_KINDS and part.table in ("", "pwb_websites")}
    return rules <= set(difference.missing)


def _first(texts: Sequence[str]) -> list[str]:
    more = len(texts) - MAX_NAMED
    return [*texts[:MAX_NAMED], *([f"and {more} more"] if more > 0 else [])]


def _default_state(difference: Difference) -> Finding:
    """Check that a website is born pending, whatever the existing product's own default was."""
    if difference.installation.mode == Mode.GUEST:
        have = "the product decides for its own websites; those that this service inserts start as pending"
        return AREA.ok("born pending", have)
    if BORN not in difference.changed:
        return AREA.ok("born pending", "provisioning_state defaults to pending")
    then = f"{INIT}: a website that is born otherwise is refused, or goes live unguarded"
    default = difference.changed[BORN]
    return AREA.fail("born pending", f"the default of provisioning_state is {default}", "'pending'", then)


def _states_and_edges(difference: Difference) -> Finding:
    """Check that the database allows every edge of this version's machine; those of another version do no harm."""
    machine, kept = difference.machine, difference.kept
    need = f"{len(machine.states)} states and {len(machine.edges)} edges, digest {machine.digest}"
    refused = (machine - difference.installed).names
    if refused:
        return AREA.fail("states and edges", f"refused: {'; '.join(_first(refused))}", need, INIT)
    also = f"; of another version, and legal too: {'; '.join(_first(kept.names))}" if kept.edges else ""
    return AREA.ok("states and edges", need + also)
