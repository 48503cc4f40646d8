"""The buffer of deliveries that wait for a worker, in two lanes: commands first, signups as far as admission lets them.

The broker's callbacks only put; workers take what is already waiting and of one kind, up to a batch. Nothing here
awaits the network.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass

from consumer.broker.protocol import ConsumerSession, Delivery
from consumer.worker.signup_admission import Admission, Reservation


@dataclass(slots=True, eq=False)
class BufferedDelivery:
    """A delivery of this process that is not settled yet.

    `rounds` counts how often it was put back, `held` how often because its website was held. `alone`: it is executed in
    no batch. `reservation`: its place among the websites under way, where a worker has taken it from the signups.
    """

    delivery: Delivery
    rounds: int = 0
    held: int = 0
    alone: bool = False
    reservation: Reservation | None = None


class Buffer:
    """Two lanes of waiting deliveries, for any number of workers."""

    def __init__(self, signups_queue: str, admission: Admission) -> None:
        self._signups_queue = signups_queue
        self._admission = admission
        self._commands: deque[BufferedDelivery] = deque()
        self._signups: deque[BufferedDelivery] = deque()
        self._delayed: dict[BufferedDelivery, asyncio.TimerHandle] = {}
        self._wake = asyncio.Event()
        self._in_flight: Counter[str] = Counter()
        self.last_delivery: float | None = None
        """When the last delivery came, in the event loop's time."""
        self.last_arrivals: dict[str, float] = {}
        """The same by queue; until the first delivery, when we began to consume it."""

    def __len__(self) -> int:
        return len(self._commands) + len(self._signups) + len(self._delayed)

    @property
    def in_flight(self) -> int:
        """Deliveries that workers have taken and are not done with."""
        return self._in_flight.total()

    def unacked(self, queue: str) -> int:
        """Return how many deliveries of a queue wait here or are in flight: they fill our prefetch window there."""
        waiting = (*self._commands, *self._signups, *self._delayed)
        return self._in_flight[queue] + sum(item.delivery.queue == queue for item in waiting)

    def put(self, delivery: Delivery) -> None:
        """Add a new delivery. The broker's session calls this, once it has received one."""
        self.last_delivery = self.last_arrivals[delivery.queue] = asyncio.get_running_loop().time()
        self._append(BufferedDelivery(delivery))

    def put_back(self, item: BufferedDelivery, delay_seconds: float) -> None:
        """Let a delivery wait again after a delay; one whose session is gone is dropped, the broker has it."""
        if item.delivery.session.closed.is_set():
            return
        item.rounds += 1
        self._delayed[item] = asyncio.get_running_loop().call_later(delay_seconds, self._end_delay, item)

    def _end_delay(self, item: BufferedDelivery) -> None:
        del self._delayed[item]
        if not item.delivery.session.closed.is_set():
            self._append(item)

    def _append(self, item: BufferedDelivery) -> None:
        lane = self._signups if item.delivery.queue == self._signups_queue else self._commands
        lane.append(item)
        self._wake.set()

    def wake(self) -> None:
        """Let a waiting worker check again: there may be room for signups now."""
        self._wake.set()

    async def take(self, limit: int) -> list[BufferedDelivery]:
        """Wait until something may be taken, and take what there is of one kind, up to `limit`: never wait for more."""
        while not (batch := self._take_commands(limit) or self._take_signups(limit)):
            self._wake.clear()
            await self._wake.wait()
        if self._commands or (self._signups and self._admission.grant(min(limit, len(self._signups)))):
            # For the next worker. Never where nothing could be taken: two idle workers would wake each other for ever.
            self._wake.set()
        self._in_flight.update(item.delivery.queue for item in batch)
        return batch

    def _take_commands(self, limit: int) -> list[BufferedDelivery]:
        """Take the oldest command and others of its type: every type in a transaction costs statements of its own, and
        commands that were carried out together come back together."""
        batch: list[BufferedDelivery] = []
        others: deque[BufferedDelivery] = deque()
        for item in self._commands:
            alike = not batch or item.delivery.type == batch[0].delivery.type
            (batch if alike and len(batch) < limit else others).append(item)
        self._commands = others
        return batch

    def _take_signups(self, limit: int) -> list[BufferedDelivery]:
        """Take as many signups as admission grants, and reserve their places."""
        if not self._signups:
            return []
        batch = [self._signups.popleft() for _ in range(self._admission.grant(min(limit, len(self._signups))))]
        for item in batch:
            item.reservation = self._admission.reserve()
        if not batch:
            self._admission.request_refresh()
        return batch

    def end_batch(self, batch: Sequence[BufferedDelivery]) -> None:
        """End a batch that a worker took: what of its signups has not been admitted gives its place back."""
        self._in_flight.subtract(item.delivery.queue for item in batch)
        for item in batch:
            if item.reservation:
                self._admission.cancel(item.reservation)

    def forget(self, session: ConsumerSession) -> None:
        """Drop what a dead session delivered: the broker delivers it again."""
        for lane in (self._commands, self._signups):
            kept = [item for item in lane if item.delivery.session is not session]
            lane.clear()
            lane.extend(kept)
        for item in [item for item in self._delayed if item.delivery.session is session]:
            self._delayed.pop(item).cancel()

    def take_all(self) -> list[Delivery]:
        """Remove and return everything that waits, to be handed back at a stop."""
        for handle in self._delayed.values():
            handle.cancel()
        waiting = [*self._commands, *self._signups, *self._delayed]
        self._commands.clear()
        self._signups.clear()
        self._delayed.clear()
        return [item.delivery for item in waiting]
