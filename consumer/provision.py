"""The use case: a batch of commands moves each its website by one guarded transition, in one transaction.

    lock → plan → step → read facts → judge → write → commit

Delivery and decoding come before (`consumer.worker`), publishing and settling after. Errors are not caught here: one
that is raised rolls the whole batch back, and the worker does it again in halves until it knows the culprit.
"""

import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC
from typing import assert_never
from uuid import UUID

from consumer import metrics
from consumer.composing import Composer, Policy
from consumer.errors import Defect, Permanent, Transient
from consumer.failpoints import reach
from consumer.messages import Command, OwnerByEmail, OwnerById, WebsiteCreated
from consumer.outbox import Row
from consumer.outcomes import Advanced, AlreadyDone, Attempted, Held, Outcome, Reason, Refused, Rejected
from consumer.planning import Planned, filled, named_user, plan_command, unknown_user
from consumer.store import Attempt, Locked, Move, Store, Transaction, Website
from seeders import Fallback, Seeders, Tenant
from seeders.owners import NamedOwner, insert_owner_memberships, insert_users, owner_emails
from statemachine import CHAIN, Advance, Facts, Refuse, State, Trigger, Wait, is_step, judge

__all__ = ["Policy", "Provision"]

SUBDOMAIN_INDEX = "index_pwb_websites_on_subdomain"
Fault = Transient | Permanent | Defect
"""An error that is accounted for instead of the step it came from."""


