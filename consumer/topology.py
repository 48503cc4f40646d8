"""Exchanges, queues and bindings as data. Knows names and arguments; declares nothing itself."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

DELIVERY_LIMIT = 20
"""A fuse against crash loops, nothing more: our own retry budget is in the database."""

NO_DELIVERY_LIMIT = 1_000_000_000
"""For dead letters, which people look at again and again. -1 would mean the same, but RabbitMQ 3.10.8 takes it and
then drops the message at its first requeue (measured: shared reference, parts)."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """An exchange; what it cannot route goes on to `alternate`, where one is named."""

    name: str
    kind: Literal["topic", "fanout"]
    alternate: str | None = None


@dataclass(frozen=True, slots=True)
class Queue:
    """A quorum queue."""

    name: str
    delivery_limit: int
    dead_letter_exchange: str | None = None

    @property
    def arguments(self) -> Mapping[str, Any]:
        """The arguments of its declaration."""
        arguments: dict[str, Any] = {"x-queue-type": "quorum", "x-delivery-limit": self.delivery_limit}
        if self.dead_letter_exchange:
            arguments["x-dead-letter-exchange"] = self.dead_letter_exchange
            # At-least-once silently degrades to at-most-once without reject-publish.
            arguments["x-dead-letter-strategy"] = "at-least-once"
            arguments["x-overflow"] = "reject-publish"
        return arguments


@dataclass(frozen=True, slots=True)
class Binding:
    """What an exchange passes on to a queue."""

    exchange: str
    queue: str
    routing_key: str


@dataclass(frozen=True, slots=True)
class Topology:
    """Everything that one namespace owns at the broker, in the order in which it is made."""

    namespace: str

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
        """The queues, dead letters first: what can go wrong needs a place to go."""
        return (
            Queue(self.dead_letters, NO_DELIVERY_LIMIT),
            Queue(self.signups, DELIVERY_LIMIT, self.dead_letters),
            Queue(self.commands, DELIVERY_LIMIT, self.dead_letters),
        )

    @property
    def bindings(self) -> tuple[Binding, ...]:
        """Which exchange feeds which queue."""
        return (
            Binding(self.dead_letters, self.dead_letters, ""),
            Binding(self.unrouted, self.commands, ""),
            Binding(self.commands_exchange, self.signups, "website.created"),
            Binding(self.commands_exchange, self.commands, "provisioning.*"),
        )

    @property
    def commands_exchange(self) -> str:
        """Where signup and ops publish."""
        return self.namespace

    @property
    def events_exchange(self) -> str:
        """Where what happened is told."""
        return f"{self.namespace}.events"

    @property
    def unrouted(self) -> str:
        """The alternate exchange: what no binding takes ends in the commands queue, to be dead-lettered aloud."""
        return f"{self.namespace}.unrouted"

    @property
    def signups(self) -> str:
        """The queue of `website.created`."""
        return f"{self.namespace}.signups"

    @property
    def commands(self) -> str:
        """The queue of `provisioning.*`."""
        return f"{self.namespace}.commands"

    @property
    def dead_letters(self) -> str:
        """Exchange and queue of what could not be carried out."""
        return f"{self.namespace}.dead-letters"
