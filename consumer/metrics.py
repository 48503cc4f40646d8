"""What a worker process counts and times while it works. Knows prometheus-client, and keeps every label bounded.

Counted once a batch wherever that is possible. What only has to be looked at when somebody asks is `consumer.gauges`,
what the database has to be asked for is `consumer.census`.
"""

import re
from collections import Counter as Tally
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics

from consumer.broker import BrokerDown, BrokerError, Delivery, Nacked, Unroutable
from consumer.errors import TOO_LONG
from consumer.outcomes import (
    Advanced,
    Ahead,
    AlreadyDone,
    Attempted,
    Held,
    Outcome,
    Reason,
    Refused,
    Rejected,
    Stale,
)
from statemachine import TRANSITIONS, Trigger

disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for every series, and nobody asks when a counter began

REGISTRY = CollectorRegistry()

MOMENTS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
"""Seconds of one statement, publish or transaction: none may take longer than its timeout, 30 s at most."""
WAITS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600)
"""Seconds that a customer waits."""
SKEW_SECONDS = 60.0
NONSENSE_SECONDS = 7 * 86400.0

OUTCOMES: Mapping[type[Outcome], str] = {
    Advanced: "advanced",
    Refused: "refused",
    AlreadyDone: "already_done",
    Stale: "stale",
    Ahead: "ahead",
    Attempted: "attempted",
    Held: "held",
    Rejected: "rejected",
}

DELIVERIES = Counter(
    "provisioner_deliveries",
    "Deliveries by what came of them; held ones come round again, the others are settled.",
    ["outcome"],
    registry=REGISTRY,
)
REDELIVERED = Counter(
    "provisioner_redelivered", "Deliveries that the broker had handed over before.", registry=REGISTRY
)
TRANSITIONS_TAKEN = Counter(
    "provisioner_transitions", "Transitions taken, by what led to them.", ["trigger"], registry=REGISTRY
)
TRANSACTION = Histogram(
    "provisioner_transaction_seconds",
    "One batch from BEGIN to COMMIT, by its step: all its websites take that long together.",
    ["trigger"],
    buckets=MOMENTS,
    registry=REGISTRY,
)
LOCK = Histogram(
    "provisioner_lock_seconds",
    "Locking a batch's websites, their log looked up on the way.",
    buckets=MOMENTS,
    registry=REGISTRY,
)
POOL_WAIT = Histogram(
    "provisioner_pool_wait_seconds", "Waiting for a database connection.", buckets=MOMENTS, registry=REGISTRY
)
CONFIRM = Histogram(
    "provisioner_publish_confirm_seconds",
    "Publishing a batch's messages, until the broker has answered for all of them.",
    buckets=MOMENTS,
    registry=REGISTRY,
)
PUBLISHED = Counter(
    "provisioner_published",
    "Messages by the broker's answer; unknown: none came, and it may have them.",
    ["answer"],
    registry=REGISTRY,
)
TIME_TO_LIVE = Histogram(
    "provisioner_time_to_live_seconds",
    "From a website's row to live, where no person asked for it.",
    buckets=WAITS,
    registry=REGISTRY,
)
SIGNUP_WAIT = Histogram(
    "provisioner_signup_wait_seconds",
    "From the timestamp of a website.created, which has whole seconds, until a worker took it.",
    buckets=WAITS,
    registry=REGISTRY,
)
ATTEMPTS = Counter(
    "provisioner_attempts", "Counted tries without success, by kind of cause.", ["cause"], registry=REGISTRY
)
FAILURES = Counter(
    "provisioner_failures", "Websites that failed, by step and kind of cause.", ["step", "cause"], registry=REGISTRY
)
DEAD_LETTERS = Counter(
    "provisioner_dead_letters_written", "Dead letters written, by reason.", ["reason"], registry=REGISTRY
)
DUE = Counter("provisioner_due", "Websites that the dispatcher claimed because their time had come.", registry=REGISTRY)
RESCUED = Counter(
    "provisioner_rescued", "Those of the due that waited for nothing: a message was lost.", registry=REGISTRY
)
CONNECTED = Counter(
    "provisioner_connections", "Connections opened to the broker, by purpose.", ["connection"], registry=REGISTRY
)

