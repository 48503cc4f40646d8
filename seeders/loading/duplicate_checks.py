"""Refuses entries of a seed pack that stand there twice, and more of them than a file may have."""

from collections.abc import Iterable, Sized
from typing import Any

from seeders.loading.problem_collector import FileProblems
from seeders.loading.yaml_reader import repetitions

MAX_ENTRIES = 2000
"""Of links, of field keys, and of properties: each is a row in one statement for every website of a batch."""


def refuse_too_many(entries: Sized, problems: FileProblems) -> None:
    """Refuse more than MAX_ENTRIES."""
    if len(entries) > MAX_ENTRIES:
        above = len(entries) - MAX_ENTRIES
        problems.error(f"has {len(entries)} entries, at most {MAX_ENTRIES} are allowed; remove {above}")


def refuse_repetitions(value: Any, problems: FileProblems) -> None:
    """Refuse a key that stands in a mapping twice, in a value and in all that it holds."""
    for again in repetitions(value):
        problems.error(f"stands there twice, in line {again.first} too; remove one", line=again.line, key=again.key)


def refuse_doubles(keys: Iterable[tuple[str, int | None]], problems: FileProblems) -> None:
    """Refuse the same natural key twice, given each with its line: one of the two would silently not be there."""
    lines: dict[str, int | None] = {}
    for key, line in keys:
        if key in lines:
            problems.error(f"stands there twice, in line {lines[key]} too; remove one", line=line, entry=key)
        else:
            lines[key] = line
