"""What commands mean for their locked websites: an edge to take, or why none is taken. Pure; the work comes after."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import assert_never
from uuid import UUID

from consumer.domain.outcomes import Ahead, AlreadyDone, Held, Outcome, Reason, Rejected, Stale
from consumer.domain.records import PRODUCT, Locked, StoredOwners, Website, goes_on_by_itself
from consumer.messages.inbound import Command
from consumer.messages.inbound_contracts import OwnerByEmail, OwnerById, WebsiteCreated
from consumer.messages.outbound import command_id
from consumer.provisioning.signup_conflicts import conflict, conflicting
from seeders.website_to_seed import NamedOwner
from statemachine import (
    REST_STATES,
    Illegal,
    Passed,
    State,
    Transition,
    Trigger,
    is_step,
    next_trigger,
    plan,
)

SETTLED = REST_STATES - {State.FAILED}
"""Where a signup's details are of no more use."""


@dataclass(frozen=True, slots=True)
class Planned:
    """A command that may take an edge: its website is locked, its step not yet done.

    `published_seq`: that whose event this very command proves to be published. `brings`: the signup that fills what
    the website's row left empty; `website` has it already. `proves_guards`: whether the guards of the states before are
    proven before its step is taken, because no transition of this service led to where the website is.
    """

    command: Command
    website: Website
    transition: Transition
    published_seq: int
    brings: WebsiteCreated | None = None
    proves_guards: bool = False


@dataclass(frozen=True, slots=True)
class Plans:
    """What the commands of a batch mean.

    Attributes:
        planned: those that may take an edge.
        outcomes: of the others, by website id.
        fills: signups that move no website, and fill empty columns of a website that is this service's own.
    """

    planned: list[Planned] = field(default_factory=list)
    outcomes: dict[int, Outcome] = field(default_factory=dict)
    fills: list[WebsiteCreated] = field(default_factory=list)


def plan_batch(
    commands: Sequence[Command],
    locked: Mapping[int, Locked],
    absent: Mapping[int, Outcome],
    refusals: Mapping[int, Rejected],
    owners: StoredOwners,
    *,
    pruned: Collection[int] = (),
) -> Plans:
    """Say what commands mean, at most one a website.

    Args:
        commands: what is asked.
        locked: the websites under their locks.
        absent: what becomes of commands whose website is not among them.
        refusals: of signups whose owner may not be named, by website id.
        owners: the users with whom signups are compared.
        pruned: websites whose message is a copy of one that was carried out, by a log row that was pruned.
    """
    plans = Plans(outcomes=dict(absent))
    for command in commands:
        if (found := locked.get(command.website_id)) is None:
            continue
        website, signup = found.website, command.created
        if row := found.done:
            plans.outcomes[website.id] = AlreadyDone(row if row.seq == website.seq else None)
        elif website.id in pruned:
            plans.outcomes[website.id] = AlreadyDone(None)
        elif signup and (rejected := contradiction(signup, website, owners) or refusals.get(website.id)):
            plans.outcomes[website.id] = rejected
        else:
            full = filled(website, signup)
            brings = signup if full != website else None
            match plan_command(command, website, found.last_message_id):
                case Planned() as item:
                    plans.planned.append(replace(item, website=full, brings=brings))
                case outcome:
                    plans.outcomes[website.id] = outcome
                    # Storing it would make a website of the product's this service's own.
                    plans.fills.extend([brings] if brings and website.ours else [])
    return plans


def outcome_of_absent(command: Command, *, known: bool, refusals: Mapping[int, Rejected]) -> Outcome:
    """Say what becomes of a command whose website could not be locked; `known`: whether that website exists."""
    signup = command.created
    if known:
        return Held("another transaction has the website", locked=True)
    if signup and command.website_id in refusals:
        return refusals[command.website_id]
    if signup and signup.registers:
        # It was inserted before the lock, unless the one other unique column stood in the way.
        return subdomain_taken(signup)
    return Rejected(
        Reason.UNKNOWN_WEBSITE,
        f"there is no website {command.website_id}; insert it, or let website.created bring its "
        "subdomain, site_type or owner, then redrive this message",
    )


def outcome_of_foreign(website_id: int, state: str) -> Rejected:
    """Return what becomes of a command for a website in a state of the existing product's own (decision 0007)."""
    return Rejected(
        Reason.ILLEGAL,
        f"website {website_id} is {state}, a state of the existing product's that this service does not move; "
        "redrive this message once the website has left it",
    )


def plan_command(
    command: Command, website: Website, last_message_id: UUID | None
) -> Planned | Stale | Ahead | Rejected:
    """Say what a command means for its locked website: seq first, then attempt, then the machine.

    Args:
        command: what is asked.
        website: its row, under its lock.
        last_message_id: that of the message by which the website came where it is; None where it has not moved yet.
    """
    trigger = command.trigger
    if command.created:
        meant = _meant_by_signup(command.created, website)
        if isinstance(meant, Stale):
            return meant
        trigger = meant
    elif command.expected_seq is not None and command.expected_seq < website.seq:
        return Stale(f"the website has moved on to seq {website.seq}, this expects {command.expected_seq}")
    elif command.expected_seq is not None and command.expected_seq > website.seq:
        return Ahead(f"the website is at seq {website.seq}, this expects {command.expected_seq}: was it restored?")
    elif is_step(trigger) and command.attempt < website.attempts:
        return Stale(f"attempt {website.attempts} is due, this is attempt {command.attempt}")
    match plan(website.state, trigger):
        case Transition() as transition:
            # A cumulative guard contains those of the states before.
            proves_guards = is_step(trigger) and not transition.cumulative and not is_proven(website)
            published_seq = _published_seq_proven_by(command, last_message_id)
            return Planned(command, website, transition, published_seq, proves_guards=proves_guards)
        case Passed(why):
            return Stale(why)
        case Illegal(why):
            return Rejected(Reason.ILLEGAL, why)
        case never:
            assert_never(never)


