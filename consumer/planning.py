"""What a command means for its locked website: an edge to take, or why none is taken. Pure; the work comes after."""

from dataclasses import dataclass, replace
from typing import assert_never
from uuid import UUID

from consumer.messages import Command, OwnerByEmail, OwnerById, WebsiteCreated
from consumer.outbox import command_id
from consumer.outcomes import Ahead, Reason, Rejected, Stale
from consumer.store import Website
from statemachine import Illegal, State, Transition, Trigger, is_step, plan
from statemachine import Stale as Passed

SETTLED = frozenset({State.LIVE, State.SUSPENDED, State.TERMINATED})
"""Where a signup's details are of no more use."""


@dataclass(frozen=True, slots=True)
class Planned:
    """A command that may take an edge: its website is locked, its step not yet done.

    `proven`: the seq whose event this very command proves to be out. `brings`: the signup that fills what
    the website's row left empty; `website` has it already.
    """

    command: Command
    website: Website
    transition: Transition
    proven: int
    brings: WebsiteCreated | None = None


def plan_command(command: Command, website: Website, cause: UUID | None) -> Planned | Stale | Ahead | Rejected:
    """Say what a command means for its locked website. The order of the questions is A4's.

    Args:
        command: what is asked.
        website: its row, under its lock.
        cause: the message by which the website came where it is; None where it has not moved yet.
    """
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
            return Planned(command, website, transition, _proven(command, cause))
        case Passed(why):
            return Stale(why)
        case Illegal(why):
            if command.created:
                return Stale(f"the signup is accounted for: the website is {website.state}")
            return Rejected(Reason.ILLEGAL, why)
        case never:
            assert_never(never)


def filled(website: Website, signup: WebsiteCreated | None) -> Website:
    """Return the website with what its row left empty filled in from its signup; what the row says wins."""
    if signup is None or website.state in SETTLED:
        return website
    email = signup.owner.email if isinstance(signup.owner, OwnerByEmail) else None
    return replace(
        website,
        subdomain=website.subdomain or signup.subdomain,
        site_type=website.site_type or signup.site_type,
        seed_pack_name=website.seed_pack_name or signup.seed_pack,
        owner_email=website.owner_email or email,
        request={**signup.request, **website.request},
    )


def named_user(signup: WebsiteCreated) -> int | None:
    """Return the id of the user whom a signup names as its owner."""
    return signup.owner.user_id if isinstance(signup.owner, OwnerById) else None


def unknown_user(signup: WebsiteCreated) -> Rejected:
    """Return what becomes of a signup whose owner is not there."""
    return Rejected(
        Reason.UNKNOWN_USER,
        f"website {signup.website_id}: there is no user {named_user(signup)}; insert the user, then redrive this",
    )


def _proven(command: Command, cause: UUID | None) -> int:
    """Return the seq whose event a command proves to be out, since that goes before it.

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
