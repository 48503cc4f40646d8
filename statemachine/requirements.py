"""What a website must have. Knows facts and thresholds; refuses to know where facts come from.

A requirement is one row that answers four questions: is it met (the guard), what does the checklist show, what is
missing, and what does the error say.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

LINKS_NEEDED = 3
FIELD_KEYS_NEEDED = 5


@dataclass(frozen=True, slots=True)
class Facts:
    """What a website has, counted under its row lock.

    `owners` are active memberships with the role owner; the rest are rows of the website.
    """

    owners: int = 0
    agencies: int = 0
    links: int = 0
    field_keys: int = 0
    properties: int = 0
    subdomain: str | None = None


@dataclass(frozen=True, slots=True)
class Requirement:
    """One thing that a website must have, or may have.

    Attributes:
        key: its name in the checklist.
        met: the guard.
        entry: its checklist entry less `complete` and `required`.
        missing: its text in the list of missing items.
        shortfall: the same as a step's error says it.
        required: whether a website may go live without it.
        from_others: whether the data come from outside (signup), so that waiting may help.
    """

    key: str
    met: Callable[[Facts], bool]
    missing: Callable[[Facts], str]
    shortfall: Callable[[Facts], str]
    entry: Callable[[Facts], dict[str, Any]]
    required: bool = True
    from_others: bool = False


OWNER = Requirement(
    key="owner",
    met=lambda facts: facts.owners >= 1,
    missing=lambda _: "owner membership",
    shortfall=lambda _: "no active owner membership",
    entry=lambda _: {},
    from_others=True,
)
AGENCY = Requirement(
    key="agency",
    met=lambda facts: facts.agencies >= 1,
    missing=lambda _: "agency",
    shortfall=lambda _: "no agency record found",
    entry=lambda _: {},
)
LINKS = Requirement(
    key="links",
    met=lambda facts: facts.links >= LINKS_NEEDED,
    missing=lambda facts: f"links (have {facts.links}, need {LINKS_NEEDED})",
    shortfall=lambda facts: f"need at least {LINKS_NEEDED}, have {facts.links}",
    entry=lambda facts: {"count": facts.links, "minimum": LINKS_NEEDED},
)
FIELD_KEYS = Requirement(
    key="field_keys",
    met=lambda facts: facts.field_keys >= FIELD_KEYS_NEEDED,
    missing=lambda facts: f"field_keys (have {facts.field_keys}, need {FIELD_KEYS_NEEDED})",
    shortfall=lambda facts: f"need at least {FIELD_KEYS_NEEDED}, have {facts.field_keys}",
    entry=lambda facts: {"count": facts.field_keys, "minimum": FIELD_KEYS_NEEDED},
)
PROPERTIES = Requirement(
    key="properties",
    met=lambda facts: facts.properties >= 1,
    missing=lambda _: "properties",
    shortfall=lambda _: "no properties",
    entry=lambda facts: {"count": facts.properties},
    required=False,
)
SUBDOMAIN = Requirement(
    key="subdomain",
    met=lambda facts: bool(facts.subdomain and facts.subdomain.strip()),
    missing=lambda _: "subdomain",
    shortfall=lambda _: "no subdomain",
    entry=lambda facts: {"value": facts.subdomain},
    from_others=True,
)

REQUIREMENTS: tuple[Requirement, ...] = (OWNER, AGENCY, LINKS, FIELD_KEYS, PROPERTIES, SUBDOMAIN)
"""In the order of the checklist."""


def unmet(requirements: Sequence[Requirement], facts: Facts) -> tuple[Requirement, ...]:
    """Return those of `requirements` that the facts do not meet, in order."""
    return tuple(requirement for requirement in requirements if not requirement.met(facts))


def checklist(facts: Facts) -> dict[str, dict[str, Any]]:
    """Return the checklist as JSON shows it, one entry a requirement."""
    return {
        requirement.key: {
            "complete": requirement.met(facts),
            **requirement.entry(facts),
            "required": requirement.required,
        }
        for requirement in REQUIREMENTS
    }


def missing_items(facts: Facts) -> list[str]:
    """Return the texts of what a website still lacks to go live, in the checklist's order."""
    return [requirement.missing(facts) for requirement in unmet(REQUIREMENTS, facts) if requirement.required]
