"""Forecasts what a requeue, or a start, would come to, website by website, on today's data and packs. Reads only.

A forecast walks the chain as the workers would, until the website rests: a requeue from the proven state, a start from
the state in which the website is; each step seeds, then its guard is judged. It knows what guards know: rows, packs and
signups. It does not know of a database that refuses a row: of a website that failed by such an error, or by any other
that no guard wrote, it says "unknown".
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any, assert_never

from consumer.domain.existing_product_states import our_state
from consumer.store.database import Store
from consumer.store.provisioning_statements import Queries
from ops.text.error_fingerprint import fingerprint
from seeders.insert_statements import rows_of
from seeders.loading.pack_library import PackLibrary
from seeders.pack import Pack, natural_key
from seeders.pack_problems import PackError
from seeders.seeding import pack_name
from seeders.sql_loader import read_statements
from seeders.step_bindings import BINDINGS, FromPack, FromSignup
from statemachine import (
    BY_TRIGGER,
    STEP_OF,
    STEPS,
    TRANSITIONS,
    Advance,
    Facts,
    Refuse,
    State,
    Trigger,
    Wait,
    judge,
    missing_item,
    needed,
    next_trigger,
    proven_state,
    unmet,
)

SQL = read_statements("ops.websites.sql")

CHUNK = 1000
"""Websites whose rows are counted by one statement."""
GUARD_ERROR_PREFIXES = tuple(f"{edge.failure} - " for edge in TRANSITIONS if edge.failure)
"""The beginnings of errors that a guard has written; of any other it is unknown whether its cause is fixed."""


class RequeueProspect(StrEnum):
    """What is to be expected of a website that is requeued."""

    ADVANCES = "advances"
    UNKNOWN = "unknown"
    """Nothing known stands in its way, but no guard wrote its error: whether that is mended cannot be known."""
    WAITS = "waits"
    FAILS_AGAIN = "fails_again"
    NOT_FAILED = "not_failed"


NOTHING_KNOWN_AGAINST = frozenset({RequeueProspect.ADVANCES, RequeueProspect.UNKNOWN})


@dataclass(frozen=True, slots=True)
class RequeueForecast:
    """What is to be expected of one website.

    Attributes:
        website_id: which.
        prospect: how it would end.
        about: the state from which it goes on, or would; what it lacks, or the state that it is in instead of failed.
        seeds: what its steps insert so that their guards hold, as `links from pack base`.
        remark: what this forecast cannot promise, or what people should know before; None where there is nothing.
    """

    website_id: int
    prospect: RequeueProspect
    about: str
    seeds: tuple[str, ...] = ()
    remark: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return asdict(self) | {"prospect": self.prospect.value, "seeds": list(self.seeds)}


OtherRows = Mapping[Trigger, int]
"""By step, how many rows a website has besides its pack's; counted only for strict packs that bring too few."""


async def forecast_requeue(store: Store, packs: PackLibrary, ids: Sequence[int]) -> list[RequeueForecast]:
    """Return what a requeue of these websites would come to, in their order; those that are not there are left out."""
    return await forecasts_of(store, packs, ids, forecast_website)


async def forecasts_of(store: Store, packs: PackLibrary, ids: Sequence[int], forecast: Callable[..., Any]) -> list[Any]:
    """Read what a forecast is judged on, and judge: `forecast` is called as `forecast_website` is."""
    found: dict[int, Any] = {}
    library: dict[str, Pack | PackError] = {}
    for start in range(0, len(ids), CHUNK):
        async with store.connection() as connection:
            records = await connection.fetch(SQL["forecast_inputs"], ids[start : start + CHUNK])
            facts = await Queries(connection).facts({record["id"]: record["subdomain"] for record in records})
            by_pack: dict[str, list[Any]] = {}
            for record in records:
                by_pack.setdefault(_pack_name(record), []).append(record)
            for name, websites in by_pack.items():
                if name not in library:
                    try:
                        library[name] = await packs.get(name)
                    except PackError as error:
                        library[name] = error
                others = await _count_other_rows(connection, library[name], [website["id"] for website in websites])
                for website in websites:
                    number = website["id"]
                    found[number] = forecast(website, facts[number], library[name], others[number])
    return [found[website_id] for website_id in ids if website_id in found]


