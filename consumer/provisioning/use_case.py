"""The use case: each command of a batch moves its website by one guarded transition, all in one transaction.

    lock → plan → (prove) → step → read facts → judge → write → commit

What is proven first are the guards of the states before, where the existing product has moved the website by itself.

Delivery and decoding come before (`consumer.worker`), publishing and settling after. Errors are not caught here: one
that is raised rolls the whole batch back, and the worker does it again in halves, down to the one command that fails.
"""

import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from uuid import UUID

from consumer.domain.outcomes import Advanced, Attempted, Held, Outcome, Reason, Refused, Rejected
from consumer.domain.records import Attempt, Locked, Move, StoredOwners
from consumer.error_classification import DOUBLED_ROWS, Defect, IdTakenError, Permanent, Transient, classify
from consumer.failpoints import reach
from consumer.messages.inbound import Command
from consumer.provisioning.judgement import Judgement, Policy, seeded_properties
from consumer.provisioning.owner_email_spelling import as_users_spell
from consumer.provisioning.planning import (
    Planned,
    Plans,
    outcome_of_absent,
    outcome_of_foreign,
    owner_of,
    plan_batch,
    subdomain_taken,
)
from consumer.provisioning.registration import (
    NOTHING,
    Registration,
    UserNotNeededError,
    UserSkippedError,
    insert_named_users,
    register,
    stored_owners,
)
from consumer.store.database import Store
from consumer.store.provisioning_statements import Transaction
from consumer.store.sequences import MENDS, IdSequences
from consumer.telemetry import metrics
from seeders.seeding import Fallback, Seeders
from seeders.website_to_seed import Tenant
from statemachine import Facts, Trigger, is_step

__all__ = ["Policy", "ProvisioningUseCase"]

UNIQUE_SUBDOMAIN = "subdomain"
"""In the name of each constraint by which another has a subdomain: in the existing product's database several do."""
Fault = Transient | Permanent | Defect
"""An error that is accounted for instead of the step it came from."""


