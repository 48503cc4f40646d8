"""The records that the service works with: a website, its log rows, and what is to be written of it.

Values only: where they are read and written is not known here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from statemachine import State, Trigger

PRODUCT = "product"
"""The actor of log rows that the database writes where the existing product moves one of our websites."""


@dataclass(frozen=True, slots=True)
class Website:
    """A website's row, as it was under its lock.

    `requested`: whether a request is stored, an empty one perhaps. `last_state` and `last_actor`: to which state its
    last log row led, and on whose behalf; None without a row.
    """

    id: int
    subdomain: str | None
    site_type: str | None
    seed_pack_name: str | None
    owner_email: str | None
    skip_properties: bool
    auto_go_live: bool
    state: State
    failed_from: State | None
    seq: int
    attempts: int
    request: Mapping[str, Any]
    requested: bool
    created_at: datetime
    has_due_time: bool
    last_state: str | None
    last_actor: str | None

    @property
    def ours(self) -> bool:
        """Whether it is this service's own: it has moved by it, has tried to, or its request is stored. In the existing
        product's database the others are the product's."""
        return self.seq > 0 or self.attempts > 0 or self.requested


def goes_on_by_itself(state: str, last_state: str | None, *, attempts: int, has_due_time: bool) -> bool:
    """Return whether this service has something to do for a website that does not rest: it waits for an attempt, or for
    what follows its last log row. With the due time of its insert alone, its `website.created` is still to come.

    `last_state`: to which state its last log row led; None without a row.
    """
    return has_due_time and (attempts > 0 or last_state == state)


@dataclass(frozen=True, slots=True)
class LogRow:
    """One row of `provisioning_transitions`. `detail` holds all that its event says, and what follows from it."""

    website_id: int
    seq: int
    trigger: str
    """A Trigger, or an event of the existing product's own machine; and so are the states."""
    from_state: str
    to_state: str
    message_id: UUID
    actor: str | None
    reason: str | None
    detail: Mapping[str, Any]
    occurred_at: datetime
    next_trigger: Trigger | None
    """The trigger of the command that follows; None where the website rests."""
    failed_step: Trigger | None
    """The trigger that ended in this failure instead; None where it did what was asked."""


@dataclass(frozen=True, slots=True)
class Locked:
    """A website under its lock, and what the log says.

    `done`: the row of the message that asks for the website, if it has been carried out already. `last_message_id`:
    that of the website's last row, by which it came where it is; None where it has not moved yet.
    """

    website: Website
    done: LogRow | None
    last_message_id: UUID | None


@dataclass(frozen=True, slots=True)
class StoredOwners:
    """The users with whom a signup is compared that names an owner.

    `active`: by website id its active owners, as user ids and addresses. `addresses`: of users who are named by id, in
    the signup or in what the website keeps of an earlier one.
    """

    active: Mapping[int, Sequence[tuple[int, str]]] = field(default_factory=dict)
    addresses: Mapping[int, str] = field(default_factory=dict)


class FailureCause(StrEnum):
    """Of what kind the cause of an attempt or a failure is: the label `cause` of /metrics, which is bounded."""

    GUARD = "guard"
    """What the step should have brought is not there."""
    TIMEOUT = "timeout"
    """The step took longer than it may."""
    DEFECT = "defect"
    """A fault in our own code."""
    SQLSTATE_22 = "sqlstate_22"
    """And the others of its kind: classes of the database's errors."""
    SQLSTATE_23 = "sqlstate_23"
    SQLSTATE_25 = "sqlstate_25"
    SQLSTATE_40 = "sqlstate_40"
    SQLSTATE_42 = "sqlstate_42"
    SQLSTATE_53 = "sqlstate_53"
    SQLSTATE_55 = "sqlstate_55"
    SQLSTATE_57 = "sqlstate_57"
    SQLSTATE_P0 = "sqlstate_P0"
    SQLSTATE_XX = "sqlstate_XX"
    SQLSTATE_OTHER = "sqlstate_other"
    """Of any other class: a server may send any two characters."""
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Move:
    """One transition to be written: the log row, and what the website's row takes from it."""

    website_id: int
    seq: int
    trigger: Trigger
    from_state: State
    to_state: State
    message_id: UUID
    actor: str | None
    reason: str | None
    detail: Mapping[str, Any]
    error: str | None
    published_seq: int
    asked_live: bool
    cause: FailureCause | None = None


@dataclass(frozen=True, slots=True)
class Attempt:
    """One counted try to be written. `published_seq`: the seq whose event its command proves published; 0: none."""

    website_id: int
    attempts: int
    error: str
    backoff_seconds: float
    asked_live: bool
    cause: FailureCause = FailureCause.OTHER
    published_seq: int = 0


@dataclass(frozen=True, slots=True)
class Claim:
    """A website whose time has come, as the dispatcher claimed it."""

    website_id: int
    state: str
    """A State, or one of LOCKED_STATES."""
    seq: int
    published_seq: int
    attempts: int
    skip_properties: bool
    auto_go_live: bool


@dataclass(frozen=True, slots=True)
class WorkerReport:
    """What a worker process says of itself. Lengths of time, not times: the database's clock makes times of them."""

    id: UUID
    host: str
    pid: int
    version: str
    up_seconds: float
    in_flight: int
    paused: bool
    since_delivery_seconds: float | None


@dataclass(frozen=True, slots=True)
class Pause:
    """A request that one worker process, or all, take nothing more."""

    all_workers: bool
    actor: str
    since: datetime
