"""The publisher's bookkeeping: each message gets the answer that is its own, in whatever order the broker answers."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from aiormq.exceptions import ChannelNotFoundEntity

from consumer.broker import BrokerDown, BrokerError, Message, Nacked, Unroutable
from consumer.broker_rabbitmq import RabbitPublisher
from consumer.broker_tap import Content


class Wire:
    """A line to nowhere: what is written is kept, and the test is the broker."""

    def __init__(self) -> None:
        self.closed = asyncio.Event()
        self.timeout_seconds = 5.0
        self.channel = SimpleNamespace(number=1, max_content_size=1000)
        self.tap = SimpleNamespace(on_answer=None, on_content=None)
        self.written: list[bytes] = []
        self.on_end: Any = None
        self.breaks = False

    def write(self, frames: bytes) -> None:
        if self.breaks:
            self.drop(OSError("gone"))
        self.written.append(frames)

    def drop(self, reason: BaseException | None = None) -> None:
        self.closed.set()
        self.on_end(reason)

    def returns(self, message_id: str) -> None:
        self.tap.on_content(Content(None, properties={"message_id": message_id}))


@pytest.fixture
async def wire() -> Wire:
    return Wire()


@pytest.fixture
async def publisher(wire: Wire) -> RabbitPublisher:
    return RabbitPublisher(wire)  # type: ignore[arg-type]


def message(name: str, body: bytes = b"{}", **changes: Any) -> Message:
    return Message(name, "website.live", body, "", changes.pop("to", "queue"), mandatory=True, **changes)


async def started(publisher: RabbitPublisher, *messages: Message) -> "asyncio.Task[list[BrokerError | None]]":
    """Publish, and come back when all that can go out has gone out."""
    task = asyncio.create_task(publisher.publish_all(messages))
    await asyncio.sleep(0)
    return task


def kinds(answers: list[BrokerError | None]) -> list[type | None]:
    return [answer and type(answer) for answer in answers]


async def test_answers_in_any_order(wire: Wire, publisher: RabbitPublisher) -> None:
    """Single and multiple, yes and no, the last before the first: each caller hears what became of his."""
    first = await started(publisher, *(message(name) for name in "abc"))
    second = await started(publisher, *(message(name) for name in "de"))
    wire.tap.on_answer(5, False, False)
    wire.tap.on_answer(2, True, True)
    assert not first.done()
    wire.tap.on_answer(3, False, False)
    wire.tap.on_answer(4, True, True)
    assert kinds(await first) == [None, None, Nacked]
    assert kinds(await second) == [None, Nacked]
    assert len(wire.written) == 2, "what is published together is one piece"


async def test_a_return_is_followed_by_a_confirm_that_says_nothing(wire: Wire, publisher: RabbitPublisher) -> None:
    """A message that came back may be sent again before its confirm is there; that is not the second one's."""
    first = await started(publisher, message("a"))
    wire.returns("a")
    assert kinds(await first) == [Unroutable]
    second = await started(publisher, message("a"))
    wire.tap.on_answer(1, False, True)
    await asyncio.sleep(0)
    assert not second.done()
    wire.tap.on_answer(2, False, True)
    assert await second == [None]


async def test_one_id_one_message_on_its_way(wire: Wire, publisher: RabbitPublisher) -> None:
    """A copy shares the answer; another message with the same id goes out when the first has been answered for."""
    tasks = [await started(publisher, message("a")), await started(publisher, message("a"))]
    other = await started(publisher, message("b"), message("a", b"[]"), message("c"))
    assert len(wire.written) == 2, "a; then b, and what comes after waits"
    wire.tap.on_answer(1, False, False)
    assert [kinds(await task) for task in tasks] == [[Nacked], [Nacked]]
    await asyncio.sleep(0)
    assert len(wire.written) == 3
    wire.tap.on_answer(4, True, True)
    assert await other == [None, None, None]


async def test_the_end_answers_everybody(wire: Wire, publisher: RabbitPublisher) -> None:
    """Whoever waits when the line ends hears so; a missing exchange is the fault of the message that named it."""
    lost = await started(publisher, message("a"), Message("x", "t", b"", "gone", "r", mandatory=False))
    turn = await started(publisher, message("a", b"[]"))
    wire.drop(ChannelNotFoundEntity("NOT_FOUND - no exchange 'gone' in vhost '/'"))
    assert kinds(await lost) == [BrokerDown, Unroutable]
    assert kinds(await turn) == [BrokerDown]
    assert kinds(await publisher.publish_all([message("z")])) == [BrokerDown]


async def test_nobody_answers(wire: Wire, publisher: RabbitPublisher) -> None:
    """No answer in time ends the session, for everybody: whether they arrived is unknown."""
    patient = await started(publisher, message("a"))
    wire.timeout_seconds = 0.01
    assert kinds(await publisher.publish_all([message("b")])) == [BrokerDown]
    assert kinds(await patient) == [BrokerDown]
    assert wire.closed.is_set()


async def test_a_caller_that_is_cancelled(wire: Wire, publisher: RabbitPublisher) -> None:
    """Who stops waiting takes nobody else's answer away, and no tag."""
    gone, stays = await started(publisher, message("a")), await started(publisher, message("a"))
    gone.cancel()
    later = await started(publisher, message("b"))
    wire.tap.on_answer(2, True, True)
    assert await stays == [None]
    assert await later == [None]
    assert gone.cancelled()


async def test_tags_stay_in_step(wire: Wire, publisher: RabbitPublisher, monkeypatch: pytest.MonkeyPatch) -> None:
    """What AMQP cannot carry has no tag, and an exception in the middle loses none that has one."""
    task = await started(publisher, message("bad", headers={"huge": 2**80}), message("a"))
    wire.tap.on_answer(1, False, True)
    assert kinds(await task) == [BrokerError, None]
    real = publisher._add
    monkeypatch.setattr(publisher, "_add", lambda m, pieces: 1 / 0 if m.message_id == "c" else real(m, pieces))
    with pytest.raises(ZeroDivisionError):
        await publisher.publish_all([message("b"), message("c")])
    assert len(wire.written) == 2, "b has gone out"
    wire.tap.on_answer(2, False, True)
    task = await started(publisher, message("d"))
    wire.tap.on_answer(3, False, True)
    assert await task == [None]


async def test_a_line_that_breaks_while_it_is_written_to(wire: Wire, publisher: RabbitPublisher) -> None:
    """The end of the line while a batch goes out is the answer to all of it."""
    wire.breaks = True
    assert kinds(await publisher.publish_all([message("a"), message("b")])) == [BrokerDown, BrokerDown]
