"""What is done for signups around the lock: their websites and users are inserted before it, and the stored owners read
behind it, with whom they are compared."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from consumer.domain.outcomes import Outcome, Rejected
from consumer.domain.records import Locked, StoredOwners
from consumer.messages.inbound import Command
from consumer.provisioning.judgement import OwnersById
from consumer.provisioning.planning import named_owner, named_user, unknown_user, user_taken
from consumer.provisioning.signup_conflicts import users_to_compare
from consumer.store.provisioning_statements import Transaction
from seeders.owners import insert_users
from statemachine import Trigger


@dataclass(frozen=True, slots=True)
class Registration:
    """What was done for the signups of a batch before the lock.

    `new`: the websites that this very transaction inserted. `refusals`: of signups whose owner may not be named, by
    website id; they register nothing.
    """

    new: frozenset[int] = frozenset()
    refusals: Mapping[int, Rejected] = field(default_factory=dict)


NOTHING = Registration()


class UserSkippedError(Exception):
    """An owner who was named by address is not there: an insert that skips conflicts skips an id that is taken, too."""


class UserNotNeededError(Exception):
    """Users were inserted before the lock for commands that assign no owner: because they are rejected, or have to wait
    for their lock, or nothing is left to do. All is rolled back, and the other commands are done again without them."""

    def __init__(self, outcomes: Mapping[int, Outcome]) -> None:
        super().__init__(f"users were inserted for {len(outcomes)} websites that take no owner now")
        self.outcomes = outcomes
        """By website id."""


async def register(unit: Transaction, commands: Sequence[Command], owner_by_id: OwnersById) -> Registration:
    """Insert websites that signups bring, before any lock, and find out which of them name an owner that may not be."""
    signups = [command.created for command in commands if command.created]
    named = {signup.website_id: user for signup in signups if (user := named_user(signup)) is not None}
    known = await unit.known_users(set(named.values())) if named else set()
    taken = await unit.users_of_others(named) if named and owner_by_id == "without_website" else set()
    refusals: dict[int, Rejected] = {}
    for signup in signups:
        if signup.website_id in named and named[signup.website_id] not in known:
            refusals[signup.website_id] = unknown_user(signup)
        elif signup.website_id in taken:
            refusals[signup.website_id] = user_taken(signup)
    new = [signup for signup in signups if signup.registers and signup.website_id not in refusals]
    return Registration(frozenset(await unit.register(new)) if new else frozenset(), refusals)


async def insert_named_users(unit: Transaction, commands: Iterable[Command]) -> set[int]:
    """Insert the users whom assign_owner needs, before any lock; return the websites for which one was inserted."""
    owners = [
        named_owner(command.website_id, command.created)
        for command in commands
        if command.trigger == Trigger.ASSIGN_OWNER
    ]
    return await insert_users(unit.connection, owners) if owners else set()


async def stored_owners(
    unit: Transaction, commands: Iterable[Command], locked: Mapping[int, Locked], new: frozenset[int]
) -> StoredOwners:
    """Read with whom signups are compared that name an owner. Not for websites that were just inserted: their signups
    have named all that there is, and what is left of an earlier website with that id owns nothing."""
    websites, users = [], set[int]()
    for command in commands:
        signup, found = command.created, locked.get(command.website_id)
        if signup is None or signup.owner is None or found is None or found.done or command.website_id in new:
            continue
        websites.append(command.website_id)
        users |= users_to_compare(signup, found.website.request)
    return await unit.stored_owners(websites, users) if websites else StoredOwners()
