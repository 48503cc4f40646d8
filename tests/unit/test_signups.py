"""What `submit` publishes for the options it was given."""

from typing import Any

import pytest

from ops.websites.signups.submission import signup_bodies

NOTHING: dict[str, Any] = {
    "website_id": None,
    "subdomain": None,
    "site_type": None,
    "seed_pack": None,
    "owner_email": None,
    "owner_name": None,
    "owner_id": None,
    "skip_properties": False,
    "hold": False,
    "count": 1,
}


def test_an_owner_with_a_name() -> None:
    """An owner is published as named."""
    (body,) = signup_bodies(NOTHING | {"owner_email": "ana@example.com", "owner_name": "Ana Silva"})
    assert body["owner"] == {"email": "ana@example.com", "name": "Ana Silva"}


def test_no_owner_is_left_out() -> None:
    """Without an owner option the body names none."""
    (body,) = signup_bodies(NOTHING)
    assert "owner" not in body


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"owner_email": ""}, "owner"),
        ({"owner_email": "", "owner_name": "Ana Silva"}, "owner"),
        ({"owner_name": "Ana Silva"}, "--owner-email"),
        ({"owner_id": 7, "owner_email": ""}, "--owner-id"),
        ({"owner_id": 7, "owner_name": "Ana Silva"}, "--owner-id"),
    ],
)
def test_half_an_owner_is_refused(options: dict[str, Any], named: str) -> None:
    """An owner that is not wholly said is refused, and never becomes the sample owner of a website that is made up."""
    with pytest.raises(ValueError, match=named):
        signup_bodies(NOTHING | options)
