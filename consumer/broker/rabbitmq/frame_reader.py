"""Reads the AMQP frames of deliveries, returns and confirms from the socket; every other frame is read by aiormq.

aiormq takes a delivery apart by a reader, two queues and a task, and a confirm by a future with four callbacks, which
costs a worker more than all that it does with the message (docs/decisions/0023). So a `FrameReader` stands between the
socket and aiormq's reader: it intercepts the frames of messages and confirms as they come, and passes on the rest. It
is lenient with what a foreign publisher may have written, and strict with the frames around it.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any

from pamqp import decode

from consumer.broker.rabbitmq.frame_format import (
    ACK,
    CONTENT_HEADER,
    DELIVER,
    FRAME,
    FRAME_END,
    FRAME_OVERHEAD,
    HEADER,
    HEARTBEAT,
    METHOD,
    MULTIPLE,
    NACK,
    NUMBER,
    PROPERTY_FLAGS,
    RETURN,
    TAG,
)
from consumer.broker.rabbitmq.header_reader import RefusedHeadersError, read_headers

MAX_FRAME_BYTES = 1 << 20
"""The longest frame, unless the broker was configured to longer ones: RabbitMQ's have 128 KiB."""
HEARTBEAT_SECONDS = 1.0
"""At most so often a heartbeat is passed on to aiormq while messages come. RabbitMQ sends none then, and aiormq, which
sees nothing of what is intercepted here, would close the connection after three that are missing."""
OCTETS = frozenset({"delivery_mode", "priority"})
"""The properties that are one octet."""
REFUSED_HEADERS = "refused headers"
"""Under this name `read_properties` says why it has not read the headers; no property is called so."""


@dataclass(slots=True)
class ReceivedMessage:
    """A message that is being received: its method has come, header and body follow."""

    consumer_tag: str | None
    """Whom it was delivered to; None: it was returned to its publisher."""
    delivery_tag: int = 0
    redelivered: bool = False
    exchange: str = ""
    routing_key: str = ""
    properties: dict[str, Any] = field(default_factory=dict)
    refused_headers: str | None = None
    """Why its headers were not read; the properties have none then."""
    missing_bytes: int | None = None
    """How much of the body has not come yet; None until the header says how long it is."""
    body_parts: list[bytes] = field(default_factory=list)
    omitted_bytes: int = 0
    """How long the body is, where it is longer than `FrameReader.max_body_bytes` and so not kept."""


