"""The protocol of a batch (docs/decisions/0019): two websites 'a' and 'b', chains of two steps, two workers.

    python -m tests.protocol --batch

A batch of up to three deliveries is one transaction. If anything in it raises, it is rolled back and carried out again
in halves, down to the one message that raised.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import permutations
from typing import Any, NamedTuple

from tests.protocol.world import ProtocolError

STEPS = 2
BATCH_SIZE = 3


@dataclass(frozen=True)
class BatchRules:
    """The rules of a batch; the first value of each is the service's.

    Attributes:
        plan: 'one' message a website in a transaction, the others go round again alone; 'serial': the second is judged
            on what the first left; 'snapshot': all are judged on the facts that were read once.
        conflict: a unique violation in the log 'halves' the batch like any error; 'permanent': it fails the website.
        locked_elsewhere: such a message goes round again 'alone', or is taken for stale and 'acked'.
        ack: after its 'own' publishes are confirmed, or 'early', with the COMMIT.
        inbox: looked up by 'website and message', or by the 'message' alone.
        one_id: whether somebody gives both website.created the same message id.
    """

    plan: str = "one"
    conflict: str = "halves"
    locked_elsewhere: str = "alone"
    ack: str = "own"
    inbox: str = "website and message"
    one_id: bool = False


class Message(NamedTuple):
    """A message for a website; `seq` is the one that it expects."""

    id: Any
    website: str
    seq: int


class Row(NamedTuple):
    """A row of the log."""

    website: str
    seq: int
    cause: Any
    failed: bool


class Worker(NamedTuple):
    """What a worker does: messages unacked, groups to carry out, the group locked, publishes and acks to come."""

    unacked: tuple[Message, ...]
    groups: tuple[tuple[Message, ...], ...] = ()
    locked: tuple[Message, ...] = ()
    publishes: tuple[tuple[Message, Message], ...] = ()
    acks: tuple[Message, ...] = ()


class BatchWorld(NamedTuple):
    """One state of the search; `locks` are pairs of website and worker."""

    log: tuple[Row, ...]
    queue: tuple[Message, ...]
    workers: tuple[Worker | None, ...] = (None, None)
    locks: tuple[tuple[str, int], ...] = ()
    crashes: int = 0
    duplicates: int = 0
    lost_publishes: int = 0


@dataclass(frozen=True)
class BatchStart:
    """How a run begins, and which row's step raises: (website, seq)."""

    crashes: int = 0
    duplicates: int = 0
    lost_publishes: int = 0
    raises: tuple[str, int] | None = None


def _rows(log: tuple[Row, ...], website: str) -> list[Row]:
    return [row for row in log if row.website == website]


def _less(items: tuple[Any, ...], item: Any) -> tuple[Any, ...]:
    index = items.index(item)
    return items[:index] + items[index + 1 :]


def _halves(group: tuple[Message, ...]) -> tuple[tuple[Message, ...], ...]:
    half = (len(group) + 1) // 2
    return tuple(part for part in (group[:half], group[half:]) if part)


