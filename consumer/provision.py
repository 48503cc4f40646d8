"""The use case: a batch of commands moves each its website by one guarded transition, in one transaction.

    lock → plan → step → read facts → judge → write → commit

Delivery and decoding come before (`consumer.worker`), publishing and settling after. Errors are not caught here: one
that is raised rolls the whole batch back, and the worker does it again in halves until it knows the culprit.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, assert_never
from uuid import UUID

from consumer.errors import Defect, Permanent, Transient
from consumer.failpoints import reach
from consumer.messages import Command, OwnerByEmail, OwnerById, WebsiteCreated
from consumer.outbox import Row, command_id
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
from consumer.store import Attempt, Move, Store, Transaction, Website
from seeders import Fallback, Seeders, Tenant
from seeders.owners import NamedOwner, insert_owner_memberships, insert_users, owner_emails
from statemachine import (
    CHAIN,
    Advance,
    Facts,
    Illegal,
    Refuse,
    State,
    Transition,
    Trigger,
    Wait,
    is_step,
    judge,
    missing_items,
    next_trigger,
    plan,
    progress,
    status_message,
)
from statemachine import Stale as Passed

Fault = Transient | Permanent | Defect
"""An error that is accounted for instead of the step it came from."""


@dataclass(frozen=True, slots=True)
class Policy:
    """The numbers of A2: how often, how long, and where a live website is found."""

    retry_budget: int = 8
    retry_base_seconds: float = 1
    retry_cap_seconds: float = 300
    stall_seconds: float = 120
    base_domain: str = "propertywebbuilder.com"


@dataclass(frozen=True, slots=True)
class Planned:
    """A command that may take an edge: its website is locked, its step not yet done.

    `proven`: how many of the website's events this very command proves to be out.
    """

    command: Command
    website: Website
    transition: Transition
    proven: int


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
        self._uniform = uniform

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
        async with self._store.transaction() as unit:
            strangers = await self._register(unit, commands)
            await reach("registered")
            websites = await unit.lock(sorted({command.website_id for command in commands}), waiting=alone)
            await reach("locked")
            outcomes = await self._account_for_absent(unit, commands, websites, strangers)
            planned = await self._plan(unit, commands, websites, strangers, outcomes)
            await reach("inbox")
            fallbacks = await self._step(unit, planned, careful=alone)
            await reach("stepped")
            facts = await unit.facts({item.website.id: item.website.subdomain for item in planned}) if planned else {}
            moves, attempts = self._judge(planned, facts, fallbacks, outcomes)
            await reach("judged")
            await self._write(unit, moves, attempts, outcomes)
            await reach("pre_commit")
        await reach("post_commit")
        return [outcomes[command.website_id] for command in commands]

    async def account_for(self, command: Command, fault: Fault) -> Outcome:
        """Record an error instead of the step it came from: an attempt, or the end of the budget, or a failure.

        The command is judged anew under the lock: an error that came with an unknown COMMIT may have been none.
        """
        async with self._store.transaction() as unit:
            if command.created and command.created.registers:
                # Its registration was rolled back with its step: a failed attempt must not lose the signup.
                await unit.register([command.created])
            websites = await unit.lock([command.website_id], waiting=True)
            outcomes = await self._account_for_absent(unit, [command], websites, set())
            planned = await self._plan(unit, [command], websites, set(), outcomes)
            for item in planned:
                website = item.website
                if isinstance(fault, Permanent) and fault.constraint == "index_pwb_websites_on_subdomain":
                    outcomes[website.id] = Rejected(
                        Reason.SUBDOMAIN_TAKEN, "the subdomain belongs to another website; choose another one"
                    )
                elif not is_step(item.transition.trigger):
                    outcomes[website.id] = (
                        Rejected(Reason.ERROR, fault.error) if isinstance(fault, Permanent) else Held(fault.error)
                    )
                else:
                    facts = (await unit.facts({website.id: website.subdomain}))[website.id]
                    final = isinstance(fault, Permanent)
                    tried = self._attempt_or_failure(item, fault.error, facts, None, final=final)
                    await self._write(
                        unit,
                        [tried] if isinstance(tried, Move) else [],
                        [tried] if isinstance(tried, Attempt) else [],
                        outcomes,
                    )
            await reach("attempt_written")
        return outcomes[command.website_id]

    # ------------------------------------------------------------------------------------------- register, lock

    async def _register(self, unit: Transaction, commands: Sequence[Command]) -> set[int]:
        """Insert websites and users, before any lock; return the named user ids that do not exist."""
        signups = [command.created for command in commands if command.created]
        named = {signup.owner.user_id for signup in signups if isinstance(signup.owner, OwnerById)}
        strangers = named - await unit.known_users(named) if named else set()
        new = [signup for signup in signups if signup.registers and _named_user(signup) not in strangers]
        if new:
            await unit.register(new)
        owners = [
            _named_owner(command.website_id, command.created)
            for command in commands
            if command.trigger == Trigger.ASSIGN_OWNER
        ]
        if owners:
            await insert_users(unit.connection, owners)
        return strangers

    async def _account_for_absent(
        self, unit: Transaction, commands: Sequence[Command], websites: Mapping[int, Website], strangers: set[int]
    ) -> dict[int, Outcome]:
        """Say what became of websites that could not be locked: held elsewhere, or not there."""
        absent = [command for command in commands if command.website_id not in websites]
        if not absent:
            return {}
        present = await unit.present([command.website_id for command in absent])
        outcomes: dict[int, Outcome] = {}
        for command in absent:
            signup = command.created
            if command.website_id in present:
                outcome: Outcome = Held("another transaction has the website")
            elif signup and _named_user(signup) in strangers:
                outcome = _unknown_user(signup)
            elif signup and signup.registers:
                # It was inserted above, unless the one other unique column stood in the way.
                outcome = Rejected(
                    Reason.SUBDOMAIN_TAKEN,
                    f"website {command.website_id} was not registered: its subdomain belongs to another website; "
                    "choose another one and publish website.created again",
                )
            else:
                outcome = Rejected(
                    Reason.UNKNOWN_WEBSITE,
                    f"there is no website {command.website_id}; insert it, or let website.created bring its "
                    "subdomain, site_type or owner, then redrive this message",
                )
            outcomes[command.website_id] = outcome
        return outcomes

    # ------------------------------------------------------------------------------------------------------ plan

    async def _plan(
        self,
        unit: Transaction,
        commands: Sequence[Command],
        websites: Mapping[int, Website],
        strangers: set[int],
        outcomes: dict[int, Outcome],
    ) -> list[Planned]:
        """Say which commands may take an edge; account for the others in `outcomes`."""
        locked = [command for command in commands if command.website_id in websites]
        asked = [(websites[command.website_id], command.message_id) for command in locked]
        done, causes = await unit.inbox(asked) if asked else ({}, {})
        planned: list[Planned] = []
        brought: list[WebsiteCreated] = []
        for command in locked:
            website = websites[command.website_id]
            if row := done.get(website.id):
                outcomes[website.id] = AlreadyDone(row if row.seq == website.seq else None)
            elif command.created and _named_user(command.created) in strangers:
                outcomes[website.id] = _unknown_user(command.created)
            else:
                match _plan_one(command, website):
                    case Transition() as transition:
                        proven = _proven(command, causes.get(website.id))
                        planned.append(Planned(command, website, transition, proven))
                    case Stale() as stale:
                        outcomes[website.id] = stale
                        if command.created and website.state == State.PENDING:
                            brought.append(command.created)
                    case Ahead() | Rejected() as outcome:
                        outcomes[website.id] = outcome
        if brought:
            await unit.write_requests(brought)
        return [await self._filled(unit, item) for item in planned]

    async def _filled(self, unit: Transaction, item: Planned) -> Planned:
        """Fill what a signup's row left empty with what its message says; what the row says wins."""
        signup, website = item.command.created, item.website
        if signup is None:
            return item
        email = signup.owner.email if isinstance(signup.owner, OwnerByEmail) else None
        filled = replace(
            website,
            subdomain=website.subdomain or signup.subdomain,
            site_type=website.site_type or signup.site_type,
            seed_pack_name=website.seed_pack_name or signup.seed_pack,
            owner_email=website.owner_email or email,
        )
        if filled != website:
            await unit.fill([signup])
        return replace(item, website=filled)

    # ------------------------------------------------------------------------------------------------------ step

    async def _step(self, unit: Transaction, planned: Sequence[Planned], *, careful: bool) -> dict[int, Fallback]:
        """Make the guards true: one set-based insert a table for all websites that take the same step."""
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
    ) -> tuple[list[Move], list[Attempt]]:
        moves: list[Move] = []
        attempts: list[Attempt] = []
        for item in planned:
            website = item.website
            known, fallback = facts[website.id], fallbacks.get(website.id)
            match judge(item.transition, known, failed_from=website.failed_from):
                case Advance(target):
                    moves.append(self._move(item, target, known, fallback))
                case Refuse(error) | Wait(error) if website.state not in CHAIN:
                    # Nothing can fail from where it is: a suspended website stays suspended, and ops hear why.
                    outcomes[website.id] = Rejected(Reason.REFUSED, error)
                case Refuse(error):
                    moves.append(self._failure(item, error, known, fallback))
                case Wait(error):
                    tried = self._attempt_or_failure(item, error, known, fallback)
                    (moves if isinstance(tried, Move) else attempts).append(tried)  # type: ignore[arg-type]
                case never:
                    assert_never(never)
        return moves, attempts

    def _attempt_or_failure(
        self, item: Planned, error: str, facts: Facts, fallback: Fallback | None, *, final: bool = False
    ) -> Move | Attempt:
        """Count a try, or fail the website where the budget is spent or another try is of no use."""
        website, policy = item.website, self._policy
        attempts = website.attempts + 1
        if final or attempts >= policy.retry_budget:
            return self._failure(item, error, facts, fallback)
        longest = min(policy.retry_cap_seconds, policy.retry_base_seconds * 2 ** (attempts - 1))
        return Attempt(
            website.id,
            attempts,
            error,
            self._uniform(0, longest),  # full jitter: websites that failed together do not return together
            item.command.created.request if item.command.created else None,
            asked_live=item.transition.trigger == Trigger.GO_LIVE,
        )

    def _failure(self, item: Planned, error: str, facts: Facts, fallback: Fallback | None) -> Move:
        return self._move(item, State.FAILED, facts, fallback, error=error)

    def _move(
        self, item: Planned, target: State, facts: Facts, fallback: Fallback | None, error: str | None = None
    ) -> Move:
        """Compose a transition: its log row says all that its event and its next command need."""
        website, command, trigger = item.website, item.command, item.transition.trigger
        if target == State.FAILED:
            if trigger == Trigger.FAIL_PROVISIONING:
                error = command.reason or f"Failed by {command.actor or 'an operator'}"
            failed_from = website.state
            recorded = Trigger.FAIL_PROVISIONING
        else:
            failed_from = None
            recorded = trigger
        owed = next_trigger(
            target,
            skip_properties=website.skip_properties,
            auto_go_live=website.auto_go_live or trigger == Trigger.GO_LIVE,
        )
        skipped = trigger == Trigger.SKIP_PROPERTIES or (
            trigger == Trigger.RETRY_PROVISIONING and website.skip_properties
        )
        detail: dict[str, Any] = {
            "subdomain": website.subdomain,
            "progress": progress(target, facts, failed_from),
            "message": status_message(target, error=error, skipped=skipped),
            "error": error,
            "missing": missing_items(facts),
            "next": owed,
            "traceparent": command.traceparent or _traceparent(command),
        }
        if recorded != trigger:
            detail["step"] = trigger
        if target == State.LIVE:
            detail["url"] = f"https://{website.subdomain}.{self._policy.base_domain}"
        if fallback:
            detail["fallback"] = {
                "pack": fallback.pack,
                "step": fallback.step,
                "reason": fallback.reason,
                "defaults": fallback.defaults,
            }
        return Move(
            website.id,
            website.seq + 1,
            recorded,
            website.state,
            target,
            command.message_id,
            command.actor,
            command.reason,
            detail,
            error,
            item.proven,
            command.created.request if command.created else None,
            asked_live=trigger == Trigger.GO_LIVE,
        )

    # ----------------------------------------------------------------------------------------------------- write

    async def _write(
        self,
        unit: Transaction,
        moves: Sequence[Move],
        attempts: Sequence[Attempt],
        outcomes: dict[int, Outcome],
    ) -> None:
        if moves:
            for row in await unit.write(moves, self._policy.stall_seconds):
                outcomes[row.website_id] = _settled(row)
            await reach("written")
        if attempts:
            await unit.write_attempts(attempts)
            for attempt in attempts:
                outcomes[attempt.website_id] = Attempted(attempt.attempts, attempt.error)


