"""The few AMQP frames that every message costs, read and written here; every other frame is aiormq's.

aiormq takes a delivery apart by a reader, two queues and a task, and a confirm by a future with four callbacks, which
costs a worker more than all that it does with the message (docs/decisions/0023). So a `Tap` stands between the socket
and aiormq's reader: it takes deliveries, returns and confirms out of the stream as they come, and passes on the rest.
It is lenient with what a foreign publisher may have written, and strict with the frames around it.
"""

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from time import time
from typing import Any

from pamqp import decode, encode, frame
from pamqp.commands import Basic
from pamqp.header import ContentHeader

from consumer.broker import Message

FRAME = struct.Struct(">BHI")
"""Kind, channel and length; so many bytes and an end octet follow."""
OVERHEAD = FRAME.size + 1
END = 0xCE
METHOD, HEADER, BODY = 1, 2, 3
NUMBER = struct.Struct(">I")
TAG = struct.Struct(">QB")
"""A delivery tag, and the octet of bits behind it."""
BASIC = 60
DELIVER, RETURN, ACK, NACK = (BASIC << 16 | method for method in (60, 50, 80, 120))
CONTENT = struct.Struct(">HHQH")
"""A content header's class, weight, body size and flags."""
MULTIPLE, REQUEUE = 1, 2

HEARTBEAT = FRAME.pack(8, 0, 0) + bytes([END])
NUDGE_SECONDS = 1.0
"""While messages come, the broker sends no heartbeats, and of what is taken here aiormq sees nothing: so it is told
that the broker lives, well within the three heartbeats after which it would give it up."""
MOST_BEFORE_OPEN = 1 << 20
"""No frame of a handshake is longer: this is no AMQP, or another version's greeting, and aiormq's to complain of."""

FLAGS = {
    "content_type": 1 << 15, "content_encoding": 1 << 14, "headers": 1 << 13, "delivery_mode": 1 << 12,
    "priority": 1 << 11, "correlation_id": 1 << 10, "reply_to": 1 << 9, "expiration": 1 << 8, "message_id": 1 << 7,
    "timestamp": 1 << 6, "message_type": 1 << 5, "user_id": 1 << 4, "app_id": 1 << 3, "cluster_id": 1 << 2,
}  # fmt: skip
"""The properties of a message, in the order in which they are written."""
OCTETS = frozenset({"delivery_mode", "priority"})

COPIED = frozenset(FLAGS) - {
    "headers", "message_id", "message_type", "delivery_mode", "expiration", "user_id", "cluster_id"
}  # fmt: skip
"""What a copy takes over. Everything of ours is persistent, an expiry would lose a dead letter, and RabbitMQ closes the
channel of whoever gives a user id that is not his own."""
ROUTING_HEADERS = frozenset({"CC", "BCC"})
"""RabbitMQ sends further copies wherever these say; a copy of ours goes where we say."""

UNWRITABLE = (ValueError, TypeError, ArithmeticError, LookupError, AttributeError, RecursionError, struct.error)
"""What comes of a value that AMQP cannot carry. Nothing has been sent then."""


@dataclass(slots=True)
class Content:
    """A message that is being received: its method has come, header and body follow.

    `consumer` names who it is for; None: it came back to its publisher.
    """

    consumer: str | None
    tag: int = 0
    redelivered: bool = False
    exchange: str = ""
    routing_key: str = ""
    properties: Mapping[str, Any] = field(default_factory=dict)
    missing: int = 0
    """Bytes of the body that have not come yet."""
    pieces: list[bytes] = field(default_factory=list)
    """Of the body."""


