"""Topologies of the contract suite: the service's own with queues of every kind, and one that contradicts it."""

from consumer.broker.topology import NO_DELIVERY_LIMIT, Binding, Queue, Topology

FRAGILE_LIMIT = 3


class ContractTopology(Topology):
    """The service's topology, with a subscriber to its events and a queue of a low delivery limit."""

    __slots__ = ()

    @property
    def subscriber(self) -> str:
        return f"{self.namespace}.subscriber"

    @property
    def fragile(self) -> str:
        return f"{self.namespace}.fragile"

    @property
    def queues(self) -> tuple[Queue, ...]:
        return (
            *super().queues,
            Queue(self.subscriber, NO_DELIVERY_LIMIT),
            Queue(self.fragile, FRAGILE_LIMIT, self.dead_letters),
        )

    @property
    def bindings(self) -> tuple[Binding, ...]:
        return (*super().bindings, Binding(self.events_exchange, self.subscriber, "website.*"))


class OtherArguments(Topology):
    """The same names, with other arguments."""

    __slots__ = ()

    @property
    def queues(self) -> tuple[Queue, ...]:
        return (Queue(self.dead_letters, 7),)
