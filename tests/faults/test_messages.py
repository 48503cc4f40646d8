"""Section F: what a message may be. See also test_bad_input.py, which sends everything that is no message at all."""

import asyncio
import json
import random
import time
import uuid
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import aio_pika
import pytest

import consumer.worker.delivery_loop
from consumer.broker.protocol import Delivery
from consumer.messages.inbound import Command, decode
from consumer.messages.outbound import command_id
from ops.dead_letters.actions import redrive
from ops.dead_letters.queue_reader import DeadLetterFilter
from statemachine import STEPS as MACHINE
from tests.contract.faulty_broker import FaultyMemoryBroker
from tests.factories import SEQ, STEPS
from tests.faults.conftest import Scaled
from tests.faults.scene import SECONDS, Scene
from tests.foreign_client import signup
from tests.invariants import check_all
from tests.service import NAMESPACE, Start
from tests.worker_processes import until

COMMANDS = [step.trigger for step in MACHINE[1:] if not step.skips]
"""What the engine sends to a website after its signup, in order."""
NASTY = '\'); DROP TABLE pwb_websites; -- <script>alert(1)</script> \x1b[31m\r\n{"event": "forged"}'
"""SQL, HTML, a terminal's escape, and a second line for the log."""


@pytest.mark.fault(73)
async def test_a_hundred_copies_at_once(scene: Scene) -> None:
    """A signup published a hundred times before anybody works, then taken by two processes: one effect."""
    message_id = str(uuid.uuid4())
    async with scene.channel() as channel:
        exchange = await channel.get_exchange(scene.topology.commands_exchange, ensure=False)
        for _ in range(100):  # one at a time: client libraries match returns by message id
            message = aio_pika.Message(
                json.dumps(signup(1)).encode(), message_id=message_id, type="website.created", delivery_mode=2
            )
            await exchange.publish(message, routing_key="website.created")
    for _ in range(2):
        await scene.start()
    await scene.said(100, message_id=message_id, event="delivery")
    await scene.reckon({"live": 1})
    copies = scene.lines(message_id=message_id, event="delivery")
    assert len(copies) == 100
    assert [line["outcome"] for line in copies].count("advanced") == 1


@pytest.mark.fault(74)
async def test_one_id_with_another_body(start: Start) -> None:
    """The first that was carried out stands; for another website the same id is another message."""
    async with start() as service:
        message_id = await service.created(1)
        before = await service.reaches(1, "live")
        await service.publish(
            "website.created", signup(1, subdomain="another-body", site_type="commercial"), message_id
        )
        await service.publish("provisioning.suspend", {"website_id": 1}, message_id)
        await service.settled()
        assert await service.website(1) == before
        await service.publish("website.created", signup(2), message_id)
        await service.reaches(2, "live")
        assert service.letters() == []
        assert await check_all(service.connection, service.events()) == {"live": 2}


@pytest.mark.fault(75)
async def test_one_intention_under_many_ids(start: Start) -> None:
    """Thirty signups for one website, each under an id of its own and waiting before anybody works: one is taken."""
    async with start(before=[signup(1)] * 30) as service:
        await service.reaches(1, "live")
        assert sum(len(websites) for websites, _ in service.batches) >= 30, "all thirty were looked at"
        assert len(await service.history(1)) == STEPS
        assert service.letters() == []
        assert await check_all(service.connection, service.events()) == {"live": 1}


