"""RabbitMQ beyond the contract: foreign bytes, refused users, silent peers, and a client that closes a connection."""

import asyncio
import struct
import traceback
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

import aiormq
import pytest
from pamqp import encode
from pamqp.commands import Basic
from yarl import URL

from consumer.broker.protocol import BrokerDownError, BrokerError, Delivery
from consumer.broker.rabbitmq.adapter import RabbitBroker
from consumer.broker.rabbitmq.errors import user_of
from consumer.broker.topology import Topology
from consumer.domain.outcomes import Reason, Rejected
from consumer.messages.outbound_dead_letters import dead_letter
from ops.dead_letters.queue_lease import leased
from ops.dead_letters.queue_reader import summarize
from tests.contract.sessions import Inbox, drain, message, until_closed

PASSWORD = "s3cret-canary"


@pytest.fixture
def broker(amqp_url: str) -> RabbitBroker:
    return RabbitBroker(amqp_url)


@pytest.fixture
async def topology(broker: RabbitBroker, namespace: str) -> Topology:
    made = Topology(namespace)
    await broker.declare(made)
    return made


# ---------------------------------------------------------------------------------------------------- foreign content


@asynccontextmanager
async def foreign_channel(url: str) -> AsyncIterator[Any]:
    connection = await aiormq.connect(url)
    try:
        yield await connection.channel()
    finally:
        await connection.close()


def raw_text(value: str) -> bytes:
    text = value.encode("latin-1")
    return bytes([len(text)]) + text


async def test_nobody_publishes_under_another_name(amqp_url: str, topology: Topology) -> None:
    """RabbitMQ refuses a message whose user_id is not its publisher's: what arrives with one can be trusted."""
    async with foreign_channel(amqp_url) as channel:
        with pytest.raises(aiormq.exceptions.AMQPError, match="user_id property set to 'provisioner-ops'"):
            await channel.basic_publish(
                b"{}", routing_key=topology.commands, properties=Basic.Properties(user_id="provisioner-ops")
            )


@pytest.mark.parametrize(
    ("query", "user"), [("", "guest"), ("?heartbeat=5", "guest"), ("?auth=external", None), ("?auth=EXTERNAL", None)]
)
def test_the_user_of_a_url(query: str, user: str | None) -> None:
    """It is the one that logs in, unquoted, guest where none is named; a certificate's is not known."""
    assert user_of(URL(f"amqp://host/{query}")) == user
    assert user_of(URL(f"amqp://an%40a:secret@host/{query}")) == ("an@a" if user else None)


async def publish_raw(url: str, queue: str, monkeypatch: pytest.MonkeyPatch, **properties: Any) -> None:
    """Publish as a client that writes any byte into a short text."""
    async with foreign_channel(url) as channel:
        with monkeypatch.context() as patched:
            patched.setitem(encode.METHODS, "shortstr", raw_text)
            await channel.basic_publish(b"{}", routing_key=queue, properties=Basic.Properties(**properties))


async def only_delivery(broker: RabbitBroker, queue: str) -> Delivery:
    session = await broker.open_consumer()
    inbox = Inbox()
    await session.consume(queue, 1, inbox.put)
    (got,) = await inbox.until(1)
    await session.ack(got)
    assert not session.closed.is_set()
    await session.close()
    return got


@pytest.mark.parametrize("field", ["message_id", "message_type", "correlation_id", "content_type", "app_id"])
async def test_text_that_is_no_utf8(broker, amqp_url, topology, monkeypatch, field) -> None:
    """255 bytes that are no UTF-8 arrive as some text, and their dead letter can be published."""
    await publish_raw(amqp_url, topology.commands, monkeypatch, **{field: "\xff" * 255})
    got = await only_delivery(broker, topology.commands)
    publisher = await broker.open_publisher()
    await publisher.publish(dead_letter(got, Rejected(Reason.POISON, "not UTF-8"), topology))
    await publisher.close()
    assert len(await drain(broker, topology.dead_letters)) == 1


