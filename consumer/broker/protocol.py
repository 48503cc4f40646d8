"""What the service needs of a message broker, as protocols and values. Knows no client library.

Two brokers implement it: RabbitMQ (`consumer.broker.rabbitmq`) and one inside the process (`consumer.broker.memory`);
one contract suite runs against both.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, assert_never

from consumer.broker.topology import Topology

INIT_HINT = "`provisioner init` makes it"
OTHER_ARGUMENTS = (
    "is there already with other arguments: delete it once it is drained, or choose another PROVISIONER_NAMESPACE"
)


class BrokerError(Exception):
    """The broker refused something, or cannot be asked; the subclasses say what may have happened to a message."""


class BrokerDownError(BrokerError):
    """The broker cannot be reached, or did not reply in time: whether it has a message is unknown."""


class UnroutableError(BrokerError):
    """A mandatory message was returned, no queue takes it; or there is no such exchange, which ends the session too."""


class NackedError(BrokerError):
    """The broker nacked a message (a queue is full): it is not stored in every queue in which it should be."""


class AccessRefusedError(BrokerError):
    """The user lacks a right, for which the session ends; the text names user, right, and exchange or queue."""


class QueueMissingError(BrokerError):
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
    carries_user_id: bool = False
    """Whether it carries the property `user_id`: the user of the session that publishes it, which the broker verifies.
    Another's user id never goes out, whatever `properties` has."""


@dataclass(frozen=True, slots=True, eq=False)
class Delivery:
    """One delivery of a message by the broker. Nothing in it can be trusted, but for the property `user_id`."""

    body: bytes
    message_id: str | None
    type: str | None
    exchange: str
    routing_key: str
    queue: str
    redelivered: bool
    headers: Mapping[str, Any]
    properties: Mapping[str, Any]
    """The AMQP properties that are set, less message_id, type and headers. `user_id` alone can be trusted: the broker
    has verified that its publisher was that user."""
    tag: int
    session: "ConsumerSession"
    """The session that received it, on which alone it can be settled."""
    refused_headers: str | None = None
    """Why its headers were not read: they are larger than anything honest. `headers` is empty then."""
    omitted_bytes: int = 0
    """How long the body is that was not kept, being longer than its consumer wants; `body` is empty then."""


@dataclass(frozen=True, slots=True)
class QueueCounts:
    """What a passive declare replies: a hint, since it trails behind what the broker has confirmed."""

    ready: int
    consumers: int


@dataclass(frozen=True, slots=True)
class Entity:
    """An exchange or a queue of a topology, as it is at the broker."""

    name: str
    """With its kind: `exchange provisioning`, `queue provisioning.commands`."""
    exists: bool
    difference: str | None = None
    """In what it differs from the topology."""
    unknown: str | None = None
    """Why it is not known whether it differs."""
    counts: QueueCounts | None = None
    """What is in a queue; None for an exchange, and where it is not known."""


@dataclass(frozen=True, slots=True)
class Right:
    """What a user may do at the broker: publish to an exchange ("" is the default one) with a routing key, read a
    queue, or declare it."""

    kind: Literal["publish", "read", "declare"]
    name: str
    routing_key: str = ""

    def __str__(self) -> str:
        match self.kind:
            case "publish":
                to = f"exchange {self.name or 'amq.default'}"
                return f"write to {to}" + (f" with routing key {self.routing_key}" if self.routing_key else "")
            case "read":
                return f"read from queue {self.name}"
            case "declare":
                return f"configure queue {self.name}"
            case never:
                assert_never(never)


@dataclass(frozen=True, slots=True)
class Inspection:
    """What can be asked over AMQP. Policies, bindings, replicas and alarms cannot."""

    product: str
    version: str
    entities: Sequence[Entity]


