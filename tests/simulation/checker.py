"""What must hold once faults have stopped and all is drained. Safety: legal histories, one effect each, each log row's
event out and nothing else. Liveness: every website rests, nothing is owed, the queues are empty, no signup is lost."""

import json
from collections import Counter
from typing import Any

from tests.invariants import CHAIN, check_published, check_walks
from tests.simulation.database import BEGINNING
from tests.simulation.product import ERRORS
from tests.simulation.world import TOPOLOGY, World

SOON_SECONDS = 60.0
"""Within which a website comes to rest where nothing goes wrong; a slow pack and a late owner are well within it."""
RESTING = ("live", "failed", "suspended", "terminated")
CHILD_TABLES = {"agencies": 1, "links": 12, "field_keys": 16, "assets": 2, "sales": 1, "rentals": 1}

TARGETS = {
    "provisioning.go_live": "live",
    "provisioning.reactivate": "live",
    "provisioning.suspend": "suspended",
    "provisioning.terminate": "terminated",
    "provisioning.fail_provisioning": "failed",
}
"""Where a website is that needs nothing of what ops asked for."""


def is_quiet(world: World) -> bool:
    """Say whether nothing is owed and nothing under way."""
    for queue in (TOPOLOGY.commands, TOPOLOGY.signups):
        if not world.has(queue) or world.broker.ready(queue) or world.broker.unsettled(queue):
            return False
    return not owing(world)


def owing(world: World) -> list[str]:
    """Return what websites do not rest, or are owed something."""
    told = []
    for website_id, row in world.database.tables["websites"].items():
        if _sleeps(world, website_id, row):
            continue
        state = row["provisioning_state"]
        rests = state in RESTING or (state == "ready" and not row["provisioning_auto_go_live"])
        cleared = row["provisioning_due_at"] is None and row["provisioning_published_seq"] == row["provisioning_seq"]
        if not rests or not cleared or row["provisioning_attempts"]:
            told.append(
                f"website {website_id}: {state}, seq {row['provisioning_seq']}, published "
                f"{row['provisioning_published_seq']}, attempts {row['provisioning_attempts']}, due "
                f"{row['provisioning_due_at']}"
            )
    return told


def _sleeps(world: World, website_id: int, row: dict[str, Any]) -> bool:
    """Say whether a website may be left asleep: it slept when the run began, and no website.created has come for it."""
    plan = world.product.get(website_id)
    if plan is None or not plan.asleep or world.nobody_sleeps:
        return False
    letters = {letter.message_id for letter in world.broker.ready(TOPOLOGY.dead_letters)}
    gone = world.lost | world.broker.vanished | letters
    told = any(
        sent.type == "website.created" and sent.body.get("website_id") == website_id and sent.message_id not in gone
        for sent in world.sent.values()
    )
    return not told and row["provisioning_due_at"] is None and row["provisioning_seq"] == 0


def check(world: World) -> Counter[str]:
    """Check everything; return how many websites are in each state."""
    tables = world.database.tables
    rows = [tables["log"][key] for key in sorted(tables["log"])]
    check_walks(rows, tables["websites"], world.product)
    once = Counter((row["website_id"], row["message_id"]) for row in rows)
    assert max(once.values(), default=1) == 1, f"one message, several rows: {once.most_common(2)}"
    assert not world.database.surprises, f"a lock was not held: {world.database.surprises[0]}"
    _check_live(world)
    _check_soon(world)
    _check_effects(world)
    assert not (left := owing(world)), f"still owed something: {left}"
    events = [
        {"message_id": message.message_id, "type": message.type, "body": json.loads(message.body)}
        for message in (*world.broker.ready(TOPOLOGY.subscriber), *world.broker.nacked)
        if message.exchange == TOPOLOGY.events_exchange
    ]
    check_published(rows, events)
    _check_accounted(world)
    return Counter(row["provisioning_state"] for row in tables["websites"].values())


