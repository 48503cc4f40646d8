"""The invariants of the fault catalogue, as questions to the database and to the events that a subscriber received.

Shares no code with the project: the tests' one copy of its chain and edges, own SQL, own reading of the messages.
"""

import json
import uuid
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from types import MappingProxyType
from typing import Any

CHAIN = [
    "pending",
    "owner_assigned",
    "agency_created",
    "links_created",
    "field_keys_created",
    "properties_seeded",
    "ready",
    "live",
]
EDGES = (
    ("assign_owner", "pending", "owner_assigned"),
    ("complete_agency", "owner_assigned", "agency_created"),
    ("complete_links", "agency_created", "links_created"),
    ("complete_field_keys", "links_created", "field_keys_created"),
    ("seed_properties", "field_keys_created", "properties_seeded"),
    ("skip_properties", "field_keys_created", "properties_seeded"),
    ("mark_ready", "properties_seeded", "ready"),
    ("go_live", "ready", "live"),
    *(("fail_provisioning", state, "failed") for state in CHAIN[:-1]),
    *(("retry_provisioning", "failed", state) for state in CHAIN[:-1]),
    ("suspend", "ready", "suspended"),
    ("suspend", "live", "suspended"),
    ("reactivate", "suspended", "live"),
    ("terminate", "suspended", "terminated"),
    ("terminate", "failed", "terminated"),
)
"""The machine's edges, written down a second time; every test that needs them takes them from here."""


async def check_history(connection: Any) -> None:
    """I1: each history is a legal walk from pending, seq 1…n without gaps, and ends where the website is."""
    rows = await connection.fetch("SELECT * FROM provisioning_transitions ORDER BY website_id, seq")
    pruned = await connection.fetch("SELECT website_id, through_seq, to_state FROM provisioning_pruned")
    check_walks(
        rows,
        {record["id"]: record for record in await connection.fetch("SELECT * FROM pwb_websites")},
        pruned={record["website_id"]: (record["through_seq"], record["to_state"]) for record in pruned},
    )


def check_walks(
    rows: Iterable[Mapping[str, Any]],
    websites: Mapping[int, Mapping[str, Any]],
    moved_by_product: Collection[int] = (),
    pruned: Mapping[int, tuple[int, str]] = MappingProxyType({}),
) -> None:
    """I1, for rows of the log in order and websites by id, wherever they were read.

    `moved_by_product`: websites whose history may begin elsewhere than at pending. `pruned`: by website up to which
    seq its rows were pruned, and to which state the last of them led.
    """
    histories: dict[int, list[Any]] = defaultdict(list)
    for row in rows:
        histories[row["website_id"]].append(row)
    for website_id, history in histories.items():
        moved = website_id in moved_by_product and history[0]["from_state"] in CHAIN
        gone, state = pruned.get(website_id, (0, "pending"))
        state = history[0]["from_state"] if moved else state
        for number, row in enumerate(history, start=gone + 1):
            told = f"website {website_id} seq {row['seq']}"
            assert row["seq"] == number, f"{told}: expected seq {number}"
            assert row["from_state"] == state, f"{told}: from {row['from_state']}, but it was {state}"
            edge = (row["trigger"], row["from_state"], row["to_state"])
            assert edge in EDGES, f"{told}: {edge} is no edge"
            state = row["to_state"]
        website = websites[website_id]
        assert website["provisioning_state"] == state, f"website {website_id} is not where its history ends"
        assert website["provisioning_seq"] == gone + len(history), (
            f"website {website_id}: seq is not its history's length"
        )
    for website_id, website in websites.items():
        if website_id not in histories and website_id not in moved_by_product:
            assert website["provisioning_state"] == "pending", f"website {website_id} moved without history"


