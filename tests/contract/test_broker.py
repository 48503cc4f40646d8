"""What the protocol promises, of both brokers."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
import pytest_asyncio

from consumer.broker.protocol import (
    Broker,
    BrokerDownError,
    BrokerError,
    ConsumerSession,
    Message,
    NackedError,
    PublisherSession,
    QueueCounts,
    QueueMissingError,
    Right,
    UnroutableError,
)
from tests.contract.servers import BrokerServer
from tests.contract.sessions import Inbox, drain, message, until_closed, until_counts
from tests.contract.topologies import FRAGILE_LIMIT, ContractTopology, OtherArguments


@pytest_asyncio.fixture
async def publisher(broker: Broker) -> AsyncIterator[PublisherSession]:
    """A session that publishes."""
    session = await broker.open_publisher()
    yield session
    await session.close()


@pytest_asyncio.fixture
async def consumer(broker: Broker) -> AsyncIterator[ConsumerSession]:
    """A session that consumes."""
    session = await broker.open_consumer()
    yield session
    await session.close()


async def fill(publisher: PublisherSession, queue: str, count: int) -> list[str]:
    """Publish some messages one after the other; return their ids."""
    messages = [message(queue) for _ in range(count)]
    for item in messages:
        await publisher.publish(item)
    return [item.message_id for item in messages]


# ----------------------------------------------------------------------------------------------- what a message keeps


async def test_everything_arrives_as_it_was_sent(topology: ContractTopology, publisher, consumer) -> None:
    """Body, id, type, headers of all plain types and foreign properties arrive as they were sent."""
    headers = {
        "text": "ä",
        "number": 7,
        "big": 2**40,
        "truth": True,
        "half": 0.5,
        "x-reason": "poison",
        "bytes": b"\xff\0",
    }
    properties = {
        "content_type": "application/x-foreign", "content_encoding": "utf-8", "correlation_id": "c", "reply_to": "r",
        "app_id": "foreign", "priority": 3, "timestamp": datetime(2020, 2, 3, 4, 5, 6, tzinfo=UTC),
    }  # fmt: skip
    sent = message(topology.commands, body=b"\0\xff{", headers=headers, properties=properties)
    await publisher.publish(sent)
    inbox = Inbox()
    await consumer.consume(topology.commands, 1, inbox.put)
    (got,) = await inbox.until(1)
    assert (got.body, got.message_id, got.type) == (sent.body, sent.message_id, sent.type)
    assert (got.exchange, got.routing_key, got.queue) == ("", topology.commands, topology.commands)
    assert (got.redelivered, got.session) == (False, consumer)
    assert {name: got.headers[name] for name in headers} == headers
    assert got.properties == {**properties, "delivery_mode": 2}


async def test_an_empty_body_arrives(topology: ContractTopology, publisher, consumer) -> None:
    """A message without a body is a message."""
    await publisher.publish(message(topology.commands, body=b""))
    inbox = Inbox()
    await consumer.consume(topology.commands, 1, inbox.put)
    assert (await inbox.until(1))[0].body == b""


async def test_a_large_body_arrives(topology: ContractTopology, publisher, consumer) -> None:
    """A body of many frames arrives whole."""
    body = bytes(range(256)) * 4096
    await publisher.publish(message(topology.commands, body=body))
    inbox = Inbox()
    await consumer.consume(topology.commands, 1, inbox.put)
    assert (await inbox.until(1))[0].body == body


async def test_a_copy_is_persistent_and_outlives_its_original(topology: ContractTopology, publisher, consumer) -> None:
    """A copy of a foreign message takes over neither its expiry nor its user nor its transience."""
    foreign = {"expiration": "1", "user_id": "somebody-else", "delivery_mode": 1}
    await publisher.publish(message(topology.commands, properties=foreign))
    inbox = Inbox()
    await consumer.consume(topology.commands, 1, inbox.put)
    (got,) = await inbox.until(1)
    assert got.properties["delivery_mode"] == 2
    assert not {"expiration", "user_id"} & set(got.properties)


@pytest.mark.parametrize("properties", [{}, {"user_id": "somebody-else", "app_id": "signup"}])
async def test_a_message_carries_its_publishers_user(
    topology: ContractTopology, publisher, consumer, properties: dict[str, str]
) -> None:
    """What asks for it carries the session's own user, whatever user a message of others had; nothing else does."""
    sent = [message(topology.commands, properties=properties, carries_user_id=carries) for carries in (True, False)]
    await publisher.publish_all(sent)
    inbox = Inbox()
    await consumer.consume(topology.commands, 2, inbox.put)
    users = {got.message_id: got.properties.get("user_id") for got in await inbox.until(2)}
    assert users == {sent[0].message_id: "guest", sent[1].message_id: None}


