"""What dead letters would come to if they were sent back now, judged on today's data. Reads only.

It asks what the workers ask, in their order and by their own functions: can it be read, was it carried out before, is
there such a website, does the machine have such an edge. What a step would seed it does not forecast.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, assert_never
from uuid import UUID

from consumer.broker import Delivery
from consumer.messages import Command, Poison, WebsiteCreated, decode
from consumer.outcomes import Ahead, Rejected, Stale
from consumer.planning import Planned, filled, named_user, plan_command, unknown_user
from consumer.store import Store, Transaction, Website, website_of
from consumer.topology import Topology
from ops.looking import told
from ops.reading import NOT_OURS, SQL, our_state
from ops.redriving import as_sent_back, original
from statemachine import CHAIN, Advance, Facts, Transition, Trigger, judge

ANY = Topology("any")
"""Which namespace does not matter here: a message that comes straight from its queue is read without it."""
SEEDING = frozenset(
    {
        Trigger.ASSIGN_OWNER,
        Trigger.COMPLETE_AGENCY,
        Trigger.COMPLETE_LINKS,
        Trigger.COMPLETE_FIELD_KEYS,
        Trigger.SEED_PROPERTIES,
    }
)
"""Their guards are judged after they have made them true."""


class Prospect(StrEnum):
    """What is to be expected of a dead letter that is sent back."""

    CARRIED_OUT = "carried_out"
    ALREADY_DONE = "already_done"
    STALE = "stale"
    AHEAD = "ahead"
    POISON = "poison"
    ILLEGAL = "illegal"
    UNKNOWN_WEBSITE = "unknown_website"
    UNKNOWN_USER = "unknown_user"
    SUBDOMAIN_TAKEN = "subdomain_taken"
    REFUSED = "refused"


WORDS = {
    Prospect.CARRIED_OUT: "may be carried out",
    Prospect.ALREADY_DONE: "already done",
    Prospect.STALE: "stale",
    Prospect.AHEAD: "ahead of their websites",
    Prospect.POISON: "poison again",
    Prospect.ILLEGAL: "illegal again",
    Prospect.UNKNOWN_WEBSITE: "without a website again",
    Prospect.UNKNOWN_USER: "without their user again",
    Prospect.SUBDOMAIN_TAKEN: "with a subdomain that is taken",
    Prospect.REFUSED: "refused again",
}
NOTHING = frozenset({Prospect.ALREADY_DONE, Prospect.STALE, Prospect.AHEAD})
"""Acked without effect; all but these and what is carried out come back as dead letters."""

Answer = tuple[Prospect, str]


@dataclass(frozen=True, slots=True)
class Known:
    """What the database says about the websites, messages, subdomains and users that dead letters name.

    `foreign`: websites in a state of the existing product's own. `done`: pairs of website and message.
    """

    websites: Mapping[int, Website] = field(default_factory=dict)
    foreign: frozenset[int] = frozenset()
    facts: Mapping[int, Facts] = field(default_factory=dict)
    done: frozenset[tuple[int, UUID]] = frozenset()
    subdomains: Mapping[str, int] = field(default_factory=dict)
    users: frozenset[int] = frozenset()


async def reconsider(store: Store, letters: Sequence[Delivery]) -> list[dict[str, Any]]:
    """Return dead letters as `told` does, each with its `prospect`, a sentence `about` it, and what is wrong with it by
    its `contract`, None where nothing is."""
    read: list[Command | Poison] = []
    for letter in letters:
        try:
            read.append(decode(as_sent_back(letter, original(letter, ANY))))
        except Poison as poison:
            read.append(poison)
    known = await _known(store, [command for command in read if isinstance(command, Command)])
    results = []
    before: set[tuple[int, UUID]] = set()
    for letter, command in zip(letters, read, strict=True):
        prospect, about = prospect_of(command, known)
        if isinstance(command, Command):
            name = (command.website_id, command.message_id)
            if name in before and prospect == Prospect.CARRIED_OUT:
                prospect, about = Prospect.ALREADY_DONE, "another dead letter with its id would be carried out first"
            before.add(name)
        contract = str(command) if isinstance(command, Poison) else None
        results.append(told(letter) | {"prospect": prospect.value, "about": about, "contract": contract})
    return results


def prospect_of(command: Command | Poison, known: Known) -> Answer:
    """Return what one message would come to, and why. Pure; the order is that of `consumer.provision`."""
    if isinstance(command, Poison):
        return Prospect.POISON, str(command)
    if command.website_id in known.foreign:
        return Prospect.ILLEGAL, NOT_OURS
    if (command.website_id, command.message_id) in known.done:
        return Prospect.ALREADY_DONE, "it was carried out before"
    website, signup = known.websites.get(command.website_id), command.created
    if signup and named_user(signup) is not None and named_user(signup) not in known.users:
        return Prospect.UNKNOWN_USER, unknown_user(signup).error
    if website is None:
        return _unregistered(command, signup, known)
    return _of_website(command, website, known)


def summary(letters: Sequence[Mapping[str, Any]]) -> str:
    """Return what letters would come to as one sentence."""
    counted = Counter(Prospect(letter["prospect"]) for letter in letters)
    parts = [f"{counted[prospect]} {said}" for prospect, said in WORDS.items() if counted[prospect]]
    return f"{len(letters)} selected" + (f": {', '.join(parts)}" if parts else "")


def _of_website(command: Command, website: Website, known: Known) -> Answer:
    full = filled(website, command.created)
    owner = known.subdomains.get(full.subdomain or "", website.id)
    if full.subdomain != website.subdomain and owner != website.id:
        return Prospect.SUBDOMAIN_TAKEN, f"its subdomain belongs to website {owner}"
    match plan_command(command, website, None):
        case Planned(transition=transition):
            return _of_edge(transition, website, known.facts[website.id])
        case Stale(why):
            return Prospect.STALE, why
        case Ahead(why):
            return Prospect.AHEAD, why
        case Rejected(_, why):
            return Prospect.ILLEGAL, why
        case never:
            assert_never(never)


def _of_edge(edge: Transition, website: Website, facts: Facts) -> Answer:
    state, trigger = website.state, edge.trigger
    said = f"{trigger} from {state}"
    if trigger in SEEDING:
        return Prospect.CARRIED_OUT, said
    match judge(edge, facts, failed_from=website.failed_from):
        case Advance():
            return Prospect.CARRIED_OUT, said
        case lacking if state not in CHAIN:
            return Prospect.REFUSED, lacking.error
        case lacking:
            return Prospect.CARRIED_OUT, f"{said}, which does not succeed now: {lacking.error}"


def _unregistered(command: Command, signup: WebsiteCreated | None, known: Known) -> Answer:
    if signup is None or not signup.registers:
        return Prospect.UNKNOWN_WEBSITE, f"there is no website {command.website_id}"
    owner = known.subdomains.get(signup.subdomain or "")
    if owner is not None:
        return Prospect.SUBDOMAIN_TAKEN, f"its subdomain belongs to website {owner}"
    return Prospect.CARRIED_OUT, "it registers the website"


async def _known(store: Store, commands: Sequence[Command]) -> Known:
    """Ask for all that is needed, one statement a kind."""
    signups = [command.created for command in commands if command.created]
    ids = [command.website_id for command in commands]
    async with store.connection() as connection:
        unit = Transaction(connection)
        records = await connection.fetch(SQL["to_reconsider"], ids)
        done = await connection.fetch(SQL["carried_out"], ids, [command.message_id for command in commands])
        taken = await connection.fetch(SQL["subdomains"], [signup.subdomain for signup in signups if signup.subdomain])
        users = await unit.known_users({user for user in map(named_user, signups) if user is not None})
        ours = {record["id"]: record for record in records if our_state(record["provisioning_state"])}
        facts = await unit.facts({website_id: record["subdomain"] for website_id, record in ours.items()})
    return Known(
        {website_id: website_of(record) for website_id, record in ours.items()},
        frozenset(record["id"] for record in records) - frozenset(ours),
        facts,
        frozenset((record["website_id"], record["message_id"]) for record in done),
        {record["subdomain"]: record["id"] for record in taken},
        frozenset(users),
    )