def _settled(row: Row) -> Outcome:
    asked = row.detail.get("step") is None
    return Advanced(row) if row.to_state != State.FAILED or asked else Refused(row)


def _plan_one(command: Command, website: Website) -> Transition | Stale | Ahead | Rejected:
    """Say what a command means for its locked website. The order of the questions is A4's."""
    if command.expected_seq is not None and command.expected_seq < website.seq:
        return Stale(f"the website has moved on to seq {website.seq}, this expects {command.expected_seq}")
    if command.expected_seq is not None and command.expected_seq > website.seq:
        return Ahead(f"the website is at seq {website.seq}, this expects {command.expected_seq}: was it restored?")
    if is_step(command.trigger) and command.attempt < website.attempts:
        return Stale(f"attempt {website.attempts} is due by the clock, this is attempt {command.attempt}")
    if command.created and _brings_the_missing_owner(command.created, website):
        trigger = Trigger.RETRY_PROVISIONING
    else:
        trigger = command.trigger
    match plan(website.state, trigger):
        case Transition() as transition:
            return transition
        case Passed(why):
            return Stale(why)
        case Illegal(why):
            if command.created:
                return Stale(f"the signup is accounted for: the website is {website.state}")
            return Rejected(Reason.ILLEGAL, why)
        case never:
            assert_never(never)


