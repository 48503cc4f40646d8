"""What may come of a command, as values. One `match` in the worker settles them all."""

from dataclasses import dataclass
from enum import StrEnum

from consumer.domain.records import FailureCause, LogRow


class Reason(StrEnum):
    """Why a delivery is dead-lettered: the header `x-reason`. The sentence for people is in `x-error`."""

    POISON = "poison"
    ILLEGAL = "illegal"
    UNKNOWN_WEBSITE = "unknown_website"
    SUBDOMAIN_TAKEN = "subdomain_taken"
    UNKNOWN_USER = "unknown_user"
    USER_TAKEN = "user_taken"
    CONFLICT = "conflict"
    GUARD_FAILED = "refused"
    HELD = "held"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Advanced:
    """The website moved; its row says where to."""

    row: LogRow


@dataclass(frozen=True, slots=True)
class Refused:
    """The website went to failed: a guard did not hold, a permanent error, or the budget is spent."""

    row: LogRow
    cause: FailureCause = FailureCause.OTHER


@dataclass(frozen=True, slots=True)
class AlreadyDone:
    """This message was carried out before. `row` is what it did, if that is still the website's last transition."""

    row: LogRow | None


@dataclass(frozen=True, slots=True)
class Stale:
    """What it asks for has happened, or is somebody else's turn: nothing to do."""

    why: str


@dataclass(frozen=True, slots=True)
class Ahead:
    """It expects more transitions than the website has had: the database was restored. Never applied."""

    why: str


@dataclass(frozen=True, slots=True)
class Attempted:
    """A counted try without success; the database knows when the next one is due."""

    attempts: int
    error: str
    cause: FailureCause = FailureCause.OTHER


@dataclass(frozen=True, slots=True)
class Held:
    """It could not be carried out now, and nothing was counted: somebody else has the website's lock (`locked`), or
    what happened could not even be recorded."""

    why: str
    locked: bool


@dataclass(frozen=True, slots=True)
class Rejected:
    """It can not be carried out, now or later: to the dead letters, with its reason."""

    reason: Reason
    error: str


Outcome = Advanced | Refused | AlreadyDone | Stale | Ahead | Attempted | Held | Rejected