class BatchModel:
    """The batch, by the rules, from a start."""

    def __init__(self, rules: BatchRules, start: BatchStart) -> None:
        self._rules = rules
        self._raises = start.raises
        second = "a" if rules.one_id else "b"
        queue = (Message(("a", "created"), "a", 0), Message((second, "created"), "b", 0))
        budgets = (start.crashes, start.duplicates, start.lost_publishes)
        self.first = BatchWorld((), tuple(sorted(queue)), (None, None), (), *budgets)

    def actions(self, world: BatchWorld) -> Iterator[tuple[str, bool, BatchWorld]]:
        """Yield all that may happen next."""
        for label, fault, after in self._all(world):
            ordered = after._replace(
                log=tuple(sorted(after.log)), queue=tuple(sorted(after.queue)), locks=tuple(sorted(after.locks))
            )
            yield label, fault, ordered

    def is_live(self, _: BatchWorld) -> bool:
        """Late duplicates are counted by the other model."""
        return False

    def _all(self, world: BatchWorld) -> Iterator[tuple[str, bool, BatchWorld]]:
        if world.duplicates:
            for message in set(world.queue):
                queue = (*world.queue, message)
                yield (
                    f"the broker duplicates {message.id}",
                    True,
                    world._replace(queue=queue, duplicates=world.duplicates - 1),
                )
        for index, worker in enumerate(world.workers):
            name = f"worker {index}"
            if worker is None:
                for size in range(1, min(BATCH_SIZE, len(world.queue)) + 1):
                    for batch in set(permutations(world.queue, size)):
                        queue = world.queue
                        for message in batch:
                            queue = _less(queue, message)
                        taken = self._put(world, index, Worker(batch, (batch,)), queue=queue)
                        yield f"{name} receives {[message[:2] for message in batch]}", False, taken
                continue
            if world.crashes:
                others = tuple(lock for lock in world.locks if lock[1] != index)
                crashed = self._put(
                    world, index, None, queue=(*world.queue, *worker.unacked), locks=others, crashes=world.crashes - 1
                )
                yield f"{name} crashes", True, crashed
            if worker.publishes or worker.acks:
                yield from self._settle(world, index, worker, name)
            elif worker.locked:
                yield self._commit(world, index, worker, name)
            elif worker.groups:
                yield from self._lock(world, index, worker, name)
            else:
                yield f"{name} is done", False, self._put(world, index, None)

    @staticmethod
    def _put(world: BatchWorld, index: int, worker: Worker | None, **changes: Any) -> BatchWorld:
        workers = (*world.workers[:index], worker, *world.workers[index + 1 :])
        return world._replace(workers=workers, **changes)

    def _settle(
        self, world: BatchWorld, index: int, worker: Worker, name: str
    ) -> Iterator[tuple[str, bool, BatchWorld]]:
        """Publish; ack what needs no more publishes."""
        for pair in worker.publishes:
            message, command = pair
            left = worker._replace(publishes=_less(worker.publishes, pair))
            yield f"{name} publishes {command.id}", False, self._put(world, index, left, queue=(*world.queue, command))
            if world.lost_publishes:
                acks = _less(left.acks, message) if message in left.acks else left.acks
                back = left._replace(unacked=_less(left.unacked, message), acks=acks)
                lost = self._put(
                    world, index, back, queue=(*world.queue, message), lost_publishes=world.lost_publishes - 1
                )
                yield f"{name} cannot publish {command.id}, gives {message.id} back", True, lost
        if worker.acks and (not worker.publishes or self._rules.ack == "early"):
            message = worker.acks[0]
            self._check_ack(world.log, message)
            left = worker._replace(unacked=_less(worker.unacked, message), acks=worker.acks[1:])
            yield f"{name} acks {message.id}", False, self._put(world, index, left)

    def _lock(self, world: BatchWorld, index: int, worker: Worker, name: str) -> Iterator[tuple[str, bool, BatchWorld]]:
        """Lock the websites of the next group: a single one waits for its lock, a batch leaves out what is locked."""
        group, groups = worker.groups[0], worker.groups[1:]
        taken = {website for website, _ in world.locks}
        if len(group) == 1:
            website = group[0].website
            if website not in taken:
                locked = worker._replace(groups=groups, locked=group)
                locks = (*world.locks, (website, index))
                yield f"{name} locks {website}", False, self._put(world, index, locked, locks=locks)
            return
        mine: list[Message] = []
        left: list[Message] = []
        for message in group:
            again = self._rules.plan == "one" and message.website in {each.website for each in mine}
            (left if message.website in taken or again else mine).append(message)
        acks: tuple[Message, ...] = ()
        if self._rules.locked_elsewhere == "acked":
            acks = tuple(message for message in left if message.website in taken)
            left = [message for message in left if message.website not in taken]
        websites = {message.website for message in mine}
        locked = worker._replace(groups=groups + tuple((message,) for message in left), locked=tuple(mine), acks=acks)
        locks = (*world.locks, *((website, index) for website in websites))
        label = f"{name} locks {sorted(websites)}, leaves {[message.id for message in left]}"
        yield label, False, self._put(world, index, locked, locks=locks)

    def _commit(self, world: BatchWorld, index: int, worker: Worker, name: str) -> tuple[str, bool, BatchWorld]:
        """Judge the locked group, and commit it or roll it back."""
        group, log = worker.locked, world.log
        others = tuple(lock for lock in world.locks if lock[1] != index)
        publishes: list[tuple[Message, Message]] = []
        raised = conflicting = None
        for message in group:
            row, commands = self._judge(world.log if self._rules.plan == "snapshot" else log, message)
            if row:
                raised = message if row[:2] == self._raises else raised
                if any(row[:2] == each[:2] or self._same_message(row, each) for each in log):
                    conflicting = message
                log = (*log, row)
            publishes += [(message, command) for command in commands]
        carried_out = worker._replace(locked=(), publishes=tuple(publishes), acks=group)
        if raised is None and conflicting is None:
            label = f"{name} commits {[message.id for message in group]}"
            return label, False, self._put(world, index, carried_out, log=log, locks=others)
        settled = carried_out._replace(publishes=())
        if raised is None and conflicting and self._rules.conflict == "permanent":
            failed = self._failed(world.log, conflicting)
            label = f"{name}: unique violation, fails website {conflicting.website}"
            return label, False, self._put(world, index, settled, log=failed, locks=others)
        if len(group) > 1:
            again = worker._replace(groups=_halves(group) + worker.groups, locked=())
            return f"{name} rolls back, halves", False, self._put(world, index, again, locks=others)
        failed = self._failed(world.log, group[0])
        label = f"{name}: permanent error, fails website {group[0].website}"
        return label, False, self._put(world, index, settled, log=failed, locks=others)

    @staticmethod
    def _failed(log: tuple[Row, ...], message: Message) -> tuple[Row, ...]:
        seq = len(_rows(log, message.website)) + 1
        return (*log, Row(message.website, seq, message.id, failed=True))

    def _same_message(self, row: Row, other: Row) -> bool:
        return self._rules.inbox == "message" and row.cause == other.cause

    def _judge(self, log: tuple[Row, ...], message: Message) -> tuple[Row | None, tuple[Message, ...]]:
        """Return the row that a message writes, if any, and what is published after."""
        rows = _rows(log, message.website)
        searched = log if self._rules.inbox == "message" else rows
        done = next((row for row in searched if row.cause == message.id), None)
        if done:
            last = done.seq == len(rows) and not done.failed
            return None, self._next(message.website, done.seq) if last else ()
        if message.seq < len(rows):
            return None, ()
        if (rows and rows[-1].failed) or len(rows) >= STEPS:
            raise ProtocolError("a step for a website at rest")
        seq = len(rows) + 1
        return Row(message.website, seq, message.id, failed=False), self._next(message.website, seq)

    @staticmethod
    def _next(website: str, seq: int) -> tuple[Message, ...]:
        return (Message((website, f"step {seq}"), website, seq),) if seq < STEPS else ()

    @staticmethod
    def _check_ack(log: tuple[Row, ...], message: Message) -> None:
        rows = _rows(log, message.website)
        if message.seq >= len(rows) and not any(row.cause == message.id for row in rows):
            raise ProtocolError(f"{message.id} acked, and website {message.website} has no row that accounts for it")

    def check_state(self, world: BatchWorld) -> None:
        """Check that no seq is taken twice or skipped, and that an error touches only its own website."""
        for website in "ab":
            rows = _rows(world.log, website)
            if [row.seq for row in rows] != list(range(1, len(rows) + 1)):
                raise ProtocolError(f"website {website}: a seq was taken twice or skipped")
            if any(row.failed and row[:2] != self._raises for row in rows):
                raise ProtocolError(f"website {website} failed, and its step did not raise")

    @staticmethod
    def check_end(world: BatchWorld) -> None:
        """Check that both websites rest, and nothing is left."""
        if world.queue or any(world.workers) or world.locks:
            raise ProtocolError("deadlock")
        for website in "ab":
            rows = _rows(world.log, website)
            if not rows or not (rows[-1].failed or len(rows) == STEPS):
                raise ProtocolError(f"website {website} is stuck at seq {len(rows)}, and no message is left")


