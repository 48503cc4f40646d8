"""Bad input of every kind among honest signups: each to the dead letters with its reason, and nobody else harmed."""

import json
import re
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aio_pika
import asyncpg
import pamqp.body
import pamqp.commands
import pamqp.header
import pytest
from aiormq.abc import ChannelFrame

from consumer.broker.rabbitmq.adapter import RabbitBroker
from consumer.broker.topology import Topology
from consumer.messages.inbound import MAX_BODY_BYTES
from tests.foreign_client import ForeignClient, foreign_client, signup
from tests.worker_processes import until, worker_processes

SECONDS = 60
TAKEN, PENDING = 900_001, 900_002
"""Websites that stand in the database: one holds a subdomain, one waits at pending."""
ABSENT = 800_000
"""No website has this id or one above, up to TAKEN."""
CANARY = "canary"
"""In every piece of personal data below, and nowhere else."""
MAIL = "canary.mail@example.com"
OWNER = {"email": MAIL, "name": "Canary Canaria"}
SIGNUP = "website.created"
SUBDOMAINS = ("ab", "a" * 41, "-abc", "abc-", "a_b", "a.b", "a b", "tüü", "", "www", "API ", "admin", "staging", "a\nb")
EMAILS = ("canary", "canary@", "@canary.example", "canary@nodot", "canary @example.com", f"canary{'x' * 250}@a.bc", "")