class Provision:
    """Carries commands out. Holds no state between batches."""

    def __init__(
        self,
        store: Store,
        seeders: Seeders,
        policy: Policy,
        *,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        """Take the collaborators; `uniform` draws the jitter of a backoff, in seconds."""
        self._store = store
        self._seeders = seeders
        self._policy = policy
        self._composer = Composer(policy, uniform)

    async def batch(self, commands: Sequence[Command], *, alone: bool = False) -> list[Outcome]:
        """Carry out commands for different websites in one transaction.

        Args:
            commands: at most one a website.
            alone: a batch of one that errors have been traced to, or whose website was locked elsewhere: it waits for
                its lock, and its pack runs in a savepoint.

        Returns:
            The outcomes, in the order of the commands. Nothing is published yet.

        Raises:
            Exception: anything; then nothing has happened (or, at COMMIT, it is unknown whether it has).
        """
        began = time.monotonic()
        async with self._store.transaction() as unit:
            strangers = await self._register(unit, commands)
            await _insert_users(unit, commands)
            await reach("registered")
            with metrics.LOCK.time():
                locked, foreign = await unit.lock(_asked(commands), waiting=alone)
            await reach("locked")
            outcomes = _not_ours(foreign)
            await self._account_for_absent(unit, commands, locked, strangers, outcomes)
            planned = await self._plan(unit, commands, locked, strangers, outcomes)
            await reach("planned")
            fallbacks = await self._step(unit, planned, careful=alone)
            await reach("stepped")
            facts = await unit.facts({item.website.id: item.website.subdomain for item in planned}) if planned else {}
            judged = self._judge(planned, facts, fallbacks, outcomes)
            await reach("judged")
            await self._write(unit, judged, outcomes)
            await reach("pre_commit")
        await reach("post_commit")
        metrics.transaction(commands[0].trigger, time.monotonic() - began)
        metrics.committed(outcomes.values())
        _count_lives(planned, outcomes)
        return [outcomes[command.website_id] for command in commands]

    async def account_for(self, command: Command, fault: Fault) -> Outcome:
        """Record an error instead of the step it came from: an attempt, or the end of the budget, or a failure.

        The command is judged anew under the lock: an error that came with an unknown COMMIT may have been none.
        """
        if isinstance(fault, Permanent) and fault.constraint == SUBDOMAIN_INDEX and command.created:
            # The website's row is there, without a subdomain, and the one that its signup brings is taken.
            return _subdomain_taken(command.created)
        async with self._store.transaction() as unit:
            # Its registration was rolled back with its step: a failed attempt must not lose the signup.
            strangers = await self._register(unit, [command])
            locked, foreign = await unit.lock(_asked([command]), waiting=True)
            outcomes = _not_ours(foreign)
            await self._account_for_absent(unit, [command], locked, strangers, outcomes)
            for item in await self._plan(unit, [command], locked, strangers, outcomes):
                website = item.website
                if is_step(item.transition.trigger):
                    if item.brings:
                        await unit.fill([item.brings])
                    facts = (await unit.facts({website.id: website.subdomain}))[website.id]
                    final = isinstance(fault, Permanent)
                    tried = self._composer.attempt_or_failure(item, fault.error, facts, None, final=final)
                    await self._write(unit, [tried], outcomes)
                elif isinstance(fault, Permanent):
                    outcomes[website.id] = Rejected(Reason.ERROR, fault.error)
                else:
                    outcomes[website.id] = Held(fault.error, locked=False)
            await reach("attempt_written")
        metrics.committed(outcomes.values())
        return outcomes[command.website_id]

    # ------------------------------------------------------------------------------------------- register, lock

    async def _register(self, unit: Transaction, commands: Sequence[Command]) -> set[int]:
        """Insert websites that signups bring, before any lock; return the named user ids that do not exist."""
        signups = [command.created for command in commands if command.created]
        named = {signup.owner.user_id for signup in signups if isinstance(signup.owner, OwnerById)}
        strangers = named - await unit.known_users(named) if named else set()
        new = [signup for signup in signups if signup.registers and named_user(signup) not in strangers]
        if new:
            await unit.register(new)
        return strangers

    async def _account_for_absent(
        self,
        unit: Transaction,
        commands: Sequence[Command],
        locked: Mapping[int, Locked],
        strangers: set[int],
        outcomes: dict[int, Outcome],
    ) -> None:
        """Say what became of websites that could not be locked: held elsewhere, or not there."""
        absent = [
            command for command in commands if command.website_id not in locked and command.website_id not in outcomes
        ]
        if not absent:
            return
        present = await unit.present([command.website_id for command in absent])
        for command in absent:
            signup = command.created
            if command.website_id in present:
                outcome: Outcome = Held("another transaction has the website", locked=True)
            elif signup and named_user(signup) in strangers:
                outcome = unknown_user(signup)
            elif signup and signup.registers:
                # It was inserted above, unless the one other unique column stood in the way.
                outcome = _subdomain_taken(signup)
            else:
                outcome = Rejected(
                    Reason.UNKNOWN_WEBSITE,
                    f"there is no website {command.website_id}; insert it, or let website.created bring its "
                    "subdomain, site_type or owner, then redrive this message",
                )
            outcomes[command.website_id] = outcome

    # ------------------------------------------------------------------------------------------------------ plan

    async def _plan(
        self,
        unit: Transaction,
        commands: Sequence[Command],
        locked: Mapping[int, Locked],
        strangers: set[int],
        outcomes: dict[int, Outcome],
    ) -> list[Planned]:
        """Say which commands may take an edge; account for the others in `outcomes`."""
        planned: list[Planned] = []
        late: list[WebsiteCreated] = []
        for command in commands:
            if (found := locked.get(command.website_id)) is None:
                continue
            website, signup = found.website, command.created
            if row := found.done:
                outcomes[website.id] = AlreadyDone(row if row.seq == website.seq else None)
            elif signup and named_user(signup) in strangers:
                outcomes[website.id] = unknown_user(signup)
            else:
                full = filled(website, signup)
                brings = signup if full != website else None
                match plan_command(command, website, found.cause):
                    case Planned() as item:
                        planned.append(replace(item, website=full, brings=brings))
                    case outcome:
                        outcomes[website.id] = outcome
                        late += [brings] if brings else []
        if late:
            await unit.fill(late)
        return planned

    # ------------------------------------------------------------------------------------------------------ step

    async def _step(self, unit: Transaction, planned: Sequence[Planned], *, careful: bool) -> dict[int, Fallback]:
        """Make the guards true: one set-based insert a table for all websites that take the same step."""
        if brought := [item.brings for item in planned if item.brings]:
            await unit.fill(brought)
        by_trigger: dict[Trigger, list[Planned]] = {}
        for item in planned:
            by_trigger.setdefault(item.transition.trigger, []).append(item)
        fallbacks: dict[int, Fallback] = {}
        connection = unit.connection
        for trigger, items in by_trigger.items():
            match trigger:
                case Trigger.ASSIGN_OWNER:
                    await insert_owner_memberships(connection, [_owner_of(item) for item in items])
                case Trigger.COMPLETE_AGENCY:
                    tenants = await _with_owner_emails(unit, [_tenant(item.website) for item in items])
                    fallbacks |= await self._seeders.seed_agencies(connection, tenants, careful=careful)
                case Trigger.COMPLETE_LINKS:
                    tenants = [_tenant(item.website) for item in items]
                    fallbacks |= await self._seeders.seed_links(connection, tenants, careful=careful)
                case Trigger.COMPLETE_FIELD_KEYS:
                    tenants = [_tenant(item.website) for item in items]
                    fallbacks |= await self._seeders.seed_field_keys(connection, tenants, careful=careful)
                case Trigger.SEED_PROPERTIES:
                    tenants = [_tenant(item.website) for item in items]
                    fallbacks |= await self._seeders.seed_properties(connection, tenants, careful=careful)
                case _:
                    pass  # the other edges have nothing to do first
            await reach("step")
        return fallbacks

    # ----------------------------------------------------------------------------------------------------- judge

    def _judge(
        self,
        planned: Sequence[Planned],
        facts: Mapping[int, Facts],
        fallbacks: Mapping[int, Fallback],
        outcomes: dict[int, Outcome],
    ) -> list[Move | Attempt]:
        """Judge what the websites have now: what is to be written, or in `outcomes` why nothing is."""
        judged: list[Move | Attempt] = []
        for item in planned:
            website = item.website
            known, fallback = facts[website.id], fallbacks.get(website.id)
            match judge(item.transition, known, failed_from=website.failed_from):
                case Advance(target):
                    judged.append(self._composer.move(item, target, known, fallback))
                case Refuse(error) | Wait(error) if website.state not in CHAIN:
                    # Nothing can fail from where it is: a suspended website stays suspended, and ops hear why.
                    outcomes[website.id] = Rejected(Reason.REFUSED, error)
                case Refuse(error):
                    judged.append(self._composer.failure(item, error, known, fallback))
                case Wait(error):
                    judged.append(self._composer.attempt_or_failure(item, error, known, fallback))
                case never:
                    assert_never(never)
        return judged

    # ----------------------------------------------------------------------------------------------------- write

    async def _write(self, unit: Transaction, judged: Sequence[Move | Attempt], outcomes: dict[int, Outcome]) -> None:
        if moves := [item for item in judged if isinstance(item, Move)]:
            for row in await unit.write(moves, self._policy.stall_seconds):
                outcomes[row.website_id] = _settled(row)
            await reach("written")
        if attempts := [item for item in judged if isinstance(item, Attempt)]:
            await unit.write_attempts(attempts)
            for attempt in attempts:
                outcomes[attempt.website_id] = Attempted(attempt.attempts, attempt.error)


def _count_lives(planned: Iterable[Planned], outcomes: Mapping[int, Outcome]) -> None:
    """Time how long websites took that went live by themselves; those that people held back say nothing."""
    for item in planned:
        outcome = outcomes[item.website.id]
        by_itself = item.transition.trigger == Trigger.GO_LIVE and item.command.actor is None
        if by_itself and isinstance(outcome, Advanced):
            # The existing product's column has no time zone; it holds UTC.
            born = item.website.created_at
            born = born if born.tzinfo else born.replace(tzinfo=UTC)
            metrics.TIME_TO_LIVE.observe((outcome.row.occurred_at - born).total_seconds())


def _settled(row: Row) -> Outcome:
    asked = row.detail.get("step") is None
    return Advanced(row) if row.to_state != State.FAILED or asked else Refused(row)


def _asked(commands: Iterable[Command]) -> dict[int, UUID]:
    """Return by which message each website is asked for."""
    return {command.website_id: command.message_id for command in commands}


def _not_ours(foreign: Mapping[int, str]) -> dict[int, Outcome]:
    """Say what becomes of commands for websites in states of the existing product's own (decision 0007)."""
    return {
        website_id: Rejected(
            Reason.ILLEGAL,
            f"website {website_id} is {state}, a state of the existing product's that this service does not move; "
            "redrive this message once the website has left it",
        )
        for website_id, state in foreign.items()
    }


def _subdomain_taken(signup: WebsiteCreated) -> Rejected:
    return Rejected(
        Reason.SUBDOMAIN_TAKEN,
        f"website {signup.website_id} was not registered: its subdomain belongs to another website; choose another "
        "one and publish website.created again",
    )


async def _insert_users(unit: Transaction, commands: Iterable[Command]) -> None:
    """Insert the users whom assign_owner needs, before any lock."""
    owners = [
        _named_owner(command.website_id, command.created)
        for command in commands
        if command.trigger == Trigger.ASSIGN_OWNER
    ]
    if owners:
        await insert_users(unit.connection, owners)


def _named_owner(website_id: int, signup: WebsiteCreated | None) -> NamedOwner:
    match signup.owner if signup else None:
        case OwnerByEmail(email=email, name=name):
            return NamedOwner(website_id, email=email, name=name)
        case OwnerById(user_id=user_id):
            return NamedOwner(website_id, user_id=user_id)
        case _:
            return NamedOwner(website_id)


def _owner_of(item: Planned) -> NamedOwner:
    """Return the owner to assign: what the website kept of its signup wins over what this message says."""
    kept = item.website.request.get("owner")
    if isinstance(kept, dict):
        return NamedOwner(item.website.id, kept.get("email"), kept.get("name"), kept.get("user_id"))
    return _named_owner(item.website.id, item.command.created)


def _tenant(website: Website) -> Tenant:
    return Tenant(website.id, website.subdomain, website.owner_email, website.site_type, website.seed_pack_name)


async def _with_owner_emails(unit: Transaction, tenants: list[Tenant]) -> list[Tenant]:
    """Look the owner's address up for websites whose row does not say it."""
    unsaid = [tenant.website_id for tenant in tenants if not tenant.owner_email]
    if not unsaid:
        return tenants
    emails = await owner_emails(unit.connection, unsaid)
    return [replace(tenant, owner_email=tenant.owner_email or emails.get(tenant.website_id)) for tenant in tenants]
