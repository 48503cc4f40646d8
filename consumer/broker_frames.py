"""What AMQP frames look like, and those of them that every message costs us to write. Knows no connection."""

import struct
from datetime import UTC, datetime
from functools import lru_cache
from time import time
from typing import Any

from pamqp import encode, frame
from pamqp.commands import Basic
from pamqp.header import ContentHeader

from consumer.broker import Message

FRAME = struct.Struct(">BHI")
"""Kind, channel and length; so many bytes and an end octet follow."""
OVERHEAD = FRAME.size + 1
END = 0xCE
METHOD, HEADER, BODY = 1, 2, 3
HEARTBEAT = FRAME.pack(8, 0, 0) + bytes([END])
NUMBER = struct.Struct(">I")
TAG = struct.Struct(">QB")
"""A delivery tag, and the octet of bits behind it."""
BASIC = 60
DELIVER, RETURN, ACK, NACK = (BASIC << 16 | method for method in (60, 50, 80, 120))
MULTIPLE, REQUEUE = 1, 2
CONTENT = struct.Struct(">HHQH")
"""A content header's class, weight, body size and flags."""

FLAGS = {
    "content_type": 1 << 15, "content_encoding": 1 << 14, "headers": 1 << 13, "delivery_mode": 1 << 12,
    "priority": 1 << 11, "correlation_id": 1 << 10, "reply_to": 1 << 9, "expiration": 1 << 8, "message_id": 1 << 7,
    "timestamp": 1 << 6, "message_type": 1 << 5, "user_id": 1 << 4, "app_id": 1 << 3, "cluster_id": 1 << 2,
}  # fmt: skip
"""The properties of a message, in the order in which they are written."""
COPIED = frozenset(FLAGS) - {
    "headers", "message_id", "message_type", "delivery_mode", "expiration", "user_id", "cluster_id"
}  # fmt: skip
"""What a copy takes over. Everything of ours is persistent, an expiry would lose a dead letter, and RabbitMQ closes the
channel of whoever gives a user id that is not his own."""
ROUTING_HEADERS = frozenset({"CC", "BCC"})
"""RabbitMQ sends further copies wherever these say; a copy of ours goes where we say."""

ALWAYS = sum(FLAGS[name] for name in ("content_type", "delivery_mode", "message_id", "timestamp"))
JSON = b"\x10application/json"
PERSISTENT = b"\x02"

UNWRITABLE = (ValueError, TypeError, ArithmeticError, LookupError, AttributeError, RecursionError, struct.error)
"""What comes of a value that AMQP cannot carry. Nothing has been sent then."""


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