class ConsumerSession(Protocol):
    """A connection that only consumes, with its channel. Once `closed` is set it is of no more use."""

    closed: asyncio.Event
    """Set when connection or channel is lost, or the broker cancelled a consumer."""

    async def consume(
        self, queue: str, prefetch: int, on_delivery: Callable[[Delivery], None], *, max_body_bytes: int | None = None
    ) -> None:
        """Start to receive; `on_delivery` is called synchronously and must only enqueue.

        A queue may be consumed more than once on a session, each time with a prefetch of its own.

        `max_body_bytes`: a longer body is read and not kept, by all consumers of the session: `omitted_bytes` says how
        long it was. None: every body is kept.

        Raises:
            QueueMissingError: there is no such queue.
            AccessRefusedError: this user may not read from it.
            BrokerDownError: the session is gone.
        """

    async def stop_consuming(self) -> None:
        """Cancel all consumers, so that nothing more arrives; what arrived can still be settled."""

    def pause(self) -> None:
        """Read nothing from the broker for now, so that no more arrives than can be held; no replies either.

        For as long as what has arrived is worked through: a session that is paused for longer than three heartbeats is
        lost. Some deliveries may come even so, which were received already.
        """

    def resume(self) -> None:
        """Read on after `pause`; without one this does nothing."""

    async def ack(self, delivery: Delivery) -> None:
        """Settle a delivery for good."""
        await self.ack_all([delivery])

    async def ack_all(self, deliveries: Sequence[Delivery]) -> None:
        """Settle deliveries for good, together. On a dead session this does nothing: the broker delivers again."""

    async def nack_all(self, deliveries: Sequence[Delivery]) -> None:
        """Return deliveries to their queues (nack with requeue). On a dead session this does nothing: they return."""

    async def reject_all(self, deliveries: Sequence[Delivery]) -> None:
        """Have the broker dead-letter deliveries (nack without requeue): the very messages, with the header `x-death`.
        On a dead session this does nothing: they return."""

    async def nack_unsettled(self) -> None:
        """Return all deliveries of this session that are not settled, as `nack_all` does."""

    async def counts(self, queue: str) -> QueueCounts:
        """Ask the broker on this very channel, so that a dead channel cannot look alive.

        Raises:
            QueueMissingError: there is no such queue.
            BrokerDownError: no reply in time.
        """

    async def close(self) -> None:
        """Close for good; unsettled deliveries return to their queues."""


class PublisherSession(Protocol):
    """A connection that only publishes, with confirms. Once `closed` is set it is of no more use."""

    closed: asyncio.Event

    @property
    def refusal(self) -> str | None:
        """Which right was lacking, where the session was closed for that."""
        return None

    @property
    def blocked(self) -> bool:
        """Whether the broker has blocked the connection: it takes no publishes while memory or disk is short."""
        return False

    async def publish_all(self, messages: Sequence[Message]) -> list[BrokerError | None]:
        """Publish messages together, in order, and wait for the broker's confirms.

        The same message given twice at the same time is sent once, and the confirm shared: a returned message is
        recognised by its id alone, so two of one id in flight could be taken for each other.

        Returns:
            For each message None once the broker has it, or what became of it. UnroutableError: it was mandatory and
            was returned. NackedError: the broker refused it. AccessRefusedError: this user may not publish it, and the
            session is closed by this. BrokerDownError: no confirm; it may or may not be stored, and the session is
            closed by this. BrokerError: it cannot be written, and was not sent.
        """

    async def publish(self, message: Message) -> None:
        """Publish one message, and raise what became of it if the broker does not have it."""
        (error,) = await self.publish_all([message])
        if error is not None:
            raise error

    async def close(self) -> None:
        """Close for good."""


class Broker(Protocol):
    """Opens sessions, and declares what they use. Holds no state of a session."""

    @property
    def user(self) -> str | None:
        """As whom its sessions log in; None where that is not known."""

    async def open_consumer(self) -> ConsumerSession:
        """Connect to consume. Raises BrokerDownError."""

    async def open_publisher(self) -> PublisherSession:
        """Connect to publish. Raises BrokerDownError."""

    async def declare(self, topology: Topology) -> None:
        """Declare what is missing, idempotently; where this user may not configure, check that it is there.

        Raises:
            BrokerDownError: no connection.
            BrokerError: something exists with other arguments, or is missing and may not be declared; with what to do.
        """

    async def delete(self, topology: Topology) -> None:
        """Delete all queues and exchanges of a topology, with what is in them. For demos and tests."""

    async def inspect(self, topology: Topology) -> Inspection:
        """Compare what is there with the topology, and declare nothing that is missing. Raises BrokerDownError."""

    async def has_rights(self, rights: Sequence[Right]) -> Sequence[bool | None]:
        """Ask whether this user has rights; None where that is not known. Nothing is published, read or declared.

        Raises:
            BrokerDownError: no connection.
        """

    async def peek(self, queue: str, limit: int) -> Sequence[Delivery]:
        """Return up to `limit` messages of a queue, every one of which stays there.

        Raises:
            QueueMissingError: there is no such queue.
            BrokerDownError: no connection, or it was lost meanwhile.
        """
