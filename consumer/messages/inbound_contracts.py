"""Contracts of the messages that may come in, as pydantic models: which fields, of which types, within which limits.

Commands are imperative and come in; events are past tense and go out (`consumer.messages.outbound`).
"""

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag, WithJsonSchema

from seeders.canonical_email import canonical_email
from statemachine import Trigger

MAX_ID = 2**63 - 1
MAX_SEQ = 2**31 - 1

WEBSITE_CREATED = "website.created"
COMMAND_PREFIX = "provisioning."

RESERVED_SUBDOMAINS = frozenset(
    {"www", "api", "admin", "app", "mail", "ftp", "smtp", "pop", "imap", "ns1", "ns2", "localhost", "staging", "test"}
)
SUBDOMAIN_FORMAT = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
SUBDOMAIN_MIN, SUBDOMAIN_MAX = 3, 40
HALF_PAIR = re.compile(r"[\ud800-\udfff]")
"""What JSON may escape, and UTF-8 has not."""


def _storable(text: str) -> str:
    if "\0" in text:
        raise ValueError("contains a NUL character, which PostgreSQL cannot store")
    if not text.isascii() and HALF_PAIR.search(text):
        raise ValueError("contains half a surrogate pair, which is no character")
    return text


def _normalised(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    name = value.strip()
    return name.lower() if len(name) <= SUBDOMAIN_MAX else name  # it is refused, however it is spelled


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


Name = Annotated[str, Field(max_length=200), AfterValidator(_storable)]
PackName = Annotated[str, Field(min_length=1, max_length=64), AfterValidator(_storable)]
Sentence = Annotated[str, Field(max_length=2000), AfterValidator(_storable)]
Id = Annotated[int, Field(ge=1, le=MAX_ID)]
Subdomain = Annotated[
    str,
    BeforeValidator(_normalised),
    AfterValidator(_storable),
    AfterValidator(_subdomain),
    WithJsonSchema(
        {
            "type": "string",
            "minLength": SUBDOMAIN_MIN,
            "maxLength": SUBDOMAIN_MAX,
            "pattern": f"^{SUBDOMAIN_FORMAT.pattern}$",
            "not": {"enum": sorted(RESERVED_SUBDOMAINS)},
            "description": "Blanks around it and capital letters are taken, too: it is stripped and lower-cased first.",
        }
    ),
]
Email = Annotated[
    str,
    AfterValidator(_storable),
    AfterValidator(canonical_email),
    WithJsonSchema({"type": "string", "format": "idn-email"}),
]


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
    """Return which form of owner is meant, so that an error is about that one."""
    by_id = "user_id" in value if isinstance(value, dict) else isinstance(value, OwnerById)
    return "OwnerById" if by_id else "OwnerByEmail"


Owner = Annotated[
    Annotated[OwnerByEmail, Tag("OwnerByEmail")] | Annotated[OwnerById, Tag("OwnerById")],
    Discriminator(_kind_of_owner),
]


class WebsiteCreated(Contract):
    """`website.created`: a signup has made a website, or asks for one. Only `website_id` is required.

    With more than the id, the website is registered if its row is not there yet; where it is, what the row leaves empty
    is filled, and another owner or subdomain than it has is a conflict.
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
        """Whether it has more than the id: then it registers the website."""
        return any(getattr(self, name) is not None for name in self.model_fields_set - {"website_id"})

    @property
    def request(self) -> dict[str, Any]:
        """What it has besides the id, as `provisioning_request` keeps it."""
        return self.model_dump(exclude={"website_id"}, exclude_none=True)


class StepCommand(Contract):
    """`provisioning.<trigger>`: take this edge. Only `website_id` is required.

    `expected_seq` is the number of transitions that the sender knows of; the command is stale once there are more.
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
