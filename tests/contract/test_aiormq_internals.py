"""What consumer/broker/rabbitmq uses of aiormq beneath its documented interface: is it there, and is all of it listed?

Run first after each change of aiormq's version. The README of that folder says what each is used for.
"""

import ast
import asyncio
import importlib
import inspect
import operator
import re
import tomllib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import aiormq
import pytest
import pytest_asyncio
from aiormq.abc import AbstractChannel
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "consumer" / "broker" / "rabbitmq"
CONNECTION, CHANNEL, EXCEPTIONS = "aiormq.Connection", "aiormq.channel.Channel", "aiormq.exceptions"


@dataclass(frozen=True, slots=True)
class Used:
    """A name of aiormq's, and how it is used: called with so many arguments and these keywords, or of this type."""

    name: str
    called_with: tuple[int, tuple[str, ...]] | None = None
    kind: type | None = None


USED = (
    Used("aiormq.Connection", called_with=(1, ("client_properties", "transport_factory"))),
    Used(f"{CONNECTION}.connect", called_with=(0, ())),
    Used(f"{CONNECTION}.channel", called_with=(0, ("publisher_confirms",))),
    Used(f"{CONNECTION}.close", called_with=(1, ())),
    Used(f"{CONNECTION}.closing", kind=asyncio.Future),
    Used(f"{CONNECTION}.is_opened", kind=bool),
    Used(f"{CONNECTION}.connection_tune.frame_max", kind=int),
    Used(f"{CONNECTION}.write_queue", kind=asyncio.Queue),
    Used(f"{CONNECTION}.server_properties", kind=dict),
    Used(f"{CONNECTION}._Connection__connection_unblocked", kind=asyncio.Event),
    Used("aiormq.channel.Channel", kind=type),
    Used(f"{CHANNEL}.number", kind=int),
    Used(f"{CHANNEL}.max_content_size", kind=int),
    Used(f"{CHANNEL}.closing", kind=asyncio.Future),
    Used(f"{CHANNEL}.on_consumer_cancel_callbacks", kind=set),
    Used(f"{CHANNEL}.basic_qos", called_with=(0, ("prefetch_count",))),
    Used(f"{CHANNEL}.basic_consume", called_with=(2, ("consumer_tag",))),
    Used(f"{CHANNEL}.basic_cancel", called_with=(1, ())),
    Used(f"{CHANNEL}.queue_declare", called_with=(1, ("passive",))),
    Used(f"{CHANNEL}.close", called_with=(1, ())),
    Used("aiormq.connection.TransportFactory", kind=type),
    Used("aiormq.connection.TCPTransportFactory", called_with=(0, ())),
    Used("aiormq.connection.TLSTransportFactory", called_with=(0, ())),
    Used(f"{EXCEPTIONS}.AMQPError", kind=type),
    Used(f"{EXCEPTIONS}.InvalidFrameError", kind=type),
    Used(f"{EXCEPTIONS}.ChannelAccessRefused", kind=type),
    Used(f"{EXCEPTIONS}.ChannelClosed", kind=type),
    Used(f"{EXCEPTIONS}.ChannelNotFoundEntity", kind=type),
    Used(f"{EXCEPTIONS}.ConnectionClosed", kind=type),
)


@pytest_asyncio.fixture
async def live(amqp_url: str) -> AsyncIterator[dict[str, Any]]:
    """A connection and a channel of aiormq's own, as whatever they have is there only once they are open."""
    connection = await aiormq.connect(amqp_url)
    channel: AbstractChannel = await connection.channel()
    yield {CONNECTION: connection, CHANNEL: channel}
    await connection.close()


def found(name: str, live: dict[str, Any]) -> Any:
    """Return what a name stands for. Raises AttributeError, ImportError."""
    for prefix, owner in live.items():
        if name.startswith(f"{prefix}."):
            return operator.attrgetter(name.removeprefix(f"{prefix}."))(owner)
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module), attribute)


@pytest.mark.parametrize("used", USED, ids=lambda used: used.name)
async def test_aiormq_has_what_is_used_of_it(used: Used, live: dict[str, Any]) -> None:
    """Each name is there, of the type and with the parameters that consumer/broker/rabbitmq relies on."""
    lack = None
    try:
        value = found(used.name, live)
        if used.kind and not isinstance(value, used.kind):
            lack = f"a {type(value).__name__}, no {used.kind.__name__}, as {used.name}"
        elif used.called_with:
            count, keywords = used.called_with
            inspect.signature(value).bind(*[None] * count, **dict.fromkeys(keywords))
    except (AttributeError, ImportError):
        lack = f"no {used.name}"
    except TypeError as error:
        lack = f"another signature of {used.name} ({error})"
    if lack:
        pytest.fail(
            f"aiormq {version('aiormq')} has {lack}: consumer/broker/rabbitmq cannot run on it; its README.md says "
            "what that is used for, and how to go back to plain aio-pika",
            pytrace=False,
        )


async def test_aiormq_reads_through_the_frame_reader(amqp_url: str) -> None:
    """What comes from the socket passes feed_data of the reader that the transport factory returned."""
    passed: list[bytes] = []

    class Recording(aiormq.connection.TransportFactory):
        async def create(self, url: Any, **kwargs: Any) -> Any:
            reader, writer = await aiormq.connection.TCPTransportFactory().create(url, **kwargs)
            feed = reader.feed_data
            reader.feed_data = lambda received: (passed.append(received), feed(received))
            return reader, writer

    connection = aiormq.Connection(amqp_url, transport_factory=Recording())
    await connection.connect()
    await connection.close()
    assert b"".join(passed)[:1] == b"\x01", "the first frame, Connection.Start, came by feed_data"


def names_in(tree: ast.Module) -> Iterator[str]:
    """Yield what a module uses of aiormq: what it imports, and what it reads of a connection or a channel."""
    channels = {"self.channel", "self._connection.channel"}
    if "aio_pika" not in ast.unparse(tree):
        channels.add("channel")
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "aiormq":
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Constant) and re.fullmatch(r"_[A-Z]\w*__\w+", str(node.value)):
            yield f"{CONNECTION}.{node.value}"
        elif isinstance(node, ast.Attribute):
            owner = ast.unparse(node.value)
            if owner == "aiormq":
                yield f"aiormq.{node.attr}"
            elif owner.endswith(("._aiormq", "transport.connection")):
                yield f"{CONNECTION}.{node.attr}"
            elif owner.endswith("._aiormq.connection_tune"):
                yield f"{CONNECTION}.connection_tune.{node.attr}"
            elif owner in channels:
                yield f"{CHANNEL}.{node.attr}"


def test_everything_used_is_listed() -> None:
    """USED is what the modules of consumer/broker/rabbitmq use, no less and no more, and its README names all of it."""
    using = {name for path in FOLDER.glob("*.py") for name in names_in(ast.parse(path.read_text()))}
    using.remove(f"{CONNECTION}.connection_tune")  # it is listed with its frame_max
    assert using == {used.name for used in USED}
    readme = (FOLDER / "README.md").read_text()
    assert not [used.name for used in USED if f"{used.name.rpartition('.')[2]}`" not in readme]


def test_the_version_is_bounded() -> None:
    """pyproject allows only the minor version that this was written for; the next one is tried on purpose."""
    dependencies = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    (allowed,) = (SpecifierSet(each.removeprefix("aiormq")) for each in dependencies if each.startswith("aiormq"))
    assert version("aiormq") in allowed
    assert "7.3.0" not in allowed