async def test_a_routing_key_that_is_no_utf8(broker, amqp_url, topology, monkeypatch) -> None:
    """A routing key of foreign bytes, which the topic exchange takes, does not kill the consumer."""
    async with foreign_channel(amqp_url) as channel:
        with monkeypatch.context() as patched:
            patched.setitem(encode.METHODS, "shortstr", raw_text)
            await channel.basic_publish(b"{}", exchange=topology.commands_exchange, routing_key="provisioning.\xff")
    assert (await only_delivery(broker, topology.commands)).routing_key == "provisioning.?"


@pytest.mark.parametrize("stamp", [2**63 - 1, 2**64 - 1, 1_700_000_000_000_000], ids=["max", "all", "microseconds"])
async def test_a_time_beyond_the_calendar(broker, amqp_url, topology, monkeypatch, stamp) -> None:
    """A timestamp that no calendar has is left out; the message keeps its id and its type."""
    with monkeypatch.context() as patched:
        patched.setitem(encode.METHODS, "timestamp", lambda value: struct.pack(">Q", value))
        await publish_raw(amqp_url, topology.commands, monkeypatch, message_id="m", message_type="t", timestamp=stamp)
    got = await only_delivery(broker, topology.commands)
    assert (got.message_id, got.type) == ("m", "t")
    assert "timestamp" not in got.properties


