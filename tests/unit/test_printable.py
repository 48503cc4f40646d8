"""What strangers wrote is shown whole and moves nothing."""

import json
import time

import pytest

from ops.printable import escaped, indented, json_text

NASTY = "\x1b[2J\x9b31m\x07\r\u202eevil\u2066\x7f\0\ud800 é 漢 🏠"


def test_nothing_moves_the_cursor() -> None:
    """Every control, bidirectional mark and half character is escaped; letters, lines and tabs stay."""
    shown = escaped(NASTY + "\n\t.")
    assert shown.replace("\n", "").replace("\t", "").isprintable()
    assert shown.startswith(r"\x1b[2J\x9b31m\x07\r\u202eevil")
    assert shown.endswith(" é 漢 🏠\n\t.")


@pytest.mark.parametrize("indent", [None, 2])
def test_json_reads_the_same(indent: int | None) -> None:
    """Escaped for a terminal it is the same value, keys too; letters stay readable."""
    value = {NASTY: [NASTY, {"é": 1}], "n": None}
    text = json_text(value, indent)
    assert json.loads(text) == value
    assert text.replace("\n", "").isprintable()
    assert "é 漢 🏠" in text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ('{"a":1,"a":2}', '{\n  "a": 1,\n  "a": 2\n}'),
        ('[1e400, 1.10,{"x":"{,}"}]', '[\n  1e400,\n  1.10,\n  {\n    "x": "{,}"\n  }\n]'),
        ('{"a": {}, "b": [ ]}', '{\n  "a": {},\n  "b": []\n}'),
        (r'{"a":"\u001b\"\\"}', '{\n  "a": "\\u001b\\"\\\\"\n}'),
        ("no, {JSON}", "no, {JSON}"),
        ("7", "7"),
    ],
)
def test_json_is_indented_and_nothing_else(text: str, shown: str) -> None:
    """Doubled keys, odd numbers and escapes stand as they were sent: they may be why it died."""
    assert indented(text) == shown


def test_a_bomb_costs_little() -> None:
    """As much nesting as fits into a body is shown as it came, and a flat one in no time."""
    deep = "[" * 900 + "]" * 900
    assert indented(deep) == deep
    began = time.process_time()
    indented("[" * 32_000 + "]" * 32_000)
    indented(json.dumps(["{"] * 10_000))
    assert time.process_time() - began < 1
