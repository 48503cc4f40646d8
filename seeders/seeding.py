"""Makes guards true, for many websites at once. Opens no connection and no transaction, and updates no row.

Every insert is idempotent by natural key: a half-seeded set is completed, and what people have changed stays. A pack
that cannot be used falls back to defaults, and the caller is told; a strict one stands alone.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from seeders import inserts
from seeders.defaults import DEFAULTS
from seeders.inserts import SQL, Insert, Pair, Tenant, nameless
from seeders.library import PackLibrary
from seeders.pack import Pack, PackError
from statemachine.requirements import FIELD_KEYS_NEEDED, LINKS_NEEDED

NOT_THE_DATA = "22", "23"
"""SQLSTATE classes that say that a pack's rows cannot be inserted; any other database error is not the pack's."""


class Connection(Protocol):
    """What a seeder does with the connection it is handed, which is in a transaction."""

    async def execute(self, query: str, *args: Any) -> Any:
        """Run a statement."""

    async def fetch(self, query: str, *args: Any) -> Any:
        """Run a statement and return its rows."""


@dataclass(frozen=True, slots=True)
class Fallback:
    """A pack did not do: which, at which step, and why. Goes into history and log."""

    pack: str
    step: str
    reason: str
    defaults: bool
    """Whether defaults were added instead; False for a strict pack, and for properties, which have none."""


@dataclass(frozen=True, slots=True)
class Step:
    """How one kind of rows is seeded.

    Attributes:
        name: as it stands in history and log.
        compose: returns the inserts for websites and their packs.
        rows: how many rows a pack brings.
        needed: how many the requirement needs; 0: it needs none, and there are no defaults.
        counted: names the statement that counts a website's rows.
    """

    name: str
    compose: Callable[[Sequence[Pair]], list[Insert]]
    rows: Callable[[Pack], int]
    needed: int
    counted: str = ""

    def note(self, pack: str, reason: str, *, strict: bool) -> Fallback:
        """Return what is told of a pack that did not do."""
        return Fallback(pack, self.name, reason, defaults=self.needed > 0 and not strict)


AGENCY = Step("agency", inserts.agencies, lambda pack: int(pack.agency is not None), 1, "count_agencies")
LINKS = Step("links", inserts.links, lambda pack: len(pack.links), LINKS_NEEDED, "count_links")
FIELD_KEYS = Step(
    "field_keys", inserts.field_keys, lambda pack: len(pack.field_keys), FIELD_KEYS_NEEDED, "count_field_keys"
)
PROPERTIES = Step("properties", inserts.properties, lambda pack: len(pack.properties), 0)

Told = dict[int, Fallback]
"""By website id, which pack did not do and why; a website that is not in it was seeded from its pack."""


class Seeders:
    """Seeds agencies, links, field keys and properties out of packs.

    Each seeder takes a connection in a transaction that has the websites locked, and the websites. `careful` is for a
    batch that an error was traced to: the pack is tried in a savepoint, and one that the database refuses, or that
    raises, falls back. Without it any error is the caller's, who rolls the batch back and does it again in halves.
    """

    def __init__(self, packs: PackLibrary) -> None:
        self._packs = packs

    async def seed_agencies(self, connection: Connection, tenants: Sequence[Tenant], *, careful: bool) -> Told:
        """Give an agency to each website that has none.

        Raises:
            Exception: what the connection raises, but for a refused pack in a careful attempt.
        """
        return await self._seed(AGENCY, connection, tenants, careful=careful)

    async def seed_links(self, connection: Connection, tenants: Sequence[Tenant], *, careful: bool) -> Told:
        """Give each website the links that it lacks.

        Raises:
            Exception: what the connection raises, but for a refused pack in a careful attempt.
        """
        return await self._seed(LINKS, connection, tenants, careful=careful)

    async def seed_field_keys(self, connection: Connection, tenants: Sequence[Tenant], *, careful: bool) -> Told:
        """Give each website the field keys that it lacks.

        Raises:
            Exception: what the connection raises, but for a refused pack in a careful attempt.
        """
        return await self._seed(FIELD_KEYS, connection, tenants, careful=careful)

    async def seed_properties(self, connection: Connection, tenants: Sequence[Tenant], *, careful: bool) -> Told:
        """Give each website the sample properties that it lacks, if its pack has any. A pack that has none is no error.

        Raises:
            Exception: what the connection raises, but for a refused pack in a careful attempt.
        """
        return await self._seed(PROPERTIES, connection, tenants, careful=careful)

    async def _seed(self, step: Step, connection: Connection, tenants: Sequence[Tenant], *, careful: bool) -> Told:
        """Insert the packs' rows, and defaults where they do not do."""
        told: Told = {}
        ordered = sorted(tenants, key=lambda tenant: tenant.website_id)
        if careful:
            inserted: set[int] = set()
            tried = [await self._try(step, connection, tenant, told, inserted) for tenant in ordered]
            pairs = [pair for pair in tried if pair]
        else:
            pairs = await self._find(step, ordered, told)
            inserted = await _run(connection, step.compose(pairs))
        await _account_for_scarcity(step, connection, pairs, told)
        wanting = [
            (tenant, DEFAULTS)
            for tenant in ordered
            if (fallback := told.get(tenant.website_id)) is not None and fallback.defaults
        ]
        inserted |= await _run(connection, step.compose(wanting))
        _tell_of_nameless(step, [*pairs, *wanting], inserted, told)
        return told

    async def _find(self, step: Step, tenants: Sequence[Tenant], told: Told) -> list[Pair]:
        """Return the websites whose pack can be used; tell of the others."""
        looked_up: dict[str, Pack | PackError] = {}
        pairs: list[Pair] = []
        for tenant in tenants:
            name = tenant.pack_name
            if name not in looked_up:
                try:
                    looked_up[name] = await self._packs.get(name)
                except PackError as error:
                    looked_up[name] = error
            found = looked_up[name]
            if isinstance(found, PackError):
                told[tenant.website_id] = step.note(name, str(found), strict=found.strict)
            else:
                pairs.append((tenant, found))
        return pairs

    async def _try(
        self, step: Step, connection: Connection, tenant: Tenant, told: Told, inserted: set[int]
    ) -> Pair | None:
        """Insert one pack's rows in a savepoint; where they are refused, tell of it and return None.

        This is the one pack boundary: whatever goes wrong before the first statement is the pack's, and after it what
        the database says of the rows. Anything else is the connection's, or the caller's.
        """
        name, strict, sent = tenant.pack_name, False, False
        await connection.execute("SAVEPOINT pack")
        try:
            pack = await self._packs.get(name)
            strict = pack.strict
            composed = step.compose([(tenant, pack)])
            sent = True
            inserted |= await _run(connection, composed)
        except Exception as error:
            if sent and not _refuses_rows(error):
                raise
            await connection.execute("ROLLBACK TO SAVEPOINT pack")
            if isinstance(error, PackError):
                reason, strict = str(error), error.strict
            else:
                reason = f"{name}: cannot be inserted ({_described(error)})"
            told[tenant.website_id] = step.note(name, reason, strict=strict)
            pair = None
        else:
            pair = tenant, pack
        await connection.execute("RELEASE SAVEPOINT pack")
        return pair


