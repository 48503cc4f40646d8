"""One worker: takes deliveries that wait, decodes and executes them, and has them settled.

    delivery → decode → use case (lock → … → commit) → outcome → settlement

What an error means for its own command, and for all workers of the process, is decided by the `except` clauses here.
What cannot be settled now is put back; while something underneath is away, nothing more is taken.
"""

import asyncio
import random
import traceback
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import TypeVar, assert_never

from consumer.domain.outcomes import Held, Reason, Rejected, Stale
from consumer.error_classification import (
    Conflict,
    Defect,
    Infrastructure,
    LockedElsewhere,
    Permanent,
    StepTimeoutError,
    Transient,
    classify,
)
from consumer.failpoints import reach, watched
from consumer.messages.inbound import PoisonError, decode
from consumer.provisioning.use_case import ProvisioningUseCase
from consumer.telemetry import metrics
from consumer.telemetry.logs import log
from consumer.worker.buffer import Buffer, BufferedDelivery
from consumer.worker.delivery_settlement import Execution, Settlement
from consumer.worker.gate import ClosedBy, Gate
from statemachine import is_step

HELD_ROUNDS = 5
"""How often a held command is tried in place. Then the dispatcher has the engine's own steps, which are due later, and
everything else is dead-lettered; but for a signup whose website is locked: that ends with the other's transaction, and
nothing else knows what the signup brought."""
PUT_BACK_BASE_SECONDS, PUT_BACK_CAP_SECONDS = 0.05, 5.0
"""The longest delay of the first round; it doubles, and later ones wait this long: a lock is held for milliseconds, and
a put-back message keeps its place in the prefetch."""

CommandFault = LockedElsewhere | Conflict | Transient | Permanent | Defect
Result = TypeVar("Result")


class UnsettledError(Exception):
    """Something underneath is away: what was not executed is put back."""


