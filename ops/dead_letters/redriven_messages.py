"""The original message of a dead letter, as it is sent back; and that as it will be delivered. Sends nothing."""

from dataclasses import replace

from consumer.broker.protocol import Delivery, Message
from consumer.broker.topology import Topology
from consumer.messages.authors import MAX_NAME, REDRIVEN_BY_HEADER, SENT_WITH_KEY_HEADER, USER_ID_HEADER, original_user
from consumer.messages.outbound_dead_letters import OWN_HEADERS
from ops.audit.trail import storable
from ops.dead_letters.queue_reader import target_queue

QUEUE_SUFFIXES = (".signups", ".commands")
"""The ends of the names of the queues: a message that goes straight to one has its name as routing key."""
ADDED_BY_BROKERS = ("x-death", "x-first-death-", "x-last-death-", "x-delivery-count", "x-acquired-count")


def original_message(delivery: Delivery, topology: Topology, *, redriven_by: str | None = None) -> Message:
    """Return the message as its sender meant it, addressed straight to its queue. It names its author, and carries the
    user of whoever redrives it; `redriven_by` is the person."""
    headers = {
        name: value
        for name, value in delivery.headers.items()
        if name not in (*OWN_HEADERS, REDRIVEN_BY_HEADER, SENT_WITH_KEY_HEADER)
        and not name.startswith(ADDED_BY_BROKERS)
    }
    if key := sent_with_key(delivery):
        headers[SENT_WITH_KEY_HEADER] = key
    if user := original_user(delivery):
        headers[USER_ID_HEADER] = user
    if redriven_by:
        headers[REDRIVEN_BY_HEADER] = storable(redriven_by)[:MAX_NAME]
    return Message(
        message_id=delivery.message_id or "",
        type=delivery.type or "",
        body=delivery.body,
        exchange="",
        routing_key=target_queue(delivery, topology),
        mandatory=True,
        headers=headers,
        properties=delivery.properties,
        carries_user_id=True,
    )


def sent_with_key(delivery: Delivery) -> str | None:
    """Return the routing key with which the sender of a dead letter published it; None where it went straight to the
    queue, which only workers and operators may do.

    Whoever may publish `website.created` must not have a command carried out by its being redriven. So no header counts
    that a sender can write: a worker's copy, which comes over the default exchange, has the key in its own; what the
    broker dead-lettered has still the key that it was published with.
    """
    headers = delivery.headers
    straight = delivery.routing_key.endswith(QUEUE_SUFFIXES) if delivery.exchange else not headers.get("x-exchange")
    if straight:
        return _text(headers.get(SENT_WITH_KEY_HEADER))
    return delivery.routing_key if delivery.exchange else _text(headers.get("x-routing-key"))


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def as_redelivered(delivery: Delivery, message: Message) -> Delivery:
    """Return a dead letter as it will be delivered once `message` has been sent in its place."""
    return replace(
        delivery,
        message_id=message.message_id or None,
        body=message.body,
        headers=message.headers,
        exchange=message.exchange,
        routing_key=message.routing_key,
        queue=message.routing_key,
        refused_headers=None,  # it is sent without them
    )
