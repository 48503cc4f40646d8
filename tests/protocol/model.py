"""Every action that may come next: of signup, operators and the product, of time, broker, workers and dispatchers."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from tests.protocol import properties
from tests.protocol.rules import Rules
from tests.protocol.transaction import Transactions
from tests.protocol.world import (
    ADD_OWNER,
    BACKOFF,
    BY_PRODUCT,
    CRASH,
    CREATED,
    CREATES,
    DUPLICATE,
    EARLY,
    FREE,
    HELD,
    HONEST,
    LAST,
    MOVE,
    MOVE_UNPROVEN,
    NEVER,
    NOBODY,
    NOTHING,
    OTHER,
    OWNER,
    PASSED,
    RELEASE,
    RELEASED,
    RETRIES,
    RETRY,
    STALL,
    STRANGER,
    STRANGERS,
    TEN_MINUTES,
    UNKNOWN,
    WIPE,
    Budget,
    Message,
    Row,
    World,
    is_failed,
    is_ours,
    on_its_way,
    position_of,
)


class Action(NamedTuple):
    """One thing that may happen, and the world after it. `fault`: it is none of what the service does by itself."""

    label: str
    fault: bool
    world: World


@dataclass(frozen=True)
class Start:
    """How a run begins: the website as it is before the first message."""

    budgets: Budget
    workers: int = 2
    dispatchers: int = 1
    log: tuple[Row, ...] = ()
    moved_to: int = 0
    due: int = STALL
    attempts: int = 0
    lacking: int = NOTHING
    held: int = FREE
    inserted: int = 0


def _put(items: tuple[Any, ...], index: int, item: Any) -> tuple[Any, ...]:
    return (*items[:index], item, *items[index + 1 :])


def _without(queue: tuple[Message, ...], message: Message) -> tuple[Message, ...]:
    index = queue.index(message)
    return queue[:index] + queue[index + 1 :]


def _spent(world: World, budget: int) -> tuple[int, ...]:
    return _put(world.budgets, budget, world.budgets[budget] - 1)


class Model:
    """The protocol, by the rules, from a start."""

    def __init__(self, rules: Rules, start: Start) -> None:
        self.rules = rules
        self.start = start
        self._transactions = Transactions(rules)
        seq = len(start.log)
        self.first = World(
            log=start.log,
            moved_to=start.moved_to,
            attempts=start.attempts,
            due=start.due,
            published=seq,
            events=sum(1 << each for each in range(1, seq + 1)),
            stored=HONEST if seq > start.inserted else NOBODY,
            workers=((),) * start.workers,
            dispatchers=((),) * start.dispatchers,
            budgets=tuple(start.budgets),
            lacking=start.lacking,
            held=start.held,
            inserted=start.inserted,
        )

    def actions(self, world: World) -> Iterator[Action]:
        """Yield all that may happen next."""
        for each in self._all(world):
            after = each.world
            # Sorted, so that states that differ only in an order, or in who does what, are one.
            ordered = {
                name: tuple(sorted(items, key=hash))
                for name in ("queue", "workers", "dispatchers")
                if (items := getattr(after, name)) is not getattr(world, name) and len(items) > 1
            }
            yield each._replace(world=after._replace(**ordered)) if ordered else each

    def check_state(self, world: World) -> None:
        """Check what must hold in every state."""
        properties.check_state(world, self.first, self.rules)

    def check_end(self, world: World) -> None:
        """Check what must hold where nothing follows but faults."""
        properties.check_end(world, self.first)

    def is_live(self, world: World) -> bool:
        """Return whether the website is live."""
        return not is_failed(world) and position_of(world) == LAST

    def _all(self, world: World) -> Iterator[Action]:
        yield from self._people(world)
        yield from self._product(world)
        yield from self._time(world)
        yield from self._broker_faults(world)
        for index, worker in enumerate(world.workers):
            if index and world.workers[index - 1] == worker:
                continue
            if not worker:
                for message in set(world.queue):
                    taken = world._replace(
                        queue=_without(world.queue, message),
                        workers=_put(world.workers, index, (message, True, None)),
                    )
                    yield Action(f"worker receives {message.id}", False, taken)
            else:
                yield from self._worker(world, index)
        for index, dispatcher in enumerate(world.dispatchers):
            if not (index and world.dispatchers[index - 1] == dispatcher):
                yield from self._dispatcher(world, index)

    # -------------------------------------------------------------------------------- everybody else

    @staticmethod
    def _people(world: World) -> Iterator[Action]:
        """Signup sends website.created; operators send a retry, with the seq that they saw."""
        if number := world.budgets[CREATES]:
            message = Message(("created", number), CREATED, owner=HONEST)
            sent = world._replace(queue=(*world.queue, message), budgets=_spent(world, CREATES))
            yield Action(f"signup sends website.created #{number}", True, sent)
        if number := world.budgets[STRANGERS]:
            message = Message(("stranger", number), CREATED, owner=STRANGER)
            sent = world._replace(queue=(*world.queue, message), budgets=_spent(world, STRANGERS))
            yield Action(f"somebody else sends website.created #{number}", True, sent)
        if number := world.budgets[RETRIES]:
            message = Message(("retry", number), RETRY, expected_seq=len(world.log))
            sent = world._replace(queue=(*world.queue, message), budgets=_spent(world, RETRIES))
            yield Action(f"an operator sends retry #{number}", True, sent)
        if world.budgets[RELEASE] and world.held == HELD:
            held = RELEASED if world.due == NEVER else FREE
            released = world._replace(held=held, budgets=_spent(world, RELEASE))
            yield Action("somebody sets auto_go_live", True, released)

    @staticmethod
    def _product(world: World) -> Iterator[Action]:
        """The product moves the website itself, and adds the owner. Each is one transaction under the row lock."""
        position = position_of(world)
        for budget, lacking in ((MOVE, world.lacking), (MOVE_UNPROVEN, OTHER)):
            if not world.budgets[budget] or position >= LAST or is_failed(world):
                continue
            budgets = _spent(world, budget)
            if is_ours(world):
                # The trigger of our own rows: the log row is written for the product, and its event is due now.
                row = Row(BY_PRODUCT, position + 1, ("product", budget, world.budgets[budget]))
                moved = world._replace(log=(*world.log, row), attempts=0, due=PASSED, lacking=lacking, budgets=budgets)
            else:
                due = TEN_MINUTES if world.due != NEVER else NEVER
                moved = world._replace(moved_to=position + 1, due=due, lacking=lacking, budgets=budgets)
            unproven = ", over a guard that does not hold" if budget == MOVE_UNPROVEN else ""
            yield Action(f"the product moves it to {position + 1}{unproven}", True, moved)
        if world.budgets[ADD_OWNER] and world.lacking == OWNER:
            added = world._replace(lacking=NOTHING, budgets=_spent(world, ADD_OWNER))
            yield Action("the product adds the owner", True, added)

    @staticmethod
    def _time(world: World) -> Iterator[Action]:
        if world.due in (STALL, BACKOFF, TEN_MINUTES):
            if not world.queue and not any(world.workers) and not any(world.dispatchers):
                yield Action("the due time passes", False, world._replace(due=PASSED))
            elif world.budgets[EARLY]:
                early = world._replace(due=PASSED, budgets=_spent(world, EARLY))
                yield Action("the due time passes early", True, early)

    @staticmethod
    def _broker_faults(world: World) -> Iterator[Action]:
        if world.budgets[DUPLICATE]:
            for message in set(world.queue):
                doubled = world._replace(queue=(*world.queue, message), budgets=_spent(world, DUPLICATE))
                yield Action(f"the broker duplicates {message.id}", True, doubled)
        if world.budgets[WIPE] and (world.queue or any(world.workers)):
            lost = world.accounted
            for message in (*world.queue, *(worker[0] for worker in world.workers if worker and worker[1])):
                if message.kind == RETRY:
                    lost |= 1 << message.id[1]
            workers = tuple(worker and (worker[0], False, worker[2]) for worker in world.workers)
            wiped = world._replace(queue=(), workers=workers, accounted=lost, budgets=_spent(world, WIPE))
            yield Action("the broker is wiped", True, wiped)

    # ---------------------------------------------------------------------- workers and dispatchers

    def _worker(self, world: World, index: int) -> Iterator[Action]:
        message, held, todo = world.workers[index]
        name = f"worker[{'/'.join(map(str, message.id))}]"
        without = _put(world.workers, index, ())
        back = (*world.queue, message) if held else world.queue
        if world.budgets[CRASH]:
            budgets = _spent(world, CRASH)
            yield Action(f"{name} crashes", True, world._replace(queue=back, workers=without, budgets=budgets))
            if held:
                alone = _put(world.workers, index, (message, False, todo))
                lost = world._replace(queue=back, workers=alone, budgets=budgets)
                yield Action(f"{name} loses its connection, works on", True, lost)
        if not todo:
            yield from self._commit(world, index, name)
            return
        for number in self._possible(todo):
            match todo[number]:
                case ("ack",):
                    if held:
                        properties.check_ack(world, message)
                    yield Action(f"{name} acks", False, world._replace(workers=without))
                case ("reject",):
                    yield Action(f"{name} dead-letters it, acks", False, world._replace(workers=without))
                case ("again",):
                    again = _put(world.workers, index, (message, held, ()))
                    yield Action(f"{name} goes on", False, world._replace(workers=again))
                case ("nack",):
                    yield Action(f"{name} gives it back", False, world._replace(queue=back, workers=without))
                case _:
                    for each, rest in self._perform(world, todo, number, name):
                        workers = _put(world.workers, index, (message, held, rest))
                        yield each._replace(world=each.world._replace(workers=workers))

    def _commit(self, world: World, index: int, name: str) -> Iterator[Action]:
        message, held, todo = world.workers[index]
        for each in self._transactions.carry_out(world, message, prepaid=todo == ()):
            if each.fault is not None and not world.budgets[each.fault]:
                continue
            budgets = world.budgets if each.fault is None else _spent(world, each.fault)
            workers = _put(world.workers, index, (message, held, each.todo))
            after = each.world._replace(workers=workers, budgets=budgets)
            yield Action(f"{name} commits: {each.label}", each.fault is not None, after)

    def _dispatcher(self, world: World, index: int) -> Iterator[Action]:
        todo = world.dispatchers[index]
        if not todo:
            if world.due == PASSED:
                todo = self._transactions.unpublished(world, world.attempts)
                if on_its_way(world) and not self.rules["dispatcher_sends_events"]:
                    todo = todo[-1:]
                claimed = world._replace(due=STALL, dispatchers=_put(world.dispatchers, index, todo))
                yield Action(f"dispatcher claims at seq {len(world.log)}", False, claimed)
            return
        if world.budgets[CRASH]:
            crashed = world._replace(dispatchers=_put(world.dispatchers, index, ()), budgets=_spent(world, CRASH))
            yield Action("dispatcher crashes", True, crashed)
        for number in self._possible(todo):
            for each, rest in self._perform(world, todo, number, "dispatcher"):
                dispatchers = _put(world.dispatchers, index, rest)
                yield each._replace(world=each.world._replace(dispatchers=dispatchers))

    def _possible(self, todo: tuple[Any, ...]) -> list[int]:
        """Return which items may be performed next: publishes as the rules order them, then the rest."""
        publishes = [index for index, item in enumerate(todo) if item[0] in {"event", "publish"}]
        if not publishes:
            return [0]
        if self.rules["event_before_command"]:
            events = [index for index in publishes if todo[index][0] == "event"]
            return events[:1] or publishes[:1]
        return publishes

    def _perform(
        self, world: World, todo: tuple[Any, ...], number: int, name: str
    ) -> Iterator[tuple[Action, tuple[Any, ...]]]:
        """Publish, or clear the due time; yield the action and what is left to do."""
        rest = todo[:number] + todo[number + 1 :]
        match todo[number]:
            case ("event", seq):
                sent = world._replace(events=world.events | 1 << seq)
                yield Action(f"{name} publishes event {seq}", False, sent), rest
            case ("publish", message):
                sent = world._replace(queue=(*world.queue, message))
                yield Action(f"{name} publishes {message.id}", False, sent), rest
                if world.budgets[UNKNOWN]:
                    unknown = sent._replace(budgets=_spent(world, UNKNOWN))
                    yield Action(f"{name} publishes {message.id}, its confirm is lost", True, unknown), todo
            case ("clear", seq, proven):
                if self._may_clear(world, seq, proven):
                    published = (
                        seq if self.rules["published_seq"] and self.rules["clear_compares_seq"] else world.published
                    )
                    cleared = world._replace(due=NEVER, published=published)
                    yield Action(f"{name} clears the due time at seq {seq}", False, cleared), rest
                else:
                    yield Action(f"{name} does not clear the due time", False, world), rest

    def _may_clear(self, world: World, seq: int, proven: int) -> bool:
        if not self.rules["clear_compares_seq"]:
            return True
        rests = world.attempts == 0 and not on_its_way(world)
        return len(world.log) == seq and world.published >= proven and (rests or not self.rules["clear_requires_rest"])
