"""Takes the few AMQP frames that every message costs out of what the broker sends; every other frame is aiormq's.

aiormq takes a delivery apart by a reader, two queues and a task, and a confirm by a future with four callbacks, which
costs a worker more than all that it does with the message (docs/decisions/0023). So a `Tap` stands between the socket
and aiormq's reader: it takes deliveries, returns and confirms out of the stream as they come, and passes on the rest.
It is lenient with what a foreign publisher may have written, and strict with the frames around it.
"""

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any

from pamqp import decode

from consumer.broker_frames import (
    ACK,
    CONTENT,
    DELIVER,
    END,
    FLAGS,
    FRAME,
    HEADER,
    HEARTBEAT,
    METHOD,
    MULTIPLE,
    NACK,
    NUMBER,
    OVERHEAD,
    RETURN,
    TAG,
)

LONGEST = 1 << 20
"""Bytes of a frame, unless the broker has been allowed longer ones: RabbitMQ's have 128 KiB."""
NUDGE_SECONDS = 1.0
"""While messages come, the broker sends no heartbeats, and of what is taken here aiormq sees nothing: so it is told
that the broker lives, well within the three heartbeats after which it would give it up."""
OCTETS = frozenset({"delivery_mode", "priority"})


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
    missing: int | None = None
    """Bytes of the body that have not come yet; None until the header says how many there are."""
    pieces: list[bytes] = field(default_factory=list)
    """Of the body."""


class Tap:
    """Takes our channel's deliveries, returns and confirms out of what comes from the socket."""

    def __init__(self, pass_on: Callable[[bytes], None], clock: Callable[[], float]) -> None:
        """Pass everything on to `pass_on`, aiormq's reader, until it is told of its channel."""
        self.on_content: Callable[[Content], None] = lambda _: None
        """Called with a whole message, delivered or returned."""
        self.on_answer: Callable[[int, bool, bool], None] = lambda *_: None
        """Called with a delivery tag, whether all before it are meant as well, and whether the broker has them."""
        self._channel = 0
        self._longest = LONGEST
        self._pass_on = pass_on
        self._clock = clock
        self._rest = b""
        self._content: Content | None = None
        self._blind = False
        self._nudged = float("-inf")

    def take_from(self, channel: int, longest: int) -> None:
        """From now on take the messages of this channel, where a frame has no more than so many bytes (0: no limit)."""
        self._channel = channel
        self._longest = max(longest, LONGEST) if longest else 1 << 32

    def feed(self, received: bytes) -> None:
        """Hear what has come from the socket.

        Raises:
            ConnectionError: it is no AMQP, or no message as AMQP has it; the connection is of no more use.
        """
        stream = self._rest + received
        size, at, passed, took = len(stream), 0, 0, False
        while not self._blind and size - at >= OVERHEAD:
            kind, channel, length = FRAME.unpack_from(stream, at)
            start, end = at + FRAME.size, at + FRAME.size + length
            if length > self._longest or (end < size and stream[end] != END):
                self._out_of_step()
            if end >= size:
                break
            if channel and channel == self._channel and self._takes(kind, stream, start, end):
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

    def _out_of_step(self) -> None:
        """Before a channel is open it may be another version's greeting: that is aiormq's to complain of."""
        if self._channel:
            raise ConnectionError("the broker has sent what is no frame")
        self._blind = True

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
            if (kind == HEADER) != (content.missing is None):
                raise ConnectionError("the broker has sent a message's frames out of order")
            if kind == HEADER:
                _, _, content.missing, flags = CONTENT.unpack_from(stream, start)
                content.properties = read_properties(flags, stream[start + CONTENT.size : end])
            else:
                content.pieces.append(stream[start:end])
                content.missing = (content.missing or 0) - (end - start)
        except (struct.error, IndexError) as error:
            raise ConnectionError("the broker has sent a message that cannot be read") from error
        if content.missing < 0:
            raise ConnectionError("the broker has sent more of a message than it said")
        if not content.missing:
            self._content = None
            self.on_content(content)
        return True

    def _takes_method(self, stream: bytes, start: int) -> bool:
        (method,) = NUMBER.unpack_from(stream, start)
        if self._content and method in (DELIVER, RETURN):
            raise ConnectionError("the broker has sent a message within another")
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
    if at > len(stream):
        raise IndexError("the properties end too early")
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
