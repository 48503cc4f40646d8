"""Settlement of executed deliveries: publishes what follows from their outcomes, acks them, and logs one line of each.

    outcome → (row of a rejection) → event → next command or dead letter → ack → log line

Nothing is acked before the messages that follow from it are confirmed; what could not be settled stays unsettled.
"""

import logging
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import assert_never

from consumer.broker.protocol import BrokerDownError, Message, NackedError
from consumer.broker.topology import Topology
from consumer.domain.outcomes import (
    Advanced,
    Ahead,
    AlreadyDone,
    Attempted,
    Held,
    Outcome,
    Refused,
    Rejected,
    Stale,
)
from consumer.domain.records import LogRow
from consumer.error_classification import classify
from consumer.failpoints import reach
from consumer.messages.inbound import Command, PoisonError
from consumer.messages.outbound import event_message, next_command
from consumer.messages.outbound_dead_letters import dead_letter
from consumer.messages.rejected_signups import rejected_signup, rejection_message
from consumer.provisioning.rejected_signup_rows import record_rejections
from consumer.store.database import Store
from consumer.telemetry.logs import log
from consumer.worker.buffer import BufferedDelivery
from consumer.worker.gate import ClosedBy, Gate
from consumer.worker.publishing_connection import Publisher
from consumer.worker.signup_admission import Admission

BARE_ROUNDS = 5
"""How often a dead letter is tried with the sender's headers and properties, before it goes without them."""


@dataclass(slots=True, eq=False)
class Execution:
    """One delivery on its way through a worker: its command once decoded, or what is wrong with it, its outcome, and
    whether it is settled."""

    buffered: BufferedDelivery
    batch: int
    """How many deliveries the worker took together."""
    command: Command | None = None
    poison: PoisonError | None = None
    outcome: Outcome | None = None
    settled: bool = False
    started: float = field(default_factory=time.monotonic)


@dataclass(kw_only=True, eq=False)
class Settlement:
    """Settles executions that have an outcome. Holds no state: all workers of a process share one."""

    admission: Admission
    gate: Gate
    store: Store
    publisher: Publisher
    topology: Topology

    async def settle(self, executions: Sequence[Execution]) -> None:
        """Publish what follows from the outcomes, events before commands, then ack where all of it is confirmed."""
        rows = {execution: row for execution in executions if (row := _row_to_publish(execution.outcome))}
        events = {execution: event_message(row, self.topology) for execution, row in rows.items()}
        rejections, unkept = await self._keep_rejections(executions)
        unconfirmed = unkept | await self._publish(events | rejections)
        await reach("events_sent")
        messages: dict[Execution, Message] = {}
        resting: dict[Execution, LogRow] = {}
        for execution in executions:
            if execution in unconfirmed:
                continue
            if (row := rows.get(execution)) is not None:
                if (command := next_command(row, self.topology)) is not None:
                    messages[execution] = command
                else:
                    resting[execution] = row
            elif isinstance(execution.outcome, Rejected) and not execution.buffered.delivery.omitted_bytes:
                bare = execution.buffered.rounds >= BARE_ROUNDS
                delivery = execution.buffered.delivery
                messages[execution] = dead_letter(delivery, execution.outcome, self.topology, bare=bare)
        unconfirmed |= await self._publish(messages)
        await reach("commands_sent")
        if resting:
            await self._clear_due_times(resting.values())
        await reach("settled")
        confirmed = [execution for execution in executions if execution not in unconfirmed]
        await self._ack(confirmed)
        for execution in confirmed:
            self._count_under_way(execution)
            _write_log_line(execution)
        await reach("acked")

    async def _keep_rejections(
        self, executions: Sequence[Execution]
    ) -> tuple[dict[Execution, Message], set[Execution]]:
        """Store the signups that were rejected; return their events, and the executions that could not be stored."""
        rejected = {
            execution: signup
            for execution in executions
            if isinstance(execution.outcome, Rejected)
            and (signup := rejected_signup(execution.command or execution.poison, execution.outcome))
        }
        if not rejected:
            return {}, set()
        try:
            times = await record_rejections(
                self.store, [(signup.message_id, signup.website_id, signup.code) for signup in rejected.values()]
            )
        except Exception as error:
            self.gate.close(ClosedBy.DATABASE, str(classify(error).error))
            return {}, set(rejected)
        return {
            execution: rejection_message(signup, times[signup.message_id], self.topology)
            for execution, signup in rejected.items()
        }, set()

    async def _publish(self, messages: dict[Execution, Message]) -> set[Execution]:
        """Publish together; return those whose message is not confirmed."""
        if not messages:
            return set()
        unconfirmed: set[Execution] = set()
        answers = await self.publisher.publish_all(list(messages.values()))
        for (execution, message), answer in zip(messages.items(), answers, strict=True):
            if answer is None:
                continue
            if isinstance(answer, NackedError) and not message.mandatory:
                # A subscriber's full queue does not hold up a website: a refused event counts as confirmed.
                log.warning("event nacked", type=message.type, message_id=message.message_id)
                continue
            unconfirmed.add(execution)
            if not isinstance(answer, BrokerDownError):
                log.warning("publish refused", type=message.type, routing_key=message.routing_key, error=str(answer))
        return unconfirmed

    async def _clear_due_times(self, rows: Iterable[LogRow]) -> None:
        """Clear the due times of resting websites, whose last events are out. The ack does not depend on it: where it
        fails, the dispatcher finds them due and does it."""
        try:
            await self.store.mark_published([(row.website_id, row.seq, row.seq - 1) for row in rows])
        except Exception as error:
            self.gate.close(ClosedBy.DATABASE, str(classify(error).error))
        await reach("cleared")

    async def _ack(self, executions: Sequence[Execution]) -> None:
        """Ack together what came by the same session; mostly there is one. What has no body here to copy is rejected:
        the broker dead-letters it."""
        for session in dict.fromkeys(execution.buffered.delivery.session for execution in executions):
            of_session = [execution for execution in executions if execution.buffered.delivery.session is session]
            deliveries = [execution.buffered.delivery for execution in of_session]
            kept = [delivery for delivery in deliveries if not delivery.omitted_bytes]
            await session.ack_all(kept)
            if too_long := [delivery for delivery in deliveries if delivery.omitted_bytes]:
                await session.reject_all(too_long)
            for execution in of_session:
                execution.settled = True

    def _count_under_way(self, execution: Execution) -> None:
        """Admit the website of a signup that moves by itself now; release one that rests."""
        row, reservation = _row_to_publish(execution.outcome), execution.buffered.reservation
        if row and row.next_trigger is None:
            self.admission.release(row.website_id)
        elif row and reservation and isinstance(execution.outcome, Advanced):
            self.admission.admit(reservation, row.website_id)


