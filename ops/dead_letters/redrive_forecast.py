"""Forecasts what redriven dead letters would come to, judged on today's data. Reads only.

It judges as the workers do, in their order and by their own functions: can it be read, was it carried out before, is
there such a website, does the machine have such an edge. What a step would seed it does not forecast.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, assert_never
from uuid import UUID

from consumer.broker.protocol import Delivery
from consumer.broker.topology import Topology
from consumer.domain.existing_product_states import NOT_OURS, our_state
from consumer.domain.outcomes import Ahead, Rejected, Stale
from consumer.domain.records import StoredOwners, Website
from consumer.messages.inbound import Command, PoisonError, decode
from consumer.messages.inbound_contracts import WebsiteCreated
from consumer.provisioning.judgement import OwnersById
from consumer.provisioning.planning import (
    Planned,
    contradiction,
    filled,
    named_owner,
    named_user,
    plan_command,
    unknown_user,
    user_taken,
)
from consumer.provisioning.signup_conflicts import users_to_compare
from consumer.provisioning.subdomain_holders import refused_by_pool, subdomain_owners
from consumer.store.database import Store
from consumer.store.provisioning_statements import Queries, website_of
from ops.dead_letters.queue_reader import summarize
from ops.dead_letters.redriven_messages import as_redelivered, original_message
from seeders.sql_loader import read_statements
from seeders.step_bindings import seeds
from statemachine import CHAIN, Advance, Facts, Transition, judge, unproven_step

SQL = read_statements("ops.dead_letters.sql")

ANY_TOPOLOGY = Topology("any")
"""The namespace does not matter here: a message that comes straight from its queue is read without it."""


RESERVED = "its subdomain is reserved for another owner, in the pool of the existing product"


class RedriveProspect(StrEnum):
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
    USER_TAKEN = "user_taken"
    CONFLICT = "conflict"
    REFUSED = "refused"


PROSPECT_TEXTS = {
    RedriveProspect.CARRIED_OUT: "may be carried out",
    RedriveProspect.ALREADY_DONE: "already done",
    RedriveProspect.STALE: "stale",
    RedriveProspect.AHEAD: "ahead of their websites",
    RedriveProspect.POISON: "poison again",
    RedriveProspect.ILLEGAL: "illegal again",
    RedriveProspect.UNKNOWN_WEBSITE: "without a website again",
    RedriveProspect.UNKNOWN_USER: "without their user again",
    RedriveProspect.SUBDOMAIN_TAKEN: "with a subdomain that is taken",
    RedriveProspect.USER_TAKEN: "with a user of another website again",
    RedriveProspect.CONFLICT: "in conflict with their websites again",
    RedriveProspect.REFUSED: "refused again",
}

RedriveForecast = tuple[RedriveProspect, str]
"""A prospect and a sentence about it."""


@dataclass(frozen=True, slots=True)
class ReferencedRows:
    """The rows that dead letters refer to: websites, applied messages, owners of subdomains, users.

    `foreign`: websites in a state of the existing product's own. `done`: pairs of website id and message id. `owners`:
    with whom signups are compared. `taken`: websites that would get a user of another one, where that is forbidden.
    `reserved`: websites whose signup brings a subdomain that somebody else has in the existing product's pool.
    """

    websites: Mapping[int, Website] = field(default_factory=dict)
    foreign: frozenset[int] = frozenset()
    facts: Mapping[int, Facts] = field(default_factory=dict)
    done: frozenset[tuple[int, UUID]] = frozenset()
    subdomains: Mapping[str, int] = field(default_factory=dict)
    users: frozenset[int] = frozenset()
    owners: StoredOwners = field(default_factory=StoredOwners)
    taken: frozenset[int] = frozenset()
    reserved: frozenset[int] = frozenset()


async def forecast_redrive(
    store: Store,
    deliveries: Sequence[Delivery],
    owner_by_id: OwnersById = "any",
    earlier: set[tuple[int, UUID]] | None = None,
) -> list[dict[str, Any]]:
    """Return summaries of dead letters, each with its `prospect`, a sentence `about` it, and what breaks its
    `contract`, None where nothing does.

    `owner_by_id`: the setting that the workers have, too. `earlier`: websites and ids of messages that are sent back
    before these; what these are is added.
    """
    decoded: list[Command | PoisonError] = []
    for delivery in deliveries:
        try:
            decoded.append(decode(as_redelivered(delivery, original_message(delivery, ANY_TOPOLOGY))))
        except PoisonError as poison:
            decoded.append(poison)
    rows = await _read_rows(store, [command for command in decoded if isinstance(command, Command)], owner_by_id)
    results = []
    earlier = set() if earlier is None else earlier
    for delivery, command in zip(deliveries, decoded, strict=True):
        prospect, about = redrive_prospect(command, rows)
        if isinstance(command, Command):
            key = (command.website_id, command.message_id)
            if key in earlier and prospect == RedriveProspect.CARRIED_OUT:
                about = "another dead letter with its id would be carried out first"
                prospect = RedriveProspect.ALREADY_DONE
            earlier.add(key)
        contract = str(command) if isinstance(command, PoisonError) else None
        results.append(summarize(delivery) | {"prospect": prospect.value, "about": about, "contract": contract})
    return results


def redrive_prospect(command: Command | PoisonError, rows: ReferencedRows) -> RedriveForecast:
    """Return what one message would come to, and why. Pure; the order is that of `consumer.provisioning.use_case`."""
    if isinstance(command, PoisonError):
        return RedriveProspect.POISON, str(command)
    if command.website_id in rows.foreign:
        return RedriveProspect.ILLEGAL, NOT_OURS
    if (command.website_id, command.message_id) in rows.done:
        return RedriveProspect.ALREADY_DONE, "it was carried out before"
    website, signup = rows.websites.get(command.website_id), command.created
    if signup and website and (rejected := contradiction(signup, website, rows.owners)):
        return RedriveProspect.CONFLICT, rejected.error
    if signup and named_user(signup) is not None and named_user(signup) not in rows.users:
        return RedriveProspect.UNKNOWN_USER, unknown_user(signup).error
    if signup and command.website_id in rows.taken:
        return RedriveProspect.USER_TAKEN, user_taken(signup).error
    if website is None:
        return _unregistered(command, signup, rows)
    return _of_website(command, website, rows)


def redrive_summary(forecasts: Sequence[Mapping[str, Any]]) -> str:
    """Return what `forecast_redrive` found as one sentence."""
    counted = Counter(RedriveProspect(forecast["prospect"]) for forecast in forecasts)
    parts = [f"{counted[prospect]} {text}" for prospect, text in PROSPECT_TEXTS.items() if counted[prospect]]
    return f"{len(forecasts)} selected" + (f": {', '.join(parts)}" if parts else "")


def _of_website(command: Command, website: Website, rows: ReferencedRows) -> RedriveForecast:
    completed = filled(website, command.created)
    owner = rows.subdomains.get(completed.subdomain or "", website.id)
    if completed.subdomain != website.subdomain and owner != website.id:
        return RedriveProspect.SUBDOMAIN_TAKEN, f"its subdomain belongs to website {owner}"
    if completed.subdomain != website.subdomain and website.id in rows.reserved:
        return RedriveProspect.SUBDOMAIN_TAKEN, RESERVED
    match plan_command(command, website, None):
        case Planned(transition=transition, proves_guards=proves_guards):
            facts = rows.facts[website.id]
            unproven = unproven_step(facts, website.state) if proves_guards else None
            return _of_edge(unproven or transition, website, facts)
        case Stale(why):
            return RedriveProspect.STALE, why
        case Ahead(why):
            return RedriveProspect.AHEAD, why
        case Rejected(_, why):
            return RedriveProspect.ILLEGAL, why
        case never:
            assert_never(never)


def _of_edge(edge: Transition, website: Website, facts: Facts) -> RedriveForecast:
    state, trigger = website.state, edge.trigger
    about = f"{trigger} from {state}"
    if seeds(trigger):
        return RedriveProspect.CARRIED_OUT, about
    match judge(edge, facts, failed_from=website.failed_from):
        case Advance():
            return RedriveProspect.CARRIED_OUT, about
        case unmet if state not in CHAIN:
            return RedriveProspect.REFUSED, unmet.error
        case unmet:
            return RedriveProspect.CARRIED_OUT, f"{about}, which does not succeed now: {unmet.error}"


def _unregistered(command: Command, signup: WebsiteCreated | None, rows: ReferencedRows) -> RedriveForecast:
    if signup is None or not signup.registers:
        return RedriveProspect.UNKNOWN_WEBSITE, f"there is no website {command.website_id}"
    owner = rows.subdomains.get(signup.subdomain or "")
    if owner is not None:
        return RedriveProspect.SUBDOMAIN_TAKEN, f"its subdomain belongs to website {owner}"
    if signup.website_id in rows.reserved:
        return RedriveProspect.SUBDOMAIN_TAKEN, RESERVED
    return RedriveProspect.CARRIED_OUT, "it registers the website"


async def _read_rows(store: Store, commands: Sequence[Command], owner_by_id: OwnersById) -> ReferencedRows:
    """Read all rows that commands refer to, one statement a kind."""
    signups = [command.created for command in commands if command.created]
    ids = [command.website_id for command in commands]
    async with store.connection() as connection:
        queries = Queries(connection)
        records = await connection.fetch(SQL["websites_of_dead_letters"], ids)
        done = await connection.fetch(SQL["applied_messages"], ids, [command.message_id for command in commands])
        subdomains = [signup.subdomain for signup in signups if signup.subdomain]
        taken = await subdomain_owners(connection, subdomains)
        named = {each.website_id: user for each in signups if (user := named_user(each)) is not None}
        reserved = await refused_by_pool(connection, [_claim_on_name(signup) for signup in signups])
        users = await queries.known_users({user for each in signups if (user := named_user(each)) is not None})
        ours = {record["id"]: record for record in records if our_state(record["provisioning_state"])}
        websites = {website_id: website_of(record) for website_id, record in ours.items()}
        compared = [each for each in signups if each.website_id in websites]
        owners = await queries.stored_owners(
            websites, {user for each in compared for user in users_to_compare(each, websites[each.website_id].request)}
        )
        taken_users = await queries.users_of_others(named) if owner_by_id == "without_website" else set()
        facts = await queries.facts({website_id: record["subdomain"] for website_id, record in ours.items()})
    return ReferencedRows(
        websites,
        frozenset(record["id"] for record in records) - frozenset(ours),
        facts,
        frozenset((record["website_id"], record["message_id"]) for record in done),
        taken,
        frozenset(users),
        owners,
        frozenset(taken_users),
        reserved,
    )


def _claim_on_name(signup: WebsiteCreated) -> tuple[int, str | None, str | None, int | None]:
    return signup.website_id, signup.subdomain, named_owner(signup.website_id, signup).email, named_user(signup)
