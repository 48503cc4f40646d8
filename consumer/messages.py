"""What may come in: the contracts, and how a delivery becomes a command. Trusts nothing, and never logs a body.

Commands are imperative and come in; events are past tense and go out (`consumer.outbox`).
"""

import json
import re
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag, ValidationError

from consumer.broker import Delivery
from statemachine import Trigger

MAX_BODY_BYTES = 64 * 1024
"""Checked before anything is parsed. The largest honest message is under 1 KiB."""
MAX_ID = 2**63 - 1
MAX_SEQ = 2**31 - 1

WEBSITE_CREATED = "website.created"
COMMAND_PREFIX = "provisioning."

RESERVED_SUBDOMAINS = frozenset(
    {"www", "api", "admin", "app", "mail", "ftp", "smtp", "pop", "imap", "ns1", "ns2", "localhost", "staging", "test"}
)
SUBDOMAIN_FORMAT = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
SUBDOMAIN_MIN, SUBDOMAIN_MAX = 3, 40
# Deliberately lenient: it catches what cannot be an address and leaves the proof to the mail that is sent there.
LABEL = r"[^\W_](?:[\w-]*[^\W_])?"
EMAIL_FORMAT = re.compile(rf"[^@\s\x00-\x1f\x7f\"<>(),;:\\\[\]]{{1,64}}@{LABEL}(?:\.{LABEL})+")
EMAIL_MAX = 254
MESSAGE_ID_FORMAT = re.compile(r"[0-9a-fA-F]{32}|[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
NAME_FORMAT = re.compile(r"[A-Za-z0-9_]{1,40}")
TRACEPARENT_FORMAT = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


class Poison(Exception):  # noqa: N818 - an outcome's name, as the architecture has it
    """This message can never be carried out, whatever the database says; the text says what is wrong with it."""


class Unacceptable(Exception):  # noqa: N818
    """Python reads it as JSON, and it is none."""


def _storable(text: str) -> str:
    if "\0" in text:
        raise ValueError("contains a NUL character, which PostgreSQL cannot store")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("contains half a surrogate pair, which is no character")
    return text


def _normalised(value: Any) -> Any:
    return value.strip().lower() if isinstance(value, str) else value


def _subdomain(name: str) -> str:
    if len(name) < SUBDOMAIN_MIN:
        raise ValueError(f"must be at least {SUBDOMAIN_MIN} characters")
    if len(name) > SUBDOMAIN_MAX:
        raise ValueError(f"must be {SUBDOMAIN_MAX} characters or fewer")
    if not SUBDOMAIN_FORMAT.fullmatch(name):
        raise ValueError("can only contain lowercase letters, numbers, and hyphens (no leading/trailing hyphens)")
    if name in RESERVED_SUBDOMAINS:
        raise ValueError("is reserved and cannot be used")
    return name


def _email(address: str) -> str:
    if len(address) > EMAIL_MAX or not EMAIL_FORMAT.fullmatch(address):
        raise ValueError("is not an e-mail address")
    return address


Name = Annotated[str, Field(max_length=200), AfterValidator(_storable)]
PackName = Annotated[str, Field(min_length=1, max_length=64), AfterValidator(_storable)]
Sentence = Annotated[str, Field(max_length=2000), AfterValidator(_storable)]
Id = Annotated[int, Field(ge=1, le=MAX_ID)]
Subdomain = Annotated[str, BeforeValidator(_normalised), AfterValidator(_storable), AfterValidator(_subdomain)]
Email = Annotated[str, BeforeValidator(_normalised), AfterValidator(_storable), AfterValidator(_email)]


class Contract(BaseModel):
    """The rules that every contract shares: exact types, no unknown fields, no input echoed in errors."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, hide_input_in_errors=True, allow_inf_nan=False)


class OwnerByEmail(Contract):
    """An owner who may not have a user yet."""

    email: Email
    name: Name | None = None


class OwnerById(Contract):
    """An owner who is a user already."""

    user_id: Id


def _kind_of_owner(value: Any) -> str:
    """Tell the two forms apart, so that an error speaks of the one that was meant."""
    by_id = "user_id" in value if isinstance(value, dict) else isinstance(value, OwnerById)
    return "OwnerById" if by_id else "OwnerByEmail"


Owner = Annotated[
    Annotated[OwnerByEmail, Tag("OwnerByEmail")] | Annotated[OwnerById, Tag("OwnerById")],
    Discriminator(_kind_of_owner),
]


class WebsiteCreated(Contract):
    """`website.created`: a signup has made a website, or asks for one. Only `website_id` is required.

    With more than the id, the website is registered if its row is not there yet; where it is, the row wins.
    """

    website_id: Id
    subdomain: Subdomain | None = None
    site_type: Literal["residential", "commercial", "vacation_rental"] | None = None
    seed_pack: PackName | None = None
    owner: Owner | None = None
    skip_properties: bool = False
    auto_go_live: bool = True

    @property
    def registers(self) -> bool:
        """Whether it says enough to make the website's row."""
        return any(getattr(self, name) is not None for name in self.model_fields_set - {"website_id"})

    @property
    def request(self) -> dict[str, Any]:
        """What it brought, as `provisioning_request` keeps it."""
        return self.model_dump(exclude={"website_id"}, exclude_none=True)


class StepCommand(Contract):
    """`provisioning.<trigger>`: take this edge. Only `website_id` is required.

    `expected_seq` is the number of transitions that the sender has seen; the command is stale once there are more.
    """

    website_id: Id
    expected_seq: Annotated[int, Field(ge=0, le=MAX_SEQ)] | None = None
    attempt: Annotated[int, Field(ge=0, le=MAX_SEQ)] = 0
    actor: Name | None = None
    reason: Sentence | None = None


CONTRACTS: dict[str, type[WebsiteCreated | StepCommand]] = {
    WEBSITE_CREATED: WebsiteCreated,
    **{COMMAND_PREFIX + trigger: StepCommand for trigger in Trigger},
}
"""Every message type that may come in."""


@dataclass(frozen=True, slots=True)
class Command:
    """A delivery that has been understood: one trigger for one website."""

    message_id: UUID
    type: str
    trigger: Trigger
    website_id: int
    expected_seq: int | None = None
    attempt: int = 0
    actor: str | None = None
    reason: str | None = None
    traceparent: str | None = None
    created: WebsiteCreated | None = field(default=None, repr=False)


def decode(delivery: Delivery) -> Command:
    """Read a delivery against its contract.

    Raises:
        Poison: with a sentence that names the field and the reason, and none of the body's content.
    """
    message_id = _message_id(delivery.message_id)
    contract = _contract(delivery)
    payload = _json(delivery)
    try:
        body = contract.model_validate(payload)
    except ValidationError as error:
        raise Poison(f"{delivery.type}: {_explain(error)}") from None
    traceparent = delivery.headers.get("traceparent")
    if not (isinstance(traceparent, str) and TRACEPARENT_FORMAT.fullmatch(traceparent)):
        traceparent = None
    if isinstance(body, WebsiteCreated):
        return Command(
            message_id,
            WEBSITE_CREATED,
            Trigger.ASSIGN_OWNER,
            body.website_id,
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
        body.actor,
        body.reason,
        traceparent,
    )


def _message_id(text: str | None) -> UUID:
    if not text:
        raise Poison("the property message_id is missing: it must be a UUID, the same for every copy of a message")
    if not MESSAGE_ID_FORMAT.fullmatch(text):
        raise Poison(f"the property message_id is no UUID ({len(text)} characters)")
    return UUID(text)


def _contract(delivery: Delivery) -> type[WebsiteCreated | StepCommand]:
    if not delivery.type:
        raise Poison("the property type is missing: it names the message, for example website.created")
    # The exchange is empty where the engine, or a redrive, went straight to the queue.
    if delivery.exchange and delivery.routing_key != delivery.type:
        raise Poison(
            f"the property type ({delivery.type[:64]!r}) is not the routing key ({delivery.routing_key[:64]!r})"
        )
    contract = CONTRACTS.get(delivery.type)
    if contract is None:
        raise Poison(
            f"unknown message type {delivery.type[:64]!r}; known are {', '.join(CONTRACTS)}; see docs/messages.md"
        )
    return contract


def _json(delivery: Delivery) -> Any:
    if len(delivery.body) > MAX_BODY_BYTES:
        raise Poison(f"the body has {len(delivery.body)} bytes, at most {MAX_BODY_BYTES} are read")
    encoding = delivery.properties.get("content_encoding")
    if encoding and str(encoding).lower() not in ("utf-8", "identity"):
        raise Poison(f"content encoding {str(encoding)[:32]!r} is not read; send plain UTF-8")
    try:
        return json.loads(delivery.body.decode(), object_pairs_hook=_unique, parse_constant=_no_constant)
    except RecursionError:
        raise Poison("the body is nested too deeply") from None
    except UnicodeDecodeError as error:
        raise Poison(f"the body is not UTF-8 (byte {error.start})") from None
    except json.JSONDecodeError as error:
        raise Poison(f"the body is not JSON: {error.msg} at character {error.pos}") from None
    except Unacceptable as error:
        raise Poison(f"the body is not acceptable JSON: {error}") from None
    except ValueError:
        # Python's own limit, with advice that is not for the sender.
        raise Poison("the body is not acceptable JSON: a number has too many digits") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise Unacceptable("an object has the same key twice")
    return members


def _no_constant(name: str) -> Any:
    raise Unacceptable(f"{name} is not a JSON number")


def _explain(error: ValidationError) -> str:
    """Return the errors as "field: reason", without the input, which may hold personal data."""
    told = []
    for item in error.errors(include_input=False, include_url=False, include_context=False)[:5]:
        # The name of the form that was meant is of no use to a reader.
        parts = [str(part) for part in item["loc"] if part not in ("OwnerByEmail", "OwnerById")]
        # The name of an unknown field is the sender's content too: only what looks like a field's name is repeated.
        where = ".".join(part if NAME_FORMAT.fullmatch(part) else "a field" for part in parts)
        reason = item["msg"].removeprefix("Value error, ")
        if item["type"] in ("model_type", "model_attributes_type"):
            reason = "must be an object"  # pydantic would name a class of ours
        told.append(f"{where or 'body'}: {reason}")
    return "; ".join(dict.fromkeys(told))
