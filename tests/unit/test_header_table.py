"""Headers are read as pamqp reads them, up to what is honest; beyond that they are refused, whatever they contain."""

import random
import struct
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from pamqp import decode, encode

from consumer.broker.rabbitmq.header_reader import (
    MAX_BYTES,
    MAX_ENTRIES,
    MAX_LEVELS,
    RefusedHeadersError,
    read_headers,
)
from consumer.domain.outcomes import Reason, Rejected
from consumer.messages.inbound import PoisonError
from consumer.messages.inbound import decode as decode_delivery
from consumer.messages.outbound_dead_letters import OWN_HEADERS, dead_letter
from ops.dead_letters.queue_reader import summarize
from ops.dead_letters.redriven_messages import as_redelivered, original_message
from tests.factories import TOPOLOGY, make_delivery

EVERYTHING = {
    "text": "ä", "empty": "", "bytes": bytearray(b"\xff\x00"), "number": -1, "large": 2**62, "true": True, "none": None,
    "fraction": 1.5, "decimal": Decimal("1.25"), "time": datetime(2026, 1, 2, tzinfo=UTC),
    "array": [1, "a", [], {"b": None}], "table": {"inner": {"most": [True]}},
}  # fmt: skip


def sized(content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + content


def entry(value: bytes) -> bytes:
    return b"\x01k" + value


def as_pamqp_reads(content: bytes) -> dict[str, Any]:
    return dict(decode.field_table(sized(content))[1])


def test_every_kind_of_value_is_read_as_pamqp_reads_it() -> None:
    """Every type that AMQP has, and those that only other clients write."""
    content = encode.field_table(EVERYTHING)[4:]
    assert read_headers(content) == as_pamqp_reads(content)
    kinds = {
        b"t": b"\x01", b"b": b"\xff", b"B": b"\xff", b"s": b"\xff\xfe", b"u": b"\xff\xfe", b"I": b"\xff" * 4,
        b"i": b"\xff" * 4, b"l": b"\xff" * 8, b"L": b"\xff" * 8, b"f": struct.pack(">f", 1.5),
        b"d": struct.pack(">d", 1.5), b"D": b"\x02\x00\x00\x00\x7d", b"T": struct.pack(">Q", 1_700_000_000),
        b"V": b"", b"\0": b"", b"S": sized(b"\xff"), b"x": sized(b"\x00\xff"), b"A": sized(b""), b"F": sized(b""),
    }  # fmt: skip
    for kind, held in kinds.items():
        content = entry(kind + held)
        assert read_headers(content) == as_pamqp_reads(content), kind
    milliseconds = entry(b"T" + struct.pack(">Q", 1_700_000_000_123))
    assert read_headers(milliseconds) == as_pamqp_reads(milliseconds)


def test_the_limits_are_exact() -> None:
    """The largest that is read, and one more, in each of the three."""
    text = entry(b"S" + sized(b"x" * (MAX_BYTES - 7)))
    assert len(read_headers(text)["k"]) == MAX_BYTES - 7
    many = b"".join(bytes([2]) + f"{number:02x}".encode() + b"V" for number in range(MAX_ENTRIES))
    assert len(read_headers(many)) == MAX_ENTRIES
    within = entry(b"A" + sized(b"V" * (MAX_ENTRIES - 1)))
    assert len(read_headers(within)["k"]) == MAX_ENTRIES - 1
    deep = b""
    for _ in range(MAX_LEVELS - 1):
        deep = entry(b"F" + sized(deep))
    read_headers(deep)
    for bomb, said in (
        (entry(b"S" + sized(b"x" * (MAX_BYTES - 6))), f"{MAX_BYTES + 1} bytes, at most {MAX_BYTES}"),
        (many + entry(b"V"), f"more than {MAX_ENTRIES} entries"),
        (entry(b"A" + sized(b"V" * MAX_ENTRIES)), f"more than {MAX_ENTRIES} entries"),
        (entry(b"F" + sized(deep)), f"deeper than {MAX_LEVELS} levels"),
        (entry(b"A" + sized(b"V" * 20_000)), f"at most {MAX_BYTES}"),
    ):
        with pytest.raises(RefusedHeadersError, match=said):
            read_headers(bomb)


def test_what_is_no_table_raises_nothing_else() -> None:
    """Bytes that are turned, cut off or put in at any place: read, refused, or unreadable; never anything else."""
    dice = random.Random(13)
    content = encode.field_table(EVERYTHING)[4:]
    for _ in range(5_000):
        broken = bytearray(content)
        for _ in range(dice.randrange(1, 4)):
            broken[dice.randrange(len(broken))] = dice.randrange(256)
        end = dice.choice((len(broken), dice.randrange(len(broken))))
        with suppress(RefusedHeadersError, ValueError, IndexError, struct.error, OverflowError, OSError):
            read_headers(bytes(broken[:end]))


def test_a_refused_message_is_poison_and_its_dead_letter_has_none_of_the_headers() -> None:
    """The sentence says what is too large; sent back from the dead letters, without them, it may be carried out."""
    delivery = make_delivery(refused_headers="the headers have more than 256 entries", headers={})
    with pytest.raises(PoisonError, match="more than 256 entries"):
        decode_delivery(delivery)
    letter = dead_letter(delivery, Rejected(Reason.POISON, "said"), TOPOLOGY)
    assert set(letter.headers) == set(OWN_HEADERS) - {"x-user-id"}
    summary = summarize(delivery)
    assert (summary["reason"], "more than 256" in summary["error"]) == ("poison", True)
    assert decode_delivery(as_redelivered(delivery, original_message(delivery, TOPOLOGY)))