def forecast_website(
    website: Mapping[str, Any], facts: Facts, pack: Pack | PackError, other_rows: OtherRows | None = None
) -> RequeueForecast:
    """Return what a requeue of one website would come to. Pure.

    Args:
        website: its row, as `forecast_inputs.sql` reads it.
        facts: what it has now.
        pack: the pack that seeds it, or why there is none.
        other_rows: what it has besides a strict pack's rows.
    """
    number = website["id"]
    if website["provisioning_state"] != State.FAILED:
        return RequeueForecast(number, RequeueProspect.NOT_FAILED, website["provisioning_state"])
    proven = proven_state(facts, our_state(website["provisioning_failed_from"]))
    walked = walk(website, proven, facts, pack, other_rows)
    if walked.prospect != RequeueProspect.ADVANCES:
        return RequeueForecast(number, walked.prospect, walked.missing, walked.seeds, walked.remark)
    cause = website["provisioning_error"] or ""
    if cause.startswith(GUARD_ERROR_PREFIXES):
        return RequeueForecast(number, RequeueProspect.ADVANCES, proven.value, walked.seeds, walked.remark)
    unknown = "no guard wrote this error, so its cause may be there still: "
    remarks = [unknown + (fingerprint(cause) or "no error was recorded"), *filter(None, [walked.remark])]
    return RequeueForecast(number, RequeueProspect.UNKNOWN, proven.value, walked.seeds, "; ".join(remarks))


@dataclass(frozen=True, slots=True)
class Walked:
    """How far a website gets, and what it lacks there; the rest as of a requeue."""

    reached: State
    prospect: RequeueProspect
    missing: str
    seeds: tuple[str, ...]
    remark: str | None


def next_of(website: Mapping[str, Any], state: State) -> Trigger | None:
    """Return the step that a website has before it in a state, by its row as a forecast reads it."""
    return next_trigger(state, skip_properties=website["skip_properties"], auto_go_live=website["auto_go_live"])


def walk(
    website: Mapping[str, Any], state: State, facts: Facts, pack: Pack | PackError, other_rows: OtherRows | None
) -> Walked:
    """Take step by step from a state, until the website rests or a guard does not hold."""
    seeds: list[str] = []
    remark: str | None = None
    while trigger := next_of(website, state):
        guard = BY_TRIGGER[trigger].guard
        unmet_before = unmet(guard, facts)
        facts = after_step(trigger, facts, pack, other_rows or {}, owner_named=website["owner_named"])
        unmet_after = unmet(guard, facts)
        if made := [requirement for requirement in unmet_before if requirement not in unmet_after]:
            source, remark = _source(trigger, website, pack, remark)
            seeds += [f"{requirement.key} from {source}" for requirement in made]
        match judge(BY_TRIGGER[trigger], facts):
            case Advance(target):
                state = target
                continue
            case Wait():
                prospect = RequeueProspect.WAITS
            case Refuse():
                prospect = RequeueProspect.FAILS_AGAIN
                if isinstance(seeder := BINDINGS[trigger].seeder, FromPack) and (error := pack.error_of(seeder.field)):
                    remark = f"strict pack {_pack_name(website)} cannot be used: {error}"
            case never:
                assert_never(never)
        missing = ", ".join(missing_item(requirement, facts) for requirement in unmet_after)
        return Walked(state, prospect, missing, tuple(seeds), remark)
    return Walked(state, RequeueProspect.ADVANCES, "", tuple(seeds), remark)


def preflight_report(forecasts: Sequence[RequeueForecast], limit: int | None = None) -> dict[str, Any]:
    """Return forecasts as JSON: a summary, remarks, and the websites, `limit` at most."""
    return {
        "summary": requeue_summary(forecasts),
        "remarks": requeue_remarks(forecasts),
        "websites": [forecast.as_json() for forecast in forecasts[:limit]],
    }


def requeue_summary(forecasts: Iterable[RequeueForecast]) -> str:
    """Return forecasts as one sentence: how many websites, and what is to be expected of them."""
    counted, order = Counter((forecast.prospect, forecast.about) for forecast in forecasts), list(RequeueProspect)
    parts = [
        _clause(prospect, about, count)
        for (prospect, about), count in sorted(counted.items(), key=lambda item: (order.index(item[0][0]), -item[1]))
    ]
    return f"{counted.total()} selected" + (f": {', '.join(parts)}" if parts else "")


