"""Compares a signup with what is stored of the website that it names: its owner and its subdomain. Pure.

What is stored wins (docs/decisions/0034): whoever may publish, and knows a website's number, may neither take it over
nor rename it. Other fields are options; they say nothing about whose website it is.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from consumer.domain.outcomes import Reason, Rejected
from consumer.domain.records import StoredOwners
from consumer.messages.inbound_contracts import OwnerByEmail, OwnerById, WebsiteCreated
from seeders.canonical_email import comparable

ERASED = "erased"
"""The key of the marker that is left of an erased request, with the time; no contract has such a field."""


def conflict(
    signup: WebsiteCreated,
    *,
    subdomain: str | None,
    owner_email: str | None,
    request: Mapping[str, Any],
    owners: StoredOwners,
) -> str | None:
    """Return in words how a website contradicts the signup with its id; None where it does not.

    Neither the stored owner nor the signup's is quoted: the one is no business of the sender, the other of readers.

    Args:
        signup: what the message says.
        subdomain: that of the website's row, and so are the next two.
        owner_email: the address that the row has, which counts where nobody else is named.
        request: what the row keeps of earlier signups.
        owners: the users.
    """
    if request.get(ERASED):
        return "the data of its owner was erased"
    stored = (subdomain or "").strip().lower()
    differences = []
    if signup.subdomain and stored and signup.subdomain != stored:
        differences.append(f"its subdomain is {stored}, not {signup.subdomain}")
    if not _owner_agrees(signup, owner_email, request, owners):
        differences.append("it has another owner")
    return " and ".join(differences) or None


def conflicting(website_id: int, how: str) -> Rejected:
    """Return what becomes of a signup that contradicts its website: nothing is changed."""
    return Rejected(
        Reason.CONFLICT,
        f"website {website_id} is not this signup's: {how}; nothing was changed. Publish website.created with an id "
        "that no website has, or without what contradicts",
    )


def users_to_compare(signup: WebsiteCreated, request: Mapping[str, Any]) -> set[int]:
    """Return the ids of users whose addresses the comparison needs."""
    named = signup.owner.user_id if isinstance(signup.owner, OwnerById) else None
    return {user_id for user_id in (named, _kept_owner(request).get("user_id")) if isinstance(user_id, int)}


def _kept_owner(request: Mapping[str, Any]) -> Mapping[str, Any]:
    kept = request.get("owner")
    return kept if isinstance(kept, dict) else {}


def _owner_agrees(
    signup: WebsiteCreated, owner_email: str | None, request: Mapping[str, Any], owners: StoredOwners
) -> bool:
    """Return whether a signup's owner is the stored one: the active owner, else the request's, else owner_email."""
    kept = _kept_owner(request)
    stored: Sequence[tuple[int | None, str | None]]
    if active := owners.active.get(signup.website_id):
        stored = active
    elif kept.get("user_id") is not None:
        stored = [(kept["user_id"], owners.addresses.get(kept["user_id"]))]
    elif address := kept.get("email") or (owner_email or "").strip():
        stored = [(None, address)]
    else:
        return True
    match signup.owner:
        case None:
            return True
        case OwnerById(user_id=user_id):
            address = owners.addresses.get(user_id)
            return any(_same_user(user_id, address, each) for each in stored)
        case OwnerByEmail(email=email):
            return any(_same_address(email, each) for _, each in stored)


def _same_user(user_id: int, address: str | None, stored: tuple[int | None, str | None]) -> bool:
    stored_id, stored_address = stored
    if stored_id is not None:
        return user_id == stored_id
    # A user who is not there has no address, and is nobody who is stored.
    return address is not None and _same_address(address, stored_address)


def _same_address(one: str, other: str | None) -> bool:
    return other is not None and (one == other or comparable(one) == comparable(other))
