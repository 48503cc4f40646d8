"""Lists, totals and groups of dead letters, by the table alone: none of them holds a body."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from consumer.broker.protocol import Broker
from consumer.broker.topology import Topology
from consumer.store.database import Store
from ops.dead_letters.dead_letter_table import stored_rows, summary_of
from ops.dead_letters.groups import Groups
from ops.dead_letters.queue_reader import ALL, DeadLetterFilter, dead_letter_name, digest_of_names
from ops.dead_letters.table_refresh import Reading, fresh_reading
from ops.text.email_masking import masked


@dataclass(frozen=True, slots=True)
class DeadLetterListing:
    """Selected dead letters by one reading of their queue: the latest of them, how many they are, and their groups.

    `seen`: the digest of which they are, as an action checks it.
    """

    reading: Reading
    letters: list[dict[str, Any]]
    total: int
    groups: list[dict[str, Any]]
    seen: str


async def read_listing(
    store: Store,
    broker: Broker,
    namespace: str,
    selection: DeadLetterFilter = ALL,
    *,
    read_by: str,
    limit: int,
    grouped: bool = False,
    whole: bool = True,
) -> DeadLetterListing:
    """Return the selected dead letters, the latest first, `limit` at most; the queue is read where that is due.

    `grouped`: whether with groups; a fingerprint costs more than all else of a row.
    `whole`: whether the text of the filter is sought in bodies and addresses too; for bodies the queue is always read.

    Raises:
        LeaseHeldError: another tool has them, and no reading can be shown instead.
        BrokerError: the broker is away, or this user may not read the queue.
    """
    queue = Topology(namespace).dead_letters
    text = selection.text if whole else None
    fresh = await fresh_reading(store, broker, queue, read_by, text=text)
    async with store.connection() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        found = _Found(selection, whole=whole, with_text=fresh.with_text, limit=limit, grouped=grouped)
        async for row in stored_rows(connection, queue, selection.website_id):
            found.add(row)
    return DeadLetterListing(fresh.reading, found.letters, found.total, found.groups.largest_first(), found.seen())


class _Found:
    """What a listing keeps of the rows that pass by: the first, the groups, and the names of all."""

    def __init__(
        self, selection: DeadLetterFilter, *, whole: bool, with_text: Collection[bytes], limit: int, grouped: bool
    ) -> None:
        self._selection = selection
        self._without_text = replace(selection, text=None)
        self._whole = whole
        self._with_text = with_text
        self._limit = limit
        self._grouped = grouped
        self._names: list[str] = []
        self.letters: list[dict[str, Any]] = []
        self.groups = Groups()

    @property
    def total(self) -> int:
        return len(self._names)

    def seen(self) -> str:
        return digest_of_names(self._names)

    def add(self, row: Mapping[str, Any]) -> None:
        summary = summary_of(row)
        selection = self._without_text if row["digest"] in self._with_text else self._selection
        if selection.matches(summary if self._whole else masked(summary)):
            self._names.append(dead_letter_name(summary))
            if self._grouped:
                self.groups.add(summary)
            if len(self.letters) < self._limit:
                self.letters.append(summary)
