"""Says whether a subdomain may still be had: by the contract's rules, by the websites' rows and by the product's pool.

An answer is of its moment: a signup that comes later may still find the name taken.
"""

from enum import StrEnum
from typing import Any

from pydantic import TypeAdapter, ValidationError

from consumer.domain.validation_texts import validation_text
from consumer.messages.inbound_contracts import RESERVED_SUBDOMAINS, SUBDOMAIN_MAX, Subdomain
from consumer.provisioning.subdomain_holders import refused_by_pool, subdomain_owners
from consumer.store.database import Store

FREE = "This web address is free."
TAKEN = "This web address is taken already. Please choose another one."
NOT_A_WEBSITE = 0
"""In place of a website's id where none is known yet; no website has it."""


class NameProblem(StrEnum):
    """Why a subdomain cannot be had."""

    INVALID = "invalid"
    """It breaks a rule of the contract."""
    RESERVED = "reserved"
    """It is one that no website gets, or somebody else has reserved it."""
    TAKEN = "taken"
    """A website has it."""


async def subdomain_availability(
    store: Store, name: str, *, website_id: int | None = None, email: str | None = None, user_id: int | None = None
) -> dict[str, Any]:
    """Return whether a subdomain may be had, and if not, why: a `NameProblem`, and a sentence for whoever typed it.

    Args:
        store: where the websites are.
        name: as it was typed; blanks around it and capital letters do not matter.
        website_id: the website that wants it; one that has it already may keep it.
        email: of its owner; a name that is reserved for this address is free to it.
        user_id: of its owner, if they are a user; as `email`.
    """
    try:
        subdomain: str = TypeAdapter(Subdomain).validate_python(name)
    except ValidationError as error:
        text = f"This web address {validation_text(error.errors()[0])}."
        reserved = name.strip().lower() in RESERVED_SUBDOMAINS
        return _answer(name[: SUBDOMAIN_MAX + 1], NameProblem.RESERVED if reserved else NameProblem.INVALID, text)
    async with store.connection() as connection:
        holder = (await subdomain_owners(connection, [subdomain])).get(subdomain)
        if holder is not None:
            own = holder == website_id
            return _answer(subdomain, None if own else NameProblem.TAKEN, FREE if own else TAKEN)
        claim = (website_id or NOT_A_WEBSITE, subdomain, email, user_id)
        if await refused_by_pool(connection, [claim]):
            return _answer(subdomain, NameProblem.RESERVED, TAKEN)
    return _answer(subdomain, None, FREE)


def _answer(subdomain: str, problem: NameProblem | None, text: str) -> dict[str, Any]:
    return {"subdomain": subdomain, "available": problem is None, "reason": problem, "text": text}
