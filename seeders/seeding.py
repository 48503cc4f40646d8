"""Makes the guards of steps true, for many websites at once. Opens no connection and no transaction, and updates no
row of what it seeds.

Every insert is idempotent by natural key: a half-seeded set is completed, and what people have changed stays. A pack
that cannot be used, or not for the step at hand, falls back to defaults, which is returned; a strict one stands alone.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, assert_never

from seeders.insert_statements import INSERTS, SQL, Insert, Pair, rows_of
from seeders.pack import Pack
from seeders.pack_problems import PackError
from seeders.step_bindings import BINDINGS, FromPack, FromSignup
from seeders.website_to_seed import Tenant
from statemachine import STEP_OF, STEPS, Facts, Requirement, Trigger, needed, unmet

if TYPE_CHECKING:
    from seeders.loading.pack_library import PackLibrary

COUNTS = {
    step.requirement.fact: count
    for step in STEPS
    if step.requirement and (count := BINDINGS[step.trigger].count) is not None
}
STATEMENTS = SQL | {
    "facts": "-- Counts what websites have; read after the lock and after the step.\nSELECT asked.id"
    + "".join(f",\n       {count.subquery()} AS {fact}" for fact, count in COUNTS.items())
    + "\n  FROM unnest($1::bigint[]) AS asked (id)\n"
}
"""All that is run in a transaction of the use case; what counts is composed, so that no step's fact is left out."""
PACK_BY_SITE_TYPE = {
    "residential": "residential",
    "commercial": "commercial",
    "vacation_rental": "vacation_rental",
}
PACK_OTHERWISE = "base"
PRIMARY_KEY_SUFFIX = "_pkey"
"""As PostgreSQL names primary keys, and the existing product leaves them."""
NOT_THE_DATA = "22", "23"
"""SQLSTATE classes that say that a pack's rows cannot be inserted; any other database error is not the pack's."""


@dataclass(frozen=True, slots=True)
class Fallback:
    """A pack did not suffice: which, at which step, and why. Goes into history and log."""

    pack: str
    step: str
    reason: str
    defaults: bool
    """Whether defaults were added instead; False for a strict pack, and for properties, which have none."""


Fallbacks = dict[int, Fallback]
"""By website id, which pack did not suffice and why; a website that is not in it was seeded from its pack."""


def pack_name(seed_pack: str | None, site_type: str | None) -> str:
    """Return the name of the pack that seeds a website: its own, else its site type's, else base."""
    return seed_pack or PACK_BY_SITE_TYPE.get(site_type or "", PACK_OTHERWISE)


async def read_facts(connection: Any, subdomains: Mapping[int, str | None]) -> dict[int, Facts]:
    """Return what websites have now, given their subdomains by id."""
    return {
        record["id"]: Facts(subdomain=subdomains[record["id"]], **{fact: record[fact] for fact in COUNTS})
        for record in await connection.fetch(STATEMENTS["facts"], list(subdomains))
    }


class Seeders:
    """Carries out the seeders of steps, with the packs of a library."""

    def __init__(self, packs: "PackLibrary") -> None:
        self._packs = packs

    async def seed(
        self,
        trigger: Trigger,
        connection: Any,
        tenants: Sequence[Tenant],
        *,
        careful: bool,
        optional: Collection[str] = (),
    ) -> Fallbacks:
        """Insert what websites lack for one step.

        Args:
            trigger: the step's.
            connection: in a transaction that has the websites locked.
            tenants: the websites.
            careful: for a batch that an error was traced to: each pack is tried in a savepoint, and one that the
                database refuses, or that raises, falls back. Without it any error is the caller's, who rolls the batch
                back and does it again in halves.
            optional: the optional statements that this database can run, by name.

        Returns:
            The websites whose pack did not suffice.

        Raises:
            Exception: what the connection raises, but for a refused pack in a careful attempt.
        """
        requirement = STEP_OF[trigger].requirement
        match BINDINGS[trigger].seeder:
            case None:
                return {}
            case FromSignup(insert):
                await insert(connection, [tenant.owner for tenant in tenants if tenant.owner])
                return {}
            case FromPack() as seeder:
                assert requirement is not None, "importing the bindings checks that what seeds has a requirement"
                ordered = sorted(tenants, key=lambda tenant: tenant.website_id)
                step = PackStep(requirement, seeder, connection, self._packs, optional)
                return await step.seed(ordered, careful=careful)
            case never:
                assert_never(never)