def requeue_remarks(forecasts: Sequence[RequeueForecast]) -> list[str]:
    """Return remarks on forecasts: what would be seeded first, and what cannot be promised."""
    found = []
    advancing = [forecast for forecast in forecasts if forecast.prospect in NOTHING_KNOWN_AGAINST]
    if seeds := Counter(seed for forecast in advancing for seed in forecast.seeds):
        found.append("seeded first: " + ", ".join(f"{seed} ({count})" for seed, count in seeds.most_common()))
    counted = Counter(forecast.remark for forecast in forecasts if forecast.remark)
    return found + [f"{count} of them: {remark}" for remark, count in counted.most_common()]


def _clause(prospect: RequeueProspect, about: str, count: int) -> str:
    match prospect:
        case RequeueProspect.ADVANCES:
            return f"{count} will advance from {about}"
        case RequeueProspect.UNKNOWN:
            return f"unknown: {count} from {about}"
        case RequeueProspect.WAITS:
            return f"{count} {'waits' if count == 1 else 'wait'} for {about}"
        case RequeueProspect.FAILS_AGAIN:
            return f"{count} will fail again: {about}"
        case RequeueProspect.NOT_FAILED:
            return f"{count} {'is' if count == 1 else 'are'} {about}"
        case never:
            assert_never(never)


# ------------------------------------------------------------------------------------------------- what steps insert


def after_step(
    trigger: Trigger, facts: Facts, pack: Pack | PackError, other_rows: OtherRows, *, owner_named: bool
) -> Facts:
    """Return what a website will have once a step's seeder has done its work.

    A pack that brings too little gets defaults unless it is strict; importing the bindings checks that they suffice.
    """
    seeder, requirement = BINDINGS[trigger].seeder, STEP_OF[trigger].requirement
    if seeder is None or requirement is None:
        return facts
    match seeder:
        case FromSignup():
            rows = requirement.minimum if owner_named else 0
        case FromPack():
            brought = 0 if isinstance(pack, PackError) else len(rows_of(pack, seeder.field))
            rows = brought + (other_rows.get(trigger, 0) if pack.strict else max(0, needed(requirement) - brought))
        case never:
            assert_never(never)
    return replace(facts, **{requirement.fact: max(getattr(facts, requirement.fact), rows)})


def _source(
    trigger: Trigger, website: Mapping[str, Any], pack: Pack | PackError, remark: str | None
) -> tuple[str, str | None]:
    """Return where a step takes its rows from, and the remark on that."""
    name = _pack_name(website)
    if not isinstance(seeder := BINDINGS[trigger].seeder, FromPack):
        return "its signup", remark
    if error := pack.error_of(seeder.field):
        return "defaults", f"defaults are used, since pack {name} cannot be: {error}"
    return f"pack {name}", remark


async def _count_other_rows(
    connection: Any, pack: Pack | PackError, ids: Sequence[int]
) -> dict[int, dict[Trigger, int]]:
    """Count, for steps to which a strict pack brings too few rows, what websites have besides those."""
    found: dict[int, dict[Trigger, int]] = {website_id: {} for website_id in ids}
    if isinstance(pack, PackError) or not pack.strict:
        return found
    for step in STEPS:
        seeder, count = BINDINGS[step.trigger].seeder, BINDINGS[step.trigger].count
        if step.requirement and count and isinstance(seeder, FromPack):
            rows = rows_of(pack, seeder.field)
            if 0 < len(rows) < needed(step.requirement):
                others = count.subquery(f"({count.key} = ANY ($2::text[])) IS NOT TRUE")
                statement = f"SELECT asked.id, {others} AS count FROM unnest($1::bigint[]) AS asked (id)"  # noqa: S608
                for record in await connection.fetch(statement, ids, list(map(natural_key, rows))):
                    found[record["id"]][step.trigger] = record["count"]
    return found


def _pack_name(website: Mapping[str, Any]) -> str:
    return pack_name(website["seed_pack_name"], website["site_type"])
