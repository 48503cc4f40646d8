"""Limits how long readers read the dead-letter queue: one at a time, and together a tenth of the time.

Only one tool at a time receives dead letters (`ops.dead_letters.queue_lease`), and who acts on them waits a few seconds
for it. Readers who open one letter after another would keep operators from acting.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import ceil

from ops.console.access.concurrency_limits import QuotaError

SHARE = 0.1
AT_ONCE_SECONDS = 2.0
"""Seconds of reading that readers may take one after another: dozens of letters where the queue is short."""


class ReaderTurns:
    """The turns of one console process."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Let readers take all their seconds at once at first; `clock` counts seconds."""
        self._clock = clock
        self._is_taken = False
        self._paid_at = clock()
        """When the share of readers will have come to what they have taken."""

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Take a turn. Raises QuotaError where another reader has it, or readers have had more than their share."""
        began = self._clock()
        if self._is_taken:
            raise QuotaError("another reader is reading the dead letters: try again in a few seconds")
        early = self._paid_at - began - AT_ONCE_SECONDS / SHARE
        if early > 0:
            raise QuotaError(f"readers have read the dead letters for long: try again in {ceil(early)} s")
        self._is_taken = True
        try:
            yield
        finally:
            self._is_taken = False
            ended = self._clock()
            self._paid_at = max(self._paid_at, ended) + (ended - began) / SHARE
