"""What one delivery may cost before it is known to be honest: a bomb of any shape costs no more than 20 ordinary ones.

The CPU time of this thread, from the bytes of the socket to the command or to why it is none; no absolute times.
"""

import json
import struct
import time
from collections.abc import Callable
from typing import Any

import pytest

from consumer.broker.protocol import Delivery
from consumer.broker.rabbitmq.consumer import _delivery
from consumer.broker.rabbitmq.frame_reader import FrameReader
from consumer.messages.inbound import Command, PoisonError, decode
from tests.foreign_client import signup

CHANNEL = 1
FRAME_MAX = 131_072
DELIVER = struct.pack(">HH", 60, 60) + b"\x01q" + struct.pack(">QB", 1, 0) + b"\x00" + b"\x0fwebsite.created"
MESSAGE_ID, KIND = b"0b5c9d1e-52a8-4d0a-9f5e-7f1f6d1f9b52", b"website.created"
ORDINARY_MOST = 20
ROUNDS, WARM_UP_ROUNDS = 40, 3
TRACEPARENT = b"\x0btraceparentS" + struct.pack(">I", 55) + b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01"


def frame(kind: int, payload: bytes) -> bytes:
    return struct.pack(">BHI", kind, CHANNEL, len(payload)) + payload + b"\xce"


