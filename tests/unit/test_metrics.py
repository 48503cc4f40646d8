"""What is counted: bounded labels, every outcome, and signups by clocks that may be wrong."""

from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import pytest

from consumer.broker.protocol import BrokerDownError, BrokerError, NackedError, UnroutableError
from consumer.domain.outcomes import Advanced, Attempted, Held, Outcome, Reason, Refused, Rejected
from consumer.domain.records import FailureCause
from consumer.messages.inbound import Command
from consumer.provisioning.judgement import Judgement, Policy
from consumer.provisioning.planning import Planned
from consumer.telemetry import metrics
from statemachine import CHAIN, TRANSITIONS, Facts, Transition
from tests.factories import MESSAGE_ID, make_delivery, make_row, make_website


def value(name: str, **labels: str) -> float:
    """Return a metric's value now."""
    return metrics.REGISTRY.get_sample_value(f"provisioner_{name}", labels) or 0.0


def test_every_outcome_has_its_word() -> None:
    """A new outcome wants a word, or counting it would raise."""
    assert set(metrics.OUTCOMES) == set(get_args(Outcome))


@pytest.mark.parametrize("edge", [edge for edge in TRANSITIONS if edge.guard and edge.sources[0] in CHAIN])
def test_every_unmet_guard_has_its_cause(edge: Transition) -> None:
    """An attempt or a failure for want of anything that a guard asks for is counted under the guard's own label."""
    writes = Judgement(Policy())
    planned = Planned(Command(MESSAGE_ID, "x", edge.trigger, 42), make_website(state=edge.sources[0]), edge, 0)
    judged = writes.judge(planned, Facts(), None)
    assert judged.cause == FailureCause.GUARD


def test_a_batch_is_counted_by_what_came_of_it() -> None:
    """Each outcome under its word, dead letters under their reasons, redeliveries apart."""
    before = {name: value("deliveries_total", outcome=name) for name in metrics.OUTCOMES.values()}
    illegal, redelivered = value("dead_letters_written_total", reason="illegal"), value("redelivered_total")
    rejected = Rejected(Reason.ILLEGAL, "no such edge")
    metrics.count_deliveries([Advanced(make_row()), Advanced(make_row()), rejected, Held("locked", locked=True)], 2)
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
    fallback = {"step": "links", "pack": "mine", "reason": "mine has 2 links, need 3", "defaults": True}
    fallbacks = value("fallbacks_total", step="links")
    metrics.count_committed(
        [Refused(failed, FailureCause.GUARD), Attempted(1, "KeyError", FailureCause.DEFECT), Advanced(make_row())]
    )
    after = value("failures_total", **failure), value("attempts_total", cause="defect")
    assert after == (before[0] + 1, before[1] + 1)
    assert value("transitions_total", trigger="assign_owner") == taken + 2
    metrics.count_committed([Advanced(make_row(detail={"fallback": fallback}))])
    metrics.count_committed([Refused(make_row(detail={"fallback": fallback}), FailureCause.GUARD)])
    assert value("fallbacks_total", step="links") == fallbacks + 1


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        (None, "confirmed"),
        (NackedError("full"), "nacked"),
        (UnroutableError("no queue"), "unroutable"),
        (BrokerDownError("no confirm"), "unknown"),
        (BrokerError("cannot be written"), "not_sent"),
    ],
)
def test_an_answer_of_the_broker_has_its_word(answer: BrokerError | None, name: str) -> None:
    """Unknown is not unsent: what nobody answered for may have arrived."""
    before = value("published_total", answer=name)
    metrics.count_published([answer, answer], 0.01)
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
    metrics.observe_signup_waits(
        [make_delivery(properties=properties), make_delivery(properties=properties, redelivered=True)]
    )
    assert value("signup_wait_seconds_count") - before[0] == counted
    assert value("signup_wait_seconds_sum") - before[1] == pytest.approx(seconds, abs=1)
