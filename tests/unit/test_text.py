"""Text from outside: shown whole and moving nothing; and errors that differ in values only have one fingerprint."""

import json
import time

import pytest

from ops.text.error_fingerprint import MAX_CHARACTERS, fingerprint, group_id
from ops.text.printable import escaped, indented, json_text

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


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("Links creation failed - need at least 3, have 2", "Links creation failed - need at least #, have #"),
        ("website 7: there is no user 12", "website #: there is no user #"),
        ("id 0f8fad5b-d9cb-469f-a165-70867728950e is taken", "id ID is taken"),
        ("'sunny-meadow-42' is reserved", "… is reserved"),
        ('pack "mine": links.yml, entry 4: bad', "pack …: links.yml, entry #: bad"),
        ("mail to ana@example.com bounced", "mail to E-MAIL bounced"),
        ("took 1.5 s\n  at   0x7f1eb38b", "took # s at ID"),
        ("the website's row isn't there", "the website's row isn't there"),
        ("'it's mine' is no name", "… is no name"),
        ("site12 and site7 at deadbeef7", "site# and site# at ID"),
        ("PostgreSQL 22P02 InvalidText: 12", "PostgreSQL #P# InvalidText: #"),
        ("half a pair \ud800 7", "half a pair \ud800 #"),
    ],
)
def test_what_differs_is_folded(text: str, folded: str) -> None:
    """Numbers, ids, quoted values, addresses and white space are folded; words stay."""
    assert fingerprint(text) == folded


def test_a_group_is_a_fingerprint() -> None:
    """One cause has one group whatever its numbers, another cause another, and a long text is cut."""
    assert group_id("have 2, need 3") == group_id("have 0, need 3")
    assert group_id("have 2, need 3") != group_id("no agency record found")
    assert len(fingerprint("word " * 200)) <= MAX_CHARACTERS
    assert len(group_id("\ud800")) == len(group_id(""))


@pytest.mark.parametrize("piece", ["a", "'", '"', "1", "a@", "a'", "f0", "."])
def test_a_strangers_text_costs_little(piece: str) -> None:
    """A megabyte of anything is folded in no time: a header of a dead letter may hold it."""
    began = time.process_time()
    fingerprint(piece * (1_000_000 // len(piece)))
    assert time.process_time() - began < 0.5
