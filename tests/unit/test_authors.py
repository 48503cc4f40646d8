"""Who sent a message: whom the broker verified is told apart from whom a body or a header names."""

from dataclasses import replace
from typing import Any

import pytest

from consumer.broker.protocol import Delivery, Message
from consumer.domain.outcomes import Reason, Rejected
from consumer.messages.authors import author_of
from consumer.messages.inbound import decode
from consumer.messages.outbound_dead_letters import dead_letter
from ops.dead_letters.redriven_messages import original_message
from tests.factories import TOPOLOGY, make_delivery

SIGNUP, OPS = "provisioner-signup", "provisioner-ops"
REJECTED = Rejected(Reason.ILLEGAL, "not now")


def sent(user: str | None, actor: str | None = None, **overrides: Any) -> Delivery:
    """A command as it is delivered, published by a user."""
    properties = {"user_id": user} if user else {}
    return make_delivery({"website_id": 42, "actor": actor}, properties=properties, **overrides)


def delivered(message: Message, user: str) -> Delivery:
    """A message of ours as it is delivered, published by a session of a user."""
    properties = {name: value for name, value in message.properties.items() if name != "user_id"}
    return make_delivery(
        message.body, type=message.type, exchange=message.exchange, routing_key=message.routing_key,
        headers=message.headers, properties=properties | ({"user_id": user} if message.carries_user_id else {}),
    )  # fmt: skip


def rejected(delivery: Delivery) -> Delivery:
    """Its dead letter, as a tool receives it."""
    return delivered(dead_letter(delivery, REJECTED, TOPOLOGY), "provisioner-worker")


def redriven(delivery: Delivery, person: str = "cli:ben") -> Delivery:
    """A dead letter, redriven by a person, as a worker receives it."""
    return delivered(original_message(delivery, TOPOLOGY, redriven_by=person), OPS)


@pytest.mark.parametrize(
    ("user", "actor", "author"),
    [
        (None, None, None), (None, "ana", "claimed: ana"), (OPS, None, OPS), (OPS, "cli:ana", f"{OPS}/cli:ana"),
        (None, f"{OPS}/ana", f"claimed: {OPS}/ana"), (None, "product", "claimed: product"),
        ("product", None, "user product"), ("a\x00b", "ana", "a?b/ana"),
    ],
)  # fmt: skip
def test_the_user_is_verified_and_the_person_is_what_he_says(user, actor, author):
    """A body's actor alone is a claim; nobody's name is mistaken for the existing product's own moves."""
    assert decode(sent(user, actor)).actor == author


def test_a_signup_has_its_user():
    """website.created names nobody: its user is all that is known, and none is fine."""
    created = make_delivery({"website_id": 42}, type="website.created", properties={"user_id": SIGNUP})
    assert decode(created).actor == SIGNUP
    assert decode(replace(created, properties={})).actor is None


def test_a_redriven_command_has_both():
    """The original author stays, however often it is redriven, and the last who did that is named."""
    once = redriven(rejected(sent(OPS, "cli:ana")))
    assert decode(once).actor == f"{OPS}/cli:ana, redriven by {OPS}/cli:ben"
    twice = redriven(rejected(once), "cli:eve")
    assert decode(twice).actor == f"{OPS}/cli:ana, redriven by {OPS}/cli:eve"
    assert decode(redriven(rejected(sent(None, "ana")))).actor == f"claimed: ana, redriven by {OPS}/cli:ben"
    assert decode(redriven(rejected(sent(None)))).actor == f"redriven by {OPS}/cli:ben"


FORGED = {"x-user-id": OPS, "x-redriven-by": "cli:ana", "x-reason": "illegal"}


def test_a_sender_cannot_write_the_headers_of_a_copy():
    """What signup writes into them counts for nothing: not at once, not out of a dead letter, not past the workers."""
    forged = sent(SIGNUP, "boss", headers=FORGED)
    assert decode(forged).actor == f"{SIGNUP}/boss"
    letter = rejected(forged)
    assert letter.headers["x-user-id"] == SIGNUP
    assert decode(redriven(letter)).actor == f"{SIGNUP}/boss, redriven by {OPS}/cli:ben"
    nobody = rejected(sent(None, "boss", headers=FORGED))
    assert "x-user-id" not in nobody.headers
    assert decode(redriven(nobody)).actor == f"claimed: boss, redriven by {OPS}/cli:ben"
    # The broker itself dead-letters what has expired: as it was, by its exchange of dead letters.
    for user, author in ((SIGNUP, f"{SIGNUP}/boss"), (None, "claimed: boss")):
        expired = sent(user, "boss", headers=FORGED, exchange=TOPOLOGY.dead_letters)
        assert decode(redriven(expired)).actor == f"{author}, redriven by {OPS}/cli:ben"


@pytest.mark.parametrize("value", [7, b"x", ["x"], "", "x" * 300, "a\0b", "line\nbreak"])
def test_any_value_of_a_header_is_harmless(value):
    """What is no text names nobody; what is one can be stored and printed."""
    headers = {"x-user-id": value, "x-redriven-by": value}
    author = author_of(sent(OPS, exchange="", routing_key="provisioning.commands", headers=headers), None)
    assert author is not None
    assert author.isprintable()
    assert len(author) < 600
