"""Who sent a message: the broker's user, whom RabbitMQ verifies, and the person that this user's program names.

    provisioner-ops/cli:ana                                  that user of the broker, who says that it was Ana
    provisioner-signup                                       that user, who names nobody
    claimed: ana                                             a body says so; the message carries no user
    provisioner-ops/cli:ana, redriven by provisioner-ops/cli:ben

A copy cannot carry another's user. So a worker writes the author's into the header `x-user-id` of a dead letter, and
drops what the sender wrote there; a redrive passes it on. It counts where a verified user sent the message straight to
its queue, which only workers and operators may (docs/security.md): signup cannot borrow an operator's name.
"""

from typing import Any

from consumer.broker.protocol import Delivery
from consumer.domain.records import PRODUCT

USER_ID_HEADER = "x-user-id"
REDRIVEN_BY_HEADER = "x-redriven-by"
SENT_WITH_KEY_HEADER = "x-sent-with-routing-key"
"""The routing key of a redriven message when its sender published it: what the sender had the right to publish."""
"""The person who redrove it, as the tool names them."""
MAX_NAME = 200
MAX_USER = 255
"""RabbitMQ's own limit of a user id."""


def author_of(delivery: Delivery, person: str | None) -> str | None:
    """Return who a delivery is from, as history has it. `person`: whom its body names."""
    user = verified_user(delivery)
    if user is None:
        return f"claimed: {person}" if person else None
    if delivery.exchange:
        return _named(user, person)
    original = _text(delivery.headers.get(USER_ID_HEADER), MAX_USER)
    redriver = _named(user, _text(delivery.headers.get(REDRIVEN_BY_HEADER), MAX_NAME))
    author = _named(original, person) if original else f"claimed: {person}" if person else None
    return f"{author}, redriven by {redriver}" if author else f"redriven by {redriver}"


def original_user(delivery: Delivery) -> str | None:
    """Return the user that a copy of a delivery names: whoever published it, or of a copy the author of the original.

    What came straight to its queue is a copy that a worker or an operator made; what the broker itself dead-lettered
    has the user of its publisher, and headers that anybody may have written.
    """
    if delivery.exchange:
        return verified_user(delivery)
    return _text(delivery.headers.get(USER_ID_HEADER), MAX_USER)


def verified_user(delivery: Delivery) -> str | None:
    """Return the user of the broker that published a delivery; None where it does not say."""
    return _text(delivery.properties.get("user_id"), MAX_USER)


def _named(user: str, person: str | None) -> str:
    if person:
        return f"{user}/{person}"
    # What the existing product itself does is logged under that name, by the database.
    return f"user {user}" if user == PRODUCT else user


def _text(value: Any, longest: int) -> str | None:
    """Return a text as it can be stored, None for what is none: a header may have any value."""
    if not isinstance(value, str) or not value:
        return None
    return "".join(each if each.isprintable() else "?" for each in value[:longest])
