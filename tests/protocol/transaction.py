"""One transaction under the website's row lock: what a message does to the website, and what is published after."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from tests.protocol.rules import Rules
from tests.protocol.world import (
    ADVANCED,
    ATTEMPTS_A_STEP,
    BACKOFF,
    CREATED,
    FAILED,
    FREE,
    HELD,
    LAST,
    NEVER,
    NOBODY,
    NOTHING,
    OTHER,
    OWNER,
    READY,
    REFUSE,
    RELEASED,
    RETRIED,
    RETRY,
    STALL,
    STEP,
    TRANSIENT,
    Message,
    ProtocolError,
    Row,
    World,
    guards_unproven,
    has_row,
    is_failed,
    on_its_way,
    owner_of,
    position_of,
)

ACK = ("ack",)
REJECT = ("reject",)


class Committed(NamedTuple):
    """What may come of a message: the world after COMMIT, and what is to be done then.

    `fault` is the budget that this spends; None where nothing went wrong.
    """

    label: str
    fault: int | None
    world: World
    todo: tuple[Any, ...]


class Transactions:
    """What messages do, by the rules."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules

    # ---------------------------------------------------------------- what is unpublished: a function of the database

    def command(self, world: World, attempt: int) -> Message:
        """Return the engine's next command for a website; its id follows from what it says."""
        seq, position = len(world.log), position_of(world)
        attempt = attempt if self._rules["attempt_in_command"] else 0
        return Message(("step", seq, attempt, position), STEP, seq, attempt, position)

    def unpublished(self, world: World, attempt: int, *, by_worker: bool = False) -> tuple[Any, ...]:
        """Return what is to be published: events, then the next command, or at rest the clearing of the due time."""
        seq = len(world.log)
        own = by_worker and self._rules["publishes"] != "all"
        first = world.published + 1 if self._rules["published_seq"] and not own else max(seq, 1)
        events = tuple(("event", each) for each in range(first, seq + 1))
        proven = (seq - 1 if by_worker else world.published) if self._rules["publishes"] != "all" else 0
        last = ("publish", self.command(world, attempt)) if on_its_way(world) else ("clear", seq, proven)
        return (*events, last)

    # ------------------------------------------------------------------------------------------------ the outcomes

    def carry_out(self, world: World, message: Message, *, prepaid: bool = False) -> Iterator[Committed]:
        """Yield what may come of a message; `prepaid`: the last event was published before this transaction."""
        if self._rules["inbox"]:
            for number, row in enumerate(world.log, start=1):
                if row.cause == message.id:
                    yield Committed("already done", None, world, (*self._again(world, number), ACK))
                    return
        if message.kind == RETRY:
            yield from self._retry(world, message, prepaid=prepaid)
        elif message.kind == CREATED:
            yield from self._created(world, message, prepaid=prepaid)
        else:
            yield from self._step(world, message)

    def _again(self, world: World, number: int) -> tuple[Any, ...]:
        """Return what a redelivery publishes of a row that is in the log."""
        if self._rules["redelivery_publishes"] == "last":
            if number < len(world.log):
                return ()
            attempt = world.attempts if self._rules["redelivery_uses_attempt_of_now"] else 0
            return self.unpublished(world, attempt, by_worker=True)
        then = world._replace(log=world.log[:number])
        proven = number - 1 if self._rules["publishes"] != "all" else 0
        last = ("publish", self.command(then, world.attempts)) if on_its_way(then) else ("clear", number, proven)
        return (("event", number), last)

    def _retry(self, world: World, message: Message, *, prepaid: bool) -> Iterator[Committed]:
        number, seq = message.id[1], len(world.log)
        accounted = world._replace(accounted=world.accounted | 1 << number)
        if self._rules["operator_command_has_seq"] and message.expected_seq < seq:
            yield Committed("stale", None, accounted, (ACK,))
            return
        if not is_failed(world):
            yield Committed("illegal: dead-letter", None, accounted, (ACK,))
            return
        if 0 < message.expected_seq < seq and world.log[message.expected_seq - 1].kind == FAILED:
            raise ProtocolError(
                f"retry #{number}, meant for the failure at seq {message.expected_seq}, is applied to that at seq {seq}"
            )
        if self._publishes_first(world, prepaid=prepaid):
            yield self._publish_first(world)
            return
        yield self._retried(accounted, message)
        if self._rules["operator_command_kept_on_error"]:
            yield Committed("transient error, kept", TRANSIENT, world, (("nack",),))
        else:
            counted = world._replace(attempts=world.attempts + 1, due=STALL)
            yield Committed("transient error, attempts + 1", TRANSIENT, counted, (ACK,))

    def _publishes_first(self, world: World, *, prepaid: bool) -> bool:
        return bool(self._rules["operator_publishes_first"] and world.due and not prepaid)

    @staticmethod
    def _publish_first(world: World) -> Committed:
        return Committed("publishes the last event first", None, world, (("event", len(world.log)), ("again",)))

    def _retried(self, world: World, message: Message) -> Committed:
        """Take a failed website back to its proven state."""
        proven = 0 if world.lacking else position_of(world)
        row = Row(RETRIED, proven, message.id)
        after = world._replace(log=(*world.log, row), attempts=0, due=STALL)
        todo = (*self.unpublished(after, 0, by_worker=True), ACK)
        return Committed(f"retried, seq {len(after.log)}", None, after, todo)

    def _created(self, world: World, message: Message, *, prepaid: bool) -> Iterator[Committed]:
        owner = owner_of(world)
        if owner not in (NOBODY, message.owner) and self._rules["contradiction"] == "reject":
            yield Committed("conflict: dead-letter", None, world, (REJECT,))
            return
        for each in self._not_rejected(world, message, prepaid=prepaid):
            now = owner_of(each.world)
            if owner and now != owner:
                raise ProtocolError(f"{message.id} has changed an owner once named")
            if ACK in each.todo and now not in (NOBODY, message.owner):
                raise ProtocolError(f"{message.id} contradicts what is stored, and has vanished")
            yield each

    def _not_rejected(self, world: World, message: Message, *, prepaid: bool) -> Iterator[Committed]:
        if world.held == RELEASED:
            world = world._replace(held=FREE)
        if self._rules["contradiction"] == "message wins":
            world = world._replace(stored=message.owner)
        named = world.stored or message.owner
        stored = world._replace(stored=named) if self._rules["created_is_stored"] else world
        # What is stored makes a website this service's own: nothing is, of one that is the product's and due nothing.
        kept = stored if world.log or world.attempts or world.stored else world
        if is_failed(world):
            late = self._rules["created_retries_for_owner"] and position_of(world) == 0 and not world.stored
            if late and self._publishes_first(world, prepaid=prepaid):
                yield self._publish_first(world)
            elif late:
                yield self._retried(world._replace(stored=named), message)
            else:
                yield Committed("nothing: failed", None, kept, (ACK,))
        elif not (on_its_way(world) or (self._is_held(world) and not self._rules["held_rests"])):
            yield Committed("nothing: at rest", None, kept, (ACK,))
        elif self._is_under_way(world):
            again = (("publish", self.command(world, world.attempts)), ACK)
            publishes = self._rules["created_under_way"] == "publish" and has_row(world)
            yield Committed("nothing: under way", None, stored, again if publishes else (ACK,))
        elif position_of(world) and not self._rules["created_starts"]:
            yield Committed("nothing: not pending", None, stored, (ACK,))
        else:
            yield from self._take_step(world, message, stored=stored.stored)

    def _is_under_way(self, world: World) -> bool:
        ours = has_row(world) or bool(world.attempts and self._rules["attempt_in_command"])
        match self._rules["under_way"]:
            case "due and ours":
                return ours and world.due != NEVER
            case "due and seq":
                return bool(world.log) and world.due != NEVER
            case "due":
                return world.due != NEVER
            case "ours":
                return ours
            case _:
                return False

    @staticmethod
    def _is_held(world: World) -> bool:
        return world.held == HELD and position_of(world) == READY and not is_failed(world)

    def _step(self, world: World, message: Message) -> Iterator[Committed]:
        seq, position = len(world.log), position_of(world)
        late = self._rules["attempt_in_command"] and message.attempt < world.attempts
        if message.expected_seq < seq or late:
            yield Committed("stale", None, world, (ACK,))
        elif message.position < position:
            yield Committed("passed: the product moved it", None, world, (ACK,))
        elif message.expected_seq > seq or message.position > position or not on_its_way(world):
            raise ProtocolError(f"a step for seq {message.expected_seq} at seq {seq}, position {position}")
        else:
            yield from self._take_step(world, message, stored=world.stored)

    # ------------------------------------------------------------------------------------------------- a step

    def _take_step(self, world: World, message: Message, *, stored: int) -> Iterator[Committed]:
        """Prove the guards of the states before, where nobody has, then take the step that is due."""
        position = position_of(world)
        with_owner = stored or message.kind == CREATED or (world.moved_to > 0 and world.lacking != OWNER)
        lacking = world.lacking if self._proves(world, message) or position == LAST - 1 else NOTHING
        if lacking == OTHER:
            yield self._fail(world, message, stored, "a guard of a state before does not hold", None)
        elif lacking == OWNER or (position == 0 and not with_owner):
            yield self._attempt(world, message, stored, "the owner is not there yet", None)
        else:
            yield self._advance(world, message, stored)
            # What a step made stays when its guard does not hold.
            made = stored or (message.owner if position == 0 else NOBODY)
            yield self._fail(world, message, made, "refused", REFUSE)
        if world.budgets[TRANSIENT]:
            yield self._attempt(world, message, stored, "transient error", TRANSIENT)

    def _published(self, world: World, message: Message) -> int:
        """Return what published_seq becomes with a transition or an attempt: the engine's commands prove events."""
        expected = message.expected_seq
        if message.kind != STEP or not self._rules["published_seq"]:
            return world.published
        if self._rules["publishes"] == "own":
            return expected if world.published == expected - 1 else world.published
        return max(world.published, expected)

    def _proves(self, world: World, message: Message) -> bool:
        """Return whether the guards of the states before are proven before this step."""
        match self._rules["guards_proven"]:
            case "until ours":
                return guards_unproven(world)
            case "empty log":
                return guards_unproven(world) and not has_row(world)
            case "created":
                return guards_unproven(world) and message.kind == CREATED
            case _:
                return False

    def _advance(self, world: World, message: Message, stored: int) -> Committed:
        position = position_of(world)
        if self._is_held(world):
            raise ProtocolError("a website that is held at ready went live")
        if position and world.lacking:
            raise ProtocolError(f"advanced from {position}, and a guard of a state before does not hold")
        row = Row(ADVANCED, position + 1, message.id)
        at_pending = position == 0
        after = world._replace(
            log=(*world.log, row),
            attempts=0,
            due=STALL,
            stored=stored or (message.owner if at_pending else NOBODY),
            published=self._published(world, message),
            lacking=NOTHING if at_pending else world.lacking,  # the steps from here on seed what it lacks
        )
        todo = (*self.unpublished(after, 0, by_worker=True), ACK)
        return Committed(f"advanced to {position + 1}, seq {len(after.log)}", None, after, todo)

    def _fail(self, world: World, message: Message, stored: int, why: str, fault: int | None) -> Committed:
        row = Row(FAILED, position_of(world), message.id)
        published = self._published(world, message)
        after = world._replace(log=(*world.log, row), attempts=0, due=STALL, stored=stored, published=published)
        todo = (*self.unpublished(after, 0, by_worker=True), ACK)
        return Committed(f"{why}: failed, seq {len(after.log)}", fault, after, todo)

    def _attempt(self, world: World, message: Message, stored: int, why: str, fault: int | None) -> Committed:
        if world.due == BACKOFF:
            raise ProtocolError(f"{message.id}: an attempt was burnt while the backoff of the last one still ran")
        if world.attempts + 1 >= ATTEMPTS_A_STEP:
            return self._fail(world, message, stored, why + ", budget spent", fault)
        published = self._published(world, message)
        after = world._replace(attempts=world.attempts + 1, due=BACKOFF, stored=stored, published=published)
        return Committed(f"{why}: attempts {after.attempts}", fault, after, (ACK,))