class PackStep:
    """One step that seeds websites out of their packs, and out of defaults where those do not suffice."""

    def __init__(
        self,
        requirement: Requirement,
        seeder: FromPack,
        connection: Any,
        packs: "PackLibrary",
        optional: Collection[str] = (),
    ) -> None:
        self._compose_beside = [compose for name, compose in seeder.optional if name in optional]
        self._requirement = requirement
        self._seeder = seeder
        self._connection = connection
        self._packs = packs
        self._inserted: set[int] = set()
        self._fallbacks: Fallbacks = {}

    async def seed(self, tenants: Sequence[Tenant], *, careful: bool) -> Fallbacks:
        """Insert the packs' rows, and defaults where they do not suffice."""
        if careful:
            pairs = [pair for tenant in tenants if (pair := await self._try(tenant))]
        else:
            pairs = await self._find(tenants)
            await self._run(self._inserts(pairs))
        await self._note_scarce(pairs)
        defaults = [
            (tenant, self._seeder.defaults)
            for tenant in tenants
            if (fallback := self._fallbacks.get(tenant.website_id)) and fallback.defaults and self._seeder.defaults
        ]
        await self._run(self._seeder.inserts(defaults))
        self._note_remarks([*pairs, *defaults])
        return self._fallbacks

    async def _find(self, tenants: Sequence[Tenant]) -> list[Pair]:
        """Return the websites whose pack can be used; note a fallback for the others."""
        library: dict[str, Pack | PackError] = {}
        pairs: list[Pair] = []
        for tenant in tenants:
            name = pack_name(tenant.seed_pack, tenant.site_type)
            if name not in library:
                try:
                    library[name] = await self._packs.get(name)
                except PackError as error:
                    library[name] = error
            found = library[name]
            if isinstance(found, PackError):
                self._note(tenant, name, str(found), strict=found.strict)
            else:
                pairs.append((tenant, found))
                self._note_errors(tenant, found)
        return pairs

    async def _try(self, tenant: Tenant) -> Pair | None:
        """Insert one pack's rows in a savepoint; where they are refused, note a fallback and return None.

        This is the one pack boundary: whatever goes wrong before the first statement is the pack's, and after it what
        the database says of the rows. Anything else is the connection's, or the caller's.
        """
        name, strict, sent = pack_name(tenant.seed_pack, tenant.site_type), False, False
        await self._connection.execute("SAVEPOINT pack")
        try:
            pack = await self._packs.get(name)
            strict = pack.strict
            inserts = self._inserts([(tenant, pack)])
            sent = True
            await self._run(inserts)
        except Exception as error:
            if sent and not _refuses_rows(error):
                raise
            await self._connection.execute("ROLLBACK TO SAVEPOINT pack")
            if isinstance(error, PackError):
                reason, strict = str(error), error.strict
            else:
                reason = f"{name}: cannot be inserted ({_described(error)})"
            self._note(tenant, name, reason, strict=strict)
            pair = None
        else:
            pair = tenant, pack
            self._note_errors(tenant, pack)
        await self._connection.execute("RELEASE SAVEPOINT pack")
        return pair

    def _inserts(self, pairs: Sequence[Pair]) -> list[Insert]:
        """Return the inserts of packs, and what is written beside where the database has the tables."""
        beside = (insert for compose in self._compose_beside for insert in compose(pairs))
        return [*self._seeder.inserts(pairs), *beside]

    async def _run(self, inserts: Sequence[Insert]) -> None:
        """Run inserts, and remember the websites that they say got a row."""
        for statement, arguments in inserts:
            records = await self._connection.fetch(INSERTS[statement], *arguments)
            self._inserted |= {record["website_id"] for record in records}

    async def _note_scarce(self, pairs: Sequence[Pair]) -> None:
        """Note the websites short of rows after their pack; one that brings too few may have met others' rows."""
        reasons = {pack: shortage(self._requirement, pack, self._seeder.field) for _, pack in pairs}
        scarce = [
            (tenant, pack, reason)
            for tenant, pack in pairs
            if (reason := reasons[pack]) and tenant.website_id not in self._fallbacks
        ]
        if not scarce:
            return
        facts = await read_facts(self._connection, {tenant.website_id: tenant.subdomain for tenant, _, _ in scarce})
        for tenant, pack, reason in scarce:
            if unmet([self._requirement], facts[tenant.website_id]):
                self._note(tenant, pack.name, reason, strict=pack.strict)

    def _note_errors(self, tenant: Tenant, pack: Pack) -> None:
        """Note what is wrong with the rows of this step; errors in others cost it nothing."""
        if pack.errors and (reason := pack.error_of(self._seeder.field)):
            others = len(rows_of(pack, self._seeder.field))
            and_others = f"; {others} {'other is' if others == 1 else 'others are'} seeded" if others else ""
            self._note(tenant, pack.name, f"{reason}{and_others}", strict=pack.strict)

    def _note_remarks(self, pairs: Sequence[Pair]) -> None:
        """Note what is to be said of rows that were just inserted, beside why the pack did not suffice."""
        if self._seeder.remark is None:
            return
        for tenant, pack in pairs:
            remark = self._seeder.remark(tenant, pack)
            if remark is None or tenant.website_id not in self._inserted:
                continue
            if earlier := self._fallbacks.get(tenant.website_id):
                self._fallbacks[tenant.website_id] = replace(earlier, reason=f"{earlier.reason}; {remark}")
            else:
                self._fallbacks[tenant.website_id] = Fallback(pack.name, self._requirement.key, remark, defaults=True)

    def _note(self, tenant: Tenant, pack: str, reason: str, *, strict: bool) -> None:
        defaults = self._seeder.defaults is not None and not strict
        self._fallbacks[tenant.website_id] = Fallback(pack, self._requirement.key, reason, defaults)


def shortage(requirement: Requirement, pack: Pack, field: str) -> str | None:
    """Return in words that a pack brings fewer rows than a requirement needs; None where it brings enough.

    `field` is that of the pack which has the rows.
    """
    brought, need = len(rows_of(pack, field)), needed(requirement)
    if brought >= need:
        return None
    off = ", and its fallback is off" if pack.strict else ""
    return f"{pack.name} has {brought or 'no'} {requirement.key}, need {need}{off}"


def _refuses_rows(error: Exception) -> bool:
    """Say whether an error of the database is about the rows it was given.

    No row of ours has an id: one that is taken came from a sequence that is behind its table, which no pack can help.
    """
    if str(getattr(error, "constraint_name", None) or "").endswith(PRIMARY_KEY_SUFFIX):
        return False
    return str(getattr(error, "sqlstate", None) or "").startswith(NOT_THE_DATA)


def _described(error: Exception) -> str:
    """Return an error's kind and SQLSTATE, never its text: that may quote an address."""
    return " ".join([type(error).__name__, *filter(None, [getattr(error, "sqlstate", None)])])
