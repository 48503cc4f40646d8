"""Reads the headers of a message, an AMQP field table that anybody may have written, at a cost that has a bound.

pamqp copies all that is left at every value: one table of 124 KB took half a second of the event loop
(docs/decisions/0034). Here the size is looked at first, each byte is read once, and reading ends at the limit.
"""

import struct
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from consumer.broker.rabbitmq.frame_format import NUMBER

MAX_BYTES = 16 * 1024
MAX_ENTRIES = 256
"""Values of the table and of all tables and arrays within it together. Honest headers are a handful."""
MAX_LEVELS = 8
"""The table itself is the first."""


class RefusedHeadersError(Exception):
    """The headers are larger than is read; the text says in what, and how large they may be."""


TEXT, BINARY, ARRAY, TABLE = b"SxAF"
NOTHING = struct.Struct("")
MILLISECONDS_FROM = 1 << 32
"""A time that is not before the year 2106 counts in milliseconds, as some publishers write them."""


def _decimal(places: int, digits: int) -> Decimal:
    return Decimal(digits).scaleb(-places)


def _time(count: int) -> datetime:
    return datetime.fromtimestamp(count if count < MILLISECONDS_FROM else count / 1000, UTC)


def _nothing() -> None:
    return None


FIXED: Mapping[int, tuple[struct.Struct, Callable[..., Any] | None]] = {
    **{
        kind[0]: (struct.Struct(form), None)
        for kind, form in {
            b"t": ">?", b"b": ">b", b"B": ">B", b"s": ">h", b"u": ">H", b"I": ">i", b"i": ">I", b"l": ">q",
            b"L": ">q", b"f": ">f", b"d": ">d",
        }.items()
    },
    b"D"[0]: (struct.Struct(">BI"), _decimal),
    b"T"[0]: (struct.Struct(">Q"), _time),
    b"V"[0]: (NOTHING, _nothing),
    0: (NOTHING, _nothing),
}  # fmt: skip
"""By kind the values of one size: their form, and what makes the value of what that holds, if it is no number."""


def read_headers(content: bytes) -> dict[str, Any]:
    """Return the entries of a table, given without its length.

    Raises:
        RefusedHeadersError: it is larger than is read.
        ValueError, IndexError, struct.error, OverflowError, OSError: it is no table, or has a value that none can be.
    """
    if len(content) > MAX_BYTES:
        raise RefusedHeadersError(f"the headers have {len(content)} bytes, at most {MAX_BYTES} are read")
    return _TableReader(content).table(0, len(content), 1)


class _TableReader:
    """Reads one header table, and counts what it has read."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._entries = 0

    def table(self, at: int, end: int, level: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while at < end:
            start = at + 1
            at = start + self._content[at]
            found[self._content[start:at].decode()], at = self._value(at, end, level)
        return found

    def _array(self, at: int, end: int, level: int) -> list[Any]:
        found = []
        while at < end:
            value, at = self._value(at, end, level)
            found.append(value)
        return found

    def _value(self, at: int, end: int, level: int) -> tuple[Any, int]:
        """Return the value that begins with its kind at `at`, and where it ends: by `end` at the latest."""
        self._entries += 1
        if self._entries > MAX_ENTRIES:
            raise RefusedHeadersError(f"the headers have more than {MAX_ENTRIES} entries")
        kind, start = self._content[at], at + 1
        if fixed := FIXED.get(kind):
            form, make = fixed
            held = form.unpack_from(self._content, start)
            value, ends = make(*held) if make else held[0], start + form.size
        else:
            start += NUMBER.size
            ends = start + NUMBER.unpack_from(self._content, at + 1)[0]
            value = self._of_length(kind, start, ends, level) if ends <= end else None
        if ends > end:
            raise ValueError("a value is longer than what it is in")
        return value, ends

    def _of_length(self, kind: int, start: int, end: int, level: int) -> Any:
        if kind in (ARRAY, TABLE):
            if level == MAX_LEVELS:
                raise RefusedHeadersError(f"the headers are nested deeper than {MAX_LEVELS} levels")
            read: Callable[[int, int, int], Any] = self._array if kind == ARRAY else self.table
            return read(start, end, level + 1)
        content = self._content[start:end]
        if kind == BINARY:
            return content
        if kind != TEXT:
            raise ValueError("a value of an unknown kind")
        try:
            return content.decode()
        except UnicodeDecodeError:
            return content
