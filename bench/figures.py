"""What many runs say together: medians with their spread. Pure."""

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Spread:
    """A median, and the smallest and largest value beside it."""

    median: float
    low: float
    high: float

    def told(self, digits: int = 0) -> str:
        """Return it for people: `965 (902–1,010)`."""
        return f"{self.median:,.{digits}f} ({self.low:,.{digits}f}–{self.high:,.{digits}f})"


def spread(values: Iterable[float]) -> Spread:
    """Return the median of values and their range."""
    known = sorted(values)
    return Spread(statistics.median(known), known[0], known[-1])


def ratios(values: Sequence[float], yardstick: Sequence[float]) -> Spread:
    """Return the ratio of runs that stood side by side: the n-th of one to the n-th of the other."""
    return spread(value / other for value, other in zip(values, yardstick, strict=True))


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least `share` (0 to 1) of all values do not exceed."""
    known = sorted(values)
    return known[max(0, min(len(known) - 1, -int(-share * len(known) // 1) - 1))]


def by_name(items: Iterable[Item], name: Callable[[Item], str]) -> dict[str, list[Item]]:
    """Return items by name, in the order in which they came."""
    named: dict[str, list[Item]] = {}
    for item in items:
        named.setdefault(name(item), []).append(item)
    return named
