"""Deliveries that wait for a worker, in two lanes: commands first, signups as far as admission lets them.

The broker's callbacks only put; workers take what is already waiting and of one kind, up to a batch. Nothing here
awaits the network.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from consumer.broker import ConsumerSession, Delivery


@dataclass(slots=True, eq=False)
class Waiting:
    """A delivery on its way to a worker.

    `rounds` counts how often it was put back, `held` how often for its website's sake; `alone`: it goes in no batch.
    """

    delivery: Delivery
    rounds: int = 0
    held: int = 0
    alone: bool = False


class Room(Protocol):
    """What the intake asks of admission."""

    def grant(self, asked: int) -> int:
        """Return how many of `asked` signups may be started now."""

    def reserve(self, count: int) -> None:
        """Count signups as started."""

    def wanted(self) -> None:
        """Hear that signups wait and may not start."""


class Intake:
    """Two lanes of waiting deliveries, for any number of workers."""

    def __init__(self, signups_queue: str, admission: Room) -> None:
        self._signups_queue = signups_queue
        self._admission = admission
        self._commands: deque[Waiting] = deque()
        self._signups: deque[Waiting] = deque()
        self._delayed: dict[Waiting, asyncio.TimerHandle] = {}
        self._arrived = asyncio.Event()
        self._in_hand: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._commands) + len(self._signups) + len(self._delayed)

    @property
    def in_flight(self) -> int:
        """Deliveries that workers have taken and not put down."""
        return self._in_hand.total()

    def held(self, queue: str) -> int:
        """Return how many deliveries of a queue are here or in workers' hands: as many as fill our window there."""
        here = (*self._commands, *self._signups, *self._delayed)
        return self._in_hand[queue] + sum(waiting.delivery.queue == queue for waiting in here)

    def put(self, delivery: Delivery) -> None:
        """Add a new delivery."""
        self._queue(Waiting(delivery))

    def put_back(self, waiting: Waiting, delay_seconds: float) -> None:
        """Send a delivery round again after a while; one whose session is gone is dropped, the broker has it."""
        if waiting.delivery.session.closed.is_set():
            return
        waiting.rounds += 1
        handle = asyncio.get_running_loop().call_later(delay_seconds, self._due, waiting)
        self._delayed[waiting] = handle

    def _due(self, waiting: Waiting) -> None:
        del self._delayed[waiting]
        if not waiting.delivery.session.closed.is_set():
            self._queue(waiting)

    def _queue(self, waiting: Waiting) -> None:
        lane = self._signups if waiting.delivery.queue == self._signups_queue else self._commands
        lane.append(waiting)
        self._arrived.set()

    def wake(self) -> None:
        """Look again: there may be room for signups now."""
        self._arrived.set()

    async def take(self, limit: int) -> list[Waiting]:
        """Wait until something may be taken, and take what there is of one kind, up to `limit`: never wait for more."""
        while not (batch := self._collect(limit)):
            self._arrived.clear()
            await self._arrived.wait()
        self._in_hand.update(waiting.delivery.queue for waiting in batch)
        return batch

    def _collect(self, limit: int) -> list[Waiting]:
        batch = self._take_like_commands(limit)
        if self._signups and not batch:
            if count := self._granted(limit):
                self._admission.reserve(count)
                batch.extend(self._signups.popleft() for _ in range(count))
            else:
                self._admission.wanted()
        if batch and (self._commands or self._granted(limit)):
            # For the next worker. Never after an empty hand: two idle workers would wake each other without end.
            self._arrived.set()
        return batch

    def _granted(self, limit: int) -> int:
        waiting = min(limit, len(self._signups))
        return self._admission.grant(waiting) if waiting else 0

    def _take_like_commands(self, limit: int) -> list[Waiting]:
        """Take the oldest command and those like it: every kind in a transaction costs statements of its own, and
        commands that were carried out together come back together."""
        batch: list[Waiting] = []
        others: deque[Waiting] = deque()
        for waiting in self._commands:
            alike = not batch or waiting.delivery.type == batch[0].delivery.type
            (batch if alike and len(batch) < limit else others).append(waiting)
        self._commands = others
        return batch

    def put_down(self, batch: Sequence[Waiting]) -> None:
        """Hear that a worker is done with a batch that it took."""
        self._in_hand.subtract(waiting.delivery.queue for waiting in batch)

    def is_signup(self, waiting: Waiting) -> bool:
        """Say whether a delivery came by the signups lane."""
        return waiting.delivery.queue == self._signups_queue

    def forget(self, session: ConsumerSession) -> None:
        """Drop what a dead session delivered: the broker delivers it again."""
        for lane in (self._commands, self._signups):
            kept = [waiting for waiting in lane if waiting.delivery.session is not session]
            lane.clear()
            lane.extend(kept)
        for waiting in [waiting for waiting in self._delayed if waiting.delivery.session is session]:
            self._delayed.pop(waiting).cancel()

    def empty(self) -> list[Delivery]:
        """Give up everything that waits, for handing back at a stop."""
        for handle in self._delayed.values():
            handle.cancel()
        waiting = [*self._commands, *self._signups, *self._delayed]
        self._commands.clear()
        self._signups.clear()
        self._delayed.clear()
        return [item.delivery for item in waiting]
