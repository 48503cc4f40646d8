"""Readers' turns at the dead-letter queue."""

import pytest

from ops.console.access.concurrency_limits import QuotaError
from ops.console.access.dead_letter_read_limit import ReaderTurns


class Clock:
    """Counts the seconds that a test lets pass."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def read(turns: ReaderTurns, clock: Clock, seconds: float) -> None:
    """Take a turn that lasts so long, and fails in the end."""
    with turns.turn():
        clock.now += seconds
        raise ZeroDivisionError


def refused(turns: ReaderTurns, text: str) -> None:
    """Find that no turn is due."""
    with pytest.raises(QuotaError, match=text), turns.turn():
        raise AssertionError


def test_one_reader_at_a_time() -> None:
    """The other is told to come again."""
    turns = ReaderTurns(Clock())
    with turns.turn():
        refused(turns, "another reader is reading the dead letters: try again in a few seconds")


def test_readers_have_a_tenth_of_the_time() -> None:
    """Some seconds at once; then a second of reading is due every ten."""
    clock = Clock()
    turns = ReaderTurns(clock)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            read(turns, clock, 1.0)
    refused(turns, "try again in 8 s")
    clock.now += 8
    with pytest.raises(ZeroDivisionError):
        read(turns, clock, 1.0)
    refused(turns, "try again in 9 s")