@pytest.mark.fault(76, 77)
@pytest.mark.parametrize("seed", range(3))
async def test_steps_out_of_order(start: Start, seed: int) -> None:
    """The engine's own six commands, known beforehand and shuffled among the signups: ahead or stale, and all legal."""
    dice = random.Random(seed)
    websites = range(1, 9)
    async with start() as service:
        # Their ids follow from the signup's: what a confused broker might deliver too soon is known beforehand.
        messages: list[tuple[int, str, dict[str, Any], str]] = []
        for website_id in websites:
            cause = uuid.uuid4()
            messages.append((website_id, "website.created", signup(website_id), str(cause)))
            for seq, trigger in enumerate(COMMANDS, start=1):
                cause = command_id(website_id=website_id, trigger=trigger, seq=seq, attempt=0, last_message_id=cause)
                body = {"website_id": website_id, "expected_seq": seq, "attempt": 0}
                messages.append((website_id, f"provisioning.{trigger}", body, str(cause)))
        signups = [message for message in messages if message[1] == "website.created"]
        # Rows first, so that a step that comes too soon finds its website.
        for website_id in websites:
            await service.connection.execute(
                "INSERT INTO pwb_websites (id, created_at, updated_at) VALUES ($1, now(), now())", website_id
            )
        rest = [message for message in messages if message not in signups] * 2
        dice.shuffle(rest)
        early, late = rest[:50], [*rest[50:], *signups]
        dice.shuffle(late)
        for _, name, body, message_id in early + late:
            await service.publish(name, body, message_id)
        for website_id in websites:
            await service.reaches(website_id, "live")
            assert len(await service.history(website_id)) == STEPS
        for _, name, body, message_id in early:
            await service.publish(name, body, message_id)
        await service.settled()
        outcomes = [type(outcome).__name__ for _, batch in service.batches for outcome in batch]
        assert outcomes.count("Ahead") > 0, "some came before their time"
        assert outcomes.count("Stale") + outcomes.count("AlreadyDone") > 0, "and some after it"
        assert service.letters() == []
        assert await check_all(service.connection, service.events()) == {"live": len(websites)}


@pytest.mark.fault(77)
async def test_an_attempt_that_was_counted_is_not_made_again(start: Start) -> None:
    """A copy of a step whose attempt has been counted waits for nobody's clock: it is stale, and charges nothing."""
    async with start(retry_base_seconds=60, retry_cap_seconds=60) as service:
        await service.created(1, owner=...)
        await service.settled()
        before = await service.website(1)
        assert before["provisioning_attempts"] == 1
        await service.command("assign_owner", 1, expected_seq=0, attempt=0)
        assert await service.website(1) == before
        await service.command("assign_owner", 1, expected_seq=0, attempt=1)
        assert (await service.website(1))["provisioning_attempts"] == 2, "only the attempt stood in the way"
        assert service.letters() == []


