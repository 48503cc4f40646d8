"""An operator who starts what is asleep, by the function behind `provisioner start`: once while things go wrong, and
after that until nothing sleeps. In some of the runs in which the existing product has websites."""

import asyncio
import random
from dataclasses import replace
from typing import Any
from uuid import UUID

import asyncpg

from consumer.broker.protocol import BrokerError, Message
from ops.websites import start_asleep
from tests.simulation.store import SimulatedStore
from tests.simulation.world import TOPOLOGY, Sent, World

AWAY = (BrokerError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError)
AGAIN_SECONDS = 2.0
ROUNDS_MAX = 30
CHANCE = 0.5
website_created = start_asleep.website_created


def draw(world: World, seed: int) -> random.Random | None:
    """Return the operator's dice; None in runs without one, which stay as they were."""
    dice = random.Random(f"operator {seed}")
    return dice if world.product and dice.random() < CHANCE else None


async def start_once(world: World, dice: random.Random, after_seconds: float) -> None:
    """Start what is asleep then, whatever comes of it."""
    await asyncio.sleep(after_seconds)
    await _start(world, dice)


async def start_all(world: World, dice: random.Random) -> None:
    """Start what is asleep until nothing is, as somebody does who reads what came of it."""
    for _ in range(ROUNDS_MAX):
        if await _start(world, dice) == 0:
            world.nobody_sleeps = True
            return
        await asyncio.sleep(AGAIN_SECONDS)
    raise AssertionError(f"websites still sleep after {ROUNDS_MAX} starts")


async def _start(world: World, dice: random.Random) -> int | None:
    """Return how many websites were asleep; None where database or broker was away."""
    store = SimulatedStore(world.server, size=2)

    def remembered(topology: Any, body: dict[str, Any]) -> Message:
        """Return the message under an id that is drawn, so that a run can be repeated; the checker is to know it."""
        message_id = str(UUID(int=dice.getrandbits(128), version=4))
        world.sent[message_id] = Sent(message_id, "website.created", body, at=world.loop.time())
        return replace(website_created(topology, body), message_id=message_id, headers={})

    start_asleep.website_created = remembered
    try:
        ids = await start_asleep.asleep_website_ids(store)
        await start_asleep.start_websites(
            store, world.broker, TOPOLOGY.namespace, ids, actor="cli:ana", reason="they sleep"
        )
    except AWAY:
        return None
    finally:
        start_asleep.website_created = website_created
        await store.close()
    return len(ids)
