"""Findings of the doctor: one a check, each with what is, what should be, and what to do next."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any


class Level(StrEnum):
    """How bad a finding is. `unknown` is no verdict: it could not be checked."""

    OK = "ok"
    UNKNOWN = "unknown"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check. `away`: the server could not be reached."""

    area: str
    what: str
    level: Level
    have: str
    need: str = ""
    next: str = ""
    away: bool = False


@dataclass(frozen=True, slots=True)
class Area:
    """Makes findings about one area."""

    name: str

    def ok(self, what: str, have: str, need: str = "") -> Finding:
        """Return a finding that all is well."""
        return Finding(self.name, what, Level.OK, have, need)

    def unknown(self, what: str, have: str, then: str) -> Finding:
        """Return a finding that it could not be checked; `then` says how to check it."""
        return Finding(self.name, what, Level.UNKNOWN, have, "", then)

    def warn(self, what: str, have: str, need: str, then: str) -> Finding:
        """Return a finding that it works, and should be looked at."""
        return Finding(self.name, what, Level.WARN, have, need, then)

    def fail(self, what: str, have: str, need: str, then: str) -> Finding:
        """Return a finding that it is broken."""
        return Finding(self.name, what, Level.FAIL, have, need, then)

    def away(self, what: str, have: str, need: str, then: str) -> Finding:
        """Return a finding that the server could not be reached."""
        return Finding(self.name, what, Level.FAIL, have, need, then, away=True)

    def fail_or_ok(self, what: str, wrong: Sequence[str], good: str, need: str, then: str) -> Finding:
        """Return a finding of all that is wrong, or that all is well."""
        return self.fail(what, "; ".join(wrong), need, then) if wrong else self.ok(what, good)


def doctor_report(findings: Sequence[Finding], seconds: float) -> dict[str, Any]:
    """Return findings as JSON: in order, how many of each level, the worst, and when they were complete."""
    counts = {level.value: sum(1 for each in findings if each.level == level) for level in Level}
    worst = next((level for level in reversed(Level) if counts[level]), Level.OK)
    return {
        "worst": worst.value,
        "away": any(finding.away for finding in findings),
        "counts": counts,
        "checked_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(seconds, 2),
        "findings": [asdict(finding) for finding in findings],
    }