@dataclass(kw_only=True, eq=False)
class Worker:
    """Runs until it is stopped; any number of them share a buffer."""

    buffer: Buffer
    gate: Gate
    use_case: ProvisioningUseCase
    settlement: Settlement
    batch_size: int
    step_timeout_seconds: float
    busy: bool = False
    """Whether it has taken deliveries and is not done with them."""

    async def run(self, stopping: asyncio.Event) -> None:
        """Work until `stopping` is set; what was started by then is finished. Cancel it only while it is not busy."""
        while not stopping.is_set():
            await self.gate.wait_open()
            batch = await self.buffer.take(self.batch_size)
            self.busy = True
            await watched(self.run_once(batch))
            self.busy = False

    async def run_once(self, batch: Sequence[BufferedDelivery]) -> None:
        """Bring a batch from receipt to settlement, or put back what of it is not settled. Raises nothing."""
        executions = [Execution(buffered, len(batch)) for buffered in batch]
        new_signups = (buffered for buffered in batch if buffered.reservation and not buffered.rounds)
        metrics.observe_signup_waits(buffered.delivery for buffered in new_signups)
        try:
            await reach("received")
            self._decode(executions)
            await self._execute([execution for execution in executions if execution.command])
            for execution in executions:
                _end_hold(execution)
            await self.settlement.settle(
                [execution for execution in executions if execution.outcome and not isinstance(execution.outcome, Held)]
            )
        except UnsettledError:
            pass
        except Exception as error:
            # A defect of this very package. Nothing is lost: what is not settled is put back.
            log.error("worker failed", error=type(error).__name__, traceback=_frames(error))
        finally:
            self.buffer.end_batch(batch)
            self._put_back([execution.buffered for execution in executions if not execution.settled])
            _count(executions)

    def _decode(self, executions: Sequence[Execution]) -> None:
        for execution in executions:
            try:
                execution.command = decode(execution.buffered.delivery)
            except PoisonError as poison:
                execution.poison, execution.outcome = poison, Rejected(Reason.POISON, str(poison))
            except Exception as error:
                # A defect of the decoder: it affects no other message, and this one is kept until it is fixed.
                log.error("defect", type=execution.buffered.delivery.type, traceback=_frames(error))
                reason = f"the message could not be read ({type(error).__name__})"
                execution.outcome = Rejected(Reason.ERROR, reason)

    # ----------------------------------------------------------------------------------------------------- execute

    async def _execute(self, executions: Sequence[Execution]) -> None:
        """Give every command its outcome: at most one of a website in a batch, the others in batches after it."""
        while executions:
            batch: dict[int, Execution] = {}
            alone: list[Execution] = []
            later: list[Execution] = []
            for execution in executions:
                assert execution.command
                if execution.buffered.alone:
                    alone.append(execution)
                elif execution.command.website_id in batch:
                    later.append(execution)
                else:
                    batch[execution.command.website_id] = execution
            if batch:
                await self._execute_batch(list(batch.values()))
            for execution in alone:
                await self._execute_alone(execution)
            executions = later

    async def _execute_batch(self, batch: Sequence[Execution]) -> None:
        """Execute in one transaction; where that raises, once more in halves, down to the one command that fails."""
        try:
            commands = [execution.command for execution in batch if execution.command]
            outcomes = await self._within_time(self.use_case.batch(commands))
        except Exception as error:
            self._classify(error)
            if len(batch) == 1:
                await self._execute_alone(batch[0])
            else:
                half = (len(batch) + 1) // 2
                await self._execute_batch(batch[:half])
                await self._execute_batch(batch[half:])
        else:
            for execution, outcome in zip(batch, outcomes, strict=True):
                execution.outcome = outcome
                # The next time it waits for its lock, for a limited time, and so holds up no batch.
                execution.buffered.alone = execution.buffered.alone or isinstance(outcome, Held)

    async def _execute_alone(self, execution: Execution) -> None:
        """Execute one command by itself: only here is an error an outcome."""
        assert execution.command
        try:
            (execution.outcome,) = await self._within_time(self.use_case.batch([execution.command], alone=True))
        except Exception as error:
            fault = self._classify(error)
            execution.buffered.alone = True
            match fault:
                case LockedElsewhere(sentence):
                    execution.outcome = Held(sentence, locked=True)
                case Conflict(sentence):
                    execution.outcome = Held(sentence, locked=False)
                case Transient() | Permanent() | Defect():
                    if isinstance(fault, Defect):
                        log.error(
                            "defect", website_id=execution.command.website_id, trigger=execution.command.trigger,
                            error=fault.error, traceback=_frames(error),
                        )  # fmt: skip
                    await self._record_fault(execution, fault)
                case never:
                    assert_never(never)

    async def _record_fault(self, execution: Execution, fault: Transient | Permanent | Defect) -> None:
        """Have an error recorded, as an attempt or a failure; where even that fails, it is no outcome yet."""
        assert execution.command
        try:
            execution.outcome = await self._within_time(self.use_case.record_fault(execution.command, fault))
        except Exception as error:
            match self._classify(error):
                case Permanent(sentence):
                    # Not even the error can be recorded with what this message says.
                    execution.outcome = Rejected(Reason.ERROR, sentence)
                case LockedElsewhere(sentence):
                    execution.outcome = Held(sentence, locked=True)
                case _:
                    execution.outcome = Held(fault.error, locked=False)

    async def _within_time(self, work: Awaitable[Result]) -> Result:
        try:
            async with asyncio.timeout(self.step_timeout_seconds) as limit:
                return await work
        except TimeoutError as error:
            if limit.expired():
                raise StepTimeoutError from error
            raise

    def _classify(self, error: Exception) -> CommandFault:
        """Return what an error means for its command; one that is no command's fault closes the gate, at no attempt.

        Raises:
            UnsettledError: the database is away.
        """
        fault = classify(error)
        if isinstance(fault, Infrastructure):
            self.gate.close(ClosedBy.DATABASE, fault.error)
            raise UnsettledError from error
        return fault

    def _put_back(self, items: Sequence[BufferedDelivery]) -> None:
        """Put back what was not settled, each with a delay that grows with its rounds."""
        for buffered in items:
            longest = min(PUT_BACK_CAP_SECONDS, PUT_BACK_BASE_SECONDS * 2 ** min(buffered.rounds, 10))
            self.buffer.put_back(buffered, random.uniform(longest / 2, longest))  # noqa: S311 - jitter


def _end_hold(execution: Execution) -> None:
    """Give a command that has been held for too many rounds its last outcome."""
    command, held, buffered = execution.command, execution.outcome, execution.buffered
    if not isinstance(held, Held) or command is None:
        return
    buffered.held += 1
    if buffered.held < HELD_ROUNDS:
        return
    why = f"{held.why}, {buffered.held} times"
    if is_step(command.trigger) and command.expected_seq is not None:
        execution.outcome = Stale(f"{why}: it is sent again once it is due")
    elif not held.locked:
        execution.outcome = Rejected(Reason.ERROR, f"{why}; once the cause is fixed, redrive this message")
    elif not command.created:
        execution.outcome = Rejected(Reason.HELD, f"{why}: redrive this message once that is over")


def _count(executions: Sequence[Execution]) -> None:
    """Count a batch's outcomes: those that are settled, and those that are held for another round."""
    metrics.count_deliveries(
        [
            execution.outcome
            for execution in executions
            if execution.outcome and (execution.settled or isinstance(execution.outcome, Held))
        ],
        sum(execution.buffered.delivery.redelivered for execution in executions if execution.settled),
    )


def _frames(error: BaseException) -> str:
    """Return a traceback without its last line: an exception's text may quote personal data."""
    return "".join(traceback.format_tb(error.__traceback__, limit=-12))
