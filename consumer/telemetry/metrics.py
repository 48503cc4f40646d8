"""Metrics that a worker process counts and times while it works. Knows prometheus-client; keeps every label bounded.

Counted once a batch wherever that is possible. The gauges of the process are in
`consumer.monitoring.worker_metrics_page`; what the database has to be asked for is in
`consumer.monitoring.cluster_metrics`.
"""

from collections import Counter as Tally
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics

from consumer.broker.protocol import BrokerDownError, BrokerError, Delivery, NackedError, UnroutableError
from consumer.domain.outcomes import (
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
from seeders.step_bindings import BINDINGS, FromPack
from statemachine import Trigger

disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for every series, of no use to anybody

REGISTRY = CollectorRegistry()

OPERATION_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
"""Seconds of one statement, publish or transaction: none may take longer than its timeout, 30 s at most."""
WAIT_BUCKETS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600)
"""Seconds that a customer waits."""
MAX_SKEW_SECONDS = 60.0
"""A sender's clock may be ahead of ours by less than this; the wait counts as 0 then."""
MAX_WAIT_SECONDS = 7 * 86400.0
"""A wait as long as this is a wrong clock of the sender's, and is not counted."""

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

counter = partial(Counter, registry=REGISTRY)
histogram = partial(Histogram, registry=REGISTRY)

DELIVERIES = counter(
    "provisioner_deliveries",
    "Deliveries by their outcome; held ones are tried again, the others are settled.",
    ["outcome"],
)
REDELIVERED = counter("provisioner_redelivered", "Deliveries that the broker had delivered before.")
TRANSITIONS_TAKEN = counter("provisioner_transitions", "Transitions taken, by their trigger.", ["trigger"])
TRANSACTION = histogram(
    "provisioner_transaction_seconds",
    "One batch from BEGIN to COMMIT, by its step: all its websites take that long together.",
    ["trigger"],
    buckets=OPERATION_BUCKETS,
)
LOCK = histogram(
    "provisioner_lock_seconds", "Locking a batch's websites, their log looked up on the way.", buckets=OPERATION_BUCKETS
)
POOL_WAIT = histogram("provisioner_pool_wait_seconds", "Waiting for a database connection.", buckets=OPERATION_BUCKETS)
CONFIRM = histogram(
    "provisioner_publish_confirm_seconds",
    "Publishing a batch's messages, until the broker has confirmed or refused all of them.",
    buckets=OPERATION_BUCKETS,
)
PUBLISHED = counter(
    "provisioner_published",
    "Messages by the broker's answer; unknown: none came, and it may have stored them.",
    ["answer"],
)
TIME_TO_LIVE = histogram(
    "provisioner_time_to_live_seconds",
    "From a website's row to live, where no person asked for go_live.",
    buckets=WAIT_BUCKETS,
)
SIGNUP_WAIT = histogram(
    "provisioner_signup_wait_seconds",
    "From the timestamp of a website.created, which has whole seconds, until a worker took it.",
    buckets=WAIT_BUCKETS,
)
ATTEMPTS = counter("provisioner_attempts", "Counted tries without success, by kind of cause.", ["cause"])
FAILURES = counter("provisioner_failures", "Websites that failed, by step and kind of cause.", ["step", "cause"])
FALLBACKS = counter(
    "provisioner_fallbacks",
    "Steps that went on although the seed pack did not suffice, by whose rows it lacked.",
    ["step"],
)
DEAD_LETTERS = counter("provisioner_dead_letters_written", "Dead letters written, by reason.", ["reason"])
DUE = counter("provisioner_due", "Websites that the dispatcher claimed because they were due.")
RESCUED = counter("provisioner_rescued", "Those of the due that waited for no attempt: a message was lost.")
CONNECTED = counter("provisioner_connections", "Connections opened to the broker, by purpose.", ["connection"])

# A counter that begins with its first event hides that event from increase(): those that alerts watch begin at 0.
for _name in OUTCOMES.values():
    DELIVERIES.labels(_name)
for _reason in Reason:
    DEAD_LETTERS.labels(_reason.value)
for _binding in BINDINGS.values():
    if isinstance(_binding.seeder, FromPack):
        FALLBACKS.labels(_binding.seeder.field)
for _answer in ("confirmed", "nacked", "unroutable", "unknown", "not_sent"):
    PUBLISHED.labels(_answer)
for _purpose in ("consumer", "publisher"):
    CONNECTED.labels(_purpose)

_TRANSACTIONS = {trigger: TRANSACTION.labels(trigger.value) for trigger in Trigger}


def observe_transaction(trigger: Trigger, seconds: float) -> None:
    """Time a batch that was committed."""
    _TRANSACTIONS[trigger].observe(seconds)


def count_committed(outcomes: Collection[Outcome]) -> None:
    """Count what a committed transaction has written, whatever becomes of its publishes."""
    taken = Tally(outcome.row.trigger for outcome in outcomes if isinstance(outcome, Advanced | Refused))
    for trigger, count in taken.items():
        TRANSITIONS_TAKEN.labels(trigger).inc(count)
    for outcome in outcomes:
        match outcome:
            case Refused(row, cause):
                FAILURES.labels(str(row.failed_step), cause).inc()
            case Advanced(row) if fallback := row.detail.get("fallback"):
                FALLBACKS.labels(fallback["step"]).inc()
            case Attempted(cause=cause):
                ATTEMPTS.labels(cause).inc()
            case _:
                pass


def observe_signup_waits(signups: Iterable[Delivery]) -> None:
    """Time how long signups waited for a worker, by their senders' clocks, which may be wrong."""
    now = datetime.now(UTC)
    for delivery in signups:
        sent = delivery.properties.get("timestamp")
        if isinstance(sent, datetime) and sent.tzinfo and not delivery.redelivered:
            seconds = (now - sent).total_seconds()
            if -MAX_SKEW_SECONDS < seconds < MAX_WAIT_SECONDS:
                SIGNUP_WAIT.observe(max(seconds, 0))


def count_deliveries(outcomes: Sequence[Outcome], redelivered: int) -> None:
    """Count a batch's deliveries by outcome, and how many of them the broker had delivered before."""
    for kind, count in Tally(map(type, outcomes)).items():
        DELIVERIES.labels(OUTCOMES[kind]).inc(count)
    if redelivered:
        REDELIVERED.inc(redelivered)
    for outcome in outcomes:
        if isinstance(outcome, Rejected):
            DEAD_LETTERS.labels(outcome.reason.value).inc()


def count_published(answers: Sequence[BrokerError | None], seconds: float) -> None:
    """Count the broker's answers to a batch's messages, which came after so many seconds."""
    CONFIRM.observe(seconds)
    for kind, count in Tally(map(type, answers)).items():
        PUBLISHED.labels(_answer_of(kind)).inc(count)


def count_not_sent(count: int) -> None:
    """Count messages that there was no connection for."""
    PUBLISHED.labels("not_sent").inc(count)


def count_dispatched(due: int, rescued: int) -> None:
    """Count the websites that the dispatcher claimed."""
    DUE.inc(due)
    RESCUED.inc(rescued)


def _answer_of(kind: type[BrokerError | None]) -> str:
    if kind is type(None):
        return "confirmed"
    if issubclass(kind, NackedError):
        return "nacked"
    if issubclass(kind, UnroutableError):
        return "unroutable"
    return "unknown" if issubclass(kind, BrokerDownError) else "not_sent"
