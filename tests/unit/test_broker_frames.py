"""The frames that are ours: what is written is what pamqp reads; the tap takes what is ours, whole, out of anything."""

import struct
from datetime import UTC, datetime
from typing import Any

import pytest
from pamqp import frame
from pamqp.body import ContentBody
from pamqp.commands import Basic, Channel
from pamqp.header import ContentHeader
from pamqp.heartbeat import Heartbeat

from consumer.broker import Message
from consumer.broker_frames import HEARTBEAT, UNWRITABLE, acked, handed_back, written
from consumer.broker_tap import LONGEST, NUDGE_SECONDS, Content, Tap

OURS, OTHER = 7, 8


class Ear:
    """A tap on channel 7 that remembers all it hears and passes on."""

    def __init__(self, channel: int = OURS, longest: int = 131_072) -> None:
        self.now = 0.0
        self.passed: list[bytes] = []
        self.contents: list[Content] = []
        self.answers: list[tuple[int, bool, bool]] = []
        self.tap = Tap(self.passed.append, lambda: self.now)
        if channel:
            self.tap.take_from(channel, longest)
        self.tap.on_content = self.contents.append
        self.tap.on_answer = lambda *answer: self.answers.append(answer)

    @property
    def rest(self) -> bytes:
        """What reached aiormq, less the heartbeats that tell it that the broker lives."""
        return b"".join(piece for piece in self.passed if piece != HEARTBEAT)


def content(method: Any, body: bytes, channel: int = OURS, pieces: int = 1, **properties: Any) -> bytes:
    """A method with its header and its body, cut into so many frames."""
    size = -(-len(body) // pieces) or 1
    frames = [method, ContentHeader(body_size=len(body), properties=Basic.Properties(**properties))]
    frames += [ContentBody(body[start : start + size]) for start in range(0, len(body), size)]
    return b"".join(frame.marshal(each, channel) for each in frames)


def delivered(tag: int, body: bytes = b"{}", channel: int = OURS, pieces: int = 1, **properties: Any) -> bytes:
    method = Basic.Deliver("queue", tag, redelivered=tag % 2 == 0, exchange="x", routing_key="r.k")
    return content(method, body, channel, pieces, **properties)


def text_of(received: Content) -> bytes:
    return b"".join(received.pieces)


STREAM = [
    (delivered(1, b"one", message_id="a", message_type="t", headers={"k": [1, {"n": "ä"}]}), True),
    (frame.marshal(Heartbeat(), 0), False),
    (delivered(2, b"", priority=3, correlation_id="c"), True),
    (frame.marshal(Basic.ConsumeOk("queue"), OURS), False),
    (delivered(3, b"x" * 1000, pieces=3), True),
    (delivered(4, b"not ours", channel=OTHER), False),
    (content(Basic.GetOk(9, exchange="x", routing_key="r", message_count=0), b"asked for", message_id="g"), False),
    (frame.marshal(Basic.Ack(5, multiple=True), OURS), True),
    (frame.marshal(Basic.Nack(6), OURS), True),
    (content(Basic.Return(312, "NO_ROUTE", "", "gone"), b"back", message_id="b"), True),
    (frame.marshal(Channel.Close(404, "NOT_FOUND", 60, 40), OURS), False),
]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 9, 50, 10_000])
def test_ours_is_taken_whole_and_the_rest_passed_on(size: int) -> None:
    """However the stream is cut, messages and answers come out whole and in order, and aiormq gets every other byte."""
    ear, stream = Ear(), b"".join(piece for piece, _ in STREAM)
    for start in range(0, len(stream), size):
        ear.tap.feed(stream[start : start + size])
    heartbeat = frame.marshal(Heartbeat(), 0)
    assert ear.rest == b"".join(piece for piece, ours in STREAM if not ours).replace(heartbeat, b"")
    assert [(item.consumer, item.tag, item.redelivered, text_of(item)) for item in ear.contents] == [
        ("queue", 1, False, b"one"),
        ("queue", 2, True, b""),
        ("queue", 3, False, b"x" * 1000),
        (None, 0, False, b"back"),
    ]
    first = ear.contents[0]
    assert (first.exchange, first.routing_key) == ("x", "r.k")
    assert first.properties == {"message_id": "a", "message_type": "t", "headers": {"k": [1, {"n": "ä"}]}}
    assert ear.contents[1].properties == {"priority": 3, "correlation_id": "c"}
    assert ear.contents[3].properties["message_id"] == "b"
    assert ear.answers == [(5, True, True), (6, False, False)]


def test_nothing_is_taken_before_there_is_a_channel() -> None:
    """Until its channel is known, everything is aiormq's, the other protocol's greeting included."""
    ear = Ear(channel=0)
    for piece in (delivered(1), b"AMQP\x00\x00\x09\x01", delivered(2)):
        ear.tap.feed(piece)
    assert b"".join(ear.passed) == delivered(1) + b"AMQP\x00\x00\x09\x01" + delivered(2)
    assert not ear.contents
    huge = struct.pack(">BHI", 1, 0, LONGEST + 1)
    stubborn = Ear(channel=0)
    stubborn.tap.feed(huge + b"x")
    assert b"".join(stubborn.passed) == huge + b"x"


BODY = frame.marshal(ContentBody(b"{}"), OURS)
HEADER = frame.marshal(ContentHeader(body_size=2, properties=Basic.Properties()), OURS)
DELIVER = frame.marshal(Basic.Deliver("queue", 2, exchange="x", routing_key="r"), OURS)


