"""Why the broker dead-lettered a message: by the reason of its x-death, with an advice for each."""

from datetime import UTC, datetime
from typing import Any

import pytest

from ops.dead_letters.broker_deaths import NO_REASON, OTHERWISE, SENTENCES
from ops.dead_letters.groups import group_dead_letters
from ops.dead_letters.queue_reader import DeadLetterFilter, summarize
from tests.factories import TOPOLOGY, make_delivery

AT = datetime(2026, 11, 30, 12, tzinfo=UTC)


def death(reason: Any, queue: Any = "t.commands", **more: Any) -> dict[str, Any]:
    return {"reason": reason, "queue": queue, "count": 1, "time": AT, "exchange": "", "routing-keys": [queue]} | more


def summary(*deaths: Any, **headers: Any) -> dict[str, Any]:
    return summarize(make_delivery(headers={"x-death": list(deaths)} | headers))


@pytest.mark.parametrize(
    ("reason", "advice"),
    [("expired", "message-ttl"), ("rejected", "consumes"), ("delivery_limit", "crashes"), ("maxlen", "max-length")],
)
def test_each_reason_has_its_advice(reason: str, advice: str) -> None:
    """The reason is the broker's, and the sentence says what it means, what to do, and that it can be redriven."""
    found = summary(death(reason))
    assert (found["reason"], found["source_queue"], found["failed_at"]) == (reason, "t.commands", AT.isoformat())
    assert advice in found["error"]
    assert "redrive it" in found["error"]
    assert DeadLetterFilter(reason=reason).matches(found)
    assert len(set(SENTENCES.values())) == len(SENTENCES) == 4


def test_the_last_of_several_deaths_counts() -> None:
    """RabbitMQ before 3.13 puts it first, newer ones name it; the earlier ones are named with how often."""
    expired, limit = death("expired", "q1", count=3), death("delivery_limit", "q2")
    found = summary(expired, limit)
    assert (found["reason"], found["source_queue"]) == ("expired", "q1")
    assert found["error"].endswith("(before that: delivery_limit in q2)")
    found = summary(expired, limit, **{"x-last-death-reason": "delivery_limit", "x-last-death-queue": "q2"})
    assert (found["reason"], found["source_queue"]) == ("delivery_limit", "q2")
    assert found["error"].endswith("(before that: expired in q1 (3 times))")
    many = summary(*[death("rejected", f"q{n}") for n in range(50)])
    assert many["error"].endswith("and 44 more)")
    assert len(many["error"]) < 600


@pytest.mark.parametrize(
    ("headers", "reason", "error"),
    [
        ({"x-death": [death("moved_on")]}, "moved_on", OTHERWISE),
        ({"x-death": [death(b"maxlen", b"q")]}, "maxlen", SENTENCES["maxlen"]),
        ({}, "unknown", NO_REASON),
        ({"x-death": "forged"}, "unknown", NO_REASON),
        ({"x-death": []}, "unknown", NO_REASON),
        ({"x-death": [7, None]}, "unknown", NO_REASON),
        ({"x-death": [death(7, None, count="x", time="x")]}, "unknown", NO_REASON),
        ({"x-death": [death("x" * 100_000)]}, "x" * 200, OTHERWISE),
    ],
)
def test_what_is_not_known_is_said_to_be_so(headers: dict[str, Any], reason: str, error: str) -> None:
    """A reason of a later broker is shown as it is; without any, or a forged one, nobody is said to have crashed."""
    found = summarize(make_delivery(headers=headers))
    assert (found["reason"], found["error"]) == (reason, error)


def test_a_reason_counts_where_a_worker_wrote_it() -> None:
    """Workers publish over the default exchange; of what the broker dead-lettered, the sender wrote the headers."""
    headers = {"x-death": [death("expired")], "x-reason": "held", "x-error": "redrive it", "x-failed-at": "2020-01-01"}
    by_worker = summarize(make_delivery(headers=headers, exchange="", routing_key=TOPOLOGY.dead_letters))
    assert (by_worker["reason"], by_worker["error"]) == ("held", "redrive it")
    by_broker = summarize(make_delivery(headers=headers, exchange=TOPOLOGY.dead_letters))
    assert by_broker["reason"] == "expired"
    assert "redrive it" not in (by_broker["error"] or "").partition(";")[0]
    assert not str(by_broker["failed_at"]).startswith("2020")


def test_they_are_grouped_by_reason() -> None:
    """Messages that expired and messages that crashed workers are two groups, whatever else befell them."""
    found = [summary(death("expired")), summary(death("expired", count=2)), summary(death("maxlen"))]
    groups = group_dead_letters(found)
    assert [(group["reason"], group["letters"]) for group in groups] == [("expired", 2), ("maxlen", 1)]
