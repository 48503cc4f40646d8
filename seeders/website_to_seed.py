"""The website that is seeded, as seeders know it, with the owner that its signup named."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class NamedOwner:
    """The owner that a signup named: by e-mail address, or as a user that exists."""

    website_id: int
    email: str | None = None
    name: str | None = None
    user_id: int | None = None


@dataclass(frozen=True, slots=True)
class Tenant:
    """A website, as far as seeders know it."""

    website_id: int
    subdomain: str | None
    owner_email: str | None
    site_type: str | None
    seed_pack: str | None
    """`seed_pack_name` of its row; None: the site type's pack, without a site type `base`."""
    owner: NamedOwner | None = None
    """The owner that its signup named; read by the step that assigns it alone."""