def _write_log_line(execution: Execution) -> None:
    """Write the one line that a settled delivery leaves, and a warning where its pack fell back to the defaults."""
    delivery, outcome, command = execution.buffered.delivery, execution.outcome, execution.command
    assert outcome
    fields: dict[str, object] = {}
    if command:
        fields |= {"website_id": command.website_id, "trigger": command.trigger}
        fields |= {"expected_seq": command.expected_seq, "attempt": command.attempt}
    fields |= _outcome_fields(outcome)
    log.log(
        logging.WARNING if isinstance(outcome, Rejected | Refused) else logging.INFO,
        "delivery",
        outcome=type(outcome).__name__.lower(),
        message_id=delivery.message_id,
        type=delivery.type,
        queue=delivery.queue,
        redelivered=delivery.redelivered,
        batch=execution.batch,
        duration_ms=round((time.monotonic() - execution.started) * 1000, 2),
        **fields,
    )
    row = _row_to_publish(outcome)
    if row and (fallback := row.detail.get("fallback")):
        log.warning(
            "pack fell back", website_id=row.website_id, pack=fallback["pack"], step=fallback["step"],
            reason=fallback["reason"], defaults=fallback["defaults"],
        )  # fmt: skip


def _row_to_publish(outcome: Outcome | None) -> LogRow | None:
    match outcome:
        case Advanced(row) | Refused(row):
            return row
        case AlreadyDone(row):
            return row
        case _:
            return None


def _outcome_fields(outcome: Outcome) -> dict[str, object]:
    """Return the fields of an outcome for its log line."""
    match outcome:
        case Advanced(row) | Refused(row):
            # website.created takes the step that its website is due, whichever that is.
            fields: dict[str, object] = {"trigger": row.failed_step or row.trigger}
            fields |= {"from_state": row.from_state, "to_state": row.to_state, "seq": row.seq}
            return fields | ({"error": row.detail["error"]} if row.detail.get("error") else {})
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