async def _run(connection: Connection, composed: Sequence[Insert]) -> set[int]:
    """Run inserts; return the websites that they say got a row."""
    inserted: set[int] = set()
    for insert in composed:
        records = await connection.fetch(insert.statement, *insert.arguments)
        inserted |= {record["website_id"] for record in records}
    return inserted


def _refuses_rows(error: Exception) -> bool:
    """Say whether an error of the database is about the rows it was given."""
    return str(getattr(error, "sqlstate", None) or "").startswith(NOT_THE_DATA)


def _described(error: Exception) -> str:
    """Return an error's kind and SQLSTATE, never its text: that may quote an address."""
    return " ".join([type(error).__name__, *filter(None, [getattr(error, "sqlstate", None)])])


async def _account_for_scarcity(step: Step, connection: Connection, pairs: Sequence[Pair], told: Told) -> None:
    """Tell of websites that are short of rows after their pack; one that brings too few may have met others' rows."""
    scarce = [(tenant, pack) for tenant, pack in pairs if step.rows(pack) < step.needed]
    if not scarce:
        return
    records = await connection.fetch(SQL[step.counted], [tenant.website_id for tenant, _ in scarce])
    counts = {record["website_id"]: record["count"] for record in records}
    for tenant, pack in scarce:
        if counts.get(tenant.website_id, 0) < step.needed:
            reason = f"{pack.name} has {step.rows(pack) or 'no'} {step.name}, need {step.needed}"
            off = ", and its fallback is off" if pack.strict else ""
            told[tenant.website_id] = step.note(pack.name, f"{reason}{off}", strict=pack.strict)


def _tell_of_nameless(step: Step, pairs: Sequence[Pair], inserted: set[int], told: Told) -> None:
    """Tell of agencies that were just made and that neither pack nor subdomain could name."""
    if step is not AGENCY:
        return
    for tenant, pack in pairs:
        known = tenant.name or (pack.agency and pack.agency.display_name)
        if not known and pack.agency and tenant.website_id in inserted:
            reason = f"there is no subdomain to name the agency after, so it is called {nameless(tenant)!r}"
            if earlier := told.get(tenant.website_id):
                told[tenant.website_id] = replace(earlier, reason=f"{earlier.reason}; {reason}")
            else:
                told[tenant.website_id] = Fallback(pack.name, step.name, reason, defaults=True)