class FrameReader:
    """Intercepts one channel's deliveries, returns and confirms in the byte stream from the socket."""

    def __init__(self, pass_on: Callable[[bytes], None], clock: Callable[[], float]) -> None:
        """Pass everything on to `pass_on`, aiormq's reader, until `intercept` names a channel."""
        self.on_message: Callable[[ReceivedMessage], None] = lambda _: None
        """Called with a whole message, delivered or returned."""
        self.on_confirm: Callable[[int, bool, bool], None] = lambda *_: None
        """Called with a delivery tag, whether all before it are meant as well, and whether it is an ack (or a nack)."""
        self.max_body_bytes: int | None = None
        """The longest body that is kept; None: any."""
        self._channel = 0
        self._max_frame_bytes = MAX_FRAME_BYTES
        self._pass_on = pass_on
        self._clock = clock
        self._incomplete = b""
        """The beginning of a frame whose end has not come yet."""
        self._message: ReceivedMessage | None = None
        self._passes_all_on = False
        self._last_heartbeat = float("-inf")

    def intercept(self, channel: int, max_frame_bytes: int) -> None:
        """From now on read this channel's messages. No frame is longer than `max_frame_bytes`; 0: no limit."""
        self._channel = channel
        self._max_frame_bytes = max(max_frame_bytes, MAX_FRAME_BYTES) if max_frame_bytes else 1 << 32

    def feed(self, received: bytes) -> None:
        """Read what has come from the socket.

        Raises:
            ConnectionError: it is no AMQP, or no message as AMQP has it; the connection is of no more use.
        """
        stream = self._incomplete + received
        size, at, passed, intercepted = len(stream), 0, 0, False
        while not self._passes_all_on and size - at >= FRAME_OVERHEAD:
            kind, channel, length = FRAME.unpack_from(stream, at)
            start, end = at + FRAME.size, at + FRAME.size + length
            if length > self._max_frame_bytes or (end < size and stream[end] != FRAME_END):
                self._invalid_frame()
            if end >= size:
                break
            if channel and channel == self._channel and self._intercepts(kind, stream, start, end):
                if passed < at:
                    self._pass_on(stream[passed:at])
                passed, intercepted = end + 1, True
            at = end + 1
        if self._passes_all_on:
            at = size
        if passed < at:
            self._pass_on(stream[passed:at])
        elif intercepted:
            self._pass_heartbeat_on()
        self._incomplete = stream[at:]

    def _invalid_frame(self) -> None:
        """Before a channel is open it may be the protocol header of another AMQP version, which aiormq reports."""
        if self._channel:
            raise ConnectionError("the broker has sent bytes that are no AMQP frame")
        self._passes_all_on = True

    def _pass_heartbeat_on(self) -> None:
        now = self._clock()
        if now - self._last_heartbeat > HEARTBEAT_SECONDS:
            self._last_heartbeat = now
            self._pass_on(HEARTBEAT)

    def _intercepts(self, kind: int, stream: bytes, start: int, end: int) -> bool:
        """Read a frame of our channel if it is part of a message or a confirm; return whether it was."""
        message = self._message
        try:
            if kind == METHOD:
                return self._intercepts_method(stream, start)
            if message is None:
                return False
            if (kind == HEADER) != (message.missing_bytes is None):
                raise ConnectionError("the broker has sent a message's frames out of order")
            if kind == HEADER:
                _, _, message.missing_bytes, flags = CONTENT_HEADER.unpack_from(stream, start)
                message.properties = read_properties(flags, stream[start + CONTENT_HEADER.size : end])
                message.refused_headers = message.properties.pop(REFUSED_HEADERS, None)
                if self.max_body_bytes is not None and message.missing_bytes > self.max_body_bytes:
                    message.omitted_bytes = message.missing_bytes
            else:
                if not message.omitted_bytes:
                    message.body_parts.append(stream[start:end])
                message.missing_bytes = (message.missing_bytes or 0) - (end - start)
        except (struct.error, IndexError) as error:
            raise ConnectionError("the broker has sent a message that cannot be read") from error
        if message.missing_bytes < 0:
            raise ConnectionError("the broker has sent a longer body than the message's header says")
        if not message.missing_bytes:
            self._message = None
            self.on_message(message)
        return True

    def _intercepts_method(self, stream: bytes, start: int) -> bool:
        (method,) = NUMBER.unpack_from(stream, start)
        if self._message and method in (DELIVER, RETURN):
            raise ConnectionError("the broker has sent a message within another")
        at = start + NUMBER.size
        if method == DELIVER:
            consumer_tag, at = read_short_text(stream, at)
            delivery_tag, redelivered = TAG.unpack_from(stream, at)
            exchange, at = read_short_text(stream, at + TAG.size)
            routing_key, at = read_short_text(stream, at)
            self._message = ReceivedMessage(consumer_tag, delivery_tag, bool(redelivered & 1), exchange, routing_key)
        elif method in (ACK, NACK):
            tag, bits = TAG.unpack_from(stream, at)
            self.on_confirm(tag, bool(bits & MULTIPLE), method == ACK)
        elif method == RETURN:
            self._message = ReceivedMessage(None)
        else:
            return False
        return True


# ----------------------------------------------------------------------------------------------------------- properties


def read_properties(flags: int, stream: bytes) -> dict[str, Any]:
    """Return the properties that a message has. Nothing that a foreign publisher wrote into them raises: pamqp does, on
    text that is no UTF-8, on a year above 9999 and on some headers; one such message would then end every connection
    that it is delivered on. Read leniently, it is an ordinary poison message.
    Headers that are refused are not read at all.

    Raises:
        IndexError, struct.error: they end too early.
    """
    properties: dict[str, Any] = {}
    at = 0
    for name in _property_names(flags):
        if name == "timestamp":
            properties[name], at = _read_time(stream, at)
        elif name == "headers":
            at = _read_headers(stream, at, properties)
        elif name in OCTETS:
            properties[name], at = stream[at], at + 1
        else:
            properties[name], at = read_short_text(stream, at)
    if at > len(stream):
        raise IndexError("the properties end too early")
    return properties


@lru_cache(maxsize=256)
def _property_names(flags: int) -> tuple[str, ...]:
    return tuple(name for name, flag in PROPERTY_FLAGS.items() if flags & flag)


def read_short_text(stream: bytes, at: int) -> tuple[str, int]:
    """Return a text of at most 255 bytes, and where it ends."""
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


def _read_headers(stream: bytes, at: int, properties: dict[str, Any]) -> int:
    """Read the headers into the properties, or why they are refused; return where they end."""
    start = at + NUMBER.size
    end: int = start + NUMBER.unpack_from(stream, at)[0]
    try:
        properties["headers"] = read_headers(stream[start:end])
    except RefusedHeadersError as refused:
        properties[REFUSED_HEADERS] = str(refused)
    except (ValueError, IndexError, struct.error, OverflowError, OSError):
        properties["headers"] = {}
    return end