def table(content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + content


def nested(depth: int) -> bytes:
    content = b""
    for _ in range(depth):
        content = b"\x01kF" + table(content)
    return table(content)


@pytest.mark.parametrize(
    "headers",
    [table(b"\x01\xffS" + struct.pack(">I", 1) + b"x"), table(b"\x01kT" + b"\x7f" * 8), nested(3000)],
    ids=["key is no UTF-8", "impossible time", "3,000 deep"],
)
async def test_headers_that_cannot_be_read(broker, amqp_url, topology, monkeypatch, headers) -> None:
    """Headers that the client library chokes on are dropped; the message keeps its body, its id and its type."""
    with monkeypatch.context() as patched:
        patched.setitem(encode.METHODS, "table", lambda value: headers if value == {"raw": 1} else REAL_TABLE(value))
        await publish_raw(
            amqp_url, topology.commands, monkeypatch, message_id="m", message_type="t", headers={"raw": 1}
        )
    got = await only_delivery(broker, topology.commands)
    assert (got.body, got.message_id, got.type) == (b"{}", "m", "t")


async def test_headers_that_are_too_large_are_refused_on_every_path(broker, amqp_url, topology) -> None:
    """Before they are decoded, and said so: for whoever consumes, peeks or leases; the message is all there else."""
    bombs = {"bytes": "x" * 16_400, "entries": [1] * 256, "levels": [[[[[[[[]]]]]]]]}
    async with foreign_channel(amqp_url) as channel:
        for name, bomb in bombs.items():
            properties = Basic.Properties(headers={"bomb": bomb}, message_id=name, message_type="t")
            for queue in (topology.commands, topology.dead_letters):
                await channel.basic_publish(b"{}", routing_key=queue, properties=properties)
    for name in bombs:
        got = await only_delivery(broker, topology.commands)
        assert (got.message_id, got.type, got.body, got.headers) == (name, "t", b"{}", {})
        assert name in str(got.refused_headers)
    peeked = await broker.peek(topology.dead_letters, 10)
    async with leased(broker, topology.dead_letters) as lease:
        for found in (peeked, lease.deliveries):
            assert {got.message_id for got in found if got.refused_headers} == set(bombs)
            assert all(summarize(got)["reason"] == "poison" for got in found)
            assert not any(got.headers for got in found)


REAL_TABLE: Callable[[Any], bytes] = encode.METHODS["table"]


async def test_binary_headers_reach_the_dead_letters(broker, amqp_url, topology) -> None:
    """A header of bytes can be copied into a dead letter, and its CC is left behind."""
    async with foreign_channel(amqp_url) as channel:
        properties = Basic.Properties(headers={"blob": bytearray(b"\xff\0"), "CC": [topology.signups]})
        await channel.basic_publish(b"{}", routing_key=topology.commands, properties=properties)
    got = await only_delivery(broker, topology.commands)
    assert got.headers["blob"] == b"\xff\0"
    await drain(broker, topology.signups)
    publisher = await broker.open_publisher()
    copy = message(topology.dead_letters, headers=got.headers)
    await publisher.publish(copy)
    await publisher.close()
    (copied,) = await drain(broker, topology.dead_letters)
    assert copied.headers["blob"] == b"\xff\0"
    assert await broker.peek(topology.signups, 1) == []


async def test_what_amqp_cannot_carry_is_refused_and_harms_nobody(broker, topology) -> None:
    """A message that cannot be written raises BrokerError, and its neighbours are confirmed."""
    publisher = await broker.open_publisher()
    bad = message(topology.commands, headers={"huge": 2**80})
    good = [message(topology.commands) for _ in range(20)]
    results = await asyncio.gather(*map(publisher.publish, [*good[:10], bad, *good[10:]]), return_exceptions=True)
    assert [type(result) for result in results] == [*[type(None)] * 10, BrokerError, *[type(None)] * 10]
    await publisher.close()


async def test_a_timestamp_is_set(broker, topology) -> None:
    """A message of ours has the time when it was sent, with its zone."""
    publisher = await broker.open_publisher()
    await publisher.publish(message(topology.commands))
    await publisher.close()
    stamp = (await only_delivery(broker, topology.commands)).properties["timestamp"]
    assert stamp.tzinfo is not None


# -------------------------------------------------------------------------------------------------- users and secrets


@pytest.fixture
async def worker_url(rabbitmq: Any, namespace: str) -> AsyncIterator[str]:
    """A user who may read and write, and configure nothing."""
    user = f"worker-{namespace}"
    for arguments in (("add_user", user, PASSWORD), ("set_permissions", user, "^$", ".*", ".*")):
        await asyncio.to_thread(rabbitmq.ctl, *arguments)
    yield f"amqp://{user}:{PASSWORD}@127.0.0.1:{urlsplit(rabbitmq.url).port}/"
    await asyncio.to_thread(rabbitmq.ctl, "delete_user", user)


async def test_who_may_not_configure_checks(broker, topology, worker_url) -> None:
    """Without the right to configure, declare passes where everything is there, and names what is not."""
    await RabbitBroker(worker_url).declare(topology)
    missing = Topology(f"{topology.namespace}-missing")
    with pytest.raises(BrokerError, match=f"exchange {missing.dead_letters} is missing.*provisioner init") as caught:
        await RabbitBroker(worker_url).declare(missing)
    assert PASSWORD not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    "url",
    [
        f"amqp://guest:{PASSWORD}@127.0.0.1:PORT/",
        f"amqp://guest:{PASSWORD}@127.0.0.1:1/",
        f"amqp://guest:{PASSWORD}@no.such.host.invalid:5672/",
        f"amqp://guest:guest@127.0.0.1:PORT/no-such-vhost?password={PASSWORD}",
        f"amqp://guest:{PASSWORD}/x@127.0.0.1:5672/",
        f"amqp://guest:{PASSWORD}@[127.0.0.1/",
        f"http://guest:{PASSWORD}@127.0.0.1/",
        f"amqp://guest:{PASSWORD}@127.0.0.1:99999/",
    ],
)
async def test_no_error_has_a_password(amqp_url, url) -> None:
    """Whatever is wrong with a URL, neither the error nor its whole traceback has the password in it."""
    broker = RabbitBroker(url.replace("PORT", str(urlsplit(amqp_url).port)), timeout_seconds=5)
    for attempt in (broker.open_consumer, broker.open_publisher):
        with pytest.raises(BrokerError) as caught:
            await attempt()
        shown = "".join(line for line in traceback.format_exception(caught.value) if "test_broker_rabbitmq" not in line)
        assert PASSWORD not in shown
        assert PASSWORD not in str(caught.value)


# --------------------------------------------------------------------------------------------------------- dead peers


class Tunnel:
    """A TCP proxy that can stop passing anything on, and keep the sockets open."""

    def __init__(self, amqp_url: str) -> None:
        self._far = urlsplit(amqp_url)
        self._passing = asyncio.Event()
        self._passing.set()
        self._writers: list[asyncio.StreamWriter] = []
        self._tasks: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[str]:
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        try:
            login = self._far.netloc.rpartition("@")[0]
            yield f"amqp://{login}@127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        finally:
            server.close()
            for writer in self._writers:
                writer.transport.abort()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await server.wait_closed()

    def freeze(self) -> None:
        self._passing.clear()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(self._far.hostname, self._far.port)
        self._writers += [writer, far_writer]
        for source, target in ((reader, far_writer), (far_reader, writer)):
            self._tasks.add(asyncio.create_task(self._pass(source, target)))

    async def _pass(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65536):
                await self._passing.wait()
                target.write(data)
            target.close()
        except OSError:
            target.close()


