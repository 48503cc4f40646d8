"""Actions on dead letters: edited, discarded, recorded first, whatever their publishers wrote into them."""

import json
import time
import uuid
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest

from consumer.broker.memory.sessions import MemoryConsumer
from consumer.broker.protocol import BrokerError, Message
from consumer.broker.rabbitmq.adapter import RabbitBroker
from consumer.broker.topology import Topology
from consumer.messages.inbound import decode
from consumer.store.database import Store
from ops.audit.queries import action_details, recent_actions
from ops.audit.trail import AuditTrail
from ops.dead_letters.actions import SelectionChangedError, discard, edit, redrive
from ops.dead_letters.edited_copies import EditRefusedError, edited_message
from ops.dead_letters.groups import group_dead_letters
from ops.dead_letters.queue_reader import (
    DeadLetterFilter,
    find_dead_letters,
    full_record,
    peek_dead_letters,
    selection_digest,
    summarize,
)
from ops.dead_letters.redrive_forecast import RedriveProspect, forecast_redrive
from ops.publishing import publish_all, publishing
from tests.contract.faulty_broker import FaultyMemoryBroker
from tests.factories import make_delivery

TOPOLOGY = Topology("t")


def letter(name: str, body: Any, reason: str = "poison", error: str = "why", namespace: str = "t") -> Message:
    """Return a dead letter as workers write it."""
    topology = Topology(namespace)
    return Message(
        str(uuid.uuid4()), name, body if isinstance(body, bytes) else json.dumps(body).encode(), "",
        topology.dead_letters, True,
        {"x-reason": reason, "x-error": error, "x-source-queue": topology.commands,
         "x-failed-at": "2026-01-01T00:00:00+00:00"},
    )  # fmt: skip


async def with_dead_letters(*letters: Message) -> FaultyMemoryBroker:
    """Return a broker that has these dead letters."""
    broker = FaultyMemoryBroker()
    await broker.declare(TOPOLOGY)
    async with publishing(broker) as session:
        await publish_all(session, letters)
    return broker


async def test_an_edited_letter(store: Store) -> None:
    """It goes back under a new id that names the old one; its contract and its website are kept; it is recorded."""
    sent = letter("website.created", {"website_id": 7, "colour": "red"})
    broker = await with_dead_letters(sent)
    audit = AuditTrail(store, "cli:ana", "a typo")
    for body, why in (
        (b'{"website_id": 8}', "the original is about website 7"),
        (b'{"website_id": 7, "colour": "blue"}', "would be poison again"),
        (b"nonsense", "would be poison again"),
    ):
        with pytest.raises(EditRefusedError, match=why):
            await edit(broker, "t", sent.message_id, body, audit)
    with pytest.raises(KeyError):
        await edit(broker, "t", "nobody", b"{}", audit)
    assert len(await peek_dead_letters(broker, "t")) == 1
    done = await edit(broker, "t", sent.message_id, b'{"website_id": 7}', audit)
    (copy,) = await broker.peek(TOPOLOGY.signups, 10)
    assert (copy.message_id, copy.headers["x-edited-from"]) == (done["copy"], sent.message_id)
    assert decode(copy).website_id == 7
    assert await peek_dead_letters(broker, "t") == []
    (action,) = await recent_actions(store, website_id=7)
    assert (action["verb"], action["actor"], action["reason"]) == ("edit", "cli:ana", "a typo")
    assert (action["message_id"], action["outcome"]) == (sent.message_id, "done")
    assert action["detail"]["copy"] == done["copy"]


async def test_discarded_letters(store: Store) -> None:
    """Those that are meant are gone, each recorded with what it was; the others stay."""
    letters = [letter("website.created", {"website_id": number}, "unknown_user") for number in (1, 2)]
    broker = await with_dead_letters(*letters, letter("provisioning.suspend", {"website_id": 3}, "illegal"))
    gone = await discard(broker, "t", DeadLetterFilter(reason="unknown_user"), AuditTrail(store, "cli:ana", "a test"))
    assert {item["website_id"] for item in gone} == {1, 2}
    assert [item["reason"] for item in await peek_dead_letters(broker, "t")] == ["illegal"]
    (action,) = await recent_actions(store)
    assert (action["verb"], action["target"], action["outcome"], action["result"]) == (
        "discard", "2 dead letters", "2 done", "success",
    )  # fmt: skip
    items = (await action_details(store, action["id"]))["results"]
    assert {(item["website_id"], item["detail"]["reason"], item["outcome"]) for item in items} == {
        (1, "unknown_user", "done"), (2, "unknown_user", "done"),
    }  # fmt: skip