class ProvisioningUseCase:
    """Carries commands out. Holds no state between batches."""

    def __init__(
        self,
        store: Store,
        seeders: Seeders,
        policy: Policy,
        *,
        uniform: Callable[[float, float], float] = random.uniform,
        on_properties: Callable[[], None] = lambda: None,
    ) -> None:
        """`uniform` draws the jitter of a backoff, in seconds; `on_properties` is called after properties."""
        self._store = store
        self._ids = IdSequences(store)
        self._seeders = seeders
        self._policy = policy
        self._judgement = Judgement(policy, uniform)
        self._on_properties = on_properties

    async def batch(self, commands: Sequence[Command], *, alone: bool = False) -> list[Outcome]:
        """Carry out commands for different websites in one transaction.

        Where an insert meets an id that is there already, the sequence of that id is behind its table: it is moved on,
        and all is done again. Where a user was inserted that no website takes, all others are done again without it.

        Args:
            commands: at most one a website.
            alone: a batch of one that errors have been traced to, or whose website was locked elsewhere: it waits for
                its lock, and its pack runs in a savepoint.

        Returns:
            The outcomes, in the order of the commands. Nothing is published yet.

        Raises:
            Exception: anything; then nothing has happened (or, at COMMIT, it is unknown whether it has).
        """
        if brought := [each.website_id for each in commands if each.created and each.created.registers]:
            await self._ids.advance(brought)
            commands = await as_users_spell(self._store, commands)
        outcomes: dict[int, Outcome] = {}
        while left := [command for command in commands if command.website_id not in outcomes]:
            try:
                outcomes |= await self._mended(left, alone=alone)
            except UserNotNeededError as not_needed:
                outcomes |= not_needed.outcomes
        return [outcomes[command.website_id] for command in commands]

    async def _mended(self, commands: Sequence[Command], *, alone: bool) -> dict[int, Outcome]:
        """Carry out commands, and mend what an insert met; return the outcomes by website id."""
        users_are_there, taken = True, ""
        for _ in range(MENDS):
            try:
                return await self._transact(commands, alone=alone, users_are_there=users_are_there)
            except UserSkippedError:
                # Perhaps: then it is inserted now. If not, the guard says that there is no owner.
                users_are_there = False
                await self._ids.move_all()
            except DOUBLED_ROWS as error:
                if not await self._ids.mend(error):
                    raise
                taken = classify(error).error
        raise IdTakenError(taken)

    async def _transact(self, commands: Sequence[Command], *, alone: bool, users_are_there: bool) -> dict[int, Outcome]:
        began = time.monotonic()
        async with self._store.transaction() as unit:
            registration, inserted = NOTHING, set[int]()
            if any(command.trigger == Trigger.ASSIGN_OWNER for command in commands):
                registration = await register(unit, commands, self._policy.owner_by_id)
                inserted = await insert_named_users(unit, commands)
            await reach("registered")
            with metrics.LOCK.time():
                locked, foreign = await unit.lock(_message_ids(commands), waiting=alone)
            await reach("locked")
            plans = await _plan(unit, commands, locked, foreign, registration)
            if unused := inserted & plans.outcomes.keys() - {signup.website_id for signup in plans.fills}:
                raise UserNotNeededError({website_id: plans.outcomes[website_id] for website_id in unused})
            await _fill(unit, plans.planned)
            await reach("planned")
            stopped = await self._prove(unit, plans.planned)
            planned = [item for item in plans.planned if item.website.id not in stopped]
            fallbacks = await self._step(unit, planned, careful=alone)
            await reach("stepped")
            facts = await _facts(unit, planned)
            if users_are_there and any(_lacks_named_owner(item, facts[item.website.id]) for item in planned):
                raise UserSkippedError
            judged = {
                item.website.id: self._judgement.judge(item, facts[item.website.id], fallbacks.get(item.website.id))
                for item in planned
            }
            await reach("judged")
            outcomes = plans.outcomes | await self._write(unit, stopped | judged)
            await reach("pre_commit")
        await reach("post_commit")
        metrics.observe_transaction(commands[0].trigger, time.monotonic() - began)
        metrics.count_committed(outcomes.values())
        _time_to_live(planned, outcomes)
        if any(seeded_properties(outcome) for outcome in outcomes.values()):
            self._on_properties()
        return outcomes

    async def record_fault(self, command: Command, fault: Fault) -> Outcome:
        """Record the error of a step: as a counted attempt, or as a failure where another attempt is of no use or left.

        The command is judged anew under the lock: an error that came with an unknown COMMIT may have been none.
        """
        if command.created and isinstance(fault, Permanent) and UNIQUE_SUBDOMAIN in (fault.constraint or ""):
            # The website's row is there, without a subdomain, and the one that its signup brings is taken.
            return subdomain_taken(command.created)
        (command,) = await as_users_spell(self._store, [command])
        async with self._store.transaction() as unit:
            # Its registration was rolled back with its step: a failed attempt must not lose the signup.
            registration = await register(unit, [command], self._policy.owner_by_id)
            locked, foreign = await unit.lock(_message_ids([command]), waiting=True)
            plans = await _plan(unit, [command], locked, foreign, registration)
            recorded = [await self._record(unit, item, fault) for item in plans.planned]
            await reach("attempt_written")
        outcomes = [*recorded, *plans.outcomes.values()]
        metrics.count_committed(outcomes)
        return outcomes[0]

    async def _prove(self, unit: Transaction, planned: Sequence[Planned]) -> dict[int, Move | Attempt | Rejected]:
        """Prove the guards of states that no transition of this service led to; return what stops their websites."""
        unproven = [item for item in planned if item.proves_guards]
        facts = await _facts(unit, unproven)
        judged = {item.website.id: self._judgement.judge_earlier(item, facts[item.website.id]) for item in unproven}
        return {website_id: item for website_id, item in judged.items() if item}

    async def _step(self, unit: Transaction, planned: Sequence[Planned], *, careful: bool) -> dict[int, Fallback]:
        """Make the guards true: one set-based insert a table for all websites that take the same step."""
        by_trigger: dict[Trigger, list[Planned]] = {}
        for item in planned:
            by_trigger.setdefault(item.transition.trigger, []).append(item)
        fallbacks: dict[int, Fallback] = {}
        for trigger, items in by_trigger.items():
            if is_step(trigger):
                tenants = [_tenant(item) for item in items]
                fallbacks |= await self._seeders.seed(
                    trigger, unit.connection, tenants, careful=careful, optional=unit.optional
                )
            await reach("step")
        return fallbacks

    async def _write(self, unit: Transaction, judged: Mapping[int, Move | Attempt | Rejected]) -> dict[int, Outcome]:
        """Write what was judged; return the outcomes by website id."""
        outcomes: dict[int, Outcome] = {
            website_id: item for website_id, item in judged.items() if isinstance(item, Rejected)
        }
        if moves := [item for item in judged.values() if isinstance(item, Move)]:
            for move, row in zip(moves, await unit.write(moves, self._policy.stall_seconds), strict=True):
                outcomes[row.website_id] = Refused(row, move.cause) if move.cause else Advanced(row)
            await reach("written")
        if attempts := [item for item in judged.values() if isinstance(item, Attempt)]:
            await unit.write_attempts(attempts)
            outcomes |= {each.website_id: Attempted(each.attempts, each.error, each.cause) for each in attempts}
        return outcomes

    async def _record(self, unit: Transaction, item: Planned, fault: Fault) -> Outcome:
        """Write an error of a step; one of a command of ops costs its website nothing."""
        if not is_step(item.transition.trigger):
            if isinstance(fault, Permanent):
                return Rejected(Reason.ERROR, fault.error)
            return Held(fault.error, locked=False)
        await _fill(unit, [item])
        website_id = item.website.id
        facts = (await _facts(unit, [item]))[website_id]
        final = isinstance(fault, Permanent)
        judged = self._judgement.attempt_or_failure(item, fault.error, fault.cause, facts, None, final=final)
        return (await self._write(unit, {website_id: judged}))[website_id]


