"""A terminal of a test's own: a child process has its one end, the test reads at the other, never without a limit."""

import fcntl
import os
import select
import termios
import time
from contextlib import suppress


def own_terminal() -> None:
    """Make standard input the terminal of a new session, so that its end is SIGHUP; run in the child."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def read_until(ours: int, words: bytes | None, seconds: float) -> bytes:
    """Read what is shown until the words are in it, or, where they are None, until the other end is closed.

    Raises:
        AssertionError: not within that time, or the other end was closed before; with what was shown.
    """
    shown, deadline = b"", time.monotonic() + seconds
    while words is None or words not in shown:
        ready, _, _ = select.select([ours], [], [], max(0.0, deadline - time.monotonic()))
        assert ready, f"not within {seconds} s: {words!r}; shown was {shown!r}"
        piece = b""
        with suppress(OSError):  # which is how the end of a terminal's other side is told
            piece = os.read(ours, 65536)
        if not piece:
            assert words is None, f"it ended without {words!r}; shown was {shown!r}"
            break
        shown += piece
    return shown