# A counter that begins with its first event hides that event from increase(): those that alerts watch begin at 0.
for _name in OUTCOMES.values():
    DELIVERIES.labels(_name)
for _reason in Reason:
    DEAD_LETTERS.labels(_reason.value)
for _answer in ("confirmed", "nacked", "unroutable", "unknown", "not_sent"):
    PUBLISHED.labels(_answer)
for _purpose in ("consumer", "publisher"):
    CONNECTED.labels(_purpose)

_TRANSACTIONS = {trigger: TRANSACTION.labels(trigger.value) for trigger in Trigger}


def transaction(trigger: Trigger, seconds: float) -> None:
    """Time a batch that was committed."""
    _TRANSACTIONS[trigger].observe(seconds)


def committed(outcomes: Collection[Outcome]) -> None:
    """Count what a committed transaction has written, whatever becomes of its publishes."""
    taken = Tally(outcome.row.trigger for outcome in outcomes if isinstance(outcome, Advanced | Refused))
    for trigger, count in taken.items():
        TRANSITIONS_TAKEN.labels(trigger.value).inc(count)
    for outcome in outcomes:
        match outcome:
            case Refused(row):
                FAILURES.labels(str(row.detail.get("step")), cause_of(str(row.detail.get("error")))).inc()
            case Attempted(_, error):
                ATTEMPTS.labels(cause_of(error)).inc()
            case _:
                pass


def signups(taken: Iterable[Delivery]) -> None:
    """Time how long signups waited for a worker, by their senders' clocks, which may be wrong."""
    now = datetime.now(UTC)
    for delivery in taken:
        sent = delivery.properties.get("timestamp")
        if isinstance(sent, datetime) and sent.tzinfo and not delivery.redelivered:
            seconds = (now - sent).total_seconds()
            if -SKEW_SECONDS < seconds < NONSENSE_SECONDS:
                SIGNUP_WAIT.observe(max(seconds, 0))


def deliveries(outcomes: Sequence[Outcome], redelivered: int) -> None:
    """Count what came of a batch's deliveries, and how many of them had come before."""
    for kind, count in Tally(map(type, outcomes)).items():
        DELIVERIES.labels(OUTCOMES[kind]).inc(count)
    if redelivered:
        REDELIVERED.inc(redelivered)
    for outcome in outcomes:
        if isinstance(outcome, Rejected):
            DEAD_LETTERS.labels(outcome.reason.value).inc()


def published(answers: Sequence[BrokerError | None], seconds: float) -> None:
    """Count the broker's answers to a batch's messages, which came after so many seconds."""
    CONFIRM.observe(seconds)
    for kind, count in Tally(map(type, answers)).items():
        PUBLISHED.labels(_answer_of(kind)).inc(count)


def not_sent(count: int) -> None:
    """Count messages that there was no connection for."""
    PUBLISHED.labels("not_sent").inc(count)


def dispatched(due: int, rescued: int) -> None:
    """Count what the dispatcher claimed."""
    DUE.inc(due)
    RESCUED.inc(rescued)


def _answer_of(kind: type[BrokerError | None]) -> str:
    if kind is type(None):
        return "confirmed"
    if issubclass(kind, Nacked):
        return "nacked"
    if issubclass(kind, Unroutable):
        return "unroutable"
    return "unknown" if issubclass(kind, BrokerDown) else "not_sent"


SQLSTATES = frozenset({"22", "23", "25", "40", "42", "53", "55", "57", "P0", "XX"})
"""Classes that have a label of their own; a server may send any two characters."""
GUARDS = tuple(f"{edge.failure} - " for edge in TRANSITIONS if edge.failure)


def cause_of(error: str) -> str:
    """Return the kind of cause that an error's sentence tells of, one of some fifteen words.

    The sentences are those of `statemachine.judge` and `consumer.errors.classify`.
    """
    if error.startswith(GUARDS):
        return "guard"
    if found := re.match(r"PostgreSQL (\w\w)\w{3} ", error):
        return f"sqlstate_{found[1]}" if found[1] in SQLSTATES else "sqlstate_other"
    if error == TOO_LONG:
        return "timeout"
    return "defect" if error.isidentifier() else "other"
