"""Inbound messages: decodes a delivery into a command, by its contract. Trusts nothing, and never logs a body."""

import json
import re
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from pydantic import ValidationError

from consumer.broker.protocol import Delivery
from consumer.domain.validation_texts import validation_text
from consumer.messages.authors import SENT_WITH_KEY_HEADER, author_of
from consumer.messages.inbound_contracts import (
    COMMAND_PREFIX,
    CONTRACTS,
    MAX_ID,
    WEBSITE_CREATED,
    StepCommand,
    WebsiteCreated,
)
from statemachine import Trigger

MAX_BODY_BYTES = 64 * 1024
BODY_TOO_LONG = f"the body has {{}} bytes, at most {MAX_BODY_BYTES} are read"
"""Checked before anything is parsed. The largest valid message is under 1 KiB."""
MAX_MARKS = 2500
"""Marks that stand between values, those within texts counted as well: counted before anything is parsed, since a body
of the size that is allowed may have thirty thousand values. A reason of 2,000 commas is honest."""
MARKS = (b",", b":", b"[", b"{")
MAX_MEMBERS = 32
"""Of one object: each unknown one costs an error of its own. The contracts have 7 at most."""
READ_DIGITS = 40
"""Of a number; the largest id has 19. With these alone it is as much too large as with thousands, which cost much."""
MESSAGE_ID_FORMAT = re.compile(r"[0-9a-fA-F]{32}|[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
FIELD_NAME_FORMAT = re.compile(r"[A-Za-z0-9_]{1,40}")
TRACEPARENT_FORMAT = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


class PoisonError(Exception):
    """This message can never be carried out, whatever the database holds; the text says what is wrong with it.

    `signup`: message id and website id of a `website.created`, where both could be read.
    """

    def __init__(self, text: str, signup: tuple[UUID, int] | None = None) -> None:
        super().__init__(text)
        self.signup = signup


class InvalidJsonError(Exception):
    """Python's parser takes it for JSON, and it is none; the text says why."""


@dataclass(frozen=True, slots=True)
class Command:
    """A decoded delivery: one trigger for one website."""

    message_id: UUID
    type: str
    trigger: Trigger
    website_id: int
    expected_seq: int | None = None
    attempt: int = 0
    actor: str | None = None
    """Who asked for it, as `authors` writes it; None: the engine itself, or a signup whose user is not known."""
    reason: str | None = None
    traceparent: str | None = None
    created: WebsiteCreated | None = field(default=None, repr=False)


def decode(delivery: Delivery) -> Command:
    """Decode a delivery by its contract.

    Raises:
        PoisonError: with a sentence that names the field and the reason, and none of the body's content.
    """
    if delivery.omitted_bytes:
        raise PoisonError(BODY_TOO_LONG.format(delivery.omitted_bytes))
    if delivery.refused_headers:
        raise PoisonError(f"{delivery.refused_headers}; they are not kept")
    message_id = _message_id(delivery.message_id)
    contract = _contract(delivery)
    encoding = delivery.properties.get("content_encoding")
    if encoding and str(encoding).lower() not in ("utf-8", "identity"):
        raise PoisonError(f"content encoding {str(encoding)[:32]!r} is not read; send plain UTF-8")
    payload = parse_body(delivery.body)
    try:
        body = contract.model_validate(payload)
    except ValidationError as error:
        website_id = payload.get("website_id") if contract is WebsiteCreated and isinstance(payload, dict) else None
        signup = (message_id, website_id) if type(website_id) is int and 1 <= website_id <= MAX_ID else None
        raise PoisonError(f"{delivery.type}: {_explain(error)}", signup) from None
    claimed = None if isinstance(body, WebsiteCreated) else body.actor
    actor = author_of(delivery, claimed) if claimed or "user_id" in delivery.properties else None
    traceparent = delivery.headers.get("traceparent")
    if not (isinstance(traceparent, str) and TRACEPARENT_FORMAT.fullmatch(traceparent)):
        traceparent = None
    if isinstance(body, WebsiteCreated):
        return Command(
            message_id,
            WEBSITE_CREATED,
            Trigger.ASSIGN_OWNER,
            body.website_id,
            actor=actor,
            traceparent=traceparent,
            created=body,
        )
    return Command(
        message_id,
        str(delivery.type),
        Trigger(str(delivery.type).removeprefix(COMMAND_PREFIX)),
        body.website_id,
        body.expected_seq,
        body.attempt,
        actor,
        body.reason,
        traceparent,
    )


def _message_id(text: str | None) -> UUID:
    if not text:
        raise PoisonError("the property message_id is missing: it must be a UUID, the same for every copy of a message")
    if not MESSAGE_ID_FORMAT.fullmatch(text):
        raise PoisonError(f"the property message_id is no UUID ({len(text)} characters)")
    return UUID(text)


def _contract(delivery: Delivery) -> type[WebsiteCreated | StepCommand]:
    if not delivery.type:
        raise PoisonError("the property type is missing: it names the message, for example website.created")
    # Where the exchange is empty, the engine or a redrive went straight to the queue; a redrive says what the key was.
    key = delivery.routing_key if delivery.exchange else delivery.headers.get(SENT_WITH_KEY_HEADER, delivery.type)
    if key != delivery.type:
        raise PoisonError(f"the property type ({delivery.type[:64]!r}) is not the routing key ({str(key)[:64]!r})")
    contract = CONTRACTS.get(delivery.type)
    if contract is None:
        raise PoisonError(
            f"unknown message type {delivery.type[:64]!r}; known are {', '.join(CONTRACTS)}; see docs/messages.md"
        )
    return contract


def parse_body(body: bytes) -> Any:
    """Return the JSON of a body whose size, and whose number of values, are those of an honest one.

    Raises:
        PoisonError: it is no JSON, or is larger.
    """
    if len(body) > MAX_BODY_BYTES:
        raise PoisonError(BODY_TOO_LONG.format(len(body)))
    if len(body) > MAX_MARKS and (marks := sum(map(body.count, MARKS))) > MAX_MARKS:
        raise PoisonError(f"the body has {marks} commas, colons and opening brackets, at most {MAX_MARKS} are read")
    try:
        return json.loads(
            body.decode(),
            object_pairs_hook=_unique,
            parse_constant=_no_constant,
            parse_int=_whole,
            # No field takes a fraction: as bytes it is refused like one, by field, and is never computed.
            parse_float=str.encode,
        )
    except RecursionError:
        raise PoisonError("the body is nested too deeply") from None
    except UnicodeDecodeError as error:
        raise PoisonError(f"the body is not UTF-8 (byte {error.start})") from None
    except json.JSONDecodeError as error:
        raise PoisonError(f"the body is not JSON: {error.msg} at character {error.pos}") from None
    except InvalidJsonError as error:
        raise PoisonError(f"the body is not acceptable JSON: {error}") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) > MAX_MEMBERS:
        raise InvalidJsonError(f"an object has {len(pairs)} members, at most {MAX_MEMBERS} are read")
    members = dict(pairs)
    if len(members) != len(pairs):
        raise InvalidJsonError("an object has the same key twice")
    return members


def _whole(digits: str) -> int:
    return int(digits[:READ_DIGITS])


def _no_constant(name: str) -> Any:
    raise InvalidJsonError(f"{name} is not a JSON number")


def _explain(error: ValidationError) -> str:
    """Return the errors as "field: reason", without the input, which may hold personal data."""
    sentences = []
    for item in error.errors(include_input=False, include_url=False)[:5]:
        # The name of a form of owner is of no use to a reader.
        parts = [str(part) for part in item["loc"] if part not in ("OwnerByEmail", "OwnerById")]
        # The name of an unknown field is the sender's content too: only what looks like a field's name is repeated.
        where = ".".join(part if FIELD_NAME_FORMAT.fullmatch(part) else "a field" for part in parts)
        sentences.append(f"{where or 'body'}: {validation_text(item)}")
    return "; ".join(dict.fromkeys(sentences))
