"""The exchanges, queues and bindings of one namespace, as data. Declares nothing itself."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

DELIVERY_LIMIT = 20
"""After so many returns a message is dead-lettered: against crash loops only, our retry budget is in the database."""

NO_DELIVERY_LIMIT = 1_000_000_000
"""For dead letters, which are peeked at again and again. -1 would mean the same, but RabbitMQ 3.10.8 takes it and then
drops the message at its first requeue (measured)."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """An exchange; what none of its bindings matches goes to the exchange `alternate`, where one is named."""

    name: str
    kind: Literal["topic", "fanout"]
    alternate: str | None = None

    @property
    def arguments(self) -> Mapping[str, Any]:
        """The arguments with which it is declared."""
        return {"alternate-exchange": self.alternate} if self.alternate else {}


@dataclass(frozen=True, slots=True)
class Queue:
    """A quorum queue."""

    name: str
    delivery_limit: int
    dead_letter_exchange: str | None = None

    @property
    def arguments(self) -> Mapping[str, Any]:
        """The arguments with which it is declared."""
        arguments: dict[str, Any] = {"x-queue-type": "quorum", "x-delivery-limit": self.delivery_limit}
        if self.dead_letter_exchange:
            arguments["x-dead-letter-exchange"] = self.dead_letter_exchange
            # Without reject-publish at-least-once silently becomes at-most-once.
            arguments["x-dead-letter-strategy"] = "at-least-once"
            arguments["x-overflow"] = "reject-publish"
        return arguments


@dataclass(frozen=True, slots=True)
class Binding:
    """The routing keys that an exchange routes to a queue."""

    exchange: str
    queue: str
    routing_key: str


class Topology:
    """Everything that one namespace has at the broker, in the order in which it is declared."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace
        self.commands_exchange = namespace
        """The exchange to which signup and ops publish."""
        self.events_exchange = f"{namespace}.events"
        self.unrouted = f"{namespace}.unrouted"
        """The alternate exchange: what no binding matches goes to the commands queue, to be dead-lettered there."""
        self.signups = f"{namespace}.signups"
        """The queue of `website.created`."""
        self.commands = f"{namespace}.commands"
        """The queue of `provisioning.*`."""
        self.dead_letters = f"{namespace}.dead-letters"
        """The exchange and the queue of dead letters."""

    @property
    def exchanges(self) -> tuple[Exchange, ...]:
        """The exchanges, alternates before those that name them."""
        return (
            Exchange(self.dead_letters, "fanout"),
            Exchange(self.unrouted, "fanout"),
            Exchange(self.commands_exchange, "topic", alternate=self.unrouted),
            Exchange(self.events_exchange, "topic"),
        )

    @property
    def queues(self) -> tuple[Queue, ...]:
        """The queues, dead letters first: the others have that one to dead-letter to."""
        return (
            Queue(self.dead_letters, NO_DELIVERY_LIMIT),
            Queue(self.signups, DELIVERY_LIMIT, self.dead_letters),
            Queue(self.commands, DELIVERY_LIMIT, self.dead_letters),
        )

    @property
    def bindings(self) -> tuple[Binding, ...]:
        """The bindings."""
        return (
            Binding(self.dead_letters, self.dead_letters, ""),
            Binding(self.unrouted, self.commands, ""),
            Binding(self.commands_exchange, self.signups, "website.created"),
            Binding(self.commands_exchange, self.commands, "provisioning.*"),
        )
