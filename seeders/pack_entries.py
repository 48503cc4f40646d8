"""What holds for the entries of every file of a seed pack: how many there may be, and that each stands there once."""

from collections.abc import Sequence
from typing import TypeVar

from seeders.pack import Keyed, PackError

MAX_ENTRIES = 2000
"""Of links, of field keys, and of properties: each is a row in one statement for every website of a batch."""

Entry = TypeVar("Entry")


def bounded(entries: Sequence[Entry], where: str) -> Sequence[Entry]:
    """Return entries as they are.

    Raises:
        PackError: there are more than MAX_ENTRIES.
    """
    if len(entries) > MAX_ENTRIES:
        raise PackError(f"{where}: has {len(entries)} entries, at most {MAX_ENTRIES} are read")
    return entries


def refuse_doubles(entries: Sequence[Keyed], where: str) -> None:
    """Refuse the same natural key twice: one of the two would silently not be there.

    Raises:
        PackError: naming the key.
    """
    seen: set[str] = set()
    for entry in entries:
        if entry.key in seen:
            raise PackError(f"{where}, entry {entry.key!r}: stands there twice")
        seen.add(entry.key)
