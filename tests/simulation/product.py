"""The existing product: it inserts websites, moves them along the chain by itself, and publishes website.created.

It moves no website that this service has begun to provision. Some it moves over a guard that does not hold, to some it
adds their owner late, and some have slept since before this service came.
"""

import asyncio
import random
from dataclasses import dataclass, field
from typing import Any

from tests.invariants import CHAIN
from tests.simulation.database import Transaction
from tests.simulation.world import World

FIRST_ID = 101
LOCK_TIMEOUT_SECONDS = 60.0
MOVES_MAX = CHAIN.index("ready")
LATE_OWNER_SECONDS = 4.0
PAUSE_SECONDS = 0.5

NEEDS = {
    "owner_assigned": "owner",
    "agency_created": "agency",
    "links_created": "links",
    "field_keys_created": "field_keys",
}
"""What the product's guards ask for before they let a website into a state."""
ERRORS = {
    "owner": ("Owner assignment failed - no active owner membership", "owner membership"),
    "agency": ("Agency creation failed - no agency record found", "missing: agency"),
    "links": ("Links creation failed - need at least 3, have 2", "links (have 2, need 3)"),
    "field_keys": ("Field keys creation failed - need at least 5, have 4", "field_keys (have 4, need 5)"),
}
"""The error of a website that the product moved over such a guard: of its step, or in a list of what is missing."""


@dataclass(slots=True)
class Plan:
    """What the product does with one website.

    Attributes:
        moves: how many states it moves it on.
        asleep: whether it did so before this service came, so that the website has no due time.
        lacks: over which guard it moves it, if over any.
        owner_seconds: after how long it adds an owner that lacks, if ever.
        publishes: after how many moves it publishes website.created; each entry is one message.
        columns: of the website's row.
    """

    moves: int
    asleep: bool
    lacks: str | None
    owner_seconds: float | None
    publishes: tuple[int, ...]
    columns: dict[str, Any] = field(default_factory=dict)


def draw(dice: random.Random, website_id: int) -> Plan:
    """Draw what the product does with a website."""
    moves = dice.randrange(MOVES_MAX + 1)
    needed = [NEEDS[state] for state in CHAIN[1 : moves + 1] if state in NEEDS]
    lacks = dice.choice(needed) if needed and dice.random() < 0.3 else None
    late = lacks == "owner" and dice.random() < 0.7
    return Plan(
        moves=moves,
        asleep=dice.random() < 0.4,
        lacks=lacks,
        owner_seconds=dice.random() * LATE_OWNER_SECONDS if late else None,
        publishes=tuple(dice.randrange(moves + 1) for _ in range(dice.choice((0, 1, 1, 1, 2)))),
        columns={
            "subdomain": f"website-{website_id}",
            "site_type": "residential",
            "skip_properties": dice.random() < 0.3,
            "auto_go_live": dice.random() < 0.8,
        },
    )


def begin(world: World, seed: int) -> None:
    """Let the product have some websites in some runs. Its dice are its own: runs without it stay as they were."""
    dice = random.Random(f"product {seed}")
    for website_id in range(FIRST_ID, FIRST_ID + dice.choice((0, 0, 0, 1, 2, 4))):
        plan = draw(dice, website_id)
        world.product[website_id] = plan
        world.spawn(_provision(world, random.Random(f"product {seed} {website_id}"), website_id, plan))


async def _provision(world: World, dice: random.Random, website_id: int, plan: Plan) -> None:
    """Insert a website, move it, and publish."""
    user_id = world.database.add_user(f"product-{website_id}@example.com")
    columns = {**plan.columns, "provisioning_due_at": None} if plan.asleep else plan.columns
    world.database.add_website(website_id, **columns)
    if plan.lacks != "owner":
        _add_owner(world, website_id, user_id)
    for moved in range(plan.moves + 1):
        if moved and plan.asleep:
            _move_at_once(world, website_id, plan)
        elif moved:
            await asyncio.sleep(dice.random() * PAUSE_SECONDS)
            await _move(world, website_id, plan, moved)
        if not plan.asleep:
            await _publish(world, website_id, plan.publishes.count(moved))
    if plan.lacks == "owner" and plan.owner_seconds is not None:
        await asyncio.sleep(plan.owner_seconds)
        _add_owner(world, website_id, user_id)
    if plan.asleep:
        await asyncio.sleep(dice.random() * 10)
        await _publish(world, website_id, len(plan.publishes))


async def _publish(world: World, website_id: int, count: int) -> None:
    for _ in range(count):
        await world.send("website.created", {"website_id": website_id})


def _add_owner(world: World, website_id: int, user_id: int) -> None:
    memberships = world.database.tables["memberships"]
    memberships[website_id] = {**memberships.get(website_id, {}), user_id: ("owner", True)}


async def _move(world: World, website_id: int, plan: Plan, moved: int) -> None:
    """Move a website one state on: what it needs is inserted, then the state is changed, in one transaction."""
    unit = Transaction(world.database, LOCK_TIMEOUT_SECONDS)
    try:
        await unit.lock(("row", website_id))
        row = unit.get("websites", website_id)
        ours = row["provisioning_seq"] or row["provisioning_attempts"] or row["provisioning_request"]
        if ours or row["provisioning_state"] != CHAIN[moved - 1]:
            return
        await asyncio.sleep(0)
        _write(unit, website_id, CHAIN[moved], plan)
        unit.commit()
    finally:
        unit.rollback()


def _move_at_once(world: World, website_id: int, plan: Plan) -> None:
    unit = Transaction(world.database, LOCK_TIMEOUT_SECONDS)
    state = unit.get("websites", website_id)["provisioning_state"]
    _write(unit, website_id, CHAIN[CHAIN.index(state) + 1], plan)
    unit.commit()


def _write(unit: Transaction, website_id: int, state: str, plan: Plan) -> None:
    need = NEEDS.get(state)
    short = int(need == plan.lacks)
    if need == "agency" and not short:
        unit.add("agencies", website_id, ["agency"])
    elif need == "links":
        unit.add("links", website_id, ["home", "about", "contact"][: 3 - short])
    elif need == "field_keys":
        unit.add("field_keys", website_id, [f"types.{number}" for number in range(5 - short)])
    unit.update(website_id, provisioning_state=state)
