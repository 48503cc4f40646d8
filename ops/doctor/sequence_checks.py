"""Checks the sequences behind ids: one that is behind its table gives out ids that are there already."""

from collections.abc import Sequence

from consumer.store.database import Store
from consumer.store.sequences import TABLES, WEBSITES, IdSequence, grant_sentence, id_ahead, id_sequences
from ops.doctor.findings import Area, Finding

AREA = Area("database")
WHAT = "sequences"
NEED = "each at or past the greatest id of its table"


USED_UP_SOON = 0.8
"""The part of its ids that a sequence has given when the doctor warns: to make a column a bigint takes planning."""
MOVED_BY = {"worker": TABLES, "ops": (WEBSITES,), "migrate": TABLES}
"""The tables whose sequences a role moves; others, readers, move none."""


async def check_sequences(store: Store, moved: Sequence[str] = TABLES) -> list[Finding]:
    """Return findings about the sequences of the tables into which workers and tools insert. `moved`: of which tables
    this role has to move them."""
    behind: list[str] = []
    statements: list[str] = []
    async with store.connection() as connection:
        sequences = await id_sequences(connection, TABLES)
        for sequence in sequences:
            if (greatest := await id_ahead(connection, sequence)) is not None:
                behind.append(
                    f"{sequence.name} is at {sequence.last_value}, and {sequence.table} has the id {greatest}"
                )
                statements.append(f"SELECT setval('{sequence.name}', {greatest})")
    findings = []
    if behind:
        then = f"{'; '.join(statements)}: until then INSERTs without an id fail; workers do it where they meet one"
        findings.append(AREA.fail(WHAT, "; ".join(behind), NEED, then))
    findings += _used_up(sequences)
    if lacking := [sequence for sequence in sequences if sequence.table in moved and not _may_move(sequence)]:
        have = f"this role may not move {', '.join(each.name for each in lacking)}"
        then = f"{grant_sentence(lacking[0])}, and likewise: else workers cannot move them past ids that others bring"
        findings.append(AREA.warn("rights on sequences", have, "USAGE, SELECT and UPDATE", then))
    if not findings:
        findings.append(AREA.ok(WHAT, NEED))
    return findings


def _used_up(sequences: Sequence[IdSequence]) -> list[Finding]:
    """Return a finding for each sequence that has no id left, or few."""
    findings = []
    for sequence in sequences:
        last, most = sequence.last_value, sequence.most
        if last is None or most is None or last < most * USED_UP_SOON:
            continue
        have = f"{sequence.name} is at {last}, and {sequence.table} can have ids up to {most}"
        then = (
            f"ALTER SEQUENCE {sequence.name} MAXVALUE …, and where id is an integer "
            f"ALTER TABLE {sequence.table} ALTER id TYPE bigint"
        )
        if last + sequence.step > most:
            findings.append(AREA.fail(WHAT, have, "an id for the next row", f"{then}: until then nothing is inserted"))
        else:
            findings.append(AREA.warn("ids left", have, f"less than {USED_UP_SOON:.0%} used", then))
    return findings


def _may_move(sequence: IdSequence) -> bool:
    return sequence.last_value is not None and sequence.may_step
