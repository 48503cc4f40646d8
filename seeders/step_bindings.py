"""The other half of `statemachine.steps`: what a step's fact counts, and what is inserted before its guard is judged.

Importing this fails unless steps and bindings match one to one, every fact is counted, and defaults meet every minimum.

To add one, write its row in BINDINGS and its statement in `seeders/sql/`. What is new in packs gets a field in
`seeders.pack`, and is read in `seeders.loading.file_models`.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

from seeders.fallback_rows import DEFAULTS
from seeders.insert_statements import Compose, Table, agencies, counted, joined, remark_nameless, rows_of
from seeders.owners import insert_owner_memberships
from seeders.pack import Pack
from seeders.website_to_seed import NamedOwner, Tenant
from statemachine import STEPS, Facts, Step, Trigger, needed

GIVEN = frozenset({"subdomain"})
"""Facts that the website's own row has, so that nothing is counted for them."""


@dataclass(frozen=True, slots=True)
class Count:
    """Which rows a fact counts.

    Attributes:
        table: where they are.
        website: the column that says whose they are.
        where: a further condition on them.
        key: the column of their natural key; empty where a website has at most one.
    """

    table: str
    website: str = "website_id"
    where: str = ""
    key: str = ""

    def subquery(self, condition: str = "") -> str:
        """Return, as SQL, the count for the website `asked.id` of those rows that meet a condition."""
        conditions = [f"{self.website} = asked.id", *filter(None, (self.where, condition))]
        return f"(SELECT count(*) FROM {self.table} WHERE {' AND '.join(conditions)})"  # noqa: S608 - all are constants