async def test_what_was_not_confirmed_is_not_said_to_be_done(store: Store) -> None:
    """An action is written before it takes effect, and its outcome says that it had none."""
    broker = await with_dead_letters(letter("provisioning.suspend", {"website_id": 3}, "illegal"))
    broker.swallow_confirms(1)
    with pytest.raises(BrokerError):
        await redrive(broker, "t", DeadLetterFilter(), AuditTrail(store, "cli:ana"))
    (action,) = await recent_actions(store)
    assert action["outcome"].startswith("still a dead letter, and perhaps sent: ")


async def test_ten_thousand(namespace: str, amqp_url: str, store: Store) -> None:
    """So many are looked at, sent back and thrown away in seconds."""
    broker, topology = RabbitBroker(amqp_url), Topology(namespace)
    await broker.declare(topology)
    async with publishing(broker) as session:
        letters = [letter("website.created", {"website_id": n + 1}, namespace=namespace) for n in range(10_000)]
        for start in range(0, len(letters), 1000):
            assert not any(await session.publish_all(letters[start : start + 1000]))
    began = time.monotonic()
    assert len(await peek_dead_letters(broker, namespace)) == 10_000
    looked = time.monotonic() - began
    audit = AuditTrail(store, "cli:ana", "a test")
    assert len(await redrive(broker, namespace, DeadLetterFilter(), audit)) == 10_000
    sent = time.monotonic() - began - looked
    assert looked + sent < 40, f"looked in {looked:.1f} s, sent back in {sent:.1f} s"
    (action,) = await recent_actions(store)
    assert (action["items"], action["outcome"]) == (10_000, "10000 done")
    assert (await find_dead_letters(broker, namespace)).deliveries == []


HOSTILE: tuple[dict[str, Any], ...] = (
    {"body": b'{"website_id": -1000000000000000000000000}'},
    {"body": b'{"website_id": 1e999}'},
    {"body": b"[" * 3000},
    {"body": b"\xff\0"},
    {"message_id": "a\0b"},
    {"type": "a\0b"},
    {"headers": {"x-error": "a\0b\ud800"}},
    {"headers": {"x-reason": b"\xff", "x-error": ["a"]}},
    {"headers": {"x-failed-at": {"a": 1}}},
    {"headers": {"x-failed-at": b"\xff"}},
    {"headers": {"x-failed-at": "0001-01-01T00:00:00+23:59"}},
    {"headers": {"x-failed-at": "2026-01-01"}},
    {"headers": {"x-reason": None, "x-death": "forged"}},
    {"headers": {"x-error": "a" * 90_000, "x-source-queue": 7}},
)


@pytest.mark.parametrize("verb", [redrive, discard])
async def test_no_message_stops_a_verb(store: Store, verb: Any) -> None:
    """Whatever somebody has put into the queue, it is listed, grouped, forecast, recorded, and goes with all others."""
    letters = []
    for changes in HOSTILE:
        sent = letter("website.created", changes.get("body", b"{}"))
        headers = {**sent.headers, **changes.get("headers", {})}
        message_id = changes.get("message_id", sent.message_id)
        letters.append(replace(sent, headers=headers, message_id=message_id, type=changes.get("type", sent.type)))
    broker = await with_dead_letters(*letters)
    found_list = await find_dead_letters(broker, "t")
    known = [summarize(found) for found in found_list.deliveries]
    assert len(known) == len(HOSTILE)
    json.dumps([known, group_dead_letters(known), [full_record(found, "t") for found in found_list.deliveries]])
    assert len(await forecast_redrive(store, found_list.deliveries)) == len(HOSTILE)
    assert len(await verb(broker, "t", DeadLetterFilter(), AuditTrail(store, "cli:ana", "all \0 of them"))) == len(
        HOSTILE
    )
    (action,) = await recent_actions(store)
    assert action["items"] == len(HOSTILE)
    assert await peek_dead_letters(broker, "t") == []


