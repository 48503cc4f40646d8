"""Text that steers terminals and turns the order of letters, in every place where somebody else chooses text; and a
person's name in every place where a broken message may have one."""

import json
import random
import unicodedata
from typing import Any

import asyncpg

from consumer.broker.protocol import Broker, Message
from consumer.broker.topology import Topology
from ops.publishing import publish_all, publishing

OWNER, ADDRESS = "Zanzibar Quux", "zanzibar@quux.example"
WEBSITE = 7
KINDS = {
    kind: [chr(number) for number in range(1, 0x11_0000) if unicodedata.category(chr(number)) == kind]
    for kind in ("Cc", "Cf", "Zl", "Zp", "Cn")
}
"""All that does not print and a database holds, by kind: controls, formats (bidirectional marks), separators, and what
Unicode has not given out."""


def hostile(dice: random.Random) -> str:
    """Return a text with a few of each kind, between a sequence that clears the screen and one that reverses text."""
    odd = [dice.choice(letters) for letters in KINDS.values() for _ in range(3)]
    dice.shuffle(odd)
    return f"\x1b[2J\r{''.join(odd)}\u202e\x9b31mforged"


def steering(text: str, allowed: str = "\n") -> list[str]:
    """Return what in a text does not print, line feeds apart."""
    return sorted({ascii(letter) for letter in text if not letter.isprintable() and letter not in allowed})


async def fill(connection: asyncpg.Connection, dice: random.Random) -> None:
    """Write a failed website, its history, a worker, a pause and an action, all texts in them hostile."""
    bad = [hostile(dice) for _ in range(14)]
    await connection.execute(
        """INSERT INTO pwb_websites (id, subdomain, site_type, seed_pack_name, owner_email, created_at, updated_at)
           VALUES ($1, $2, $3, $4, $5, now(), now())""",
        WEBSITE, bad[0], bad[1], bad[2], bad[3],
    )  # fmt: skip
    detail = {"error": bad[4], "message": bad[5], "fallback": {
        "pack": bad[6], "step": "complete_links", "reason": bad[7], "defaults": True}}  # fmt: skip
    await connection.execute(
        """INSERT INTO provisioning_transitions (website_id, seq, trigger, from_state, to_state, message_id, actor,
                                                 reason, detail)
           VALUES ($1, 1, 'fail_provisioning', 'pending', 'failed', gen_random_uuid(), $2, $3, $4)""",
        WEBSITE, bad[8], bad[9], json.dumps(detail),
    )  # fmt: skip
    await connection.execute(
        """UPDATE pwb_websites SET provisioning_state = 'failed', provisioning_failed_from = 'pending',
                  provisioning_seq = 1, provisioning_published_seq = 1, provisioning_due_at = NULL,
                  provisioning_failed_at = now(), provisioning_error = $2, provisioning_attempt_error = $3
            WHERE id = $1""",
        WEBSITE, bad[4], bad[10],
    )  # fmt: skip
    await connection.execute(
        "INSERT INTO provisioning_workers (id, host, pid, version, since) VALUES (gen_random_uuid(), $1, 7, $2, now())",
        bad[11], bad[12],
    )  # fmt: skip
    await connection.execute("INSERT INTO provisioning_pauses VALUES ('all', $1, $2)", bad[8], bad[9])
    await connection.execute(
        """INSERT INTO provisioning_operator_actions (actor, verb, reason, message_id, website_id, detail, outcome)
           VALUES ($1, 'pause', $2, $3, $4, $5, $6)""",
        bad[8], bad[9], bad[13], WEBSITE, json.dumps({bad[0]: bad[1]}), bad[2],
    )  # fmt: skip


async def send_dead_letters(broker: Broker, topology: Topology, dice: random.Random) -> list[str]:
    """Publish dead letters whose every text is hostile, and whose owner stands in many places; return their ids."""
    owner = {"name": OWNER, "email": ADDRESS}
    bodies: list[Any] = [
        {"website_id": WEBSITE, "owner": owner},
        {"website_id": WEBSITE, "Owner": owner, "subdomain": OWNER, OWNER: 1, "actor": OWNER, "reason": f"for {OWNER}"},
        {"website_id": WEBSITE, "note": hostile(dice), "site_type": [OWNER], "seed_pack": {"x": OWNER}},
        [OWNER], OWNER,
    ]  # fmt: skip
    texts = [json.dumps(body).encode() for body in bodies]
    texts += [f'{{"website_id": {WEBSITE}, "owner": "{OWNER}", '.encode(), f"{OWNER} {hostile(dice)}".encode()]
    texts += [OWNER.encode("utf-16"), json.dumps({"owner": OWNER}).replace("Z", "\\u005a").encode()]
    messages = []
    for body in texts:
        headers = {
            name: hostile(dice) for name in ("x-reason", "x-error", "x-source-queue", "x-exchange", "x-routing-key")
        } | {"x-failed-at": "2026-01-01T00:00:00Z", "customer": OWNER, hostile(dice): hostile(dice)}
        message_id, kind = hostile(dice), hostile(dice)
        messages.append(Message(message_id, kind, body, "", topology.dead_letters, True, headers,
                                {"app_id": OWNER, "correlation_id": hostile(dice)}))  # fmt: skip
    async with publishing(broker) as session:
        await publish_all(session, messages)
    return [message.message_id for message in messages]