async def _plan(
    unit: Transaction,
    commands: Sequence[Command],
    locked: Mapping[int, Locked],
    foreign: Mapping[int, str],
    registration: Registration,
) -> Plans:
    """Say what commands mean, and fill the rows of websites that they do not move."""
    absent: dict[int, Outcome] = {each: outcome_of_foreign(each, state) for each, state in foreign.items()}
    others = [each for each in commands if each.website_id not in locked and each.website_id not in absent]
    known = await unit.known_websites([command.website_id for command in others]) if others else set()
    absent |= {
        each.website_id: outcome_of_absent(each, known=each.website_id in known, refusals=registration.refusals)
        for each in others
    }
    signups = [command for command in commands if command.created]
    owners = await stored_owners(unit, signups, locked, registration.new) if signups else StoredOwners()
    late = _message_ids(each for each in commands if _may_be_pruned(each, locked.get(each.website_id)))
    pruned = await unit.pruned_messages(late) if late else ()
    plans = plan_batch(commands, locked, absent, registration.refusals, owners, pruned=pruned)
    if plans.fills:
        await unit.fill(plans.fills)
    return plans


def _may_be_pruned(command: Command, found: Locked | None) -> bool:
    """Return whether the log may have had a row for a command that says no seq, by which a late copy would be known."""
    return command.expected_seq is None and found is not None and not found.done and found.website.seq > 0


async def _fill(unit: Transaction, planned: Iterable[Planned]) -> None:
    """Fill the rows of websites that are to move with what their signups bring."""
    if brought := [item.brings for item in planned if item.brings]:
        await unit.fill(brought)


async def _facts(unit: Transaction, planned: Sequence[Planned]) -> dict[int, Facts]:
    return await unit.facts({item.website.id: item.website.subdomain for item in planned}) if planned else {}


def _lacks_named_owner(item: Planned, facts: Facts) -> bool:
    """Return whether a website has no owner although its signup named one by address, whose user is inserted."""
    if item.transition.trigger != Trigger.ASSIGN_OWNER or facts.owners:
        return False
    return owner_of(item.website, item.command.created).email is not None


def _message_ids(commands: Iterable[Command]) -> dict[int, UUID]:
    """Return which message asks for each website."""
    return {command.website_id: command.message_id for command in commands}


def _tenant(item: Planned) -> Tenant:
    website = item.website
    return Tenant(
        website_id=website.id,
        subdomain=website.subdomain,
        owner_email=website.owner_email,
        site_type=website.site_type,
        seed_pack=website.seed_pack_name,
        owner=owner_of(website, item.command.created),
    )


def _time_to_live(planned: Iterable[Planned], outcomes: Mapping[int, Outcome]) -> None:
    """Time how long websites took that went live by themselves; those that people held back say nothing."""
    for item in planned:
        outcome = outcomes[item.website.id]
        by_itself = item.transition.trigger == Trigger.GO_LIVE and item.command.actor is None
        if by_itself and isinstance(outcome, Advanced):
            metrics.TIME_TO_LIVE.observe((outcome.row.occurred_at - item.website.created_at).total_seconds())