async def check_effects(connection: Any) -> None:
    """I3, I4, I6: nothing is doubled, one row a message, and nothing is live with a guard unmet."""
    doubled = {
        "agencies": "SELECT website_id FROM pwb_agencies GROUP BY 1 HAVING count(*) > 1",
        "links": "SELECT website_id, slug FROM pwb_links GROUP BY 1, 2 HAVING count(*) > 1",
        "field keys": "SELECT pwb_website_id, global_key FROM pwb_field_keys GROUP BY 1, 2 HAVING count(*) > 1",
        "assets": "SELECT website_id, reference FROM pwb_realty_assets GROUP BY 1, 2 HAVING count(*) > 1",
        "sale listings": "SELECT realty_asset_id FROM pwb_sale_listings GROUP BY 1 HAVING count(*) > 1",
        "rental listings": "SELECT realty_asset_id FROM pwb_rental_listings GROUP BY 1 HAVING count(*) > 1",
        "owners": "SELECT website_id, user_id FROM pwb_user_memberships GROUP BY 1, 2 HAVING count(*) > 1",
        "users": "SELECT lower(email) FROM pwb_users GROUP BY 1 HAVING count(*) > 1",
        "messages": "SELECT website_id, message_id FROM provisioning_transitions GROUP BY 1, 2 HAVING count(*) > 1",
    }
    for what, sql in doubled.items():
        assert not await connection.fetch(sql), f"doubled {what}"
    unmet = await connection.fetch(
        """SELECT w.id FROM pwb_websites w WHERE w.provisioning_state = 'live' AND (
               NOT EXISTS (SELECT FROM pwb_user_memberships m
                            WHERE m.website_id = w.id AND m.role = 'owner' AND m.active)
               OR NOT EXISTS (SELECT FROM pwb_agencies a WHERE a.website_id = w.id)
               OR (SELECT count(*) FROM pwb_links l WHERE l.website_id = w.id) < 3
               OR (SELECT count(*) FROM pwb_field_keys k WHERE k.pwb_website_id = w.id) < 5
               OR coalesce(btrim(w.subdomain), '') = '')"""
    )
    assert not unmet, f"live with a guard unmet: {[record['id'] for record in unmet]}"


async def check_nothing_owed(connection: Any) -> None:
    """I2, I10: every website rests, and owes neither an event nor a command nor an attempt."""
    restless = await connection.fetch(
        """SELECT id, provisioning_state, provisioning_due_at FROM pwb_websites
            WHERE provisioning_state NOT IN ('live', 'failed', 'suspended', 'terminated')
              AND NOT (provisioning_state = 'ready' AND NOT provisioning_auto_go_live)"""
    )
    assert not restless, f"not at rest: {[tuple(record) for record in restless[:5]]}"
    owing = await connection.fetch(
        """SELECT id FROM pwb_websites
            WHERE provisioning_due_at IS NOT NULL OR provisioning_published_seq <> provisioning_seq
               OR provisioning_attempts <> 0"""
    )
    assert not owing, f"still owed something: {[record['id'] for record in owing[:5]]}"


async def check_events(connection: Any, events: Iterable[Mapping[str, Any]]) -> None:
    """I5, I6, for all of the log."""
    check_published(await connection.fetch("SELECT * FROM provisioning_transitions"), events)


def check_published(log: Iterable[Mapping[str, Any]], events: Iterable[Mapping[str, Any]]) -> None:
    """I5, I6: every row has its event, every event its row, and one event has one message id however often it came.

    A signup that was rejected has moved nothing: its event has no row, and the id that follows from the signup's.
    """
    rows = {(row["website_id"], row["seq"]): row for row in log}
    ids: dict[tuple[int, int], set[str]] = defaultdict(set)
    for event in events:
        body = event["body"]
        if event["type"] == "website.rejected":
            assert "seq" not in body
            assert event["message_id"] == str(uuid.uuid5(uuid.UUID(body["signup_message_id"]), "website.rejected"))
            continue
        key = (body["website_id"], body["seq"])
        ids[key].add(event["message_id"])
        row = rows.get(key)
        assert row is not None, f"an event for {key}, which is no row"
        assert event["type"] == f"website.{row['to_state']}", f"event for {key} is {event['type']}"
        for field in ("trigger", "from_state", "to_state"):
            assert body[field] == row[field], f"event for {key}: {field} is {body[field]}"
        detail = json.loads(row["detail"])
        assert body["error"] == detail["error"], f"event for {key}: error is {body['error']}"
    missing = set(rows) - set(ids)
    assert not missing, f"{len(missing)} transitions without an event, for example {sorted(missing)[:5]}"
    split = {key: found for key, found in ids.items() if len(found) > 1}
    assert not split, f"one event under several message ids: {split}"


async def check_all(connection: Any, events: Iterable[Mapping[str, Any]]) -> Counter[str]:
    """Check everything that must hold once all is at rest; return how many websites are in each state."""
    await check_history(connection)
    await check_effects(connection)
    await check_nothing_owed(connection)
    await check_events(connection, events)
    states = await connection.fetch(
        "SELECT provisioning_state AS state, count(*) AS count FROM pwb_websites GROUP BY 1"
    )
    return Counter({record["state"]: record["count"] for record in states})
