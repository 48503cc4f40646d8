"""Writes the AMQP frames of publishes, acks and nacks, those that every message costs. Knows no connection."""

import struct
from datetime import UTC, datetime
from functools import lru_cache
from time import time
from typing import Any

from pamqp import encode, frame
from pamqp.commands import Basic
from pamqp.header import ContentHeader

from consumer.broker.protocol import Message
from consumer.broker.rabbitmq.frame_format import (
    ACK,
    BASIC,
    BODY,
    CONTENT_HEADER,
    FRAME,
    HEADER,
    METHOD,
    MULTIPLE,
    NACK,
    NUMBER,
    PROPERTY_FLAGS,
    REQUEUE,
    TAG,
)

COPIED_PROPERTIES = frozenset(PROPERTY_FLAGS) - {
    "headers", "message_id", "message_type", "delivery_mode", "expiration", "user_id", "cluster_id"
}  # fmt: skip
"""What a copy takes over. Everything of ours is persistent, an expiry would lose a dead letter, and RabbitMQ closes the
channel of whoever gives a user id that is not his own: the only one that goes out is the session's."""
ROUTING_HEADERS = frozenset({"CC", "BCC"})
"""RabbitMQ sends further copies to the queues that these name; a copy of ours goes to its own routing key alone."""

ALWAYS_SET = sum(PROPERTY_FLAGS[name] for name in ("content_type", "delivery_mode", "message_id", "timestamp"))
JSON_CONTENT_TYPE = b"\x10application/json"
PERSISTENT = b"\x02"

ENCODING_ERRORS = (
    ValueError, TypeError, ArithmeticError, LookupError, AttributeError, RecursionError, struct.error
)  # fmt: skip
"""What is raised for a value that AMQP cannot carry. Nothing has been sent then."""


def publish_frames(
    channel: int, message: Message, message_id: str, max_body_bytes: int, *, user_id: str | None = None
) -> bytes:
    """Return the frames that publish a message. Each has at most `max_body_bytes` of its body; 0: no limit. `user_id`:
    the user of the connection, for messages that carry it.

    Raises:
        one of ENCODING_ERRORS: AMQP cannot carry it.
    """
    body, user_id = message.body, user_id if message.carries_user_id else None
    method = _basic_publish_frame(channel, message.exchange, message.routing_key, message.mandatory)
    if message.properties:
        properties = _copied_properties(message, message_id, user_id)
        header = frame.marshal(ContentHeader(properties=properties, body_size=len(body)), channel)
    else:
        header = _frame(HEADER, channel, _content_header(message, message_id, user_id))
    return b"".join([method, header, *(_frame(BODY, channel, part) for part in _body_parts(body, max_body_bytes))])


def ack_frame(channel: int, tag: int, *, multiple: bool = False) -> bytes:
    """Return the frame that acks a delivery; `multiple`: and all before it."""
    return _frame(METHOD, channel, NUMBER.pack(ACK) + TAG.pack(tag, MULTIPLE if multiple else 0))


def nack_frame(channel: int, tag: int, *, multiple: bool = False, requeue: bool = True) -> bytes:
    """Return the frame that nacks a delivery; `multiple`: and all before it. Without `requeue` it is dead-lettered."""
    bits = (REQUEUE if requeue else 0) | (MULTIPLE if multiple else 0)
    return _frame(METHOD, channel, NUMBER.pack(NACK) + TAG.pack(tag, bits))


def _body_parts(body: bytes, max_body_bytes: int) -> list[bytes]:
    if len(body) <= max_body_bytes or max_body_bytes <= 0:
        return [body] if body else []
    return [body[start : start + max_body_bytes] for start in range(0, len(body), max_body_bytes)]


def _frame(kind: int, channel: int, payload: bytes) -> bytes:
    return FRAME.pack(kind, channel, len(payload)) + payload + b"\xce"


@lru_cache(maxsize=64)
def _basic_publish_frame(channel: int, exchange: str, routing_key: str, mandatory: bool) -> bytes:  # noqa: FBT001
    """Return the frame of Basic.Publish: the same for all that go to one queue, and we send to few."""
    return frame.marshal(Basic.Publish(exchange=exchange, routing_key=routing_key, mandatory=mandatory), channel)


def _content_header(message: Message, message_id: str, user_id: str | None) -> bytes:
    """Return the content header of a message of our own, whose properties are always the same few."""
    flags, table, kind, user = ALWAYS_SET, b"", b"", b""
    if message.headers:
        flags, table = flags | PROPERTY_FLAGS["headers"], encode.field_table(_headers(message))
    if message.type:
        flags, kind = flags | PROPERTY_FLAGS["message_type"], _short_text(message.type)
    if user_id:
        flags, user = flags | PROPERTY_FLAGS["user_id"], _short_text(user_id)
    stamp = int(time()).to_bytes(8)
    fixed = CONTENT_HEADER.pack(BASIC, 0, len(message.body), flags)
    return b"".join((fixed, JSON_CONTENT_TYPE, table, PERSISTENT, _short_text(message_id), stamp, kind, user))


def _short_text(value: str) -> bytes:
    text = value.encode()
    return bytes((len(text),)) + text


def _headers(message: Message) -> dict[str, Any]:
    return {name: _encodable(value) for name, value in message.headers.items() if name not in ROUTING_HEADERS}


def _copied_properties(message: Message, message_id: str, user_id: str | None) -> Basic.Properties:
    """Return the properties of a message that takes some over from another."""
    properties: dict[str, Any] = {"content_type": "application/json", "timestamp": datetime.now(UTC)}
    properties |= {name: value for name, value in message.properties.items() if name in COPIED_PROPERTIES}
    return Basic.Properties(
        **properties,
        delivery_mode=2,
        message_id=message_id,
        message_type=message.type or None,
        user_id=user_id,
        headers=_headers(message),
    )


def _encodable(value: Any) -> Any:
    """Return a header's value as pamqp writes it: it reads binary ones as bytes, and writes only bytearrays."""
    match value:
        case bytes():
            return bytearray(value)
        case list():
            return [_encodable(item) for item in value]
        case dict():
            return {name: _encodable(item) for name, item in value.items()}
        case _:
            return value