def sized(content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + content


def stream(body: bytes, headers: bytes = TRACEPARENT, message_id: bytes = MESSAGE_ID, kind: bytes = KIND) -> bytes:
    """A delivery as RabbitMQ writes it to the socket; `headers`: the entries of its table."""
    flags = 1 << 13 | 1 << 7 | 1 << 5
    properties = sized(headers) + bytes([len(message_id)]) + message_id + bytes([len(kind)]) + kind
    parts = [body[at : at + FRAME_MAX - 8] for at in range(0, len(body), FRAME_MAX - 8)]
    head = frame(2, struct.pack(">HHQH", 60, 0, len(body), flags) + properties)
    return frame(1, DELIVER) + head + b"".join(frame(3, part) for part in parts)


def reader() -> tuple[FrameReader, list[Delivery]]:
    """A frame reader that makes deliveries as a consumer does."""
    received: list[Delivery] = []
    made = FrameReader(lambda _: None, lambda: 0.0)
    made.intercept(CHANNEL, FRAME_MAX)
    made.on_message = lambda message: received.append(_delivery(message, "commands", None))  # type: ignore[arg-type]
    return made, received


def read(data: bytes) -> Command | str:
    """Read a delivery and decode it; return why, where it is poison."""
    made, received = reader()
    for at in range(0, len(data), 65_536):
        made.feed(data[at : at + 65_536])
    try:
        return decode(received[0])
    except PoisonError as poison:
        return str(poison)


def nested(count: int, opening: Callable[[bytes], bytes]) -> bytes:
    content = b""
    for _ in range(count):
        content = opening(content)
    return content


def entries(count: int, value: bytes) -> bytes:
    """So many entries of a table with one value."""
    return b"".join(b"\x01" + bytes([number % 128]) + value for number in range(count))


def body_of(**changes: Any) -> bytes:
    return json.dumps(signup(1) | changes).encode()


def raw(field: str, text: str) -> bytes:
    """A signup with a field whose JSON is given."""
    return body_of(**{field: "@@"}).replace(b'"@@"', text.encode())


HONEST = body_of()
ARRAY, TABLE = (lambda content: b"A" + sized(content)), (lambda content: b"F" + sized(b"\x01k" + content))
IN_HEADERS: dict[str, bytes] = {
    "nested arrays": b"\x01k" + nested(24_800, ARRAY),
    "nested tables": b"\x01k" + nested(17_000, TABLE) + b"",
    "nested arrays in 16 KB": b"\x01k" + nested(3_200, ARRAY),
    "many short keys": b"".join(b"\x02" + struct.pack(">H", n) + b"V" for n in range(31_000)),
    "many keys in 16 KB": b"".join(b"\x02" + struct.pack(">H", n) + b"V" for n in range(4_000)),
    "an array of many": b"\x01kA" + sized(b"V" * 124_000),
    "an array of many in 16 KB": b"\x01kA" + sized(b"V" * 16_000),
    "256 decimals": entries(256, b"D\xff\xff\xff\xff\xff"),
    "entries before a long text": entries(255, b"V") + b"\x01kS" + sized(b"t" * 15_000),
    "256 times": entries(256, b"T" + struct.pack(">Q", 10**9)),
    "256 texts": b"".join(b"\x02%02xS" % n + sized(b"\xc3\xa4" * 28) for n in range(256)),
    "256 in 8 levels": nested(7, lambda inner: b"\x01kF" + sized(inner + entries(35, b"V"))),
    "a huge text": b"\x01kS" + sized(b"\xc3\xa4" * 62_000),
    "a huge text that is no UTF-8": b"\x01kS" + sized(b"\xff" * 124_000),
    "a long text that is no UTF-8": b"\x01kS" + sized(b"\xff" * 16_000),
    "a huge array of bytes": b"\x01kx" + sized(b"\xff" * 124_000),
    "a size that lies": b"\x01kA" + struct.pack(">I", 2**32 - 1),
    "an unknown type": b"\x01k?" * 5_000,
}  # fmt: skip
IN_BODY: dict[str, bytes] = {
    "nested arrays": b"[" * 65_536,
    "nested arrays that close": b"[" * 32_000 + b"]" * 32_000,
    "nested arrays, less than Python's limit": b'{"website_id": ' + b"[" * 900 + b"]" * 900 + b"}",
    "nested objects": b'{"a":' * 13_000,
    "nested objects that close": b'{"a":' * 900 + b"1" + b"}" * 900,
    "many short keys": b"{" + b",".join(b'"%x":1' % n for n in range(6_500)) + b"}",
    "many keys of the owner": raw("owner", "{" + ",".join(f'"{n:x}":1' for n in range(6_500)) + "}"),
    "many objects": b'{"website_id": [' + b",".join([b"{}"] * 21_000) + b"]}",
    "many numbers": b'{"website_id": [' + b",".join([b"1"] * 32_000) + b"]}",
    "many texts": b'{"website_id": [' + b",".join([b'"a"'] * 16_000) + b"]}",
    "many booleans": b'{"website_id": [' + b",".join([b"true"] * 13_000) + b"]}",
    "the same key": b"{" + b",".join([b'"a":1'] * 10_900) + b"}",
    "a huge number": raw("website_id", "9" * 64_000),
    "a number of 4,300 digits": raw("website_id", "9" * 4_300),
    "many numbers of 4,300 digits": raw("website_id", "[" + ",".join(["9" * 4_299] * 15) + "]"),
    "a long fraction": raw("website_id", "0." + "1" * 64_000),
    "a huge exponent": raw("website_id", "1e" + "9" * 64_000),
    "a long exponent": raw("website_id", "9" * 30_000 + "." + "9" * 30_000 + "e-300"),
    "many fractions": raw("website_id", "[" + ",".join(["1.7976931348623157e308"] * 2_700) + "]"),
    "escapes": raw("subdomain", '"' + "\\u0041" * 10_800 + '"'),
    "escaped pairs": raw("subdomain", '"' + "\\ud83d\\ude00" * 5_400 + '"'),
    "half pairs": raw("seed_pack", '"' + "\\ud83d" * 10_800 + '"'),
    "white space": b" " * 65_000 + b"{}",
    "no UTF-8": b"\xff" * 65_536,
    "no JSON": b"x" * 65_536,
    **{
        f"a huge {field}{of}": body_of(**{field: letter * (65_000 // len(json.dumps(letter)[1:-1].encode()))})
        for field in ("subdomain", "seed_pack", "site_type")
        for letter, of in (("a", ""), ("ä", " of escapes"))
    },
    "a huge subdomain in UTF-8": json.dumps(signup(1, subdomain="ä" * 32_000), ensure_ascii=False).encode(),
    "a huge address": body_of(owner={"email": "a@" + "b" * 64_000}),
    "a huge address of dots": body_of(owner={"email": "a@" + "b." * 32_000 + "example"}),
    "a huge address of spaces": body_of(owner={"email": " " * 64_000}),
    "a huge name": body_of(owner={"email": "a@b.example", "name": "n" * 64_000}),
    "an address of a domain in all scripts": body_of(owner={"email": "é" * 60 + "@" + "ü.ß.例.え." * 20 + "example"}),
    "an address of A-labels": body_of(owner={"email": "a@" + "xn--bcher-kva." * 17 + "example"}),
    "an address of bad A-labels": body_of(owner={"email": f"a@xn--{'9' * 59}.xn--{'z' * 59}.example"}),
    "an address of short A-labels": body_of(owner={"email": "a@" + "xn--tda." * 30 + "example"}),
    "an address of many A-labels": body_of(owner={"email": "a@" + "xn--a." * 40 + "example"}),
    "an address of long labels": body_of(owner={"email": "é@" + (("äöüß例え" * 10)[:56] + ".") * 4 + "ex"}),
    "an address of letters in two": body_of(owner={"email": "a@" + "e\u0301" * 62 + "." + "o\u0308" * 58}),
    "an address of what is not seen": body_of(owner={"email": "a@" + "\u200d" * 240 + ".example"}),
    "an address of joiners": body_of(owner={"email": "a@" + "क्\u200d" * 60 + ".example"}),
    "a megabyte": b"x" * 1_000_000,
}  # fmt: skip
IN_PROPERTIES = {
    "a long message_id": stream(HONEST, message_id=b"f" * 255),
    "a long type": stream(HONEST, kind=b"t" * 255),
    "neither is UTF-8": stream(HONEST, message_id=b"\xff" * 255, kind=b"\xff" * 255),
}
BOMBS = {
    **{f"headers: {name}": stream(HONEST, headers) for name, headers in IN_HEADERS.items()},
    **{f"body: {name}": stream(body) for name, body in IN_BODY.items()},
    **IN_PROPERTIES,
}


def cost(data: bytes, times: int) -> float:
    began = time.thread_time()
    for _ in range(times):
        read(data)
    return (time.thread_time() - began) / times


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_costs_no_more_than_twenty_ordinary_deliveries(name: str) -> None:
    """The cheapest of many rounds of each, taken in turn: a busy machine slows both alike."""
    honest, bomb = stream(HONEST), BOMBS[name]
    assert isinstance(read(honest), Command)
    ordinary, dear = [], []
    for _ in range(ROUNDS):
        ordinary.append(cost(honest, ORDINARY_MOST))
        dear.append(cost(bomb, 1))
        if len(dear) > WARM_UP_ROUNDS and min(dear) <= ORDINARY_MOST * min(ordinary):
            break
    ratio = min(dear) / min(ordinary)
    assert ratio <= ORDINARY_MOST, f"{name} costs as much as {ratio:.0f} ordinary deliveries"
