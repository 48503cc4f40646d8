"""E-mail addresses in text and JSON are masked, whatever stands around them, and at a cost that grows with the text."""

import time

import pytest

from ops.text.email_masking import masked


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("to ana@example.com, bob@x.y.", "to a…@e…, b…@x…"),
        ("sean.o'brien@example.com is not 'ana@example.com'", "s…@e… is not 'a…@e…'"),
        ("owner='ana@example.com'", "o…@e…'"),
        ("<ana@example.com>", "<a…@e…>"),
        ("(ana@example.com)", "(a…@e…)"),
        ("mailto:ana@example.com", "mailto:a…@e…"),
        ("ana@b@example.com", "a…@b…"),
        ("''ana@example.com''", "''a…@e…''"),
        ("ünïcøde@exämple.com", "ü…@e…"),
        ("at @ noon, @home, x@", "at @ noon, @home, x@"),
    ],
)
def test_addresses_are_masked(text: str, shown: str) -> None:
    """The first letters stay, and what is no address."""
    assert masked(text) == shown


def test_keys_are_masked_too() -> None:
    """A sender may write an address where a name of a field stands."""
    assert masked({"ana@example.com": {"b": ["c@d", 7, None]}}) == {"a…@e…": {"b": ["c…@d…", 7, None]}}


@pytest.mark.parametrize("piece", ["'!", "a'", "@", "a@", "'", "!", "a@b'", "''a", "@'", "a'@ ", "'!@"])
def test_a_long_text_costs_what_its_length_does(piece: str) -> None:
    """Ten times the text costs about ten times as much: whoever may send a message may choose its text."""

    def cost(text: str) -> float:
        began = time.process_time()
        masked(text)
        return time.process_time() - began

    short = piece * (20_000 // len(piece))
    assert cost(short * 10) < 30 * max(cost(short), 0.005)