def _proven(command: Command, cause: UUID | None) -> int:
    """Return how many events a command proves to be out: they go before it, so all that it expects.

    Only the engine's own proves that, and it is known by its id, which follows from the website's last row. Somebody
    else's command with the same expected_seq says what its sender has seen, in the database perhaps.
    """
    if command.expected_seq is None:
        return 0
    own = command_id(
        website_id=command.website_id,
        trigger=command.trigger,
        seq=command.expected_seq,
        attempt=command.attempt,
        cause=cause,
    )
    return command.expected_seq if command.message_id == own else 0


def _brings_the_missing_owner(signup: WebsiteCreated, website: Website) -> bool:
    """Say whether a website failed at pending for want of exactly the owner that this signup names."""
    return (
        website.state == State.FAILED
        and website.failed_from == State.PENDING
        and signup.owner is not None
        and "owner" not in website.request
    )


def _named_user(signup: WebsiteCreated) -> int | None:
    return signup.owner.user_id if isinstance(signup.owner, OwnerById) else None


def _unknown_user(signup: WebsiteCreated) -> Rejected:
    return Rejected(
        Reason.UNKNOWN_USER,
        f"website {signup.website_id}: there is no user {_named_user(signup)}; insert the user, then redrive this",
    )


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


def _traceparent(command: Command) -> str:
    """Start a trace where the sender has none: it follows from the message, so that a redelivery continues it."""
    return f"00-{command.message_id.hex}-{command.message_id.hex[16:]}-01"
