"""Submits signups by hand: makes them of options, publishes them, and waits until each website rests or is rejected."""

import asyncio
import json
import random
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import UUID, uuid5

from pydantic import ValidationError

from consumer.broker.protocol import Broker
from consumer.broker.topology import Topology
from consumer.domain.validation_texts import validation_text
from consumer.messages.inbound_contracts import WebsiteCreated
from consumer.provisioning.signup_conflicts import conflict, users_to_compare
from consumer.store.database import Store
from consumer.store.sequences import WEBSITES, id_sequences, move_past_rows
from ops.audit.trail import Action, ActionItem
from ops.dead_letters.queue_reader import peek_dead_letters
from ops.errors import InvalidInputError
from ops.publishing import publish_all, publishing, website_created
from ops.websites import queries
from ops.websites.audit_items import PUBLISHED
from seeders.sql_loader import read_statements

SQL = read_statements("ops.websites.sql")

SAME_SIGNUP = UUID("6d2b1c3e-8f57-5c0e-b2f4-3c6f0a9d7e11")
"""In which the message ids of signups without one are made."""
POLL_SECONDS = 0.2
REJECTED_AFTER_SECONDS = 2.0
"""How long a website may be unknown before the dead letters are searched for its signup."""
MAX_DRAWS = 20
"""Each draws as many ids as are still to be found; the sequence is ahead of the table but for ids beyond its reach."""
ADJECTIVES = ("sunny", "quiet", "bright", "golden", "green", "silver", "coastal", "royal", "gentle", "open")
NOUNS = ("meadow", "harbour", "garden", "terrace", "hill", "river", "orchard", "bay", "square", "grove")