BATCHES: tuple[tuple[BatchRules, BatchStart, str], ...] = (
    (BatchRules(), BatchStart(1, 1, 1, ("b", 1)), ""),
    (BatchRules(), BatchStart(0, 2, 0, ("b", 2)), ""),
    (BatchRules(), BatchStart(1, 2, 0), ""),
    (BatchRules(), BatchStart(0, 1, 1), ""),
    (BatchRules(plan="serial"), BatchStart(1, 1, 1, ("b", 1)), ""),
    (BatchRules(plan="snapshot"), BatchStart(0, 2, 0, ("b", 1)), ""),
    (BatchRules(plan="snapshot", conflict="permanent"), BatchStart(0, 2, 0, ("b", 1)), "failed, and its step did not"),
    (BatchRules(locked_elsewhere="acked"), BatchStart(0, 1, 0), "has no row that accounts for it"),
    (BatchRules(ack="early"), BatchStart(1, 0, 0), "is stuck at seq 1, and no message is left"),
    (BatchRules(inbox="message", one_id=True), BatchStart(), "has no row that accounts for it"),
    (BatchRules(one_id=True), BatchStart(1, 1, 0), ""),
)
"""Rules, a start, and the property that does not hold: empty where all do."""
QUICK_BATCHES = tuple(
    number for number, (_, start, error) in enumerate(BATCHES) if error or start == BatchStart(0, 1, 1)
)
