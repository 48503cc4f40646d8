"""One worker: takes what waits, carries it out, publishes what follows, settles. The ladder of `except` stands here.

    delivery → decode → provision (lock → … → commit) → event → next command → ack

Nothing is acked before its own publishes are answered for; what can not be settled now goes round again, and as long
as something underneath is away, nothing more is taken.
"""

import asyncio
import random
import time
import traceback
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar, assert_never

from consumer import metrics
from consumer.admission import Admission
from consumer.broker import BrokerDown, Message, Nacked
from consumer.dead_letters import dead_letter
from consumer.errors import (
    Conflict,
    Defect,
    Infrastructure,
    LockedElsewhere,
    Permanent,
    StepTimeout,
    Transient,
    classify,
)
from consumer.failpoints import reach, watched
from consumer.gate import Gate
from consumer.intake import Intake, Waiting
from consumer.logs import log
from consumer.messages import Command, Poison, decode
from consumer.outbox import Row, event, next_command
from consumer.outcomes import (
    Advanced,
    Ahead,
    AlreadyDone,
    Attempted,
    Held,
    Outcome,
    Reason,
    Refused,
    Rejected,
    Stale,
)
from consumer.provision import Provision
from consumer.publisher import Publisher
from consumer.store import Store
from consumer.topology import Topology
from statemachine import is_step

HELD_ROUNDS = 5
"""How often what is held is tried in place. Then the clock has the engine's own steps, and the dead letters the rest;
but for a signup whose website is locked: that ends with the other's transaction, and nobody else knows what it brought.
"""
BARE_ROUNDS = 5
"""How often a dead letter is tried with the sender's headers and properties, before it goes without them."""
ROUND_CAP_SECONDS = 5.0
DATABASE = "database"

Result = TypeVar("Result")


@dataclass(slots=True, eq=False)
class Carried:
    """A delivery in a worker's hands, and what came of it."""

    waiting: Waiting
    command: Command | None = None
    outcome: Outcome | None = None
    started: float = field(default_factory=time.monotonic)
    batch: int = 1
    settled: bool = False


class Unsettled(Exception):  # noqa: N818
    """Something underneath is away: what was not carried out goes round again."""