def signup_bodies(options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the bodies of website.created that command-line options mean, without the ids still to be reserved.

    Raises:
        ValueError: saying which option is wrong.
    """
    owner: dict[str, Any] | None = None
    email, name = options["owner_email"], options["owner_name"]
    if options["owner_id"]:
        if email is not None or name is not None:
            raise ValueError("--owner-id names a user that exists: leave --owner-email and --owner-name out")
        owner = {"user_id": options["owner_id"]}
    elif email is not None:
        # An empty one is refused below: a script whose variable is empty must not get the sample owner.
        owner = {"email": email}
        if name:
            owner["name"] = name
    elif name is not None:
        raise ValueError("--owner-name goes with --owner-email, which is missing")
    body = {
        "website_id": options["website_id"],
        "subdomain": options["subdomain"],
        "site_type": options["site_type"],
        "seed_pack": options["seed_pack"],
        "owner": owner,
        "skip_properties": options["skip_properties"],
        "auto_go_live": not options["hold"],
    }
    given = {key: value for key, value in body.items() if value is not None}
    try:
        WebsiteCreated.model_validate({"website_id": 1, **given})
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        raise ValueError(f"{first['loc'][0]}: {validation_text(first)}") from None
    return [given] * options["count"]


async def publish_signups(
    store: Store, broker: Broker, namespace: str, signups: Sequence[Mapping[str, Any]], action: Action | None = None
) -> list[dict[str, Any]]:
    """Publish signups, confirmed, and return their bodies with message ids; one without a website id gets the next.

    `action` records each of them.

    Raises:
        BrokerError: the broker did not confirm.
    """
    nameless = [signup for signup in signups if "website_id" not in signup]
    ids = iter(await reserve_ids(store, len(nameless)) if nameless else [])
    bodies = [
        {**signup} if "website_id" in signup else _with_sample_values({**signup, "website_id": next(ids)})
        for signup in signups
    ]
    topology = Topology(namespace)
    messages = [website_created(topology, body) for body in bodies]
    numbers: list[int] = []
    if action:
        action.about("website", [body["website_id"] for body in bodies])
        pairs = zip(messages, bodies, strict=True)
        numbers = await action.record([ActionItem(sent.message_id, body["website_id"]) for sent, body in pairs])
    async with publishing(broker) as session:
        await publish_all(session, messages)
    if action:
        await action.settle(dict.fromkeys(numbers, PUBLISHED))
    return [{**body, "message_id": message.message_id} for body, message in zip(bodies, messages, strict=True)]


def message_id_of(signup: WebsiteCreated) -> UUID:
    """Return the message id of a signup that has none of its own: the same signup has the same, however often."""
    return uuid5(SAME_SIGNUP, json.dumps(signup.model_dump(mode="json"), sort_keys=True))


async def publish_signup(broker: Broker, namespace: str, signup: WebsiteCreated, message_id: UUID) -> None:
    """Publish one signup, confirmed. Published again under the same message id, it is carried out once.

    Raises:
        BrokerError: the broker did not confirm; nobody knows whether it has the message.
    """
    body = signup.model_dump(mode="json", exclude_unset=True)
    async with publishing(broker) as session:
        await session.publish(website_created(Topology(namespace), body, message_id))


async def reserve_ids(store: Store, count: int) -> list[int]:
    """Reserve ids for new websites.

    A sequence that a signup system with ids of its own, or a restore, has left behind is moved on first.

    Raises:
        InvalidInputError: there is no sequence to draw from, or what it gives is there already.
    """
    ids: list[int] = []
    async with store.connection() as connection:
        sequences = await id_sequences(connection, [WEBSITES])
        if not sequences:
            await connection.execute("SELECT FROM pwb_websites LIMIT 0")  # without the table its error says so
            raise InvalidInputError("website_id: pwb_websites has no sequence for its ids; name the id yourself")
        await move_past_rows(connection, sequences[0])
        for _ in range(MAX_DRAWS):
            records = await connection.fetch(SQL["reserve_ids"], sequences[0].name, count - len(ids))
            ids += [record["id"] for record in records]
            if len(ids) == count:
                return ids
    raise InvalidInputError(
        f"website_id: {sequences[0].name} gives ids that are there already; `provisioner doctor` says what to do"
    )


def _with_sample_values(body: dict[str, Any]) -> dict[str, Any]:
    """Complete a signup that names no website, which is for trying things out, with a sample subdomain and owner."""
    website_id = body["website_id"]
    name = f"{random.choice(ADJECTIVES)}-{random.choice(NOUNS)}-{website_id}"  # noqa: S311 - a name, no secret
    body.setdefault("subdomain", name[:40].rstrip("-"))
    body.setdefault("owner", {"email": f"owner-{website_id}@example.com", "name": "Sample Owner"})
    return body


async def wait_for_signups(
    store: Store,
    broker: Broker,
    namespace: str,
    bodies: Sequence[Mapping[str, Any]],
    timeout_seconds: float,
    *,
    progress: Callable[[str], None] = lambda _: None,
) -> list[dict[str, Any]]:
    """Wait until each website rests or its signup was rejected; return what became of them, in order.

    A website that contradicts its signup, as the workers judge it, is somebody else's: its state is not returned, but
    `conflict`, and what differs.
    """
    began = time.monotonic()
    results: dict[int, dict[str, Any]] = {}
    searched_at = 0.0
    while left := [body["website_id"] for body in bodies if body["website_id"] not in results]:
        waited = time.monotonic() - began
        statuses = {status["website_id"]: status for status in await queries.statuses(store, left)}
        results |= {website_id: status for website_id, status in statuses.items() if queries.is_at_rest(status)}
        results |= await _conflicts(store, [body for body in bodies if body["website_id"] in statuses])
        unknown = set(left) - set(statuses)
        if waited > timeout_seconds:
            results = {website_id: _timed_out(website_id, statuses, timeout_seconds) for website_id in left} | results
        elif unknown and waited - searched_at > REJECTED_AFTER_SECONDS:
            searched_at = waited
            results |= await _find_rejected(
                broker, namespace, {str(body["message_id"]): body for body in bodies}, unknown
            )
        progress(f"{len(results)} of {len(bodies)} at rest after {waited:.0f} of {timeout_seconds:g} s")
        await asyncio.sleep(POLL_SECONDS if len(results) < len(bodies) else 0)
    for website_id, result in results.items():
        if result["state"] == "live":
            # A website of the existing product may be live without a history of ours.
            result["url"] = next((row["url"] for row in reversed(await queries.history(store, website_id))), None)
    return [results[body["website_id"]] for body in bodies]


async def _conflicts(store: Store, bodies: Sequence[Mapping[str, Any]]) -> dict[int, dict[str, Any]]:
    """Return the results of signups that contradict their websites: compared as the workers compare them."""
    if not bodies:
        return {}
    without_id = [{name: value for name, value in body.items() if name != "message_id"} for body in bodies]
    signups = {body["website_id"]: WebsiteCreated.model_validate(body) for body in without_id}
    async with store.queries() as unit:
        stored = {
            record["id"]: (record["subdomain"], record["owner_email"], json.loads(record["request"] or "{}"))
            for record in await unit.connection.fetch(SQL["stored_signups"], list(signups))
        }
        users = {user for key, (*_, request) in stored.items() for user in users_to_compare(signups[key], request)}
        owners = await unit.stored_owners(stored, users)
    results = {}
    for website_id, (subdomain, owner_email, request) in stored.items():
        signup = signups[website_id]
        how = conflict(signup, subdomain=subdomain, owner_email=owner_email, request=request, owners=owners)
        if how:
            results[website_id] = _conflicting(website_id, how)
    return results


def _conflicting(website_id: int, how: str) -> dict[str, Any]:
    error = (
        f"website {website_id} is not this signup's: {how}. Nothing of it is changed, and the message becomes a dead "
        "letter; submit again with an id of its own, or without --website-id, which reserves one"
    )
    return {"website_id": website_id, "state": "conflict", "missing": [], "error": error}


def _timed_out(website_id: int, statuses: Mapping[int, dict[str, Any]], seconds: float) -> dict[str, Any]:
    status = statuses.get(website_id)
    if status is None:
        waiting = f"not registered yet after {seconds:g} s; are workers running?"
        return {"website_id": website_id, "state": "unknown", "missing": [], "error": waiting}
    reason = status["attempt_error"]
    waiting = f"still {status['state']} after {seconds:g} s" + (f": {reason}" if reason else "")
    return {**status, "error": f"{waiting}; are workers running?"}


async def _find_rejected(
    broker: Broker, namespace: str, sent: Mapping[str, Mapping[str, Any]], unknown: set[int]
) -> dict[int, dict[str, Any]]:
    found = {}
    for dead_letter in await peek_dead_letters(broker, namespace):
        body = sent.get(str(dead_letter["message_id"]))
        if body and body["website_id"] in unknown:
            website_id = body["website_id"]
            found[website_id] = {
                "website_id": website_id,
                "state": "rejected",
                "error": f"{dead_letter['reason']}: {dead_letter['error']}",
                "missing": [],
            }
    return found