@pytest.mark.parametrize(
    "broken",
    [
        delivered(2)[:-1] + b"?",
        struct.pack(">BHI", 1, OURS, LONGEST + 1) + b"?",
        DELIVER + BODY,
        DELIVER + HEADER + HEADER,
        DELIVER + HEADER + BODY[:-1] + b"?",
        DELIVER + HEADER + frame.marshal(ContentBody(b"too much"), OURS),
        DELIVER + DELIVER,
    ],
    ids=["no end", "too long", "no header", "two headers", "no end of a body", "too much", "one within another"],
)
def test_a_stream_out_of_step_is_a_lost_connection(broken: bytes) -> None:
    """What is not whole and in order is no message, and nobody is to blame a sender for it."""
    ear = Ear()
    ear.tap.feed(delivered(1))
    with pytest.raises(ConnectionError, match="the broker has sent"):
        ear.tap.feed(broken)
    assert [item.tag for item in ear.contents] == [1]


def test_longer_frames_where_the_broker_may_send_them() -> None:
    """A broker that was set to longer frames, or to no limit, may send them."""
    for longest in (2 * LONGEST, 0):
        ear = Ear(longest=longest)
        ear.tap.feed(delivered(1, b"x" * (LONGEST + 1)))
        assert [len(text_of(item)) for item in ear.contents] == [LONGEST + 1]


@pytest.mark.parametrize(
    "payload",
    [b"\x00\x3c\x00\x3c\xffshort", b"\x00\x3c\x00\x50\x00", b"\x00\x3c"],
    ids=["deliver", "ack", "no method"],
)
def test_a_method_that_ends_too_early(payload: bytes) -> None:
    """A method that is shorter than it says is a lost connection, and never another exception."""
    with pytest.raises(ConnectionError, match="cannot be read"):
        Ear().tap.feed(struct.pack(">BHI", 1, OURS, len(payload)) + payload + b"\xce")


@pytest.mark.parametrize(
    "properties",
    [{"message_id": "0123456789"}, {"timestamp": datetime.now(UTC)}, {"headers": {"key": "value"}}, {"priority": 1}],
    ids=["text", "time", "table", "octet"],
)
def test_properties_that_end_too_early(properties: dict[str, Any]) -> None:
    """A content header that is shorter than its flags say is a lost connection, wherever it ends."""
    whole = frame.marshal(ContentHeader(body_size=2, properties=Basic.Properties(**properties)), OURS)[7:-1]
    for size in range(2, len(whole)):
        with pytest.raises(ConnectionError, match="cannot be read"):
            Ear().tap.feed(DELIVER + struct.pack(">BHI", 2, OURS, size) + whole[:size] + b"\xce")


def test_a_busy_broker_is_known_to_live() -> None:
    """While only messages come, aiormq is told that the broker lives, once in a while and not each time."""
    ear = Ear()
    for tag in range(1, 101):
        ear.now += NUDGE_SECONDS / 20
        ear.tap.feed(delivered(tag))
    assert 4 <= ear.passed.count(HEARTBEAT) <= 6
    assert frame.marshal(Heartbeat(), 0) == HEARTBEAT


def message(**changes: Any) -> Message:
    told: dict[str, Any] = {
        "message_id": "id", "type": "website.live", "body": b'{"a":"\xc3\xa4"}', "exchange": "e", "routing_key": "r",
        "mandatory": True,
    }  # fmt: skip
    return Message(**(told | changes))


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
    """A message of ours is persistent JSON with its id, type, time and headers, where it is to go; nothing else."""
    publish, header, body = read(written(OURS, sent, sent.message_id, 1000))
    assert (publish.exchange, publish.routing_key, publish.mandatory) == ("e", "r", sent.mandatory)
    properties = {name: value for name, value in header.properties if value not in (None, {}, "")}
    assert properties.pop("timestamp").tzinfo is not None
    headers = properties.pop("headers", {})
    assert headers == {name: value for name, value in sent.headers.items() if name != "CC"}
    told = {"content_type": "application/json", "delivery_mode": 2, "message_id": "id"}
    told |= {"message_type": sent.type} if sent.type else {}
    told |= {"correlation_id": "c"} if sent.properties else {}
    assert properties == told
    assert body.value == sent.body


@pytest.mark.parametrize("multiple", [False, True])
def test_settlements_are_what_pamqp_writes(multiple: bool) -> None:
    """Acks, and nacks that give back, are byte for byte those of the client library."""
    assert acked(OURS, 2**40, multiple=multiple) == frame.marshal(Basic.Ack(2**40, multiple), OURS)
    assert handed_back(OURS, 2**40, multiple=multiple) == frame.marshal(Basic.Nack(2**40, multiple, requeue=True), OURS)


@pytest.mark.parametrize(("size", "frames"), [(0, 0), (1, 1), (10, 1), (11, 2), (25, 3)])
def test_no_frame_is_larger_than_the_broker_takes(size: int, frames: int) -> None:
    """A body is cut where it is longer than a frame may be; an empty one has no frame."""
    _, header, *bodies = read(written(OURS, message(body=b"x" * size), "id", 10))
    assert header.body_size == size
    assert [len(body.value) for body in bodies] == [10] * (frames - 1) + [size - 10 * (frames - 1)] * (frames > 0)
    assert len(read(written(OURS, message(body=b"x" * 25), "id", 0))) == 3, "no limit is no limit"


@pytest.mark.parametrize("changes", [{"message_id": "x" * 256}, {"headers": {"huge": 2**80}}, {"type": "\ud800"}])
def test_what_amqp_cannot_carry(changes: dict[str, Any]) -> None:
    """What cannot be written raises something that the publisher knows."""
    sent = message(**changes)
    with pytest.raises(UNWRITABLE):
        written(OURS, sent, sent.message_id, 1000)
