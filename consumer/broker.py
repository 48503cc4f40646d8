"""What the service needs of a message broker, as protocols and values. Knows no client library.

Two brokers stand behind it: RabbitMQ (`broker_rabbitmq`) and one inside the process (`broker_inprocess`); one
contract suite runs against both.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from consumer.topology import Topology


class BrokerError(Exception):
    """Something between us and the broker went wrong; the subclasses say what may have happened to a message."""


class BrokerDown(BrokerError):  # noqa: N818 - states a condition, not a mistake
    """The broker cannot be reached, or did not answer in time: whether it took a message is unknown."""


class Unroutable(BrokerError):  # noqa: N818
    """A mandatory message came back, no queue takes it; or there is no such exchange, which ends the session too."""


class Nacked(BrokerError):  # noqa: N818
    """The broker refused a message (a queue is full): it is not stored everywhere it should be."""


class QueueMissing(BrokerError):  # noqa: N818
    """The queue is not there; `provisioner init` makes it."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message as it goes out, persistent, with content type application/json.

    `exchange` "" is the default exchange: the routing key names a queue.
    """

    message_id: str
    type: str
    body: bytes
    exchange: str
    routing_key: str
    mandatory: bool
    headers: Mapping[str, Any] = field(default_factory=dict)
    properties: Mapping[str, Any] = field(default_factory=dict)
    """Further AMQP properties (`correlation_id`, `app_id`, `content_encoding`, …), for copies of foreign messages."""


@dataclass(frozen=True, slots=True, eq=False)
class Delivery:
    """One hand-over of a message by the broker. Nothing in it can be trusted."""

    body: bytes
    message_id: str | None
    type: str | None
    exchange: str
    routing_key: str
    queue: str
    redelivered: bool
    headers: Mapping[str, Any]
    properties: Mapping[str, Any]
    """The AMQP properties that are set, less message_id, type and headers."""
    tag: int
    session: "ConsumerSession"
    """Where it must be settled: a delivery lives and dies with the session that received it."""


@dataclass(frozen=True, slots=True)
class QueueCounts:
    """What a passive declare answers; a hint, never a base for conservation."""

    ready: int
    consumers: int


@dataclass(frozen=True, slots=True)
class Part:
    """An exchange or a queue of ours, as the broker answers for it."""

    what: str
    there: bool
    differs: str | None = None
    """What is other than we would make it."""
    untold: str | None = None
    """Why the broker does not say how it was made."""
    ready: int | None = None
    consumers: int | None = None


@dataclass(frozen=True, slots=True)
class Examination:
    """What can be asked over AMQP. Policies, bindings, replicas and alarms cannot."""

    product: str
    version: str
    parts: Sequence[Part]


class ConsumerSession(Protocol):
    """A connection that only consumes, with its channel. Once `closed` is set it is of no more use."""

    closed: asyncio.Event
    """Set when connection or channel is gone, or the broker cancelled a consumer."""

    async def consume(self, queue: str, prefetch: int, on_delivery: Callable[[Delivery], None]) -> None:
        """Start to receive; `on_delivery` is called synchronously and must only enqueue.

        Raises:
            QueueMissing: there is no such queue.
            BrokerDown: the session is gone.
        """

    async def stop_consuming(self) -> None:
        """Cancel all consumers, so that nothing more arrives; what arrived can still be settled."""

    async def ack(self, delivery: Delivery) -> None:
        """Settle a delivery for good."""
        await self.ack_all([delivery])

    async def ack_all(self, deliveries: Sequence[Delivery]) -> None:
        """Settle deliveries for good, together. On a dead session this does nothing: the broker delivers again."""

    async def hand_back(self, deliveries: Sequence[Delivery]) -> None:
        """Return deliveries that were not started to their queues."""

    async def counts(self, queue: str) -> QueueCounts:
        """Ask the broker on this very channel, so that a dead channel cannot look alive.

        Raises:
            QueueMissing: there is no such queue.
            BrokerDown: no answer in time.
        """

    async def close(self) -> None:
        """Close for good; unsettled deliveries go back to their queues."""


class PublisherSession(Protocol):
    """A connection that only publishes, with confirms. Once `closed` is set it is of no more use."""

    closed: asyncio.Event

    @property
    def blocked(self) -> bool:
        """Whether the broker has said that it takes nothing, because it is short of something."""
        return False

    async def publish_all(self, messages: Sequence[Message]) -> list[BrokerError | None]:
        """Publish messages together, in order, and wait for the broker's confirms.

        The same message given twice at the same time is sent once, and the answer shared: which message came back is
        known by its id alone, so two of one id in flight could take each other's answers.

        Returns:
            For each message None once the broker has it, or what became of it. Unroutable: it was mandatory and came
            back. Nacked: the broker refused it. BrokerDown: no answer; it may or may not be stored, and the session is
            closed by this. BrokerError: it cannot be written, and was not sent.
        """

    async def publish(self, message: Message) -> None:
        """Publish one message, and raise what became of it if the broker does not have it."""
        (answer,) = await self.publish_all([message])
        if answer is not None:
            raise answer

    async def close(self) -> None:
        """Close for good."""


class Broker(Protocol):
    """Opens sessions. Holds no state that a session's death could spoil."""

    async def open_consumer(self) -> ConsumerSession:
        """Connect to consume. Raises BrokerDown."""

    async def open_publisher(self) -> PublisherSession:
        """Connect to publish. Raises BrokerDown."""

    async def declare(self, topology: Topology) -> None:
        """Make what is missing, idempotently; where we may not configure, check that it is there.

        Raises:
            BrokerDown: no connection.
            BrokerError: something exists in another shape, or is missing and may not be made: says how to mend it.
        """

    async def delete(self, topology: Topology) -> None:
        """Remove all queues and exchanges of a topology, with what is in them. For demos and tests."""

    async def examine(self, topology: Topology) -> Examination:
        """Look at what is there, and make nothing. Raises BrokerDown."""

    async def peek(self, queue: str, limit: int) -> Sequence[Delivery]:
        """Look at up to `limit` messages of a queue and leave every one there."""
