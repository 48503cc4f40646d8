"""Somebody who knows the numbers of websites, may publish, and names himself as their owner. He gets none of them."""

import asyncio
import json
import random
import uuid
from typing import Any

from consumer.messages.rejected_signups import WEBSITE_REJECTED
from tests.simulation.nemesis import FAULT_SECONDS
from tests.simulation.world import TOPOLOGY, World

ADDRESS = "stranger@example.com"


def begin(world: World, seed: int) -> None:
    """Let somebody publish in some runs. The dice are his own: runs without him stay as they were."""
    dice = random.Random(f"stranger {seed}")
    for _ in range(dice.choice((0, 0, 1, 2, 4))):
        world.spawn(_claim_one(world, dice, dice.random() * FAULT_SECONDS))


async def _claim_one(world: World, dice: random.Random, seconds: float) -> None:
    """Publish a signup for a website whose owner is known by then, with another owner and perhaps another subdomain."""
    await asyncio.sleep(seconds)
    known = [website_id for website_id in world.database.tables["websites"] if _has_owner(world, website_id)]
    if not known:
        return
    website_id = dice.choice(known)
    body: dict[str, Any] = {"website_id": website_id, "owner": {"email": ADDRESS}}
    if dice.random() < 0.5:
        body["subdomain"] = f"strangers-{website_id}"
    world.strangers.add((await world.send("website.created", body)).message_id)


def _has_owner(world: World, website_id: int) -> bool:
    row = world.database.tables["websites"][website_id]
    return bool(
        ("owner", True) in world.database.tables["memberships"].get(website_id, {}).values()
        or json.loads(row["provisioning_request"] or "{}").get("owner")
    )


def check_strangers(world: World) -> None:
    """Each message of the unknown user is a dead letter that says why, an event says so, too, and nothing of it is
    in the database."""
    letters = {letter.message_id: letter.headers["x-reason"] for letter in world.broker.ready(TOPOLOGY.dead_letters)}
    events = {message.message_id for message in (*world.broker.ready(TOPOLOGY.subscriber), *world.broker.nacked)}
    gone = world.lost | world.broker.vanished
    for message_id in world.strangers - gone:
        # An error that kept coming back may be what ended it.
        assert letters.get(message_id) in ("conflict", "error"), f"{world.sent[message_id]}: {letters.get(message_id)}"
        if letters[message_id] == "conflict":
            assert str(uuid.uuid5(uuid.UUID(message_id), WEBSITE_REJECTED)) in events, f"no event for {message_id}"
    tables = world.database.tables
    assert ADDRESS not in tables["users"]
    for website_id, row in tables["websites"].items():
        assert ADDRESS not in (row["provisioning_request"] or ""), f"website {website_id} was taken over"
        assert row["owner_email"] != ADDRESS, f"website {website_id} was taken over"
        assert not (row["subdomain"] or "").startswith("strangers-"), f"website {website_id} was renamed"