@dataclass
class Bad:
    """One bad message, and what its dead letter has to say."""

    what: str
    reason: str
    body: Any
    type: str | None = SIGNUP
    routing_key: str | None = None
    message_id: str | None = field(default_factory=lambda: str(uuid.uuid4()))
    says: str = ""
    properties: dict[str, Any] = field(default_factory=dict)

    @property
    def encoded(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()

    @property
    def key(self) -> str:
        return self.type or "" if self.routing_key is None else self.routing_key

    @property
    def queue(self) -> str:
        return "signups" if self.key == SIGNUP else "commands"


def created(**changes: Any) -> dict[str, Any]:
    """Return a signup that is honest but for the changes."""
    return {"website_id": ABSENT, "subdomain": "never-made", "owner": OWNER} | changes


def not_json() -> list[Bad]:
    """Return what is no JSON of the right shape."""
    bodies = {
        "text": f"hello, {MAIL}".encode(),
        "empty": b"",
        "half": json.dumps(created()).encode()[:-5],
        "two": b"{} {}",
        "not utf-8": b'{"website_id": 800000, "subdomain": "\xff\xfe"}',
        "nan": b'{"website_id": NaN}',
        "infinity": b'{"website_id": -Infinity}',
        "deep": b"[" * 30_000 + b"]" * 30_000,
        "deep object": b'{"a":' * 9_000 + b"1" + b"}" * 9_000,
        "5,000 digits": b'{"website_id": ' + b"9" * 5000 + b"}",
        "same key twice": b'{"website_id": 800000, "website_id": 800001, "owner": {"user_id": 1}}',
    }
    cases = [Bad(what, "poison", body) for what, body in bodies.items()]
    cases += [Bad(f"a {type(value).__name__}", "poison", value) for value in (None, [], 42, "text", True)]
    cases.append(Bad("gzip", "poison", created(), says="encoding", properties={"content_encoding": "gzip"}))
    return cases


def wrong_values() -> list[Bad]:
    """Return well-formed JSON with values that no contract takes."""
    ids = (None, "800000", 1.0, 1.5, True, [], {}, 0, -1, 2**63, 2**64, 10**40, -(2**63) - 1)
    cases = [Bad(f"id {value!r:.30}", "poison", created(website_id=value), says="website_id") for value in ids]
    cases += [Bad(f"subdomain {name!r}", "poison", created(subdomain=name), says="subdomain") for name in SUBDOMAINS]
    cases += [Bad(f"e-mail {mail!r:.30}", "poison", created(owner={"email": mail}), says="owner") for mail in EMAILS]
    wrong: dict[str, Any] = {
        "subdomain": 7, "site_type": "castle", "seed_pack": "", "owner": MAIL, "skip_properties": "false",
        "auto_go_live": 1,
    }  # fmt: skip
    cases += [Bad(f"wrong {name}", "poison", created(**{name: value}), says=name) for name, value in wrong.items()]
    owners: list[Any] = [
        {"email": MAIL, "user_id": 1}, {"user_id": "1"}, {"user_id": 2**64}, {}, {"name": "Canary"}, [MAIL],
        {"email": MAIL, "name": "Canary" * 50}, {"email": MAIL, "phone": "canary"},
    ]  # fmt: skip
    cases += [Bad(f"owner {n}", "poison", created(owner=owner), says="owner") for n, owner in enumerate(owners)]
    cases += [
        Bad("no id", "poison", {"subdomain": "never-made"}, says="website_id"),
        Bad("unknown field", "poison", created(colour="canary"), says="colour"),
        Bad("an address for a field", "poison", created(**{MAIL: 1}), says="field"),
        Bad("1e400", "poison", b'{"website_id": 1e400}', says="website_id"),
        Bad("NUL in a subdomain", "poison", created(subdomain="a\0b"), says="NUL"),
        Bad("NUL in a name", "poison", created(owner=OWNER | {"name": "Canary\0"}), says="NUL"),
        Bad("NUL in an address", "poison", created(owner={"email": "canary\0@example.com"}), says="NUL"),
        Bad("NUL in a pack", "poison", created(seed_pack="base\0"), says="NUL"),
        Bad("half a surrogate", "poison", b'{"website_id": 800000, "seed_pack": "\\ud800"}', says="surrogate"),
    ]
    steps: list[tuple[str, dict[str, Any]]] = [
        ("reason", {"reason": "canary\0"}), ("actor", {"actor": 7}), ("expected_seq", {"expected_seq": "0"}),
        ("expected_seq", {"expected_seq": 2**31}), ("attempt", {"attempt": -1}), ("attempt", {"attempt": None}),
        ("owner", {"owner": OWNER}),
    ]  # fmt: skip
    cases += [
        Bad(f"step with {says} {n}", "poison", {"website_id": PENDING, **more}, "provisioning.go_live", says=says)
        for n, (says, more) in enumerate(steps)
    ]
    return cases


def wrong_envelopes() -> list[Bad]:
    """Return good bodies in envelopes that say nothing, too much, or something else."""
    cases = [
        Bad(f"message id {text!r:.20}", "poison", created(website_id=ABSENT + 100 + n), message_id=text, says="UUID")
        for n, text in enumerate((None, "7", "x" * 255, f"{uuid.uuid4()}0", "00000000-0000-0000-0000-00000000000g"))
    ]
    step = {"website_id": PENDING}
    cases += [
        Bad("no type", "poison", created(), None, SIGNUP, says="type"),
        Bad("unknown event", "poison", created(), "website.renamed", says="unknown message type"),
        Bad("unknown command", "poison", step, "provisioning.make_coffee", says="unknown message type"),
        Bad("an event of ours", "poison", step, "website.live", says="unknown message type"),
        Bad("upper case", "poison", created(), "Website.Created", says="unknown message type"),
        Bad("long type", "poison", created(), "t" * 255, says="unknown message type"),
        Bad("key is not type", "poison", step, "provisioning.go_live", "provisioning.suspend", says="routing key"),
        Bad("signup under a step's key", "poison", created(), SIGNUP, "provisioning.go_live", says="routing key"),
        Bad("step under a signup's key", "poison", step, "provisioning.go_live", SIGNUP, says="routing key"),
        Bad("unroutable key", "poison", created(), SIGNUP, "no.such.place", says="routing key"),
        Bad("unroutable step", "poison", step, "provisioning.go_live", "provisioning.go.live", says="routing key"),
        *(
            Bad(f"headers, {what}", "poison", created(), says="the headers", properties={"headers": {"bomb": bomb}})
            for what, bomb in (("large", "x" * 17_000), ("many", [None] * 300), ("deep", [[[[[[[[]]]]]]]]))
        ),
        Bad("empty key", "poison", created(), SIGNUP, "", says="routing key"),
    ]
    return cases


def wrong_worlds() -> list[Bad]:
    """Return messages that would be good, were the database another."""
    return [
        Bad("taken", "subdomain_taken", created(subdomain="taken-name"), says="subdomain"),
        Bad("taken, in capitals", "subdomain_taken", created(website_id=ABSENT + 1, subdomain=" Taken-Name ")),
        Bad("unknown user", "unknown_user", created(website_id=ABSENT + 2, owner={"user_id": 424_242}), says="424242"),
        Bad("unknown user, row there", "unknown_user", {"website_id": PENDING, "owner": {"user_id": 424_243}}),
        Bad("unknown website", "unknown_website", {"website_id": ABSENT + 3}, says=str(ABSENT + 3)),
        Bad("step for nobody", "unknown_website", {"website_id": ABSENT + 4}, "provisioning.complete_links"),
        Bad("greatest id", "unknown_website", {"website_id": 2**63 - 1}, "provisioning.suspend", says=str(2**63 - 1)),
        *(
            Bad(f"{trigger} on pending", "illegal", {"website_id": PENDING}, f"provisioning.{trigger}", says="pending")
            for trigger in ("go_live", "suspend", "reactivate", "terminate", "complete_links", "retry_provisioning")
        ),
    ]


async def publish(connection: aio_pika.abc.AbstractConnection, namespace: str, bad: Bad) -> bool:
    """Publish it as it is; return whether the broker took it (RabbitMQ 4 refuses bodies above 16 MiB itself)."""
    channel = await connection.channel()
    try:
        if bad.message_id is None:
            await publish_without_id(channel, namespace, bad)
            return True
        exchange = await channel.get_exchange(namespace, ensure=False)
        message = aio_pika.Message(
            bad.encoded, message_id=bad.message_id, type=bad.type, content_type="application/json", **bad.properties
        )
        await exchange.publish(message, routing_key=bad.key, timeout=60)
    except aio_pika.exceptions.ChannelPreconditionFailed:
        return False
    else:
        return True
    finally:
        await channel.close()


async def publish_without_id(channel: aio_pika.abc.AbstractChannel, namespace: str, bad: Bad) -> None:
    """Write the frames by hand: the client library invents an id where a message has none."""
    underlay = await channel.get_underlay_channel()
    header = pamqp.header.ContentHeader(
        body_size=len(bad.encoded), properties=pamqp.commands.Basic.Properties(message_type=bad.type, delivery_mode=2)
    )
    frames = [
        pamqp.commands.Basic.Publish(exchange=namespace, routing_key=bad.key),
        header,
        pamqp.body.ContentBody(bad.encoded),
    ]
    await underlay.write_queue.put(ChannelFrame.marshall(frames=frames, channel_number=underlay.number))


async def collect(client: ForeignClient, count: int) -> list[dict[str, Any]]:
    """Take dead letters until there are that many."""
    found: list[dict[str, Any]] = []

    async def enough() -> bool:
        found.extend(await client.drain(f"{client.namespace}.dead-letters"))
        return len(found) >= count

    await until(enough, SECONDS, f"{count} dead letters")
    return found


async def live(connection: Any, ids: list[int]) -> None:
    """Wait until all these websites are live."""

    async def all_are() -> bool:
        count: int = await connection.fetchval(
            "SELECT count(*) FROM pwb_websites WHERE id = ANY($1) AND provisioning_state = 'live'", ids
        )
        return count == len(ids)

    await until(all_are, SECONDS, f"{len(ids)} honest neighbours live")


def check_letter(bad: Bad, letter: dict[str, Any], namespace: str) -> None:
    """Compare one dead letter with what was sent."""
    headers = letter["headers"]
    assert letter["body"] == bad.encoded, f"{bad.what}: the body is kept"
    assert bad.message_id is None or letter["message_id"] == bad.message_id, f"{bad.what}: the message id is kept"
    assert (letter["type"] or None) == bad.type, f"{bad.what}: the type is kept"
    if bad.reason == "rejected":
        death = headers["x-death"][0]
        assert (death["reason"], death["queue"]) == ("rejected", f"{namespace}.{bad.queue}"), f"{bad.what}: {headers}"
        return
    assert headers["x-reason"] == bad.reason, f"{bad.what}: {headers}"
    assert " " in headers["x-error"], f"{bad.what}: x-error is a sentence"
    assert bad.says in headers["x-error"], f"{bad.what}: {headers['x-error']}"
    assert headers["x-source-queue"] == f"{namespace}.{bad.queue}", bad.what
    assert headers["x-failed-at"], bad.what
    assert CANARY not in str(headers).lower(), f"{bad.what}: personal data in {headers}"
    assert len(headers["x-error"]) < 4000, bad.what
    assert "bomb" not in headers, f"{bad.what}: headers that are refused are not kept"


@pytest.mark.fault(78, 79, 80, 81, 82)
async def test_every_kind_of_bad_input(database_url: str, amqp_url: str, namespace: str, tmp_path: Path) -> None:
    """Each bad message is dead-lettered once, with its reason, untouched; neighbours go live, the worker lives on."""
    await RabbitBroker(amqp_url).declare(Topology(namespace))
    pack = b"p" * 17 * 1024 * 1024
    huge = Bad("17 MiB", "rejected", b'{"website_id": 800000, "seed_pack": "' + pack + b'"}')
    long = Bad("one byte too long", "rejected", b'{"website_id": 800000}'.ljust(MAX_BODY_BYTES + 1))
    cases = [*not_json(), *wrong_values(), huge, long, *wrong_envelopes(), *wrong_worlds()]
    connection = await asyncpg.connect(database_url)
    sender = await aio_pika.connect(amqp_url, timeout=60)
    await connection.execute(
        """INSERT INTO pwb_websites (id, subdomain, provisioning_due_at, created_at, updated_at)
           VALUES ($1, 'taken-name', NULL, now(), now()), ($2, 'waits-here', NULL, now(), now())""",
        TAKEN,
        PENDING,
    )
    async with (
        sender,
        foreign_client(amqp_url, namespace) as client,
        worker_processes(tmp_path, database_url, amqp_url, namespace) as workers,
    ):
        worker = await workers.start()
        sent = []
        for number, bad in enumerate(cases, start=1):
            await client.publish(SIGNUP, signup(number))
            if await publish(sender, namespace, bad):
                sent.append(bad)
        neighbours = list(range(1, len(cases) + 1))
        letters = await collect(client, len(sent))
        await live(connection, neighbours)
        # Once more after all of it: whatever was to come twice has come by the time that this has gone through.
        last = Bad("last", "poison", b"the end", message_id=str(uuid.uuid4()))
        await client.publish(SIGNUP, signup(len(cases) + 1))
        assert await publish(sender, namespace, last)
        letters += await collect(client, 1)
        await live(connection, [len(cases) + 1])

        for bad in [*sent, last]:
            mine = [letter for letter in letters if _is(bad, letter)]
            assert len(mine) == 1, f"{bad.what}: {len(mine)} dead letters"
            check_letter(bad, mine[0], namespace)
        assert len(letters) == len(sent) + 1
        assert worker.returncode is None, "the worker lives"
        logs = workers.logs()
        assert sum(line["event"] == "starting" for line in logs) == 1
        rejected = [line for line in logs if line.get("outcome") == "rejected"]
        assert len(rejected) == len(letters), "one line each in the log"
        assert CANARY not in workers.text().lower(), "no personal data in the log"
        assert not [line for line in logs if line["event"] in ("defect", "worker failed")]
        assert await workers.stop(worker) == 0

    untouched = await connection.fetch("SELECT id FROM pwb_websites WHERE provisioning_seq = 0 ORDER BY id")
    assert [record["id"] for record in untouched] == [TAKEN, PENDING]
    assert await connection.fetchval("SELECT count(*) FROM pwb_websites") == len(cases) + 3
    users = await connection.fetch("SELECT email FROM pwb_users")
    addresses = [record["email"] for record in users]
    assert all(re.fullmatch(r"owner-\d+@example\.com", address) for address in addresses), "no bad signup left a user"
    await connection.close()


def _is(bad: Bad, letter: dict[str, Any]) -> bool:
    """Say whether a dead letter is this message's: by its id, or where it had none by its body."""
    return letter["message_id"] == bad.message_id if bad.message_id else letter["body"] == bad.encoded
