"""Routes messages to queues, as RabbitMQ's topic, fanout and alternate exchanges do. Knows names, and no message."""

from collections.abc import Sequence

from consumer.broker.topology import Binding, Exchange


class RoutingTable:
    """The exchanges and bindings of a broker."""

    def __init__(self) -> None:
        self.exchanges: dict[str, Exchange] = {}
        self.bindings: dict[Binding, None] = {}

    def queues_of(self, exchange_name: str, routing_key: str) -> list[str]:
        """Return the queues to which a routing key is routed; by the alternate exchange where that is none."""
        queues: dict[str, None] = {}
        exchange = self.exchanges.get(exchange_name)
        tried: set[str] = set()
        while exchange is not None and not queues and exchange.name not in tried:
            tried.add(exchange.name)
            for binding in self.bindings:
                matches = exchange.kind == "fanout" or topic_matches(binding.routing_key, routing_key)
                if binding.exchange == exchange.name and matches:
                    queues[binding.queue] = None
            exchange = self.exchanges.get(exchange.alternate or "")
        return list(queues)

    def delete_exchange(self, name: str) -> None:
        """Delete an exchange with its bindings. Missing is fine."""
        self.exchanges.pop(name, None)
        self.bindings = {binding: None for binding in self.bindings if binding.exchange != name}

    def delete_queue(self, name: str) -> None:
        """Delete the bindings of a queue."""
        self.bindings = {binding: None for binding in self.bindings if binding.queue != name}


def topic_matches(pattern: str, key: str) -> bool:
    """Return whether a topic binding matches a routing key: `*` is one word, `#` any number of words."""
    return _words_match(pattern.split("."), key.split("."))


def _words_match(pattern: Sequence[str], words: Sequence[str]) -> bool:
    if not pattern:
        return not words
    if pattern[0] == "#":
        return any(_words_match(pattern[1:], words[skipped:]) for skipped in range(len(words) + 1))
    return bool(words) and pattern[0] in ("*", words[0]) and _words_match(pattern[1:], words[1:])
