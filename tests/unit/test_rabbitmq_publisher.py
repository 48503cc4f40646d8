"""The publisher to RabbitMQ: each message gets its own confirm, in whatever order the broker confirms."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from aiormq.exceptions import ChannelNotFoundEntity

from consumer.broker.protocol import BrokerDownError, BrokerError, Message, NackedError, UnroutableError
from consumer.broker.rabbitmq.frame_reader import ReceivedMessage
from consumer.broker.rabbitmq.publisher import RabbitPublisher


class FakeConnection:
    """A connection to nowhere: what is written is kept, and the test is the broker."""

    def __init__(self) -> None:
        self.closed = asyncio.Event()
        self.timeout_seconds = 5.0
        self.channel = SimpleNamespace(number=1, max_content_size=1000)
        self.user = "guest"
        self.frame_reader = SimpleNamespace(on_confirm=None, on_message=None)
        self.written: list[bytes] = []
        self.on_closed: Any = None
        self.breaks = False

    def write(self, frames: bytes) -> None:
        if self.breaks:
            self.start_closing(OSError("gone"))
        self.written.append(frames)

    def start_closing(self, reason: BaseException | None = None) -> None:
        self.closed.set()
        self.on_closed(reason)

    def returns(self, message_id: str) -> None:
        self.frame_reader.on_message(ReceivedMessage(None, properties={"message_id": message_id}))


@pytest.fixture
async def connection() -> FakeConnection:
    return FakeConnection()


@pytest.fixture
async def publisher(connection: FakeConnection) -> RabbitPublisher:
    return RabbitPublisher(connection)  # type: ignore[arg-type]


def message(name: str, body: bytes = b"{}", **changes: Any) -> Message:
    return Message(name, "website.live", body, "", changes.pop("to", "queue"), mandatory=True, **changes)


async def started(publisher: RabbitPublisher, *messages: Message) -> "asyncio.Task[list[BrokerError | None]]":
    """Publish, and come back when all that can go out has gone out."""
    task = asyncio.create_task(publisher.publish_all(messages))
    await asyncio.sleep(0)
    return task


def kinds(results: list[BrokerError | None]) -> list[type | None]:
    return [error and type(error) for error in results]


async def test_confirms_in_any_order(connection: FakeConnection, publisher: RabbitPublisher) -> None:
    """Single and multiple, yes and no, the last before the first: each caller gets those of its own messages."""
    first = await started(publisher, *(message(name) for name in "abc"))
    second = await started(publisher, *(message(name) for name in "de"))
    connection.frame_reader.on_confirm(5, False, False)
    connection.frame_reader.on_confirm(2, True, True)
    assert not first.done()
    connection.frame_reader.on_confirm(3, False, False)
    connection.frame_reader.on_confirm(4, True, True)
    assert kinds(await first) == [None, None, NackedError]
    assert kinds(await second) == [None, NackedError]
    assert len(connection.written) == 2, "what is published together is one write"


async def test_a_return_is_followed_by_a_confirm_that_is_ignored(
    connection: FakeConnection, publisher: RabbitPublisher
) -> None:
    """A message that came back may be sent again before its confirm is there; that is not the second one's."""
    first = await started(publisher, message("a"))
    connection.returns("a")
    assert kinds(await first) == [UnroutableError]
    second = await started(publisher, message("a"))
    connection.frame_reader.on_confirm(1, False, True)
    await asyncio.sleep(0)
    assert not second.done()
    connection.frame_reader.on_confirm(2, False, True)
    assert await second == [None]


async def test_one_id_one_message_on_its_way(connection: FakeConnection, publisher: RabbitPublisher) -> None:
    """A copy shares the confirm; another message with the same id is sent when the first is confirmed."""
    tasks = [await started(publisher, message("a")), await started(publisher, message("a"))]
    other = await started(publisher, message("b"), message("a", b"[]"), message("c"))
    assert len(connection.written) == 2, "a; then b, and what comes after waits"
    connection.frame_reader.on_confirm(1, False, False)
    assert [kinds(await task) for task in tasks] == [[NackedError], [NackedError]]
    await asyncio.sleep(0)
    assert len(connection.written) == 3
    connection.frame_reader.on_confirm(4, True, True)
    assert await other == [None, None, None]


async def test_a_closed_connection_resolves_everything(connection: FakeConnection, publisher: RabbitPublisher) -> None:
    """Whoever waits when the connection closes gets an error: UnroutableError for the message to a missing exchange."""
    lost = await started(publisher, message("a"), Message("x", "t", b"", "gone", "r", mandatory=False))
    turn = await started(publisher, message("a", b"[]"))
    connection.start_closing(ChannelNotFoundEntity("NOT_FOUND - no exchange 'gone' in vhost '/'"))
    assert kinds(await lost) == [BrokerDownError, UnroutableError]
    assert kinds(await turn) == [BrokerDownError]
    assert kinds(await publisher.publish_all([message("z")])) == [BrokerDownError]


async def test_no_confirm_in_time(connection: FakeConnection, publisher: RabbitPublisher) -> None:
    """No confirm in time ends the session, for everybody: whether they arrived is unknown."""
    patient = await started(publisher, message("a"))
    connection.timeout_seconds = 0.01
    assert kinds(await publisher.publish_all([message("b")])) == [BrokerDownError]
    assert kinds(await patient) == [BrokerDownError]
    assert connection.closed.is_set()


async def test_a_caller_that_is_cancelled(connection: FakeConnection, publisher: RabbitPublisher) -> None:
    """Who stops waiting takes nobody else's confirm away, and no tag."""
    gone, stays = await started(publisher, message("a")), await started(publisher, message("a"))
    gone.cancel()
    later = await started(publisher, message("b"))
    connection.frame_reader.on_confirm(2, True, True)
    assert await stays == [None]
    assert await later == [None]
    assert gone.cancelled()


async def test_tags_stay_in_step(
    connection: FakeConnection, publisher: RabbitPublisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What AMQP cannot carry has no tag, and an exception in the middle loses none that has one."""
    task = await started(publisher, message("bad", headers={"huge": 2**80}), message("a"))
    connection.frame_reader.on_confirm(1, False, True)
    assert kinds(await task) == [BrokerError, None]
    real = publisher._add
    monkeypatch.setattr(publisher, "_add", lambda m, frames: 1 / 0 if m.message_id == "c" else real(m, frames))
    with pytest.raises(ZeroDivisionError):
        await publisher.publish_all([message("b"), message("c")])
    assert len(connection.written) == 2, "b has gone out"
    connection.frame_reader.on_confirm(2, False, True)
    task = await started(publisher, message("d"))
    connection.frame_reader.on_confirm(3, False, True)
    assert await task == [None]


async def test_a_connection_that_is_lost_while_it_is_written_to(
    connection: FakeConnection, publisher: RabbitPublisher
) -> None:
    """A connection that closes while a batch is written is the error of all of it."""
    connection.breaks = True
    assert kinds(await publisher.publish_all([message("a"), message("b")])) == [
        BrokerDownError,
        BrokerDownError,
    ]
