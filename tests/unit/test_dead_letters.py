"""A dead letter is the delivery's copy, with the reason in its headers; no header bomb travels on with it."""

from datetime import UTC, datetime, timedelta

import pytest
from pamqp import encode

from consumer.broker.rabbitmq.header_reader import MAX_BYTES, read_headers
from consumer.domain.outcomes import Reason, Rejected
from consumer.messages.outbound_dead_letters import (
    MAX_SENDER_HEADER_BYTES,
    MAX_SENDER_HEADERS,
    OWN_HEADERS,
    dead_letter,
)
from tests.factories import MESSAGE_ID, TOPOLOGY, make_delivery

REJECTED = Rejected(Reason.ILLEGAL, "go_live needs a website that is ready, this one is pending")


def letter(**overrides):
    return dead_letter(make_delivery(**overrides), REJECTED, TOPOLOGY)


def foreign(message):
    """The headers that are the sender's."""
    return {name: value for name, value in message.headers.items() if name not in OWN_HEADERS}


def test_a_dead_letter_is_a_copy():
    """Body, id, type and properties are what they were: it can be redriven as the same message."""
    properties = {"content_type": "text/plain", "correlation_id": "c-1", "app_id": "signup", "content_encoding": "gzip"}
    message = letter(body=b"\x1f\x8b not json", properties=properties)
    assert message.body == b"\x1f\x8b not json"
    assert (message.message_id, message.type) == (str(MESSAGE_ID), "provisioning.complete_agency")
    assert message.properties == properties


def test_a_dead_letter_goes_straight_to_its_queue():
    """Mandatory, through the default exchange: it comes back if the queue is missing, and is not lost."""
    message = letter()
    assert (message.exchange, message.routing_key, message.mandatory) == ("", "provisioning.dead-letters", True)


def test_a_dead_letter_says_why_where_and_when():
    """The reason for tools, the sentence for people, and where it came from."""
    before = datetime.now(UTC)
    headers = letter(exchange="provisioning", queue="provisioning.commands", routing_key="a.b").headers
    assert set(headers) == set(OWN_HEADERS) - {"x-user-id"}, "nobody is known to have sent it"
    assert headers["x-reason"] == "illegal"
    assert type(headers["x-reason"]) is str, "not an enum: a client library encodes exact types"
    assert headers["x-error"] == REJECTED.error
    assert (headers["x-source-queue"], headers["x-exchange"], headers["x-routing-key"]) == (
        "provisioning.commands",
        "provisioning",
        "a.b",
    )
    failed_at = datetime.fromisoformat(headers["x-failed-at"])
    assert before <= failed_at <= datetime.now(UTC)
    assert failed_at.utcoffset() == timedelta(0)


@pytest.mark.parametrize("reason", [reason.value for reason in Reason])
def test_every_reason_can_be_told(reason):
    """As its plain word."""
    message = dead_letter(make_delivery(), Rejected(Reason(reason), "why"), TOPOLOGY)
    assert message.headers["x-reason"] == reason


def test_original_headers_are_kept():
    """Plain values of every kind, the trace first of all."""
    headers = {"traceparent": "00-a-b-01", "tenant": "t", "n": 7, "ok": True, "share": 0.5, "raw": b"\x00\xff"}
    assert foreign(letter(headers=headers)) == headers


@pytest.mark.parametrize("name", OWN_HEADERS)
def test_ours_win(name):
    """A sender cannot forge why a message died, nor can a redriven one keep an old reason."""
    assert letter(headers={name: "forged"}).headers.get(name) != "forged"


@pytest.mark.parametrize(
    "value", [None, [], {}, [{"count": 10**9}], {"a": {"b": {}}}, 2**63, -(2**63) - 1, object(), datetime.now(UTC)]
)
def test_what_a_copy_cannot_carry_is_left_behind(value):
    """Nested tables, numbers past 64 bits and the like are dropped, and the rest stays."""
    assert foreign(letter(headers={"bomb": value, "tenant": "t"})) == {"tenant": "t"}


def test_the_number_of_headers_is_bounded():
    """A thousand of them make no frame of a thousand."""
    assert len(foreign(letter(headers={f"h{n}": n for n in range(10_000)}))) <= MAX_SENDER_HEADERS


@pytest.mark.parametrize(
    "headers",
    [
        {"bomb": "x" * 10_000_000},
        {"bomb": b"\xff" * 10_000_000},
        {"bomb": "💥" * 10_000_000},
        {f"h{n}": "x" * 5_000 for n in range(64)},
        {f"h{n}": "💥" * 4_000 for n in range(64)},
        {"n" * 200 + str(n): "x" for n in range(1_000)},
    ],
)
def test_the_size_of_headers_is_bounded(headers):
    """In bytes as they are sent: what is kept fits into a frame with a lot to spare."""
    kept = foreign(letter(headers=headers))
    size = sum(
        len(name.encode()) + (len(value) if isinstance(value, bytes) else len(str(value).encode()))
        for name, value in kept.items()
    )
    assert size <= MAX_SENDER_HEADER_BYTES


def test_the_headers_of_a_dead_letter_can_be_read_themselves():
    """The sender's and ours at their longest, and what brokers add, are within what is read of any message."""
    names = {f"h{n}": "💥" * 20 for n in range(MAX_SENDER_HEADERS)}
    long = {"exchange": "ä" * 127, "routing_key": "ä" * 127, "queue": "ä" * 127}
    rejected = Rejected(Reason.ERROR, "💥" * 10_000)
    headers = dead_letter(
        make_delivery(headers=names, properties={"user_id": "ä" * 127}, **long), rejected, TOPOLOGY
    ).headers
    assert len(headers) == MAX_SENDER_HEADERS + len(OWN_HEADERS)
    table = encode.field_table(dict(headers))[4:]
    assert len(table) + 2_048 <= MAX_BYTES
    assert read_headers(table) == headers


def test_a_bomb_does_not_take_small_headers_along():
    """What came before it is still there."""
    headers = {"traceparent": "00-a-b-01", "bomb": "x" * 10_000_000}
    assert foreign(letter(headers=headers)) == {"traceparent": "00-a-b-01"}


@pytest.mark.parametrize("missing", ["message_id", "type"])
def test_a_delivery_without_id_or_type_has_a_dead_letter_too(missing):
    """That is exactly what some of them died of."""
    assert getattr(letter(**{missing: None, "routing_key": "a.b"}), missing) == ""
