"""The frame writer: what it writes is what pamqp reads."""

from typing import Any

import pytest
from pamqp import frame
from pamqp.commands import Basic

from consumer.broker.protocol import Message
from consumer.broker.rabbitmq.frame_writer import ENCODING_ERRORS, ack_frame, nack_frame, publish_frames

OURS = 7


def message(**changes: Any) -> Message:
    fields: dict[str, Any] = {
        "message_id": "id", "type": "website.live", "body": b'{"a":"\xc3\xa4"}', "exchange": "e", "routing_key": "r",
        "mandatory": True,
    }  # fmt: skip
    return Message(**(fields | changes))


def read(stream: bytes) -> list[Any]:
    frames = []
    while stream:
        size, channel, read_frame = frame.unmarshal(stream)
        assert channel == OURS
        frames.append(read_frame)
        stream = stream[size:]
    return frames


@pytest.mark.parametrize(
    "sent",
    [
        message(),
        message(type=""),
        message(headers={"traceparent": "00-1-2-3", "blob": b"\xff", "CC": ["elsewhere"]}),
        message(mandatory=False, properties={"correlation_id": "c", "user_id": "somebody", "expiration": "1"}),
    ],
    ids=["plain", "no type", "headers", "a copy"],
)
def test_what_is_written_is_what_pamqp_reads(sent: Message) -> None:
    """A message of ours is persistent JSON with its id, type, time, headers and routing, and nothing else."""
    publish, header, body = read(publish_frames(OURS, sent, sent.message_id, 1000))
    assert (publish.exchange, publish.routing_key, publish.mandatory) == ("e", "r", sent.mandatory)
    properties = {name: value for name, value in header.properties if value not in (None, {}, "")}
    assert properties.pop("timestamp").tzinfo is not None
    headers = properties.pop("headers", {})
    assert headers == {name: value for name, value in sent.headers.items() if name != "CC"}
    expected = {"content_type": "application/json", "delivery_mode": 2, "message_id": "id"}
    expected |= {"message_type": sent.type} if sent.type else {}
    expected |= {"correlation_id": "c"} if sent.properties else {}
    assert properties == expected
    assert body.value == sent.body


@pytest.mark.parametrize("properties", [{}, {"correlation_id": "c", "user_id": "somebody"}])
@pytest.mark.parametrize("carries", [True, False])
def test_the_user_is_the_connections_own(properties: dict[str, Any], carries: bool) -> None:
    """It is written where a message is to carry it, and nobody else's ever is."""
    sent = message(properties=properties, carries_user_id=carries)
    _, header, _ = read(publish_frames(OURS, sent, "id", 1000, user_id="provisioner-ops"))
    assert header.properties.user_id == ("provisioner-ops" if carries else None)
    _, header, _ = read(publish_frames(OURS, sent, "id", 1000))
    assert header.properties.user_id is None


@pytest.mark.parametrize("multiple", [False, True])
def test_settlements_are_what_pamqp_writes(multiple: bool) -> None:
    """Acks, and nacks with requeue, are byte for byte those of the client library."""
    assert ack_frame(OURS, 2**40, multiple=multiple) == frame.marshal(Basic.Ack(2**40, multiple), OURS)
    assert nack_frame(OURS, 2**40, multiple=multiple) == frame.marshal(Basic.Nack(2**40, multiple, requeue=True), OURS)


@pytest.mark.parametrize(("size", "frames"), [(0, 0), (1, 1), (10, 1), (11, 2), (25, 3)])
def test_no_frame_has_more_of_a_body_than_the_broker_takes(size: int, frames: int) -> None:
    """A body is split where it is longer than a frame may be; an empty one has no frame."""
    _, header, *bodies = read(publish_frames(OURS, message(body=b"x" * size), "id", 10))
    assert header.body_size == size
    assert [len(body.value) for body in bodies] == [10] * (frames - 1) + [size - 10 * (frames - 1)] * (frames > 0)
    assert len(read(publish_frames(OURS, message(body=b"x" * 25), "id", 0))) == 3, "no limit is no limit"


@pytest.mark.parametrize("changes", [{"message_id": "x" * 256}, {"headers": {"huge": 2**80}}, {"type": "\ud800"}])
def test_what_amqp_cannot_carry(changes: dict[str, Any]) -> None:
    """What cannot be written raises one of ENCODING_ERRORS."""
    sent = message(**changes)
    with pytest.raises(ENCODING_ERRORS):
        publish_frames(OURS, sent, sent.message_id, 1000)
