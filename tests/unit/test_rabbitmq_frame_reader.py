"""The frame reader: it intercepts the messages and confirms of its channel, whole, and passes every other byte on."""

import struct
from datetime import UTC, datetime
from typing import Any

import pytest
from pamqp import frame
from pamqp.body import ContentBody
from pamqp.commands import Basic, Channel
from pamqp.header import ContentHeader
from pamqp.heartbeat import Heartbeat

from consumer.broker.rabbitmq.frame_format import HEARTBEAT
from consumer.broker.rabbitmq.frame_reader import HEARTBEAT_SECONDS, MAX_FRAME_BYTES, FrameReader, ReceivedMessage

OURS, OTHER = 7, 8


class Recorder:
    """A frame reader on channel 7, and all that it read and passed on."""

    def __init__(self, channel: int = OURS, max_frame_bytes: int = 131_072) -> None:
        self.now = 0.0
        self.passed: list[bytes] = []
        self.messages: list[ReceivedMessage] = []
        self.confirms: list[tuple[int, bool, bool]] = []
        self.reader = FrameReader(self.passed.append, lambda: self.now)
        if channel:
            self.reader.intercept(channel, max_frame_bytes)
        self.reader.on_message = self.messages.append
        self.reader.on_confirm = lambda *confirm: self.confirms.append(confirm)

    @property
    def rest(self) -> bytes:
        """What reached aiormq, less the heartbeats that the reader passed on."""
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


def text_of(received: ReceivedMessage) -> bytes:
    return b"".join(received.body_parts)


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
def test_messages_are_intercepted_whole_and_the_rest_is_passed_on(size: int) -> None:
    """However the stream is cut, messages and confirms come out whole and in order; aiormq gets every other byte."""
    recorder, stream = Recorder(), b"".join(piece for piece, _ in STREAM)
    for start in range(0, len(stream), size):
        recorder.reader.feed(stream[start : start + size])
    heartbeat = frame.marshal(Heartbeat(), 0)
    assert recorder.rest == b"".join(piece for piece, ours in STREAM if not ours).replace(heartbeat, b"")
    assert [(item.consumer_tag, item.delivery_tag, item.redelivered, text_of(item)) for item in recorder.messages] == [
        ("queue", 1, False, b"one"),
        ("queue", 2, True, b""),
        ("queue", 3, False, b"x" * 1000),
        (None, 0, False, b"back"),
    ]
    first = recorder.messages[0]
    assert (first.exchange, first.routing_key) == ("x", "r.k")
    assert first.properties == {"message_id": "a", "message_type": "t", "headers": {"k": [1, {"n": "ä"}]}}
    assert recorder.messages[1].properties == {"priority": 3, "correlation_id": "c"}
    assert recorder.messages[3].properties["message_id"] == "b"
    assert recorder.confirms == [(5, True, True), (6, False, False)]


def test_nothing_is_intercepted_before_there_is_a_channel() -> None:
    """Until its channel is known, everything is aiormq's, the protocol header of another version included."""
    recorder = Recorder(channel=0)
    for piece in (delivered(1), b"AMQP\x00\x00\x09\x01", delivered(2)):
        recorder.reader.feed(piece)
    assert b"".join(recorder.passed) == delivered(1) + b"AMQP\x00\x00\x09\x01" + delivered(2)
    assert not recorder.messages
    huge = struct.pack(">BHI", 1, 0, MAX_FRAME_BYTES + 1)
    other = Recorder(channel=0)
    other.reader.feed(huge + b"x")
    assert b"".join(other.passed) == huge + b"x"


BODY = frame.marshal(ContentBody(b"{}"), OURS)
HEADER = frame.marshal(ContentHeader(body_size=2, properties=Basic.Properties()), OURS)
DELIVER = frame.marshal(Basic.Deliver("queue", 2, exchange="x", routing_key="r"), OURS)


@pytest.mark.parametrize(
    "broken",
    [
        delivered(2)[:-1] + b"?",
        struct.pack(">BHI", 1, OURS, MAX_FRAME_BYTES + 1) + b"?",
        DELIVER + BODY,
        DELIVER + HEADER + HEADER,
        DELIVER + HEADER + BODY[:-1] + b"?",
        DELIVER + HEADER + frame.marshal(ContentBody(b"too much"), OURS),
        DELIVER + DELIVER,
    ],
    ids=["no end", "too long", "no header", "two headers", "no end of a body", "too much", "one within another"],
)
def test_an_invalid_stream_is_a_lost_connection(broken: bytes) -> None:
    """Frames that are not whole and in order are a ConnectionError, and no message is delivered."""
    recorder = Recorder()
    recorder.reader.feed(delivered(1))
    with pytest.raises(ConnectionError, match="the broker has sent"):
        recorder.reader.feed(broken)
    assert [item.delivery_tag for item in recorder.messages] == [1]


def test_longer_frames_where_the_broker_may_send_them() -> None:
    """A broker that was set to longer frames, or to no limit, may send them."""
    for max_frame_bytes in (2 * MAX_FRAME_BYTES, 0):
        recorder = Recorder(max_frame_bytes=max_frame_bytes)
        recorder.reader.feed(delivered(1, b"x" * (MAX_FRAME_BYTES + 1)))
        assert [len(text_of(item)) for item in recorder.messages] == [MAX_FRAME_BYTES + 1]


@pytest.mark.parametrize(
    "payload",
    [b"\x00\x3c\x00\x3c\xffshort", b"\x00\x3c\x00\x50\x00", b"\x00\x3c"],
    ids=["deliver", "ack", "no method"],
)
def test_a_method_that_ends_too_early(payload: bytes) -> None:
    """A method that is shorter than it says is a lost connection, and never another exception."""
    with pytest.raises(ConnectionError, match="cannot be read"):
        Recorder().reader.feed(struct.pack(">BHI", 1, OURS, len(payload)) + payload + b"\xce")


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
            Recorder().reader.feed(DELIVER + struct.pack(">BHI", 2, OURS, size) + whole[:size] + b"\xce")


def test_heartbeats_are_passed_on_while_messages_come() -> None:
    """While only messages come, aiormq gets a heartbeat every HEARTBEAT_SECONDS, and not for each message."""
    recorder = Recorder()
    for tag in range(1, 101):
        recorder.now += HEARTBEAT_SECONDS / 20
        recorder.reader.feed(delivered(tag))
    assert 4 <= recorder.passed.count(HEARTBEAT) <= 6
    assert frame.marshal(Heartbeat(), 0) == HEARTBEAT


@pytest.mark.parametrize(("size", "is_kept"), [(1000, True), (1001, False), (200_000, False)])
def test_a_body_that_is_too_long_is_read_and_not_kept(size: int, is_kept: bool) -> None:
    """Nothing of it stays in memory, whoever sends it; its length is known, and what follows is read."""
    recorder = Recorder()
    recorder.reader.max_body_bytes = 1000
    recorder.reader.feed(delivered(1, b"x" * size, pieces=4, message_id="a") + delivered(2, b"next"))
    first, second = recorder.messages
    assert (len(text_of(first)), first.omitted_bytes) == ((size, 0) if is_kept else (0, size))
    assert (first.properties["message_id"], text_of(second), second.omitted_bytes) == ("a", b"next", 0)
    assert not recorder.rest