class Worker:
    """Runs until it is told to stop; any number of them share an intake."""

    def __init__(
        self,
        *,
        intake: Intake,
        admission: Admission,
        gate: Gate,
        provision: Provision,
        store: Store,
        publisher: Publisher,
        topology: Topology,
        batch_size: int,
        step_timeout_seconds: float,
    ) -> None:
        self._intake = intake
        self._admission = admission
        self._gate = gate
        self._provision = provision
        self._store = store
        self._publisher = publisher
        self._topology = topology
        self._batch_size = batch_size
        self._step_timeout_seconds = step_timeout_seconds
        self.busy = False
        """Whether it has deliveries in its hands."""

    async def run(self, stopping: asyncio.Event) -> None:
        """Work until `stopping` is set; what was started by then is finished. Cancel it only while it is not busy."""
        while not stopping.is_set():
            await self._gate.passed()
            batch = await self._intake.take(self._batch_size)
            self.busy = True
            await watched(self.carry(batch))
            self.busy = False

    async def carry(self, batch: Sequence[Waiting]) -> None:
        """Carry deliveries from receipt to settlement. Raises nothing but a cancellation."""
        carried = [Carried(waiting, batch=len(batch)) for waiting in batch]
        metrics.signups(waiting.delivery for waiting in batch if self._intake.is_signup(waiting) and not waiting.rounds)
        try:
            await reach("received")
            self._decode(carried)
            await self._carry_out(carried)
            for item in carried:
                self._give_up_waiting(item)
            await self._settle([item for item in carried if item.outcome and not isinstance(item.outcome, Held)])
        except Unsettled:
            pass
        except Exception as error:
            # A defect of this very file. Nothing is lost: what is not settled goes round again.
            log.error("worker failed", error=type(error).__name__, traceback=_frames(error))
        finally:
            self._intake.put_down(batch)
            self._send_round([item for item in carried if not item.settled])
            metrics.deliveries(
                [item.outcome for item in carried if item.outcome and (item.settled or isinstance(item.outcome, Held))],
                sum(item.waiting.delivery.redelivered for item in carried if item.settled),
            )

    # ------------------------------------------------------------------------------------------- decode, carry out

    def _decode(self, carried: Sequence[Carried]) -> None:
        for item in carried:
            try:
                item.command = decode(item.waiting.delivery)
            except Poison as poison:
                item.outcome = Rejected(Reason.POISON, str(poison))
            except Exception as error:
                # A defect of the decoder: it harms no neighbour, and the message is kept for when it is mended.
                log.error("defect", type=str(item.waiting.delivery.type)[:64], traceback=_frames(error))
                item.outcome = Rejected(Reason.ERROR, f"the message could not be read ({type(error).__name__})")

    async def _carry_out(self, carried: Sequence[Carried]) -> None:
        """Give every command its outcome: at most one message a website at a time, others follow."""
        left = [item for item in carried if item.command]
        while left:
            batch: dict[int, Carried] = {}
            later: list[Carried] = []
            alone: list[Carried] = []
            for item in left:
                assert item.command
                if item.waiting.alone:
                    alone.append(item)
                elif item.command.website_id in batch:
                    later.append(item)
                else:
                    batch[item.command.website_id] = item
            if batch:
                await self._halving(list(batch.values()))
            for item in alone:
                await self._alone(item)
            left = later

    async def _halving(self, batch: Sequence[Carried]) -> None:
        """Carry a batch out; one that raises is done again in halves, down to the one culprit."""
        try:
            commands = [item.command for item in batch if item.command]
            outcomes = await self._within_time(self._provision.batch(commands))
        except Exception as error:
            self._pause_if_away(error)
            if len(batch) == 1:
                await self._alone(batch[0])
            else:
                half = (len(batch) + 1) // 2
                await self._halving(batch[:half])
                await self._halving(batch[half:])
        else:
            for item, outcome in zip(batch, outcomes, strict=True):
                item.outcome = outcome
                # What somebody else had locked goes round again alone, with a bounded wait.
                item.waiting.alone = item.waiting.alone or isinstance(outcome, Held)

    async def _alone(self, item: Carried) -> None:
        """Carry one command out by itself: only here is an error an outcome."""
        assert item.command
        try:
            (item.outcome,) = await self._within_time(self._provision.batch([item.command], alone=True))
        except Exception as error:
            self._pause_if_away(error)
            item.waiting.alone = True
            match classify(error):
                case LockedElsewhere(told):
                    item.outcome = Held(told, locked=True)
                case Conflict(told):
                    item.outcome = Held(told, locked=False)
                case Transient() | Permanent() | Defect() as fault:
                    if isinstance(fault, Defect):
                        self._log_defect(item.command, fault, error)
                    await self._account_for(item, fault)
                case Infrastructure():
                    raise Unsettled from error
                case never:
                    assert_never(never)

    async def _account_for(self, item: Carried, fault: Transient | Permanent | Defect) -> None:
        assert item.command
        try:
            item.outcome = await self._within_time(self._provision.account_for(item.command, fault))
        except Exception as error:
            self._pause_if_away(error)
            match classify(error):
                case Permanent(told):
                    # Not even the error can be recorded with what this message says.
                    item.outcome = Rejected(Reason.ERROR, told)
                case LockedElsewhere(told):
                    item.outcome = Held(told, locked=True)
                case _:
                    item.outcome = Held(fault.error, locked=False)

    async def _within_time(self, work: Awaitable[Result]) -> Result:
        try:
            async with asyncio.timeout(self._step_timeout_seconds) as limit:
                return await work
        except TimeoutError as error:
            if limit.expired():
                raise StepTimeout from error
            raise

    def _pause_if_away(self, error: Exception) -> None:
        """Stop the whole pool where the fault is nobody's message: it costs no attempt."""
        fault = classify(error)
        if isinstance(fault, Infrastructure):
            self._gate.close(DATABASE, fault.error)
            raise Unsettled from error

    @staticmethod
    def _log_defect(command: Command, fault: Defect, error: Exception) -> None:
        log.error(
            "defect",
            website_id=command.website_id,
            trigger=command.trigger,
            error=fault.error,
            traceback=_frames(error),
        )

    # ------------------------------------------------------------------------------------------------------ settle

    def _give_up_waiting(self, item: Carried) -> None:
        """Decide on a command that has been held for too many rounds."""
        command, held = item.command, item.outcome
        if not isinstance(held, Held) or command is None:
            return
        item.waiting.held += 1
        if item.waiting.held < HELD_ROUNDS:
            return
        why = f"{held.why}, {item.waiting.held} times"
        if is_step(command.trigger) and command.expected_seq is not None:
            item.outcome = Stale(f"{why}: the clock has it")
        elif not held.locked:
            item.outcome = Rejected(Reason.ERROR, f"{why}; once the cause is mended, redrive this message")
        elif not command.created:
            item.outcome = Rejected(Reason.HELD, f"{why}: redrive this message once that is over")

    async def _settle(self, carried: Sequence[Carried]) -> None:
        """Publish what follows from the outcomes, events before commands, then ack what was answered for."""
        rows = {item: row for item in carried if (row := _row_to_publish(item.outcome))}
        unanswered = await self._publish({item: event(row, self._topology) for item, row in rows.items()})
        await reach("events_sent")
        commands: dict[Carried, Message] = {}
        rests: dict[Carried, tuple[int, int, int]] = {}
        for item in carried:
            if item in unanswered:
                continue
            if (row := rows.get(item)) is not None:
                if (command := next_command(row, self._topology)) is not None:
                    commands[item] = command
                else:
                    rests[item] = (row.website_id, row.seq, row.seq - 1)
            elif isinstance(item.outcome, Rejected):
                bare = item.waiting.rounds >= BARE_ROUNDS
                commands[item] = dead_letter(item.waiting.delivery, item.outcome, self._topology, bare=bare)
        unanswered |= await self._publish(commands)
        await reach("commands_sent")
        if rests:
            await self._clear(rests, unanswered)
        await reach("settled")
        answered = [item for item in carried if item not in unanswered]
        await self._ack(answered)
        for item in answered:
            self._account(item)
        await reach("acked")

    async def _ack(self, answered: Sequence[Carried]) -> None:
        """Settle together what came by the same session; mostly there is one."""
        for session in dict.fromkeys(item.waiting.delivery.session for item in answered):
            items = [item for item in answered if item.waiting.delivery.session is session]
            await session.ack_all([item.waiting.delivery for item in items])
            for item in items:
                item.settled = True

    async def _publish(self, messages: dict[Carried, Message]) -> set[Carried]:
        """Publish together; return those whose message nobody has answered for."""
        if not messages:
            return set()
        unanswered: set[Carried] = set()
        answers = await self._publisher.publish_all(list(messages.values()))
        for (item, message), answer in zip(messages.items(), answers, strict=True):
            if answer is None:
                continue
            if isinstance(answer, Nacked) and not message.mandatory:
                # A subscriber's full queue is an answer: it does not hold up a website.
                log.warning("event nacked", type=message.type, message_id=message.message_id)
                continue
            unanswered.add(item)
            if not isinstance(answer, BrokerDown):
                log.warning("publish refused", type=message.type, routing_key=message.routing_key, error=str(answer))
        return unanswered

    async def _clear(self, rests: dict[Carried, tuple[int, int, int]], unanswered: set[Carried]) -> None:
        """Owe nothing more to websites at rest. Should this fail, the clock still has them: the ack need not wait."""
        answered = [rest for item, rest in rests.items() if item not in unanswered]
        try:
            await self._store.clear(answered)
        except Exception as error:
            self._gate.close(DATABASE, str(classify(error).error))
        await reach("cleared")

    def _account(self, item: Carried) -> None:
        """Write the one line that a delivery leaves, and let admission know."""
        delivery, outcome, command = item.waiting.delivery, item.outcome, item.command
        assert outcome
        seconds = time.monotonic() - item.started
        row = _row_to_publish(outcome)
        name = type(outcome).__name__.lower()
        if self._intake.is_signup(item.waiting):
            moving = isinstance(outcome, Advanced) and row and row.next_trigger is not None
            self._admission.admit(row.website_id) if moving and row else self._admission.turn_away()
        elif row and row.next_trigger is None:
            self._admission.release(row.website_id)
        fields = _told(outcome)
        if command:
            fields |= {"website_id": command.website_id, "trigger": command.trigger}
            fields |= {"expected_seq": command.expected_seq, "attempt": command.attempt}
        log.log(
            30 if isinstance(outcome, Rejected | Refused) else 20,
            "delivery",
            outcome=name,
            message_id=delivery.message_id and delivery.message_id[:64],
            type=delivery.type and delivery.type[:64],
            queue=delivery.queue,
            redelivered=delivery.redelivered,
            batch=item.batch,
            duration_ms=round(seconds * 1000, 2),
            **fields,
        )
        if row and (fallback := row.detail.get("fallback")):
            log.warning(
                "pack fell back", website_id=row.website_id, pack=fallback["pack"], step=fallback["step"],
                reason=fallback["reason"], defaults=fallback["defaults"],
            )  # fmt: skip

    def _send_round(self, carried: Sequence[Carried]) -> None:
        """Put back what was not settled."""
        for item in carried:
            if self._intake.is_signup(item.waiting):
                self._admission.turn_away()
            bound = min(ROUND_CAP_SECONDS, 0.05 * 2 ** min(item.waiting.rounds, 10))
            self._intake.put_back(item.waiting, random.uniform(bound / 2, bound))  # noqa: S311 - jitter


def _frames(error: BaseException) -> str:
    """Return a traceback without its last line: an exception's text may quote personal data."""
    return "".join(traceback.format_tb(error.__traceback__, limit=-12))


def _row_to_publish(outcome: Outcome | None) -> Row | None:
    match outcome:
        case Advanced(row) | Refused(row):
            return row
        case AlreadyDone(row):
            return row
        case _:
            return None


def _told(outcome: Outcome) -> dict[str, object]:
    """Return the fields of an outcome for its log line."""
    match outcome:
        case Advanced(row) | Refused(row):
            told: dict[str, object] = {"from_state": row.from_state, "to_state": row.to_state, "seq": row.seq}
            return told | ({"error": row.detail["error"]} if row.detail.get("error") else {})
        case AlreadyDone(row):
            return {"seq": row.seq} if row else {}
        case Stale(why) | Ahead(why) | Held(why):
            return {"why": why}
        case Attempted(attempts, error):
            return {"attempts": attempts, "error": error}
        case Rejected(reason, error):
            return {"reason": reason, "error": error}
        case never:
            assert_never(never)
