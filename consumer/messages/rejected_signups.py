"""Rejected signups: their code, the sentence for their customers, and the event `website.rejected`.

A rejected signup has moved no website, so its event has no seq. The event's id is derived from the signup's message
id, and its time is that of the stored row, so that a second publication is the same event.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING
from uuid import UUID, uuid5

from consumer.broker.protocol import Message
from consumer.broker.topology import Topology
from consumer.domain.outcomes import Outcome, Reason, Rejected
from consumer.messages.inbound import Command, PoisonError
from consumer.messages.outbound import encode_body, trace_headers

if TYPE_CHECKING:
    from consumer.messages.outbound_contracts import RejectionBody

WEBSITE_REJECTED = "website.rejected"


class RejectionCode(StrEnum):
    """Why a signup was rejected, for programs."""

    INVALID = "invalid"
    SUBDOMAIN_TAKEN = "subdomain_taken"
    UNKNOWN_USER = "unknown_user"
    USER_TAKEN = "user_taken"
    UNKNOWN_WEBSITE = "unknown_website"
    CONFLICT = "conflict"


CODE_OF: Mapping[Reason, RejectionCode] = {
    Reason.POISON: RejectionCode.INVALID,
    Reason.SUBDOMAIN_TAKEN: RejectionCode.SUBDOMAIN_TAKEN,
    Reason.UNKNOWN_USER: RejectionCode.UNKNOWN_USER,
    Reason.USER_TAKEN: RejectionCode.USER_TAKEN,
    Reason.UNKNOWN_WEBSITE: RejectionCode.UNKNOWN_WEBSITE,
    Reason.CONFLICT: RejectionCode.CONFLICT,
}
"""For other reasons (a defect, a lock held for too long) there is no event: a redrive may still begin the website."""
CUSTOMER_MESSAGES: Mapping[RejectionCode, str] = {
    RejectionCode.INVALID: "Something in this signup is not valid. Please check what you have entered, and try again.",
    RejectionCode.SUBDOMAIN_TAKEN: "This web address is taken already. Please choose another one.",
    RejectionCode.UNKNOWN_USER: "We could not find your account. Please sign in, and try again.",
    RejectionCode.USER_TAKEN: "Your account has a website already. Please contact support to get another one.",
    RejectionCode.UNKNOWN_WEBSITE: "We could not find this website. Please sign up again.",
    RejectionCode.CONFLICT: "This signup does not match the website that it names. Please sign up again.",
}


@dataclass(frozen=True, slots=True)
class RejectedSignup:
    """A signup that was rejected: its message, the website that it names, and why.

    Attributes:
        message_id: of the `website.created`.
        website_id: the id that it names; the website may not exist, or be somebody else's.
        code: why.
        subdomain: the one that it asks for; None where it asks for none, or was not valid.
        traceparent: W3C trace context to pass on.
    """

    message_id: UUID
    website_id: int
    code: RejectionCode
    subdomain: str | None = None
    traceparent: str | None = None


def rejected_signup(asked: Command | PoisonError | None, outcome: Outcome | None) -> RejectedSignup | None:
    """Return the signup that an outcome rejects; None for other outcomes, and where the signup names no website.

    `asked`: the decoded command, or the error of a message that could not be decoded.
    """
    code = CODE_OF.get(outcome.reason) if isinstance(outcome, Rejected) else None
    if code is None:
        return None
    match asked:
        case Command(created=signup) if signup is not None:
            return RejectedSignup(asked.message_id, asked.website_id, code, signup.subdomain, asked.traceparent)
        case PoisonError(signup=(message_id, website_id)):
            return RejectedSignup(message_id, website_id, code)
        case _:
            return None


def rejection_message(rejected: RejectedSignup, at: datetime, topology: Topology) -> Message:
    """Return the event `website.rejected`; `at` is when the signup was first rejected."""
    body: RejectionBody = {
        "website_id": rejected.website_id,
        "signup_message_id": str(rejected.message_id),
        "subdomain": rejected.subdomain,
        "code": rejected.code,
        "message": CUSTOMER_MESSAGES[rejected.code],
        "occurred_at": at.isoformat(),
    }
    return Message(
        message_id=str(uuid5(rejected.message_id, WEBSITE_REJECTED)),
        type=WEBSITE_REJECTED,
        body=encode_body(body),
        exchange=topology.events_exchange,
        routing_key=WEBSITE_REJECTED,
        mandatory=False,
        headers=trace_headers(rejected.traceparent),
    )
