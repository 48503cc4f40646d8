"""A bar chart of counts by hour, as numbers from which a page draws SVG. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

WIDTH, HEIGHT = 720, 80
MAX_BARS = 48
"""Of a longer time, each bar stands for several hours."""


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar: its place in the drawing, and what it says."""

    x: float
    y: float
    width: float
    height: float
    title: str


def hour_bars(counted: Sequence[Mapping[str, Any]]) -> list[Bar]:
    """Return the bars of counts by hour, from the first hour to the last, those without any included.

    Args:
        counted: `value`, an hour in ISO 8601, or None, which is left out; `websites`, how many.
    """
    counts = {datetime.fromisoformat(each["value"]): each["websites"] for each in counted if each["value"]}
    if not counts:
        return []
    first, last = min(counts), max(counts)
    hours = int((last - first) / timedelta(hours=1)) + 1
    step = -(-hours // MAX_BARS)
    sums = [0] * -(-hours // step)
    for hour, websites in counts.items():
        sums[int((hour - first) / timedelta(hours=1)) // step] += websites
    width, most = WIDTH / len(sums), max(sums)
    return [
        Bar(
            round(number * width, 1), round(HEIGHT * (1 - count / most), 1), round(width * 0.9, 1),
            round(HEIGHT * count / most, 1), f"{count} from {first + timedelta(hours=number * step):%Y-%m-%d %H:%M}",
        )
        for number, count in enumerate(sums)
    ]  # fmt: skip
