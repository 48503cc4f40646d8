"""The sequences behind the ids of tables: moved past ids that others bring, found behind their tables, and mended.

A sequence falls behind where rows are inserted with ids of their own: by a signup system that numbers its websites, by
a restore. Then an INSERT without an id draws one that is taken. Sequences are moved, never backwards, by the statement
`advance_ids`; decision 0032 says why so.
"""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from consumer.error_classification import DOUBLED_ROWS, LOCK_REFUSED, SequenceBehindError
from consumer.store.database import Store
from consumer.telemetry.logs import log
from seeders.sql_loader import read_statements

SQL = read_statements("consumer.store.sql.unprepared")

WEBSITES = "pwb_websites"
LOCKED_PAUSE_SECONDS = 30.0
"""After a lock that did not come, sequences are left alone for so long: each wait would delay a batch by 2 s."""
TABLES = (
    WEBSITES,
    "pwb_users",
    "pwb_user_memberships",
    "pwb_agencies",
    "pwb_links",
    "pwb_field_keys",
    "pwb_realty_assets",
    "pwb_sale_listings",
    "pwb_rental_listings",
    "pwb_features",
    "pwb_prop_photos",
    "provisioning_operator_actions",
)
"""Every table into which this program inserts rows that get their ids from the database. An id that is a UUID has no
sequence."""
MENDS = 3
"""How often a transaction is done again because an id was taken. One mend covers all tables; the second and third are
for somebody who inserts ids of their own meanwhile."""


@dataclass(frozen=True, slots=True)
class IdSequence:
    """A sequence from which a table draws its ids.

    Attributes:
        table, name: as PostgreSQL writes them in a statement, with schema and quotes where needed.
        primary_key: the name of the constraint that an id breaks which is there already; None without one.
        step: its increment.
        most: the greatest id that it and the column can hold; None where it begins anew after its end.
        last_value: the value that it gave last; None where this role may not read it.
        reach: the greatest id past which it is moved.
        may_step, may_set, may_read: the rights of this role: nextval, setval, SELECT.
    """

    table: str
    name: str
    primary_key: str | None
    step: int
    most: int | None
    last_value: int | None
    reach: int | None
    may_step: bool
    may_set: bool
    may_read: bool


class IdSequences:
    """Moves sequences on, for workers. Holds which sequence the websites draw from, and nothing else."""

    def __init__(self, store: Store) -> None:
        """Remember the store; nothing is read yet."""
        self._store = store
        self._websites: str | None = None
        self._not_before = float("-inf")

    async def advance(self, website_ids: Sequence[int]) -> None:
        """Move the sequence of website ids past ids that signups bring, before their rows are inserted.

        A statement of its own, in no transaction: its advisory lock is not held until a batch is done. Without the
        rights nothing is moved; the doctor says so. Where somebody holds that lock, which anybody may who can connect,
        nothing is moved for a while either: websites go on, and it is mended where an insert meets a taken id.
        """
        if time.monotonic() < self._not_before:
            return
        async with self._store.connection() as connection:
            if self._websites is None:
                found = await id_sequences(connection, [WEBSITES])
                # A table without a sequence has its ids from somebody else: there is nothing to move.
                self._websites = found[0].name if found else ""
            if self._websites:
                try:
                    await connection.fetch(SQL["advance_ids"], self._websites, list(website_ids))
                except LOCK_REFUSED as error:
                    self._not_before = time.monotonic() + LOCKED_PAUSE_SECONDS
                    log.warning("sequence not moved", what=self._websites, error=type(error).__name__)

    async def mend(self, error: DOUBLED_ROWS) -> bool:
        """Move every sequence that is behind its table, if an insert met an id that is there already.

        Returns:
            Whether the insert may be done again; False where the error is about something else than an id.

        Raises:
            SequenceBehindError: this role may not move the sequence.
        """
        return await mend_sequences(self._store, error)

    async def move_all(self) -> None:
        """Move every sequence that is behind its table and that this role may move."""
        async with self._store.connection() as connection:
            for sequence in await id_sequences(connection, TABLES):
                await move_past_rows(connection, sequence)


async def id_sequences(connection: Any, tables: Iterable[str]) -> list[IdSequence]:
    """Return the sequences of those of these tables that have one, in their order."""
    return [
        IdSequence(
            table=record["table_name"],
            name=record["name"],
            primary_key=record["primary_key"],
            step=record["step"],
            most=record["most"],
            last_value=record["last_value"],
            reach=record["reach"],
            may_step=record["may_step"],
            may_set=record["may_set"],
            may_read=record["may_read"],
        )
        for record in await connection.fetch(SQL["sequences"], list(tables))
    ]


async def id_ahead(connection: Any, sequence: IdSequence) -> int | None:
    """Return the greatest id within reach that the sequence has still to pass; None where it is not behind."""
    if sequence.last_value is None:
        return None
    # Both names are PostgreSQL's own, written as in a statement. By the index of the primary key it is one probe.
    greatest_id = f"SELECT max(id) FROM {sequence.table} WHERE id <= $1::bigint"  # noqa: S608
    greatest = await connection.fetchval(greatest_id, sequence.reach)
    last = sequence.last_value
    if greatest is None or greatest <= last:
        return None
    if sequence.may_read:
        # A sequence that was restarted has not given its value yet, and only itself shows it.
        given = f"SELECT last_value - CASE WHEN is_called THEN 0 ELSE $1::bigint END FROM {sequence.name}"  # noqa: S608
        last = await connection.fetchval(given, sequence.step)
    return int(greatest) if greatest > last else None


async def mend_sequences(store: Store, error: DOUBLED_ROWS) -> bool:
    """Do what `IdSequences.mend` says, for a tool."""
    constraint = error.constraint_name
    async with store.connection() as connection:
        sequences = await id_sequences(connection, TABLES)
        met = next((each for each in sequences if constraint and each.primary_key == constraint), None)
        if met is None:
            return False
        for sequence in sequences:
            await move_past_rows(connection, sequence)
        (met,) = await id_sequences(connection, [met.table])
        if met.last_value is None or await id_ahead(connection, met) is not None:
            raise SequenceBehindError(behind_sentence(met)) from error
    log.warning("id was taken", what=constraint, reason="the sequence was behind; the insert is done again")
    return True


async def move_past_rows(connection: Any, sequence: IdSequence) -> None:
    """Move a sequence past the ids that its table has, where it is behind and this role may."""
    ahead = await id_ahead(connection, sequence)
    if ahead is not None:
        moved = await connection.fetch(SQL["advance_ids"], sequence.name, [ahead])
        if moved:
            why = f"from {sequence.last_value} to {moved[0]['last_value']}: {sequence.table} has the id {ahead}"
            log.warning("sequence moved on", what=sequence.name, reason=why)


def behind_sentence(sequence: IdSequence) -> str:
    """Return what an operator does about a sequence that this role cannot move."""
    return (
        f"the sequence {sequence.name} is behind the ids of {sequence.table}, and this role may not move it on: "
        f"{grant_sentence(sequence)}"
    )


def grant_sentence(sequence: IdSequence) -> str:
    """Return the statement that gives a role the rights to read and move a sequence."""
    return f"GRANT USAGE, SELECT, UPDATE ON SEQUENCE {sequence.name} TO the role in PROVISIONER_DATABASE_URL"