async def test_a_silent_broker_is_down_in_time(amqp_url, topology) -> None:
    """With a silent peer, publish and counts end in BrokerDownError, sessions close, and all of it is bounded."""
    tunnel = Tunnel(amqp_url)
    loop = asyncio.get_running_loop()
    before = asyncio.all_tasks()
    async with tunnel.open() as url:
        broker = RabbitBroker(url, timeout_seconds=0.5)
        publisher, consumer = await broker.open_publisher(), await broker.open_consumer()
        inbox = Inbox()
        await consumer.consume(topology.commands, 5, inbox.put)
        await publisher.publish(message(topology.commands))
        (got,) = await inbox.until(1)
        tunnel.freeze()
        began = loop.time()
        results = await asyncio.gather(
            *(publisher.publish(message(topology.commands, body=b"x" * 100_000)) for _ in range(30)),
            consumer.counts(topology.commands),
            return_exceptions=True,
        )
        assert {type(result) for result in results} == {BrokerDownError}
        await until_closed(publisher)
        await until_closed(consumer)
        await consumer.ack(got)
        await publisher.close()
        await consumer.close()
        with pytest.raises(BrokerDownError):
            await broker.open_consumer()
        assert loop.time() - began < 60
    left = asyncio.all_tasks() - before
    if left:
        await asyncio.wait(left, timeout=60)
    assert not {task for task in asyncio.all_tasks() - before if not task.done()}


@pytest.mark.parametrize("reason", [asyncio.CancelledError(), asyncio.CancelledError, None], ids=repr)
async def test_a_client_that_closes_cancels_nobody(amqp_url, topology, reason) -> None:
    """Whatever aiormq ends a connection with, callers get BrokerDownError, and at once: nobody cancelled them."""
    tunnel = Tunnel(amqp_url)
    async with tunnel.open() as url:
        publisher = await RabbitBroker(url).open_publisher()
        tunnel.freeze()  # no confirm comes any more
        calls = [asyncio.ensure_future(publisher.publish(message(topology.commands))) for _ in range(200)]
        async with asyncio.timeout(8):  # less than the timeout of a publish
            await publisher._connection._aiormq.close(reason)
            results = await asyncio.gather(*calls, return_exceptions=True)
        assert {type(result) for result in results} == {BrokerDownError}
        await publisher.close()


@pytest.mark.parametrize("settle", ["ack_all", "nack_all"])
async def test_a_socket_that_is_being_closed(broker, topology, settle) -> None:
    """aiormq closes a lost connection's socket before it reports that: what is settled or published then raises nothing
    else than ever, and ends the session."""
    consumer, publisher = await broker.open_consumer(), await broker.open_publisher()
    inbox = Inbox()
    await consumer.consume(topology.commands, 1, inbox.put)
    await publisher.publish(message(topology.commands))
    got = await inbox.until(1)
    for session in (consumer, publisher):
        session._connection._socket._writer.write_eof()
    await getattr(consumer, settle)(got)
    assert consumer.closed.is_set()
    with pytest.raises(BrokerDownError):
        await publisher.publish(message(topology.commands))
    await consumer.close()
    await publisher.close()


async def test_a_cancelled_connect_leaves_no_connection(amqp_url, rabbitmq, namespace) -> None:
    """A connect that is cancelled at any moment leaves no connection at the broker."""
    name = f"cancelled-{namespace}"
    broker = RabbitBroker(amqp_url, name=name)
    for turns in range(40):
        opening = asyncio.ensure_future(broker.open_publisher())
        for _ in range(turns * 2):
            await asyncio.sleep(0)
        opening.cancel()
        with suppress(asyncio.CancelledError):
            await (await opening).close()
    async with asyncio.timeout(60):
        while name in await asyncio.to_thread(rabbitmq.ctl, "list_connections", "client_properties"):
            pass
