"""Everything that one benchmark has measured, as values, and as the JSON that is kept."""

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any

from bench.burst import Burst
from bench.drain import Drain
from bench.floor import Floor
from bench.idle import Idle
from bench.latency import Latency


@dataclass(slots=True)
class Results:
    """What was measured so far."""

    day: str
    machine: dict[str, str]
    websites: int
    rate: float
    """Signups a second where latency was measured."""
    drains: list[Drain] = field(default_factory=list)
    scaling: list[Drain] = field(default_factory=list)
    sizes: list[Drain] = field(default_factory=list)
    latencies: list[Latency] = field(default_factory=list)
    bursts: list[Burst] = field(default_factory=list)
    idle: list[Idle] = field(default_factory=list)
    floors: list[Floor] = field(default_factory=list)

    def as_json(self) -> str:
        """Return everything, every single run."""
        return json.dumps(rounded(dataclasses.asdict(self)), ensure_ascii=False, indent=1) + "\n"


def rounded(value: Any) -> Any:
    """Return a value with its floats cut to four places."""
    match value:
        case float():
            return round(value, 4)
        case dict():
            return {name: rounded(item) for name, item in value.items()}
        case list():
            return [rounded(item) for item in value]
        case _:
            return value