async def test_asking_for_rights_does_nothing(topology: ContractTopology, broker, consumer) -> None:
    """A user who may do everything has every right; asking publishes, takes and declares nothing."""
    rights = [
        Right("publish", ""), Right("publish", topology.commands_exchange, "provisioning.suspend"),
        Right("publish", topology.dead_letters), Right("read", topology.commands), Right("declare", topology.commands),
        Right("declare", f"{topology.commands}.other"),
    ]  # fmt: skip
    assert (broker.user, list(await broker.has_rights(rights))) == ("guest", [True] * len(rights))
    for queue in (topology.commands, topology.dead_letters):
        assert await consumer.counts(queue) == QueueCounts(0, 0)
    with pytest.raises(QueueMissingError):
        await consumer.counts(f"{topology.commands}.other")


# ------------------------------------------------------------------------------------------------------------ routing


async def test_commands_are_routed_by_topic(topology: ContractTopology, publisher, broker: Broker) -> None:
    """`website.created` goes to the signups, `provisioning.*` to the commands, each once."""
    for key in ("website.created", "provisioning.go_live"):
        await publisher.publish(message(key, exchange=topology.commands_exchange, mandatory=False, type=key))
    assert [delivery.routing_key for delivery in await broker.peek(topology.signups, 9)] == ["website.created"]
    assert [delivery.routing_key for delivery in await broker.peek(topology.commands, 9)] == ["provisioning.go_live"]


@pytest.mark.parametrize("key", ["website.updated", "provisioning.go.live", "provisioning", "", "x" * 255])
async def test_what_nothing_takes_goes_by_the_alternate_exchange(
    topology: ContractTopology, publisher, broker, key
) -> None:
    """A message that no binding takes ends in the commands queue, even where it is mandatory."""
    await publisher.publish(message(key, exchange=topology.commands_exchange, mandatory=True))
    (got,) = await broker.peek(topology.commands, 9)
    assert (got.routing_key, got.exchange) == (key, topology.commands_exchange)


async def test_events_reach_their_subscribers_only(topology: ContractTopology, publisher, broker: Broker) -> None:
    """A subscriber gets the events that it has bound; an event for nobody is confirmed and gone."""
    await publisher.publish(message("website.live", exchange=topology.events_exchange, mandatory=False))
    await publisher.publish(message("nobody.cares", exchange=topology.events_exchange, mandatory=False))
    assert [delivery.routing_key for delivery in await broker.peek(topology.subscriber, 9)] == ["website.live"]
    assert await broker.peek(topology.commands, 9) == []


async def test_unroutable_says_so(topology: ContractTopology, publisher) -> None:
    """A mandatory message for a queue that is not there raises, and the session lives on."""
    with pytest.raises(UnroutableError):
        await publisher.publish(message(f"{topology.namespace}.nowhere"))
    await publisher.publish(message(topology.commands))
    assert not publisher.closed.is_set()


async def test_a_missing_exchange_is_unroutable_and_ends_the_session(
    topology: ContractTopology, server: BrokerServer, publisher
) -> None:
    """Publishing to an exchange that is gone raises UnroutableError, so that the caller declares it anew."""
    await server.delete_exchange(topology.events_exchange)
    with pytest.raises(UnroutableError, match="exchange"):
        await publisher.publish(message("website.live", exchange=topology.events_exchange, mandatory=False))
    await until_closed(publisher)


# ----------------------------------------------------------------------------------------------------------- confirms


async def test_each_of_many_gets_its_own_confirm(topology: ContractTopology, publisher, broker: Broker) -> None:
    """Of 100 publishes at once, exactly the unroutable ones raise, and exactly the others are stored."""
    good = [message(topology.commands) for _ in range(50)]
    bad = [message(f"{topology.namespace}.nowhere") for _ in range(50)]
    mixed = [item for pair in zip(good, bad, strict=True) for item in pair]
    results = await asyncio.gather(*map(publisher.publish, mixed), return_exceptions=True)
    assert [type(result) for result in results] == [type(None), UnroutableError] * 50
    assert {got.message_id for got in await drain(broker, topology.commands)} == {item.message_id for item in good}


