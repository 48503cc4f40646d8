"""What processes cost: CPU seconds and resident memory, out of /proc. Whole trees, with children that ended."""

import os
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
KIB_A_MIB = 1024


@dataclass(frozen=True, slots=True)
class Cpu:
    """CPU seconds by part, user and system time together."""

    workers: float
    postgres: float
    rabbitmq: float

    def __sub__(self, earlier: "Cpu") -> "Cpu":
        return Cpu(self.workers - earlier.workers, self.postgres - earlier.postgres, self.rabbitmq - earlier.rabbitmq)

    @property
    def total(self) -> float:
        """Of all parts together."""
        return self.workers + self.postgres + self.rabbitmq


def cpu_seconds(*roots: int) -> float:
    """Return what these processes and all below them have used, those included that have ended and were waited for."""
    ticks: dict[int, int] = {}
    children: dict[int, list[int]] = defaultdict(list)
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it ended between the listing and the look: whoever waited for it has its time
        pid = int(stat.parent.name)
        ticks[pid] = sum(int(field) for field in fields[11:15])
        children[int(fields[1])].append(pid)
    counted, left = 0, [*roots]
    while left:
        pid = left.pop()
        counted += ticks.get(pid, 0)
        left += children[pid]
    return counted / TICKS_A_SECOND


def peak_rss_mib(pid: int) -> float:
    """Return the most memory that a process has had resident."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / KIB_A_MIB
    raise ProcessLookupError(f"process {pid} has ended")
