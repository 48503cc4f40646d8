"""Edited copies of dead letters: their ids, their marker, and what refuses an edit. Sends nothing."""

import hashlib
from dataclasses import replace
from uuid import UUID, uuid5

from consumer.broker.protocol import Delivery, Message
from consumer.broker.topology import Topology
from consumer.messages.inbound import PoisonError, decode
from ops.dead_letters.queue_reader import summarize
from ops.dead_letters.redriven_messages import as_redelivered, original_message

EDITED_FROM_HEADER = "x-edited-from"
"""The header by which an edited copy names the message id of its original."""
EDITED_NAMESPACE = UUID("3c0b7f0e-52a8-5d0a-9f5e-7f1f6d1f9b52")
"""The uuid5 namespace of the message ids of edited copies."""


class EditRefusedError(ValueError):
    """An edited body may not take its original's place; the text says why."""


def edited_message(delivery: Delivery, body: bytes, topology: Topology, *, redriven_by: str | None = None) -> Message:
    """Return the message that an edited dead letter becomes. Raises EditRefusedError."""
    if body == delivery.body:
        raise EditRefusedError("the body is the one that it had; to send that again, redrive it")
    original = original_message(delivery, topology, redriven_by=redriven_by)
    copy = replace(
        original,
        message_id=edited_message_id(original.message_id, body),
        body=body,
        headers={**original.headers, EDITED_FROM_HEADER: original.message_id},
    )
    try:
        command = decode(as_redelivered(delivery, copy))
    except PoisonError as poison:
        raise EditRefusedError(f"the edited message would be poison again: {poison}") from None
    website_id = summarize(delivery)["website_id"]
    if website_id is not None and website_id != command.website_id:
        raise EditRefusedError(f"website_id: the original is about website {website_id}, and so must the copy be")
    return copy


def edited_message_id(message_id: str, body: bytes) -> str:
    """Return the message id of an edited copy: not the original's, which may have been carried out, so that the workers
    would take the copy for a duplicate; and the same each time, so that an edit that died half-way is done again."""
    return str(uuid5(EDITED_NAMESPACE, f"{message_id}:{hashlib.sha256(body).hexdigest()}"))
