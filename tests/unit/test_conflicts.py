"""Whose website it is: what a signup says, compared with what is stored."""

from typing import Any

import pytest

from consumer.domain.records import StoredOwners
from consumer.messages.inbound_contracts import WebsiteCreated
from consumer.provisioning.signup_conflicts import conflict


@pytest.mark.parametrize(
    ("body", "owners", "named"),
    [
        ({"subdomain": "theirs"}, [], None),
        ({"subdomain": " Theirs "}, [], None),
        ({"subdomain": "ours"}, [], "its subdomain is theirs, not ours"),
        ({"owner": {"email": "ana@example.com"}}, [], None),
        ({"owner": {"email": "ANA@bücher.example"}}, [(7, "Ana@xn--bcher-kva.example")], None),
        ({"owner": {"email": "bob@example.com"}}, [(7, "ana@example.com")], "it has another owner"),
        ({"owner": {"email": "bob@example.com"}}, [(7, "ana@example.com"), (8, "bob@example.com")], None),
        ({"owner": {"user_id": 7}}, [(7, "ana@example.com")], None),
        ({"owner": {"user_id": 8}}, [(7, "")], "it has another owner"),
        ({"owner": {"user_id": 7}}, [(None, "ana@example.com")], None),
        ({"owner": {"user_id": 8}}, [(None, "ana@example.com")], "it has another owner"),
        ({"owner": {"email": "a@b.example"}}, [(7, "no address")], "it has another owner"),
        ({}, [(7, "ana@example.com")], None),
    ],
)
def test_whose_website_it_is(body: dict[str, Any], owners: list[tuple[int | None, str]], named: str | None) -> None:
    """Subdomain and owner of the signup are compared with the website's; what that lacks contradicts nothing."""
    signup = WebsiteCreated.model_validate({"website_id": 1, **body})
    compared = StoredOwners({1: owners}, {7: "ana@example.com"})
    nothing = {"owner_email": None, "request": {}}
    assert conflict(signup, subdomain="Theirs", owners=compared, **nothing) == named
    assert conflict(signup, subdomain=None, owners=StoredOwners(), **nothing) is None
