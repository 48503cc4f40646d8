"""Groups of dead letters: those of one reason and one fingerprint of the error."""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from ops.text.error_fingerprint import fingerprint, group_id

cached_fingerprint = lru_cache(maxsize=256)(fingerprint)
"""Of many dead letters most have one of a few errors."""


def group_of_dead_letter(summary: Mapping[str, Any]) -> str:
    """Return the short name of the group of a dead letter, by its summary."""
    return group_id(f"{summary['reason']}: {summary['error']}")


def group_dead_letters(summaries: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return dead letters in groups of one reason and one fingerprint of the error, the largest first."""
    groups = Groups()
    for summary in summaries:
        groups.add(summary)
    return groups.largest_first()


class Groups:
    """Groups of the dead letters that were added, each with its number, types, times and an example."""

    def __init__(self) -> None:
        """Have none."""
        self._groups: dict[tuple[str, str], dict[str, Any]] = {}

    def add(self, summary: Mapping[str, Any]) -> None:
        """Add a dead letter to its group."""
        reason, cause = summary["reason"], cached_fingerprint(str(summary["error"]))
        group = self._groups.get((reason, cause))
        if group is None:
            group = self._groups[reason, cause] = {
                "group": group_of_dead_letter(summary), "reason": reason, "cause": cause, "letters": 0, "types": [],
                "first_at": None, "last_at": None, "example": summary["message_id"],
            }  # fmt: skip
        group["letters"] += 1
        if summary["type"] not in group["types"]:
            group["types"].append(summary["type"])
        times = [time for time in (group["first_at"], group["last_at"], summary["failed_at"]) if time]
        group["first_at"], group["last_at"] = min(times, default=None), max(times, default=None)

    def largest_first(self) -> list[dict[str, Any]]:
        """Return the groups."""
        return sorted(self._groups.values(), key=lambda group: -group["letters"])