def _meant_by_signup(signup: WebsiteCreated, website: Website) -> Trigger | Stale:
    """Return what `website.created` asks for: the step that the website is due, where nothing is under way for it.

    A website that failed for want of exactly the owner that it brings is retried.
    """
    if _brings_the_missing_owner(signup, website):
        return Trigger.RETRY_PROVISIONING
    due = next_trigger(website.state, skip_properties=website.skip_properties, auto_go_live=website.auto_go_live)
    if due is None:
        return Stale(f"nothing is left to do for this signup: the website is {website.state}")
    if is_under_way(website):
        return Stale(f"the website is under way: it is {website.state}, at seq {website.seq}")
    return due


def is_under_way(website: Website) -> bool:
    """Return whether something is under way for a website on the chain, so that nobody else is to go on for it."""
    return goes_on_by_itself(
        website.state, website.last_state, attempts=website.attempts, has_due_time=website.has_due_time
    )


def is_proven(website: Website) -> bool:
    """Return whether the guards of the states before were proven: a transition of this service led to the state."""
    by_us = website.last_state == website.state and website.last_actor != PRODUCT
    return by_us or website.state == State.PENDING


def contradiction(signup: WebsiteCreated, website: Website, owners: StoredOwners) -> Rejected | None:
    """Return what becomes of a signup that contradicts its website, in whatever state that is; None where none does."""
    how = conflict(
        signup,
        subdomain=website.subdomain,
        owner_email=website.owner_email,
        request=website.request,
        owners=owners,
    )
    return conflicting(website.id, how) if how else None


def filled(website: Website, signup: WebsiteCreated | None) -> Website:
    """Return the website with what its row left empty filled in from its signup, which does not contradict it."""
    if signup is None or website.state in SETTLED:
        return website
    return replace(
        website,
        subdomain=website.subdomain or signup.subdomain,
        site_type=website.site_type or signup.site_type,
        seed_pack_name=website.seed_pack_name or signup.seed_pack,
        owner_email=website.owner_email or named_owner(signup.website_id, signup).email,
        request={**signup.request, **website.request},
    )


def named_user(signup: WebsiteCreated) -> int | None:
    """Return the id of the user whom a signup names as its owner."""
    return signup.owner.user_id if isinstance(signup.owner, OwnerById) else None


def named_owner(website_id: int, signup: WebsiteCreated | None) -> NamedOwner:
    """Return the owner that a signup names; an empty one where it names none."""
    match signup.owner if signup else None:
        case OwnerByEmail(email=email, name=name):
            return NamedOwner(website_id, email=email, name=name)
        case OwnerById(user_id=user_id):
            return NamedOwner(website_id, user_id=user_id)
        case _:
            return NamedOwner(website_id)


def owner_of(website: Website, signup: WebsiteCreated | None) -> NamedOwner:
    """Return the owner to assign: what the website kept of its signup wins over what this message says."""
    kept = website.request.get("owner")
    if isinstance(kept, dict):
        return NamedOwner(website.id, kept.get("email"), kept.get("name"), kept.get("user_id"))
    return named_owner(website.id, signup)


def user_taken(signup: WebsiteCreated) -> Rejected:
    """Return what becomes of a signup whose owner is a user of another website, where a setting forbids that."""
    return Rejected(
        Reason.USER_TAKEN,
        f"website {signup.website_id}: user {named_user(signup)} belongs to another website, and "
        "PROVISIONER_OWNER_BY_ID=without_website forbids to name such an owner by id; name the owner by e-mail "
        "address, or set it to any and redrive this",
    )


def unknown_user(signup: WebsiteCreated) -> Rejected:
    """Return what becomes of a signup whose owner is not there."""
    return Rejected(
        Reason.UNKNOWN_USER,
        f"website {signup.website_id}: there is no user {named_user(signup)}; insert the user, then redrive this",
    )


def subdomain_taken(signup: WebsiteCreated) -> Rejected:
    """Return what becomes of a signup whose subdomain is another website's."""
    return Rejected(
        Reason.SUBDOMAIN_TAKEN,
        f"website {signup.website_id} was not registered: its subdomain belongs to another website, or is reserved "
        "for another owner; choose another one and publish website.created again",
    )


def _published_seq_proven_by(command: Command, last_message_id: UUID | None) -> int:
    """Return the seq whose event a command proves to be published, since that goes before it.

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
        last_message_id=last_message_id,
    )
    return command.expected_seq if command.message_id == own else 0


def _brings_the_missing_owner(signup: WebsiteCreated, website: Website) -> bool:
    """Say whether a website of ours failed at pending for want of exactly the owner that this signup names."""
    return (
        website.ours
        and website.state == State.FAILED
        and website.failed_from == State.PENDING
        and signup.owner is not None
        and "owner" not in website.request
    )
