"""Errors that differ only in ids, numbers and quoted values have one fingerprint."""

import time

import pytest

from ops.fingerprint import LONGEST, fingerprint, group_id


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
    assert len(fingerprint("word " * 200)) <= LONGEST
    assert len(group_id("\ud800")) == len(group_id(""))


@pytest.mark.parametrize("piece", ["a", "'", '"', "1", "a@", "a'", "f0", "."])
def test_a_strangers_text_costs_little(piece: str) -> None:
    """A megabyte of anything is folded in no time: a header of a dead letter may hold it."""
    began = time.process_time()
    fingerprint(piece * (1_000_000 // len(piece)))
    assert time.process_time() - began < 0.5
