"""Signups from the command line: makes them, publishes them, waits for what becomes of them."""

import asyncio
import random
import time
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from consumer.broker import Broker
from consumer.messages import WebsiteCreated
from consumer.store import Store
from consumer.topology import Topology
from ops import reading
from ops.looking import dead_letters
from ops.sending import publish_all, publishing, website_created

POLL_SECONDS = 0.2
REJECTED_AFTER_SECONDS = 2.0
"""How long a website may be unknown before the dead letters are searched for its signup."""
ADJECTIVES = ("sunny", "quiet", "bright", "golden", "green", "silver", "coastal", "royal", "gentle", "open")
NOUNS = ("meadow", "harbour", "garden", "terrace", "hill", "river", "orchard", "bay", "square", "grove")


def check(options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the bodies that options of the command line mean, less the ids that are still to be reserved.

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
    said = {key: value for key, value in body.items() if value is not None}
    try:
        WebsiteCreated.model_validate({"website_id": 1, **said})
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        raise ValueError(f"{first['loc'][0]}: {first['msg'].removeprefix('Value error, ')}") from None
    return [said] * options["count"]


async def publish(
    store: Store, broker: Broker, namespace: str, signups: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Publish signups, confirmed, and return their bodies with message ids; a website without an id is made up.

    Raises:
        BrokerError: the broker did not confirm.
    """
    nameless = [signup for signup in signups if "website_id" not in signup]
    ids = iter(await reading.reserve_ids(store, len(nameless)) if nameless else [])
    bodies = [
        {**signup} if "website_id" in signup else _made_up({**signup, "website_id": next(ids)}) for signup in signups
    ]
    topology = Topology(namespace)
    messages = [website_created(topology, body) for body in bodies]
    async with publishing(broker) as session:
        await publish_all(session, messages)
    return [{**body, "message_id": message.message_id} for body, message in zip(bodies, messages, strict=True)]


def _made_up(body: dict[str, Any]) -> dict[str, Any]:
    """Complete a signup that names no website: it is made to try things out."""
    website_id = body["website_id"]
    name = f"{random.choice(ADJECTIVES)}-{random.choice(NOUNS)}-{website_id}"  # noqa: S311 - a name, no secret
    body.setdefault("subdomain", name[:40].rstrip("-"))
    body.setdefault("owner", {"email": f"owner-{website_id}@example.com", "name": "Sample Owner"})
    return body


async def wait_for(
    store: Store, broker: Broker, namespace: str, bodies: Sequence[Mapping[str, Any]], timeout_seconds: float
) -> list[dict[str, Any]]:
    """Wait until each website rests or its signup was rejected; return what became of them, in order."""
    began = time.monotonic()
    results: dict[int, dict[str, Any]] = {}
    searched = 0.0
    while left := [body["website_id"] for body in bodies if body["website_id"] not in results]:
        waited = time.monotonic() - began
        statuses = {status["website_id"]: status for status in await reading.statuses(store, left)}
        results |= {website_id: status for website_id, status in statuses.items() if reading.at_rest(status)}
        unknown = set(left) - set(statuses)
        if waited > timeout_seconds:
            results |= {website_id: _timed_out(website_id, statuses, timeout_seconds) for website_id in left}
        elif unknown and waited - searched > REJECTED_AFTER_SECONDS:
            searched = waited
            results |= await _rejected(broker, namespace, {str(body["message_id"]): body for body in bodies}, unknown)
        await asyncio.sleep(POLL_SECONDS if len(results) < len(bodies) else 0)
    for website_id, result in results.items():
        if result["state"] == "live":
            # A website of the existing product may be live without a history of ours.
            result["url"] = next((row["url"] for row in reversed(await reading.history(store, website_id))), None)
    return [results[body["website_id"]] for body in bodies]


def _timed_out(website_id: int, statuses: Mapping[int, dict[str, Any]], seconds: float) -> dict[str, Any]:
    status = statuses.get(website_id)
    if status is None:
        waiting = f"not registered yet after {seconds:g} s; are workers running?"
        return {"website_id": website_id, "state": "unknown", "missing": [], "error": waiting}
    reason = status["attempt_error"]
    waiting = f"still {status['state']} after {seconds:g} s" + (f": {reason}" if reason else "")
    return {**status, "error": f"{waiting}; are workers running?"}


async def _rejected(
    broker: Broker, namespace: str, sent: Mapping[str, Mapping[str, Any]], unknown: set[int]
) -> dict[int, dict[str, Any]]:
    letters = await dead_letters(broker, namespace)
    found = {}
    for letter in letters:
        body = sent.get(str(letter["message_id"]))
        if body and body["website_id"] in unknown:
            website_id = body["website_id"]
            found[website_id] = {
                "website_id": website_id,
                "state": "rejected",
                "error": f"{letter['reason']}: {letter['error']}",
                "missing": [],
            }
    return found
