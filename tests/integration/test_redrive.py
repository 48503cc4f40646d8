"""Redriving dead letters: they come back as they were sent, nothing else moves, nothing is lost."""

import asyncio
import uuid

import pytest

from consumer.broker.protocol import BrokerDownError, Delivery, Message
from consumer.broker.rabbitmq.adapter import RabbitBroker
from consumer.broker.topology import Topology
from ops.dead_letters.actions import redrive
from ops.dead_letters.queue_reader import DeadLetterFilter, peek_dead_letters
from ops.publishing import publish_all, publishing
from tests.contract.faulty_broker import FaultyMemoryBroker


def letter(topology: Topology, name: str, reason: str) -> Message:
    """Return a dead letter as workers write it."""
    return Message(
        str(uuid.uuid4()), name, b'{"website_id": 7}', "", topology.dead_letters, True,
        {"x-reason": reason, "x-error": "why", "x-source-queue": topology.commands, "traceparent": "kept"},
    )  # fmt: skip


async def test_chosen_letters_go_back_and_the_rest_stays(amqp_url: str, namespace: str) -> None:
    """By reason and by id: the chosen arrive in their queues as they were sent, the others are still dead letters."""
    topology, broker = Topology(namespace), RabbitBroker(amqp_url)
    await broker.declare(topology)
    letters = [
        letter(topology, "website.created", "unknown_user"),
        letter(topology, "provisioning.suspend", "unknown_website"),
        letter(topology, "provisioning.suspend", "illegal"),
    ]
    async with publishing(broker) as session:
        await publish_all(session, letters)
    moved = await redrive(broker, namespace, DeadLetterFilter(reason="unknown_user"))
    assert [item["message_id"] for item in moved] == [letters[0].message_id]
    moved = await redrive(broker, namespace, DeadLetterFilter(message_ids=frozenset({letters[1].message_id})))
    assert [item["message_id"] for item in moved] == [letters[1].message_id]
    left = await peek_dead_letters(broker, namespace, 10)
    assert [item["message_id"] for item in left] == [letters[2].message_id]
    for queue, sent in ((topology.signups, letters[0]), (topology.commands, letters[1])):
        (back,) = await broker.peek(queue, 10)
        assert (back.message_id, back.type, back.body) == (sent.message_id, sent.type, sent.body)
        assert {name: value for name, value in back.headers.items() if name != "x-delivery-count"} == {
            "traceparent": "kept"
        }


@pytest.mark.fault(103)
async def test_an_unconfirmed_letter_stays() -> None:
    """Where the broker does not confirm, the dead letter is not taken away."""
    topology, broker = Topology("t"), FaultyMemoryBroker()
    await broker.declare(topology)
    sent = letter(topology, "provisioning.suspend", "illegal")
    async with publishing(broker) as session:
        await publish_all(session, [sent])
    broker.swallow_confirms(1)
    with pytest.raises(BrokerDownError):
        await redrive(broker, "t")
    await asyncio.sleep(0)
    left = await peek_dead_letters(broker, "t", 10)
    assert [item["message_id"] for item in left] == [sent.message_id]


async def test_what_is_rejected_again_waits_for_the_next_redrive() -> None:
    """A letter that comes back while the others are being moved is not moved again: poison messages would go in
    circles for as long as the redrive can keep up (fault 104; found by simulation, seed 5433530310)."""
    topology, broker = Topology("t"), FaultyMemoryBroker()
    await broker.declare(topology)
    sent = [letter(topology, "provisioning.suspend", "poison") for _ in range(3)]
    async with publishing(broker) as session:
        await publish_all(session, sent)
    by_id = {message.message_id: message for message in sent}
    worker = await broker.open_consumer()
    returned: list[asyncio.Task[None]] = []

    def reject(delivery: Delivery) -> None:
        if len(returned) < 50:  # or it would go on for ever
            broker.accept(by_id[delivery.message_id or ""])
        returned.append(asyncio.create_task(worker.ack(delivery)))

    await worker.consume(topology.commands, 10, reject)
    moved = await redrive(broker, "t")
    assert sorted(item["message_id"] for item in moved) == sorted(by_id)
    await asyncio.gather(*returned)
    await worker.close()
    assert len(await peek_dead_letters(broker, "t", 10)) == 3
