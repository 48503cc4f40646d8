"""Dead letters as values: filtered, grouped, exported; without a broker."""

import base64
import json
from typing import Any

from consumer.broker.topology import Topology
from ops.dead_letters.groups import group_dead_letters
from ops.dead_letters.queue_reader import DeadLetterFilter, full_record
from ops.dead_letters.redriven_messages import original_message
from tests.factories import make_delivery


def test_filters_and_groups() -> None:
    """Dead letters are selected by their summary, and grouped by reason and cause, numbers folded."""
    about: dict[str, Any] = {
        "message_id": "m", "type": "website.created", "website_id": 7, "reason": "poison",
        "error": "website 7: Bad", "failed_at": "2026-01-01T00:00:00+00:00",
    }  # fmt: skip
    hits: tuple[dict[str, Any], ...] = (
        {}, {"message_ids": frozenset({"m"})}, {"reason": "poison"}, {"type": "website.created"},
        {"website_id": 7}, {"text": "bad"}, {"older_seconds": 3600},
    )  # fmt: skip
    misses: tuple[dict[str, Any], ...] = (
        {"message_ids": frozenset({"n"})}, {"reason": "illegal"}, {"type": "x"}, {"website_id": 8}, {"text": "good"},
        {"newer_seconds": 3600},
    )  # fmt: skip
    assert all(DeadLetterFilter(**fields).matches(about) for fields in hits)
    assert not any(DeadLetterFilter(**fields).matches(about) for fields in misses)
    assert not DeadLetterFilter(older_seconds=1).matches(about | {"failed_at": None})
    assert DeadLetterFilter(text="ANA@").matches(about, b'{"email": "ana@example.com"}')
    (group,) = group_dead_letters([about])
    assert DeadLetterFilter(group=group["group"]).matches(about | {"error": "website 8: Bad"})
    assert not DeadLetterFilter(group=group["group"]).matches(about | {"reason": "illegal"})
    illegal = about | {"reason": "illegal", "failed_at": None}
    groups = group_dead_letters([about, about | {"error": "website 8: Bad"}, illegal])
    assert [(group["reason"], group["letters"]) for group in groups] == [("poison", 2), ("illegal", 1)]


def test_an_exported_letter_can_be_sent_again() -> None:
    """Out of its line of JSON comes the very message that a redrive sends, whatever headers and body hold."""
    headers = {
        "x-reason": "poison",
        "raw": b"\xff",
        "n": 7,
        "ok": True,
        "l": [1, {"n": None}],
        "x-death": [{"n": b"x"}],
    }
    odd = make_delivery(
        b"\xff\x00", type="website.created", headers=headers, properties={"app_id": "signup"}, exchange="",
        routing_key="t.dead-letters",
    )  # fmt: skip
    line = json.loads(json.dumps(full_record(odd, "t")))
    wanted = original_message(odd, Topology("t"))
    sent = {
        name: base64.b64decode(value["base64"]) if isinstance(value, dict) else value
        for name, value in line["headers"].items()
        if name in wanted.headers
    }
    assert sent == wanted.headers
    assert base64.b64decode(line["body_base64"]) == wanted.body
    assert (line["queue"], line["message_id"], line["type"], line["properties"]) == (
        wanted.routing_key, wanted.message_id, wanted.type, wanted.properties,
    )  # fmt: skip
    assert full_record(make_delivery('{"a": "é"}'.encode()), "t")["body"] == '{"a": "é"}'