async def test_what_cannot_be_recorded_is_not_done(store: Store) -> None:
    """With nowhere to record it, nothing is sent, and every letter is where it was."""
    broker = await with_dead_letters(letter("provisioning.suspend", {"website_id": 3}, "illegal"))
    async with store.connection() as connection:
        await connection.execute("ALTER TABLE provisioning_operator_actions RENAME TO elsewhere")
    for verb in (redrive, discard):
        with pytest.raises(asyncpg.UndefinedTableError):
            await verb(broker, "t", DeadLetterFilter(), AuditTrail(store, "cli:ana", "a test"))
    assert await broker.peek(TOPOLOGY.commands, 10) == []
    assert len(await peek_dead_letters(broker, "t")) == 1


async def test_an_edit_that_died_half_way_is_done_once(store: Store) -> None:
    """Sent and not taken away, it is edited again: the second copy has the id of the first, so that it does nothing."""
    sent = letter("website.created", {"website_id": 7, "colour": "red"})
    broker = await with_dead_letters(sent)
    broker.swallow_confirms(1)
    audit = AuditTrail(store, "cli:ana", "a typo")
    with pytest.raises(BrokerError):
        await edit(broker, "t", sent.message_id, b'{"website_id": 7}', audit)
    await edit(broker, "t", sent.message_id, b'{"website_id": 7}', audit)
    first, second = await broker.peek(TOPOLOGY.signups, 10)
    assert first.message_id == second.message_id != sent.message_id
    assert [action["outcome"][:19] for action in await recent_actions(store)] == ["done", "still a dead letter"]


async def test_an_edit_of_the_same_body_is_a_redrive() -> None:
    """It would have another id, and so be carried out a second time; the text says what to do instead."""
    with pytest.raises(EditRefusedError, match="redrive it"):
        edited_message(make_delivery(b"{}"), b"{}", TOPOLOGY)


async def test_what_the_broker_threw_out_is_sent_to_its_queue(store: Store) -> None:
    """It came to the dead letters under the name of its queue: no reason to call it poison, nor to refuse an edit."""
    death = [{"reason": "delivery_limit", "queue": "t.signups", "time": datetime(2026, 1, 2, tzinfo=UTC), "count": 1}]
    body = b'{"website_id": 9, "subdomain": "fresh-one"}'
    thrown = make_delivery(
        body, type="website.created", exchange="t.dead-letters", routing_key="t.signups", queue="t.dead-letters",
        headers={"x-death": death, "x-first-death-queue": "t.signups", "x-delivery-count": 21, "traceparent": "kept"},
    )  # fmt: skip
    (item,) = await forecast_redrive(store, [thrown])
    assert (item["prospect"], item["contract"]) == (RedriveProspect.CARRIED_OUT, None)
    assert (item["reason"], item["source_queue"], item["failed_at"][:10]) == (
        "delivery_limit", "t.signups", "2026-01-02",
    )  # fmt: skip
    copy = edited_message(thrown, b'{"website_id": 9}', TOPOLOGY)
    assert (copy.routing_key, set(copy.headers)) == ("t.signups", {"traceparent", "x-edited-from"})


async def test_only_those_that_were_seen(store: Store) -> None:
    """Where others have come since somebody looked, nothing is discarded."""
    first, second = (letter("provisioning.suspend", {"website_id": n}, "illegal") for n in (1, 2))
    broker = await with_dead_letters(first)
    digest = selection_digest((await find_dead_letters(broker, "t")).deliveries)
    async with publishing(broker) as session:
        await publish_all(session, [second])
    audit = AuditTrail(store, "cli:ana", "a test")
    with pytest.raises(SelectionChangedError, match="not those that you saw"):
        await discard(broker, "t", DeadLetterFilter(), audit, digest=digest)
    assert len(await peek_dead_letters(broker, "t")) == 2
    assert len(await discard(broker, "t", DeadLetterFilter(website_id=1), audit, digest=digest)) == 1


async def test_a_discard_whose_connection_is_lost(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody knows whether the broker heard it, and so nobody says that it is done."""
    broker = await with_dead_letters(letter("provisioning.suspend", {"website_id": 3}, "illegal"))

    async def cut(session: Any, _: Any) -> None:
        session.end()

    monkeypatch.setattr(MemoryConsumer, "ack", cut)
    with pytest.raises(BrokerError):
        await discard(broker, "t", DeadLetterFilter(), AuditTrail(store, "cli:ana", "a test"))
    (action,) = await recent_actions(store)
    assert action["outcome"].startswith("not known to be done: ")
    assert len(await peek_dead_letters(broker, "t")) == 1