@dataclass(frozen=True, slots=True)
class FromSignup:
    """A seeder of what a signup named.

    Attributes:
        insert: inserts it for several websites, on a connection in a transaction.
    """

    insert: Callable[[Any, Sequence[NamedOwner]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class FromPack:
    """A seeder of rows out of packs.

    Attributes:
        field: the field of Pack that has the rows: entries, or a single one.
        inserts: composes the inserts.
        defaults: what is added where a pack does not suffice; None where nothing is.
        remark: returns what history should say of a row that was just inserted; None where that is nothing.
        optional: statements by name, each with what composes it, that run after the inserts where the database has the
            tables.
    """

    field: str
    inserts: Compose
    defaults: Pack | None = None
    remark: Callable[[Tenant, Pack], str | None] | None = None
    optional: Sequence[tuple[str, Compose]] = ()


@dataclass(frozen=True, slots=True)
class StepBinding:
    """The half of a step that touches rows.

    Attributes:
        trigger: of which step.
        count: what its fact counts; None where it has none, or where the website's own row has it.
        seeder: what makes its guard true; None where there is nothing to insert.
    """

    trigger: Trigger
    count: Count | None = None
    seeder: FromSignup | FromPack | None = None


# ------------------------------------------------------------------------------------------- columns

LINK_TABLE = Table(
    "insert_links",
    "links",
    (
        "slug", "page_slug", "link_path", "link_path_params", "link_url", "placement", "sort_order", "visible",
        "translations",
    ),
)  # fmt: skip
FIELD_KEY_TABLE = Table(
    "insert_field_keys", "field_keys", ("global_key", "tag", "visible", "sort_order", "translations")
)
ASSET = (
    "prop_type_key", "prop_state_key", "street_address", "city", "region", "country", "postal_code", "latitude",
    "longitude", "count_bedrooms", "count_bathrooms", "count_garages", "constructed_area", "plot_area",
    "year_construction",
)  # fmt: skip
SALE = ("cents", "currency", "highlighted", "translations")
RENTAL = (*SALE, "long_term", "short_term", "furnished")
PROPERTY_TABLES = (
    Table("insert_assets", "properties", ("reference", "stem", *(f"columns.{name}" for name in ASSET))),
    Table("insert_sale_listings", "properties", ("reference", *(f"sale.{name}" for name in SALE)), part="sale"),
    Table("insert_rental_listings", "properties", ("reference", *(f"rental.{name}" for name in RENTAL)), part="rental"),
)
"""Listings find their assets by reference: an asset that was there without its listing gets it now."""
BESIDE_PROPERTIES = (
    (
        "insert_features",
        joined(Table("insert_features", "properties", ("reference", "features"), part="features")),
    ),
    (
        "insert_photos",
        joined(Table("insert_photos", "properties", ("reference", "photo_url"), part="photo_url")),
    ),
    ("count_photos", counted("count_photos", part="photo_url")),
    ("count_properties", counted("count_properties")),
)
"""What the existing product has besides, in this order; left out where a database lacks the tables."""


# ------------------------------------------------------------------------------------------------------- bindings


def bound(steps: Sequence[Step], bindings: Sequence[StepBinding]) -> dict[Trigger, StepBinding]:
    """Return bindings by trigger, in the order of the steps.

    Raises:
        ValueError: a step has no binding or two, a binding has no step, a fact is not counted, or defaults would not
            meet their step's requirement; it names which.
    """
    triggers = [binding.trigger for binding in bindings]
    if unbound := {step.trigger for step in steps if triggers.count(step.trigger) != 1}:
        raise ValueError(f"steps that have not exactly one binding: {sorted(unbound)}")
    if stray := set(triggers) - {step.trigger for step in steps}:
        raise ValueError(f"bindings without a step: {sorted(stray)}")
    by_trigger = {binding.trigger: binding for binding in bindings}
    for step in steps:
        _check(step, by_trigger[step.trigger])
    counted = {step.requirement.fact for step in steps if step.requirement and by_trigger[step.trigger].count}
    if uncounted := {field.name for field in fields(Facts)} ^ (counted | GIVEN):
        raise ValueError(f"facts that are not counted, or counted and given: {sorted(uncounted)}")
    return {step.trigger: by_trigger[step.trigger] for step in steps}


def _check(step: Step, binding: StepBinding) -> None:
    entry, seeder = step.requirement, binding.seeder
    if (binding.count is None) is not (seeder is None):
        raise ValueError(f"{step.trigger}: what is counted needs a seeder, and what is seeded is counted")
    if entry is None and seeder:
        raise ValueError(f"{step.trigger}: it seeds what no requirement asks for")
    if entry and isinstance(seeder, FromPack):
        brought = len(rows_of(seeder.defaults, seeder.field)) if seeder.defaults else 0
        if brought < needed(entry):
            raise ValueError(f"{step.trigger}: its defaults bring {brought}, its requirement needs {needed(entry)}")


T = Trigger
BINDINGS: dict[Trigger, StepBinding] = bound(
    STEPS,
    (
        StepBinding(
            T.ASSIGN_OWNER,
            Count("pwb_user_memberships", where="role = 'owner' AND active"),
            FromSignup(insert_owner_memberships),
        ),
        StepBinding(T.COMPLETE_AGENCY, Count("pwb_agencies"), FromPack("agency", agencies, DEFAULTS, remark_nameless)),
        StepBinding(T.COMPLETE_LINKS, Count("pwb_links", key="slug"), FromPack("links", joined(LINK_TABLE), DEFAULTS)),
        StepBinding(
            T.COMPLETE_FIELD_KEYS,
            Count("pwb_field_keys", website="pwb_website_id", key="global_key"),
            FromPack("field_keys", joined(FIELD_KEY_TABLE), DEFAULTS),
        ),
        StepBinding(
            T.SEED_PROPERTIES,
            Count("pwb_realty_assets", key="reference"),
            FromPack("properties", joined(*PROPERTY_TABLES), optional=BESIDE_PROPERTIES),
        ),
        StepBinding(T.SKIP_PROPERTIES),
        StepBinding(T.MARK_READY),
        StepBinding(T.GO_LIVE),
    ),
)
"""By trigger, in the order of the steps; a step that only checks has neither count nor seeder."""


def seeds(trigger: Trigger) -> bool:
    """Return whether a trigger's guard is judged after a seeder has done its work."""
    return trigger in BINDINGS and BINDINGS[trigger].seeder is not None