@pytest.mark.fault(82)
async def test_a_later_release_takes_what_this_one_could_not(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """A field and a command of tomorrow are kept as dead letters; upgraded and redriven, each is carried out once."""
    broker = FaultyMemoryBroker()
    async with start(broker) as service:
        await service.created(1, auto_go_live=False)
        await service.reaches(1, "ready")
        await service.created(2, colour="green")
        await service.publish("provisioning.launch", {"website_id": 1})
        await service.settled()
        assert [reason for _, reason in service.letters()] == ["poison", "poison"]
        assert await service.website(2) is None

    def of_tomorrow(delivery: Delivery) -> Command:
        """Read what the release of tomorrow reads."""
        renamed = delivery.type == "provisioning.launch"
        body = {key: value for key, value in json.loads(delivery.body).items() if key != "colour"}
        name = "provisioning.go_live" if renamed else delivery.type
        headers = {key: name if value == delivery.type else value for key, value in delivery.headers.items()}
        body_bytes = json.dumps(body).encode()
        return decode(replace(delivery, type=name, routing_key=name or "", headers=headers, body=body_bytes))

    monkeypatch.setattr(consumer.worker.delivery_loop, "decode", of_tomorrow)
    async with start(broker) as service:
        assert len(await redrive(broker, NAMESPACE, DeadLetterFilter(reason="poison"))) == 2
        await service.reaches(1, "live")
        await service.reaches(2, "live")
        assert service.letters() == []
        assert await check_all(service.connection, service.events()) == {"live": 2}


@pytest.mark.fault(83)
async def test_forged_and_oversized_headers(scene: Scene) -> None:
    """Headers say nothing to the engine, whatever they claim; a message with a table of 100 KB is poison."""
    forged: dict[str, Any] = {
        "x-death": [{"count": 999, "queue": "somewhere", "reason": "rejected"}],
        "x-delivery-count": 99,
        "x-reason": "forged",
        "x-error": "forged",
        "x-source-queue": "amq.somewhere",
        "website_id": 2,
        "tenant": 2,
        "CC": [scene.topology.dead_letters + ".nowhere"],
        "traceparent": "not one",
    }
    bomb = forged | {f"h{n}": "x" * 400 for n in range(250)}
    await scene.start()
    await scene.sign_up(2, auto_go_live=False)
    await scene.at_rest({"ready": 2})
    async with scene.channel() as channel:
        exchange = await channel.get_exchange(scene.topology.commands_exchange, ensure=False)
        sent = [("website.created", signup(3)), ("provisioning.go_live", {"website_id": 1}), ("provisioning.x", {})]
        for headers in (forged, bomb):
            for name, body in sent:
                message = aio_pika.Message(
                    json.dumps(body).encode(), message_id=str(uuid.uuid4()), type=name, headers=headers
                )
                await exchange.publish(message, routing_key=name)
    await scene.at_rest({"ready": 1, "live": 2})
    assert await scene.count(f"id = 2 AND provisioning_state = 'ready' AND provisioning_seq = {SEQ['ready']}") == 1

    async def all_four() -> bool:
        return await scene.waiting(scene.topology.dead_letters) == 1 + len(sent)

    await until(all_four, SECONDS, "the dead letters of what is unknown, and of all with the large table")
    for letter in await scene.drain(scene.topology.dead_letters):
        assert letter.headers["x-reason"] == "poison"
        queue = scene.topology.signups if letter.type == "website.created" else scene.topology.commands
        assert letter.headers["x-source-queue"] == queue
        assert "h1" not in letter.headers
    await scene.publish([("provisioning.go_live", {"website_id": 2})])
    await scene.reckon({"live": 3}, charged=True)


@pytest.mark.fault(84)
async def test_injection(scene: Scene) -> None:
    """SQL, HTML, escapes and line ends are stored as they are, run nowhere, and make no second line in a log."""
    await scene.start()
    nasty_name = NASTY.replace("\x1b", "")
    await scene.sign_up(1, owner={"email": "o'brien@example.com", "name": nasty_name}, auto_go_live=False)
    await scene.at_rest({"ready": 1})
    await scene.publish([("provisioning.suspend", {"website_id": 1, "actor": NASTY, "reason": NASTY})])
    await scene.at_rest({"suspended": 1})
    await scene.publish([(NASTY.replace("\r\n", ""), {"website_id": 1})])
    async with scene.connection() as connection:
        row = await connection.fetchrow("SELECT * FROM provisioning_transitions ORDER BY seq DESC LIMIT 1")
        name = await connection.fetchval("SELECT concat_ws(' ', first_names, last_names) FROM pwb_users")
    assert (row["actor"], row["reason"]) == (f"claimed: {NASTY}", NASTY)
    assert "DROP TABLE" in name

    async def parked() -> bool:
        return await scene.waiting(scene.topology.dead_letters) == 1

    await until(parked, SECONDS, "the message of a nasty type among the dead letters")
    log = scene.zygote.log.read_bytes()
    assert b"\x1b" not in log, "an escape in the log"
    assert not scene.lines(event="forged")
    assert all(line.startswith(b"{") for line in log.splitlines()), "every line is one of ours"
    assert b"brien" not in log
    await scene.reckon({"suspended": 1}, letters=1, charged=True)


@pytest.mark.fault(85)
async def test_poison_among_the_good(scene: Scene, scaled: Scaled) -> None:
    """Fifty poison messages for each good one delay these by no more than it takes to dead-letter all the poison."""
    good, poison = int(scaled(20, 1000)), int(scaled(500, 50_000))
    alone = good * 0.25  # what the good ones take by themselves, generously
    async with scene.channel() as channel:
        exchange = await channel.get_exchange(scene.topology.commands_exchange, ensure=False)
        for first in range(0, poison, 500):
            batch = [
                aio_pika.Message(b"poison", message_id=str(uuid.uuid4()), type=name, timestamp=datetime.now(UTC))
                for name in ("website.created", "provisioning.go_live") * 250
            ][: poison - first]
            await asyncio.gather(*(exchange.publish(item, routing_key=item.type or "") for item in batch))
            await scene.sign_up(min(good * 500 // poison, good - scene.signed_up))
    await scene.sign_up(good - scene.signed_up)
    began = time.monotonic()
    await scene.start(concurrency=4, batch_size=16)

    async def parked() -> bool:
        return await scene.waiting(scene.topology.dead_letters) >= poison

    async def when(done: Any) -> float:
        await done
        return time.monotonic() - began

    poison_done, good_done = await asyncio.gather(
        when(until(parked, SECONDS * 10, f"{poison} dead letters")), when(scene.live(good, SECONDS * 10))
    )
    assert good_done <= poison_done + alone, f"good after {good_done:.1f} s, poison after {poison_done:.1f} s"
    print(f"\n{poison} poison in {poison_done:.1f} s, {good} good live after {good_done:.1f} s")  # noqa: T201
    await scene.reckon({"live": good}, letters=poison, charged=True, seconds=SECONDS * 5)