def _check_live(world: World) -> None:
    """I4: live only with every guard met; and without an excuse, live."""
    tables = world.database.tables
    gone = world.lost | world.broker.vanished
    unsigned = {sent.body.get("website_id") for sent in world.sent.values() if sent.message_id in gone}
    for website_id, row in tables["websites"].items():
        owners = [kind for kind in tables["memberships"].get(website_id, {}).values() if kind == ("owner", True)]
        met = (
            owners
            and tables["agencies"].get(website_id)
            and len(tables["links"].get(website_id, ())) >= 3
            and len(tables["field_keys"].get(website_id, ())) >= 5
            and row["subdomain"]
        )
        state = row["provisioning_state"]
        assert met or state != "live", f"website {website_id} is live with a guard unmet"
        expected = "live" if row["provisioning_auto_go_live"] else "ready"
        if _sleeps(world, website_id, row) or _failed_as_moved(world, website_id, row):
            continue
        assert world.taints or website_id in unsigned or state == expected, (
            f"website {website_id} is {state} ({row['provisioning_error']}), and nothing that happened excuses it"
        )


def _failed_as_moved(world: World, website_id: int, row: dict[str, Any]) -> bool:
    """Say whether a website failed for the guard over which the product had moved it, before any step was taken."""
    plan = world.product.get(website_id)
    if plan is None or plan.lacks is None or row["provisioning_state"] != "failed":
        return False
    failed_from = CHAIN.index(row["provisioning_failed_from"])
    of_step, listed = ERRORS[plan.lacks]
    error = of_step if failed_from < CHAIN.index("properties_seeded") else listed
    return failed_from <= plan.moves and error in row["provisioning_error"]


def _check_soon(world: World) -> None:
    """Without a fault, nobody waits for the ten minutes of an insert once website.created has been published."""
    if world.notes:
        return
    log = world.database.tables["log"]
    for sent in world.sent.values():
        if sent.message_id in world.strangers:
            continue  # rejected: it starts nothing
        website_id = sent.body.get("website_id")
        rows = [row["occurred_at"] for (of, _), row in log.items() if of == website_id]
        seconds = (max(rows) - BEGINNING).total_seconds() - sent.at if rows else 0
        assert seconds < SOON_SECONDS, f"website {website_id} came to rest {seconds:.0f} s after its website.created"


def _check_effects(world: World) -> None:
    """I3, I9: nothing is doubled, or another website's."""
    tables = world.database.tables
    for table, most in CHILD_TABLES.items():
        for website_id, keys in tables[table].items():
            assert website_id in tables["websites"], f"{table} of website {website_id}, which is not there"
            assert len(keys) == len(set(keys)) <= most, f"doubled {table} of website {website_id}: {keys}"
    assert len({row["id"] for row in tables["users"].values()}) == len(tables["users"])


def _check_accounted(world: World) -> None:
    """I2, I7: each message that the broker took is in the log, in the dead letters with a reason, or passed by."""
    tables = world.database.tables
    done = {str(row["message_id"]) for row in tables["log"].values()}
    letters = {letter.message_id: letter for letter in world.broker.ready(TOPOLOGY.dead_letters)}
    late = [(letter.type, letter.headers) for letter in world.broker.contradictions]
    assert not late, f"dead-lettered after it had been carried out: {late[0]}"
    for message_id, letter in letters.items():
        assert letter.headers.get("x-reason"), f"the broker itself gave up on {letter.type} {letter.headers}"
        sent = world.sent.get(message_id)
        assert sent, f"a command of the engine's own was dead-lettered: {letter.type} {letter.headers}"
        assert sent.poison == (letter.headers["x-reason"] == "poison"), f"{letter.type}: {letter.headers}"
    gone = world.lost | world.broker.vanished
    for message_id, sent in world.sent.items():
        if message_id in done or message_id in letters or message_id in gone:
            continue
        assert not sent.poison, f"a poison message is nowhere: {sent}"
        website = tables["websites"].get(sent.body["website_id"])
        assert website, f"a confirmed {sent.type} has left nothing: {sent.body}"
        expected = sent.body.get("expected_seq")
        assert (
            expected is None
            or expected < website["provisioning_seq"]
            or website["provisioning_state"] == TARGETS.get(sent.type)
        ), f"a confirmed command is nowhere, and was not passed by: {sent}"
