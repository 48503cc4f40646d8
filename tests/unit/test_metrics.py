"""What is counted: bounded labels, every outcome, and signups by clocks that may be wrong."""

from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import asyncpg
import pytest

from consumer import metrics
from consumer.broker import BrokerDown, BrokerError, Nacked, Unroutable
from consumer.errors import StepTimeout, classify
from consumer.outcomes import Advanced, Attempted, Held, Outcome, Reason, Refused, Rejected
from statemachine import TRANSITIONS, Advance, Facts, judge
from tests.factories import make_delivery, make_row


def value(name: str, **labels: str) -> float:
    """Return a metric's value now."""
    return metrics.REGISTRY.get_sample_value(f"provisioner_{name}", labels) or 0.0


def test_every_outcome_has_its_word() -> None:
    """A new outcome wants a word, or counting it would raise."""
    assert set(metrics.OUTCOMES) == set(get_args(Outcome))


def test_every_error_of_a_guard_is_known_as_one() -> None:
    """The sentences of the machine, whichever requirement lacks."""
    judged = [judge(edge, Facts(0, 0, 0, 0, 0, None)) for edge in TRANSITIONS]
    errors = [verdict.error for verdict in judged if not isinstance(verdict, Advance)]
    assert len(errors) > 5
    assert {metrics.cause_of(error) for error in errors} == {"guard"}


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (asyncpg.UniqueViolationError("duplicate key"), "sqlstate_23"),
        (asyncpg.DeadlockDetectedError("deadlock detected"), "sqlstate_40"),
        (asyncpg.QueryCanceledError("canceling statement"), "sqlstate_57"),
        (asyncpg.PostgresError.new({"C": "ZZ123", "M": "something new", "S": "ERROR"}), "sqlstate_other"),
        (StepTimeout(), "timeout"),
        (KeyError("ana@example.com"), "defect"),
        (ConnectionResetError("gone"), "other"),
    ],
    ids=lambda known: known if isinstance(known, str) else type(known).__name__,
)
def test_a_cause_is_one_of_a_few_words(error: Exception, cause: str) -> None:
    """Whatever is raised, and whatever code a server sends."""
    assert metrics.cause_of(classify(error).error) == cause


def test_a_batch_is_counted_by_what_came_of_it() -> None:
    """Each outcome under its word, dead letters under their reasons, redeliveries apart."""
    before = {name: value("deliveries_total", outcome=name) for name in metrics.OUTCOMES.values()}
    illegal, redelivered = value("dead_letters_written_total", reason="illegal"), value("redelivered_total")
    rejected = Rejected(Reason.ILLEGAL, "no such edge")
    metrics.deliveries([Advanced(make_row()), Advanced(make_row()), rejected, Held("locked", locked=True)], 2)
    after = {name: value("deliveries_total", outcome=name) - count for name, count in before.items()}
    assert {name: count for name, count in after.items() if count} == {"advanced": 2, "rejected": 1, "held": 1}
    assert value("dead_letters_written_total", reason="illegal") - illegal == 1
    assert value("redelivered_total") - redelivered == 2


def test_a_commit_is_counted_by_what_it_wrote() -> None:
    """Transitions by trigger, failures by step and cause, attempts by cause."""
    failure = {"step": "complete_links", "cause": "guard"}
    before = value("failures_total", **failure), value("attempts_total", cause="defect")
    failed = make_row(detail={"step": "complete_links", "error": "Links creation failed - need at least 3, have 2"})
    taken = value("transitions_total", trigger="assign_owner")
    metrics.committed([Refused(failed), Attempted(1, "KeyError"), Advanced(make_row())])
    after = value("failures_total", **failure), value("attempts_total", cause="defect")
    assert after == (before[0] + 1, before[1] + 1)
    assert value("transitions_total", trigger="assign_owner") == taken + 2


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        (None, "confirmed"),
        (Nacked("full"), "nacked"),
        (Unroutable("no queue"), "unroutable"),
        (BrokerDown("no confirm"), "unknown"),
        (BrokerError("cannot be written"), "not_sent"),
    ],
)
def test_an_answer_of_the_broker_has_its_word(answer: BrokerError | None, name: str) -> None:
    """Unknown is not unsent: what nobody answered for may have arrived."""
    before = value("published_total", answer=name)
    metrics.published([answer, answer], 0.01)
    assert value("published_total", answer=name) - before == 2


@pytest.mark.parametrize(
    ("sent", "counted", "seconds"),
    [
        (timedelta(seconds=20), 1, 20),
        (timedelta(seconds=-5), 1, 0),
        (timedelta(days=400), 0, 0),
        (timedelta(days=-400), 0, 0),
        (None, 0, 0),
    ],
)
def test_a_senders_clock_may_be_wrong(sent: timedelta | None, counted: int, seconds: float) -> None:
    """A little ahead is now, and nonsense is not counted."""
    properties: dict[str, Any] = {} if sent is None else {"timestamp": datetime.now(UTC) - sent}
    before = value("signup_wait_seconds_count"), value("signup_wait_seconds_sum")
    metrics.signups([make_delivery(properties=properties), make_delivery(properties=properties, redelivered=True)])
    assert value("signup_wait_seconds_count") - before[0] == counted
    assert value("signup_wait_seconds_sum") - before[1] == pytest.approx(seconds, abs=1)