class Tap:
    """Takes our channel's deliveries, returns and confirms out of what comes from the socket."""

    def __init__(self, pass_on: Callable[[bytes], None], clock: Callable[[], float]) -> None:
        """Pass everything on to `pass_on`, aiormq's reader, until `channel` is set."""
        self.channel = 0
        """The number of the one channel whose messages are taken."""
        self.on_content: Callable[[Content], None] = lambda _: None
        """Called with a whole message, delivered or returned."""
        self.on_answer: Callable[[int, bool, bool], None] = lambda *_: None
        """Called with a delivery tag, whether all before it are meant as well, and whether the broker has them."""
        self._pass_on = pass_on
        self._clock = clock
        self._rest = b""
        self._content: Content | None = None
        self._blind = False
        self._nudged = float("-inf")

    def feed(self, received: bytes) -> None:
        """Hear what has come from the socket.

        Raises:
            ConnectionError: it is no message as AMQP has it; the connection is of no more use.
        """
        stream = self._rest + received
        size, at, passed, took = len(stream), 0, 0, False
        while not self._blind and size - at >= OVERHEAD:
            kind, channel, length = FRAME.unpack_from(stream, at)
            start, end = at + FRAME.size, at + FRAME.size + length
            if end >= size:
                self._blind = not self.channel and length > MOST_BEFORE_OPEN
                break
            if stream[end] != END:
                self._blind = True
                break
            if channel and channel == self.channel and self._takes(kind, stream, start, end):
                if passed < at:
                    self._pass_on(stream[passed:at])
                passed, took = end + 1, True
            at = end + 1
        if self._blind:
            at = size
        if passed < at:
            self._pass_on(stream[passed:at])
        elif took:
            self._nudge()
        self._rest = stream[at:]

    def _nudge(self) -> None:
        now = self._clock()
        if now - self._nudged > NUDGE_SECONDS:
            self._nudged = now
            self._pass_on(HEARTBEAT)

    def _takes(self, kind: int, stream: bytes, start: int, end: int) -> bool:
        """Take a frame of our channel; say whether it was one of ours."""
        content = self._content
        try:
            if kind == METHOD:
                return self._takes_method(stream, start)
            if content is None:
                return False
            if kind == HEADER:
                _, _, content.missing, flags = CONTENT.unpack_from(stream, start)
                content.properties = read_properties(flags, stream[start + CONTENT.size : end])
            else:
                content.pieces.append(stream[start:end])
                content.missing -= end - start
        except (struct.error, IndexError) as error:
            raise ConnectionError("the broker has sent a message that cannot be read") from error
        if content.missing <= 0:
            self._content = None
            self.on_content(content)
        return True

    def _takes_method(self, stream: bytes, start: int) -> bool:
        (method,) = NUMBER.unpack_from(stream, start)
        at = start + NUMBER.size
        if method == DELIVER:
            consumer, at = read_text(stream, at)
            tag, redelivered = TAG.unpack_from(stream, at)
            exchange, at = read_text(stream, at + TAG.size)
            routing_key, at = read_text(stream, at)
            self._content = Content(consumer, tag, bool(redelivered & 1), exchange, routing_key)
        elif method in (ACK, NACK):
            tag, bits = TAG.unpack_from(stream, at)
            self.on_answer(tag, bool(bits & MULTIPLE), method == ACK)
        elif method == RETURN:
            self._content = Content(None)
        else:
            return False
        return True


# ----------------------------------------------------------------------------------------------------------- properties


def read_properties(flags: int, stream: bytes) -> dict[str, Any]:
    """Return the properties that a message has. Nothing that a foreign publisher wrote into them raises: pamqp does, on
    text that is no UTF-8, on a year above 9999 and on some headers; one such message would then end every connection
    that it is delivered on. Read leniently, it is an ordinary poison message.

    Raises:
        IndexError, struct.error: they end too early.
    """
    properties: dict[str, Any] = {}
    at = 0
    for name in _named(flags):
        if name == "timestamp":
            properties[name], at = _read_time(stream, at)
        elif name == "headers":
            properties[name], at = _read_table(stream, at)
        elif name in OCTETS:
            properties[name], at = stream[at], at + 1
        else:
            properties[name], at = read_text(stream, at)
    return properties


@lru_cache(maxsize=256)
def _named(flags: int) -> tuple[str, ...]:
    return tuple(name for name, flag in FLAGS.items() if flags & flag)


def read_text(stream: bytes, at: int) -> tuple[str, int]:
    """Return a short text, and where it ends."""
    start = at + 1
    end = start + stream[at]
    if end > len(stream):
        raise IndexError("a text ends too early")
    try:
        return stream[start:end].decode(), end
    except UnicodeDecodeError:
        # Never longer than it was: a copy of it must fit into 255 bytes again.
        return stream[start:end].decode(errors="replace").replace("\ufffd", "?"), end


def _read_time(stream: bytes, at: int) -> tuple[datetime | None, int]:
    try:
        return decode.timestamp(stream[at : at + 8])[1], at + 8
    except (ValueError, OverflowError, OSError):
        return None, at + 8