async def test_equal_ids_at_once_do_not_take_each_others_confirms(
    topology: ContractTopology, publisher, broker: Broker
) -> None:
    """[bad, ok, bad, ok] with one id in flight: the bad ones raise and the good ones are stored."""
    good = message(topology.commands, message_id="same")
    bad = message(f"{topology.namespace}.nowhere", message_id="same")
    results = await asyncio.gather(*map(publisher.publish, (bad, good, bad, good)), return_exceptions=True)
    assert [type(result) for result in results] == [UnroutableError, type(None)] * 2
    assert {got.message_id for got in await drain(broker, topology.commands)} == {"same"}


async def test_the_same_message_at_once_is_sent_once(topology: ContractTopology, publisher, broker: Broker) -> None:
    """Ten calls with one message share one publish and one confirm."""
    same = message(topology.commands)
    await asyncio.gather(*(publisher.publish(same) for _ in range(10)))
    assert [got.message_id for got in await drain(broker, topology.commands)] == [same.message_id]


async def test_the_same_message_later_is_sent_again(topology: ContractTopology, publisher, broker: Broker) -> None:
    """Only what is in flight is shared: a repetition after the confirm is a publish of its own."""
    same = message(topology.commands)
    await publisher.publish(same)
    await publisher.publish(same)
    assert len(await drain(broker, topology.commands)) == 2


async def test_messages_without_id_are_all_sent(topology: ContractTopology, publisher, broker: Broker) -> None:
    """What has no id is never taken for the same."""
    await asyncio.gather(*(publisher.publish(message(topology.commands, message_id="")) for _ in range(5)))
    assert len(await drain(broker, topology.commands)) == 5


async def test_a_thousand_at_once(topology: ContractTopology, publisher, broker: Broker) -> None:
    """A thousand concurrent publishes are all confirmed, and each is stored once."""
    sent = [message(topology.commands) for _ in range(1000)]
    await asyncio.gather(*map(publisher.publish, sent))
    stored = Counter(got.message_id for got in await drain(broker, topology.commands))
    assert stored == Counter(item.message_id for item in sent)


async def test_a_full_queue_nacks(topology: ContractTopology, server: BrokerServer, publisher) -> None:
    """A queue that is full refuses, the publisher gets NackedError, and the session lives on."""
    await server.limit(topology.signups, 2)
    results = [await _error_of(publisher, message(topology.signups)) for _ in range(30)]
    assert set(map(type, results)) == {type(None), NackedError}
    await publisher.publish(message(topology.commands))
    assert not publisher.closed.is_set()


async def _error_of(publisher: PublisherSession, item: Message) -> BrokerError | None:
    try:
        await publisher.publish(item)
    except BrokerError as error:
        return error
    return None


