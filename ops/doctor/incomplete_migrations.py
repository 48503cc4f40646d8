"""Remarks on a schema on which the migrations have run: what could not be made, and which rows are the reason."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from consumer.store.index_builder import DoubledRows, breaking_rows, doubled_rows, index_statements
from consumer.store.migration_runner import MIGRATIONS
from consumer.store.rules_template import Mode, render
from consumer.store.schema_diff import RENAMED, SQL, Difference, schema_parts

FINISH = "once no worker of version 0.1.0 runs any more, `provisioner init --finish` drops them"
REMOVE_LATER = "run `provisioner init`, then `provisioner init --remove`"
TAKEN_DEFAULT = (
    "provisioning_state of pwb_websites has the default 'pending', which version 0.1.0 set; the existing product's own "
    "is 'live': ALTER TABLE pwb_websites ALTER provisioning_state SET DEFAULT 'live'"
)
LOWER = re.compile(r"lower\((\w+)\)")
LEFT_TO_PEOPLE = {
    "column": "add it to the existing product's table, as schema.sql has it",
    "index": "drop it, unless something else needs it",
}
"""What `init` does not change, by kind, and what to do about it."""
AGAIN = "then run `provisioner init` again"


@dataclass(frozen=True, slots=True)
class Remark:
    """One line. `undone`: something that this version needs could not be made."""

    text: str
    undone: bool = False


async def schema_remarks(connection: Any, difference: Difference) -> list[Remark]:
    """Return the remarks on a schema; rows are read only where they are in the way."""
    remarks = []
    if kept := difference.kept.names:
        remarks.append(Remark(f"what another version allowed stays legal in the database: {'; '.join(kept)}"))
    remarks += [Remark(await _breaking_rows(connection, name, difference)) for name in difference.not_validated]
    if await connection.fetch(SQL["old_columns"], list(RENAMED)):
        remarks.append(Remark(f"{' and '.join(RENAMED)} of pwb_websites have other names now: {FINISH}"))
    if _took_default(difference):
        remarks.append(Remark(TAKEN_DEFAULT))
    missing = {part.name for part in difference.missing if part.kind == "index"}
    indexes = [i for text in MIGRATIONS.values() for i in index_statements(text) if i.name in missing]
    doubled = [rows for index in indexes if (rows := await doubled_rows(connection, index)).count]
    remarks += map(_doubled, doubled)
    explained = {rows.index.name for rows in doubled}
    return [*remarks, *_unexplained(difference, explained)]


async def removal_remarks(connection: Any, difference: Difference) -> list[str]:
    """Return the remarks on a database from which the schema was removed: what version 0.1.0 has left there."""
    remarks = [TAKEN_DEFAULT] if _took_default(difference) else []
    if await connection.fetch(SQL["old_columns"], list(RENAMED)):
        remarks.append(f"{' and '.join(RENAMED)} of pwb_websites stay, since nothing has their values: {REMOVE_LATER}")
    return remarks


def _took_default(difference: Difference) -> bool:
    installation = difference.installation
    return installation.mode == Mode.GUEST and installation.upgraded and difference.born == "'pending'"


def _doubled(rows: DoubledRows) -> Remark:
    named = "; ".join(" and ".join(group) for group in rows.groups)
    more = f"; and {rows.count - len(rows.groups)} more" if rows.count > len(rows.groups) else ""
    index = rows.index
    columns, advice = index.columns, "keep one of each"
    if without_case := LOWER.fullmatch(columns):
        columns, advice = f"{without_case[1]} but for case", "keep one of each, or give the others another"
    return Remark(
        f"{index.table}: rows that are the same in {columns}, by id: {named}{more}; {advice}, {AGAIN}: "
        f"{index.name} is not made, and workers are not ready without it",
        undone=True,
    )


async def _breaking_rows(connection: Any, constraint: str, difference: Difference) -> str:
    """Name the websites that break a check."""
    mode = difference.installation.mode
    (body,) = (trait for part, trait in schema_parts(mode).items() if part.name == constraint)
    ids, count = await breaking_rows(connection, render(body or "", difference.legal, mode))
    if not ids:
        return f"{constraint} is not validated yet; run `provisioner init` again"
    more = f" and {count - len(ids)} more" if count > len(ids) else ""
    named = ", ".join(map(str, ids))
    return f"websites that break {constraint}, by id: {named}{more}; they stay, and cannot be written until they comply"


def _unexplained(difference: Difference, explained: set[str]) -> Iterator[Remark]:
    parts = [part for part in (*difference.missing, *difference.changed) if part.name not in explained]
    for kind, advice in LEFT_TO_PEOPLE.items():
        if named := ", ".join(str(part) for part in parts if part.kind == kind):
            yield Remark(f"still not as in schema.sql: {named}; {advice}, {AGAIN}", undone=True)
    if named := ", ".join(str(part) for part in parts if part.kind not in LEFT_TO_PEOPLE):
        yield Remark(f"still not as in schema.sql: {named}; run `provisioner init` again", undone=True)