def _read_table(stream: bytes, at: int) -> tuple[dict[str, Any], int]:
    end = at + NUMBER.size + NUMBER.unpack_from(stream, at)[0]
    try:
        return decode.field_table(stream[at:end])[1], end
    except (ValueError, OverflowError, OSError, RecursionError):
        return {}, end


# -------------------------------------------------------------------------------------------------------------- writing


def written(channel: int, message: Message, message_id: str, most: int) -> bytes:
    """Return the frames of a message that is published. None holds more than `most` bytes of its body, where the broker
    has a limit, which is above 0.

    Raises:
        one of UNWRITABLE: AMQP cannot carry it.
    """
    body = message.body
    where = _publish_frame(channel, message.exchange, message.routing_key, message.mandatory)
    if message.properties:
        properties = _copied(message, message_id)
        header = frame.marshal(ContentHeader(properties=properties, body_size=len(body)), channel)
    else:
        header = _framed(HEADER, channel, _header(message, message_id))
    return b"".join([where, header, *(_framed(BODY, channel, piece) for piece in _split(body, most))])


def acked(channel: int, tag: int, *, multiple: bool = False) -> bytes:
    """Return the frame that settles a delivery for good; `multiple`: and all before it."""
    return _framed(METHOD, channel, NUMBER.pack(ACK) + TAG.pack(tag, MULTIPLE if multiple else 0))


def handed_back(channel: int, tag: int, *, multiple: bool = False) -> bytes:
    """Return the frame that gives a delivery back to its queue; `multiple`: and all before it."""
    return _framed(METHOD, channel, NUMBER.pack(NACK) + TAG.pack(tag, REQUEUE | (MULTIPLE if multiple else 0)))


def _split(body: bytes, most: int) -> list[bytes]:
    if len(body) <= most or most <= 0:
        return [body] if body else []
    return [body[start : start + most] for start in range(0, len(body), most)]


def _framed(kind: int, channel: int, payload: bytes) -> bytes:
    return FRAME.pack(kind, channel, len(payload)) + payload + b"\xce"


@lru_cache(maxsize=64)
def _publish_frame(channel: int, exchange: str, routing_key: str, mandatory: bool) -> bytes:  # noqa: FBT001 - AMQP's own
    """Return the frame that says where a message goes: the same for all that go there, and we send to few places."""
    return frame.marshal(Basic.Publish(exchange=exchange, routing_key=routing_key, mandatory=mandatory), channel)


ALWAYS = sum(FLAGS[name] for name in ("content_type", "delivery_mode", "message_id", "timestamp"))
JSON = b"\x10application/json"
PERSISTENT = b"\x02"


def _header(message: Message, message_id: str) -> bytes:
    """Return the content header of a message of our own, whose properties are always the same few."""
    flags, table, kind = ALWAYS, b"", b""
    if message.headers:
        flags, table = flags | FLAGS["headers"], encode.field_table(_headers(message))
    if message.type:
        flags, kind = flags | FLAGS["message_type"], _text(message.type)
    stamp = int(time()).to_bytes(8)
    fixed = CONTENT.pack(BASIC, 0, len(message.body), flags)
    return b"".join((fixed, JSON, table, PERSISTENT, _text(message_id), stamp, kind))


def _text(value: str) -> bytes:
    text = value.encode()
    return bytes((len(text),)) + text


def _headers(message: Message) -> dict[str, Any]:
    return {name: _writable(value) for name, value in message.headers.items() if name not in ROUTING_HEADERS}


def _copied(message: Message, message_id: str) -> Basic.Properties:
    """Return the properties of a message that takes some over from another."""
    properties: dict[str, Any] = {"content_type": "application/json", "timestamp": datetime.now(UTC)}
    properties |= {name: value for name, value in message.properties.items() if name in COPIED}
    return Basic.Properties(
        **properties,
        delivery_mode=2,
        message_id=message_id,
        message_type=message.type or None,
        headers=_headers(message),
    )


def _writable(value: Any) -> Any:
    """Return a header's value as pamqp writes it: it reads binary ones as bytes, and writes only bytearrays."""
    match value:
        case bytes():
            return bytearray(value)
        case list():
            return [_writable(item) for item in value]
        case dict():
            return {name: _writable(item) for name, item in value.items()}
        case _:
            return value