async def test_a_cancelled_caller_takes_no_confirm_away(topology: ContractTopology, publisher, broker: Broker) -> None:
    """Of two that wait for one publish, one is cancelled: the other gets the confirm, and it is stored once."""
    same = message(topology.commands)
    first, second = (asyncio.ensure_future(publisher.publish(same)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await second
    assert first.cancelled()
    assert len(await drain(broker, topology.commands)) == 1
    assert not publisher.closed.is_set()


async def test_cancelled_publishes_do_not_spoil_later_ones(topology: ContractTopology, publisher) -> None:
    """After 50 callers were cancelled in mid-publish, good and unroutable messages still get their own confirms."""
    callers = [asyncio.ensure_future(publisher.publish(message(f"{topology.namespace}.nowhere"))) for _ in range(50)]
    await asyncio.sleep(0)
    for caller in callers:
        caller.cancel()
    await asyncio.gather(*callers, return_exceptions=True)
    await publisher.publish(message(topology.commands))
    with pytest.raises(UnroutableError):
        await publisher.publish(message(f"{topology.namespace}.nowhere"))


async def test_publishing_on_a_closed_session(topology: ContractTopology, publisher) -> None:
    """A session that was closed takes nothing more, and may be closed twice."""
    await publisher.close()
    with pytest.raises(BrokerDownError):
        await publisher.publish(message(topology.commands))
    await publisher.close()
    assert publisher.closed.is_set()


async def test_publishers_in_flight_learn_that_the_connection_was_dropped(
    topology: ContractTopology, server: BrokerServer, publisher
) -> None:
    """While connections are dropped a publish is confirmed or ends in BrokerDownError; what was confirmed is stored."""
    confirmed: list[str] = []

    async def publish_until_down() -> None:
        while True:
            item = message(topology.commands)
            await publisher.publish(item)
            confirmed.append(item.message_id)

    callers = [asyncio.ensure_future(publish_until_down()) for _ in range(16)]
    while len(confirmed) < 50:
        await asyncio.sleep(0)
    await server.drop_connections()
    async with asyncio.timeout(60):
        ends = await asyncio.gather(*callers, return_exceptions=True)
    assert {type(end) for end in ends} == {BrokerDownError}
    await until_closed(publisher)
    assert set(confirmed) <= {got.message_id for got in await drain(server.broker, topology.commands)}


# ---------------------------------------------------------------------------------------------------------- consuming


async def test_prefetch_bounds_what_is_unsettled(topology: ContractTopology, publisher, consumer) -> None:
    """A consumer never holds more than its prefetch; each ack lets one more in."""
    await fill(publisher, topology.commands, 10)
    inbox = Inbox()
    await consumer.consume(topology.commands, 3, inbox.put)
    await inbox.until(3)
    await until_counts(consumer, topology.commands, 7)
    assert len(inbox.deliveries) == 3
    await consumer.ack(inbox.deliveries[1])
    await inbox.until(4)
    await until_counts(consumer, topology.commands, 6)
    assert len(inbox.deliveries) == 4


async def test_each_consumer_has_its_own_prefetch(topology: ContractTopology, publisher, consumer) -> None:
    """Two queues on one session: a full window of one does not keep the other out."""
    await fill(publisher, topology.commands, 5)
    await fill(publisher, topology.signups, 5)
    commands, signups = Inbox(), Inbox()
    await consumer.consume(topology.commands, 2, commands.put)
    await consumer.consume(topology.signups, 4, signups.put)
    await commands.until(2)
    await signups.until(4)
    await until_counts(consumer, topology.commands, 3)
    await until_counts(consumer, topology.signups, 1)
    assert (len(commands.deliveries), len(signups.deliveries)) == (2, 4)


async def test_order_is_kept_for_one_consumer(topology: ContractTopology, publisher, consumer) -> None:
    """Undisturbed, a queue is first in, first out."""
    ids = await fill(publisher, topology.commands, 20)
    inbox = Inbox()
    await consumer.consume(topology.commands, 20, inbox.put)
    await inbox.until(20)
    assert inbox.ids == ids


async def test_consumers_share_a_queue(topology: ContractTopology, publisher, consumer, broker: Broker) -> None:
    """Two consumers of one queue each get some, and no message goes to both."""
    other = await broker.open_consumer()
    mine, theirs = Inbox(), Inbox()
    await consumer.consume(topology.commands, 100, mine.put)
    await other.consume(topology.commands, 100, theirs.put)
    ids = await fill(publisher, topology.commands, 20)
    async with asyncio.timeout(60):
        while len(mine.deliveries) + len(theirs.deliveries) < 20:
            await asyncio.sleep(0)
    assert mine.deliveries
    assert theirs.deliveries
    assert Counter(mine.ids + theirs.ids) == Counter(ids)
    await other.close()


async def test_acked_messages_are_gone(topology: ContractTopology, publisher, broker: Broker) -> None:
    """What was acked before a close is not delivered again, although ack does not wait for the broker."""
    for _ in range(5):
        await asyncio.gather(*(publisher.publish(message(topology.commands)) for _ in range(300)))
        consumer = await broker.open_consumer()
        inbox = Inbox()
        await consumer.consume(topology.commands, 300, inbox.put)
        for delivery in await inbox.until(300):
            await consumer.ack(delivery)
        await consumer.close()
        assert await broker.peek(topology.commands, 300) == []


async def test_unsettled_messages_come_again_after_a_close(
    topology: ContractTopology, publisher, consumer, broker
) -> None:
    """What was not acked is delivered again, marked so; what was acked is not."""
    ids = await fill(publisher, topology.commands, 4)
    inbox = Inbox()
    await consumer.consume(topology.commands, 4, inbox.put)
    first = (await inbox.until(4))[0]
    await consumer.ack(first)
    await consumer.close()
    again = await drain(broker, topology.commands)
    assert {got.message_id for got in again} == set(ids[1:])
    assert all(got.redelivered for got in again)
    assert {got.headers.get("x-delivery-count") for got in again} == {1}


async def test_settling_on_a_dead_session_is_harmless(
    topology: ContractTopology, publisher, consumer, broker: Broker
) -> None:
    """Ack, nack, stop_consuming and close on a dead session do nothing and raise nothing."""
    await fill(publisher, topology.commands, 2)
    inbox = Inbox()
    await consumer.consume(topology.commands, 2, inbox.put)
    got = await inbox.until(2)
    await consumer.close()
    await consumer.ack(got[0])
    await consumer.nack_all(got)
    await consumer.stop_consuming()
    await consumer.close()
    assert len(await drain(broker, topology.commands)) == 2


@pytest.mark.parametrize(
    "rounds",
    [
        pytest.param(([0, 1, 2],), id="the first ones"),
        pytest.param(([3, 4, 5],), id="the last ones"),
        pytest.param(([0, 2, 5],), id="here and there"),
        pytest.param(([4], [0, 1], [1, 2, 4]), id="holes that close"),
        pytest.param(([0, 1, 2, 3, 4, 5],), id="all"),
    ],
)
async def test_acked_together(
    topology: ContractTopology, publisher, consumer, broker: Broker, rounds: tuple[list[int]]
) -> None:
    """Those that are acked are settled, those between and around them are not: they come again."""
    await fill(publisher, topology.commands, 6)
    inbox = Inbox()
    await consumer.consume(topology.commands, 6, inbox.put)
    got = await inbox.until(6)
    for chosen in rounds:
        await consumer.ack_all([got[number] for number in chosen])
    left = {got[number].message_id for number in range(6)} - {
        got[number].message_id for acked in rounds for number in acked
    }
    await consumer.close()
    assert {message.message_id for message in await drain(broker, topology.commands)} == left


async def test_a_second_ack_is_harmless(topology: ContractTopology, publisher, consumer) -> None:
    """Acking twice, or handing back what was acked, does not close the channel."""
    await fill(publisher, topology.commands, 1)
    inbox = Inbox()
    await consumer.consume(topology.commands, 1, inbox.put)
    (got,) = await inbox.until(1)
    await consumer.ack(got)
    await consumer.ack(got)
    await consumer.nack_all([got])
    assert (await consumer.counts(topology.commands)).ready == 0
    assert not consumer.closed.is_set()


async def test_a_delivery_is_settled_where_it_came_from(
    topology: ContractTopology, publisher, consumer, broker: Broker
) -> None:
    """Another session's ack with the same tag does not settle what it never received."""
    await fill(publisher, topology.commands, 2)
    other = await broker.open_consumer()
    mine, theirs = Inbox(), Inbox()
    await consumer.consume(topology.commands, 1, mine.put)
    await mine.until(1)
    await other.consume(topology.commands, 1, theirs.put)
    await theirs.until(1)
    await consumer.ack(theirs.deliveries[0])
    await consumer.close()
    await other.close()
    assert len(await drain(broker, topology.commands)) == 2


async def test_nacked_deliveries_come_again(topology: ContractTopology, publisher, consumer, broker: Broker) -> None:
    """What is nacked is ready for others at once; the session keeps the rest."""
    ids = await fill(publisher, topology.commands, 4)
    inbox = Inbox()
    await consumer.consume(topology.commands, 4, inbox.put)
    got = await inbox.until(4)
    await consumer.stop_consuming()
    await consumer.nack_all(got[2:])
    await until_counts(consumer, topology.commands, 2)
    await consumer.ack(got[0])
    await consumer.close()
    assert {item.message_id for item in await drain(broker, topology.commands)} == set(ids[1:])


async def test_nothing_arrives_after_stop_consuming(topology: ContractTopology, publisher, consumer) -> None:
    """After stop_consuming returned nothing more is delivered, and what was can still be settled."""
    await fill(publisher, topology.commands, 3)
    inbox = Inbox()
    await consumer.consume(topology.commands, 100, inbox.put)
    await inbox.until(3)
    await consumer.stop_consuming()
    await fill(publisher, topology.commands, 5)
    await until_counts(consumer, topology.commands, 5)
    assert len(inbox.deliveries) == 3
    for delivery in inbox.deliveries:
        await consumer.ack(delivery)
    # A quorum queue counts a cancelled consumer for as long as that one has something unsettled.
    await until_counts(consumer, topology.commands, ready=5, consumers=0)


async def test_counts(topology: ContractTopology, publisher, consumer) -> None:
    """Ready messages and consumers are counted."""
    assert await consumer.counts(topology.commands) == await consumer.counts(topology.signups)
    await fill(publisher, topology.commands, 3)
    await until_counts(consumer, topology.commands, 3)
    assert (await consumer.counts(topology.commands)).consumers == 0
    inbox = Inbox()
    await consumer.consume(topology.commands, 1, inbox.put)
    await inbox.until(1)
    await until_counts(consumer, topology.commands, 2)
    assert (await consumer.counts(topology.commands)).consumers == 1


async def test_counting_a_missing_queue(topology: ContractTopology, consumer) -> None:
    """A missing queue is named, with what makes it, and ends the session."""
    with pytest.raises(QueueMissingError, match=f"{topology.namespace}.nowhere.*provisioner init"):
        await consumer.counts(f"{topology.namespace}.nowhere")
    await until_closed(consumer)
    with pytest.raises(BrokerDownError):
        await consumer.counts(topology.commands)


async def test_consuming_a_missing_queue(topology: ContractTopology, consumer) -> None:
    """A missing queue is named, with what makes it, and ends the session."""
    with pytest.raises(QueueMissingError, match=f"{topology.namespace}.nowhere.*provisioner init"):
        await consumer.consume(f"{topology.namespace}.nowhere", 1, Inbox().put)
    await until_closed(consumer)
    with pytest.raises(BrokerDownError):
        await consumer.consume(topology.commands, 1, Inbox().put)


async def test_a_deleted_queue_ends_the_session(topology: ContractTopology, server: BrokerServer, consumer) -> None:
    """The broker cancels the consumer of a deleted queue, and the session is closed."""
    await consumer.consume(topology.commands, 1, Inbox().put)
    await server.delete_queue(topology.commands)
    await until_closed(consumer)


async def test_dropped_connections_end_every_session(
    topology: ContractTopology, server: BrokerServer, publisher, consumer
) -> None:
    """When connections are dropped all sessions are closed, and what was unsettled comes again."""
    await fill(publisher, topology.commands, 2)
    inbox = Inbox()
    await consumer.consume(topology.commands, 2, inbox.put)
    got = await inbox.until(2)
    await server.drop_connections()
    await until_closed(consumer)
    await until_closed(publisher)
    await consumer.ack(got[0])
    again = await server.broker.open_consumer()
    await until_counts(again, topology.commands, 2)
    await again.close()


async def test_a_hundred_sessions_leave_nothing_behind(topology: ContractTopology, broker: Broker) -> None:
    """Sessions that are opened and closed leave no task; the server's own check looks."""
    before = len(asyncio.all_tasks())
    for _ in range(100):
        session = await broker.open_consumer()
        await session.close()
    assert len(asyncio.all_tasks()) == before


# ------------------------------------------------------------------------------------------- dead letters and peeking


async def test_past_the_delivery_limit_is_a_dead_letter(topology: ContractTopology, publisher, broker: Broker) -> None:
    """A message that is never settled is delivered limit + 1 times, and is then a dead letter with x-death."""
    sent = message(topology.fragile, body=b"loop")
    await publisher.publish(sent)
    session = await broker.open_consumer()
    inbox = Inbox()
    await session.consume(topology.fragile, 1, inbox.put)
    for count in range(1, FRAGILE_LIMIT + 2):
        got = (await inbox.until(count))[-1]
        await session.nack_all([got])
    dead = Inbox()
    await session.consume(topology.dead_letters, 1, dead.put)
    (dead_letter,) = await dead.until(1)
    assert len(inbox.deliveries) == FRAGILE_LIMIT + 1
    assert (dead_letter.message_id, dead_letter.body) == (sent.message_id, b"loop")
    death = dead_letter.headers["x-death"][0]
    assert (death["reason"], death["queue"]) == ("delivery_limit", topology.fragile)
    await session.close()


async def test_a_body_that_is_too_long_is_not_kept(topology: ContractTopology, publisher, broker: Broker) -> None:
    """It says how long it was; rejected, the very message is a dead letter, once, with x-death and its body."""
    long, longest = message(topology.fragile, body=b"x" * 300_000), message(topology.fragile, body=b"y" * 1000)
    await publisher.publish_all([long, longest])
    session = await broker.open_consumer()
    inbox = Inbox()
    await session.consume(topology.fragile, 2, inbox.put, max_body_bytes=1000)
    first, second = await inbox.until(2)
    assert (first.message_id, first.body, first.omitted_bytes) == (long.message_id, b"", 300_000)
    assert (second.message_id, second.body, second.omitted_bytes) == (longest.message_id, longest.body, 0)
    await session.reject_all([first])
    await session.ack_all([first, second])
    dead = Inbox()
    other = await broker.open_consumer()
    await other.consume(topology.dead_letters, 2, dead.put)
    (dead_letter,) = await dead.until(1)
    assert (dead_letter.message_id, dead_letter.body, dead_letter.redelivered) == (long.message_id, long.body, False)
    death = dead_letter.headers["x-death"][0]
    assert (death["reason"], death["queue"], dead_letter.headers["x-first-death-reason"]) == (
        "rejected", topology.fragile, "rejected"
    )  # fmt: skip
    assert (await session.counts(topology.fragile)).ready == 0
    await session.reject_all([first])
    await session.close()
    await session.reject_all([second])
    await other.close()


async def test_peeking_leaves_everything(topology: ContractTopology, publisher, broker: Broker) -> None:
    """Twenty-five peeks at the dead letters lose nothing, double nothing and use nothing up."""
    ids = await fill(publisher, topology.dead_letters, 30)
    for _ in range(25):
        peeked = await broker.peek(topology.dead_letters, 100)
        assert {got.message_id for got in peeked} == set(ids)
        assert len(peeked) == 30
    assert Counter(got.message_id for got in await drain(broker, topology.dead_letters)) == Counter(ids)


async def test_peeking_is_bounded(topology: ContractTopology, publisher, broker: Broker) -> None:
    """A peek returns at most `limit`; its deliveries cannot be settled."""
    ids = await fill(publisher, topology.dead_letters, 5)
    peeked = await broker.peek(topology.dead_letters, 2)
    assert [got.message_id for got in peeked] == ids[:2]
    assert all(got.session.closed.is_set() for got in peeked)
    await peeked[0].session.ack(peeked[0])
    assert await broker.peek(topology.dead_letters, 0) == []
    assert len(await broker.peek(topology.dead_letters, 9)) == 5


async def test_peeking_into_a_missing_queue(topology: ContractTopology, broker: Broker) -> None:
    """A missing queue is named."""
    with pytest.raises(QueueMissingError, match=f"{topology.namespace}.nowhere"):
        await broker.peek(f"{topology.namespace}.nowhere", 1)


# ----------------------------------------------------------------------------------------------------------- topology


async def test_declaring_again_changes_nothing(topology: ContractTopology, publisher, broker: Broker) -> None:
    """Declaring what is there is fine, keeps what is in it, and doubles no binding."""
    await publisher.publish(message("website.created", exchange=topology.commands_exchange, mandatory=False))
    await broker.declare(topology)
    await publisher.publish(message("website.created", exchange=topology.commands_exchange, mandatory=False))
    assert len(await drain(broker, topology.signups)) == 2


async def test_other_arguments_are_refused_and_explained(topology: ContractTopology, broker: Broker) -> None:
    """A queue with other arguments is named, with both ways out; it is no lost connection."""
    with pytest.raises(BrokerError, match=f"{topology.dead_letters}.*delete it.*PROVISIONER_NAMESPACE") as caught:
        await broker.declare(OtherArguments(topology.namespace))
    assert not isinstance(caught.value, BrokerDownError)


async def test_deleting_twice(topology: ContractTopology, publisher, broker: Broker) -> None:
    """Delete removes queues with what is in them; what is gone stays away quietly."""
    await fill(publisher, topology.commands, 1)
    await broker.delete(topology)
    await broker.delete(topology)
    with pytest.raises(QueueMissingError):
        await broker.peek(topology.commands, 1)


async def test_what_is_missing_is_made_again(topology: ContractTopology, server: BrokerServer, publisher) -> None:
    """A queue that was deleted is back, bound, after a declare."""
    await server.delete_queue(topology.signups)
    with pytest.raises(UnroutableError):
        await publisher.publish(message(topology.signups))
    await server.broker.declare(topology)
    await publisher.publish(message("website.created", exchange=topology.commands_exchange, mandatory=False))
    assert len(await drain(server.broker, topology.signups)) == 1
