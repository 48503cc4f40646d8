"""What a requeue would come to, website by website, judged on today's data and today's packs. Reads only.

A forecast walks the chain as the workers would, from the proven state until the website rests: each step seeds, then
its guard is judged. It knows what guards know: rows, packs, and what signups said. It does not know of a database that
refuses a row: "will advance" means that nothing known stands in the way, and `remarks` say where little is known.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, assert_never

from consumer.store import Store, Transaction
from ops.fingerprint import fingerprint
from ops.reading import SQL, our_state
from seeders import PackLibrary
from seeders.defaults import PACK_BY_SITE_TYPE, PACK_OTHERWISE
from seeders.pack import Pack, PackError
from statemachine import (
    TRANSITIONS,
    Advance,
    Facts,
    Refuse,
    State,
    Trigger,
    Wait,
    judge,
    next_trigger,
    proven_state,
)
from statemachine.requirements import FIELD_KEYS_NEEDED, LINKS_NEEDED, Requirement, unmet

CHUNK = 1000
"""Websites whose rows are counted by one statement."""
EDGES = {edge.trigger: edge for edge in TRANSITIONS}
GUARDS_SAY = tuple(f"{edge.failure} - " for edge in TRANSITIONS if edge.failure)
"""How an error begins that a guard has written; of any other a forecast cannot know whether its cause is mended."""


class Prospect(StrEnum):
    """What is to be expected of a website that is requeued."""

    ADVANCES = "advances"
    WAITS = "waits"
    FAILS_AGAIN = "fails_again"
    NOT_FAILED = "not_failed"


@dataclass(frozen=True, slots=True)
class Forecast:
    """What is to be expected of one website.

    Attributes:
        website_id: which.
        prospect: what kind of end.
        about: the state from which it goes on, what is in its way, or the state that it is in instead of failed.
        seeds: what its steps insert so that their guards hold, as `links from pack base`.
        remark: what this forecast cannot promise, or what people should know before; None where there is nothing.
    """

    website_id: int
    prospect: Prospect
    about: str
    seeds: tuple[str, ...] = ()
    remark: str | None = None

    def told(self) -> dict[str, Any]:
        """Return it as JSON shows it."""
        return {
            "website_id": self.website_id,
            "prospect": self.prospect.value,
            "about": self.about,
            "seeds": list(self.seeds),
            "remark": self.remark,
        }


@dataclass(frozen=True, slots=True)
class Beside:
    """How many rows a website has beside those of its pack; only counted where it matters, for a poor strict pack."""

    links: int = 0
    field_keys: int = 0


async def forecasts(store: Store, packs: PackLibrary, ids: Sequence[int]) -> list[Forecast]:
    """Return what a requeue of these websites would come to, in their order; those that are not there are left out."""
    found: dict[int, Forecast] = {}
    library: dict[str, Pack | PackError] = {}
    for start in range(0, len(ids), CHUNK):
        async with store.connection() as connection:
            records = await connection.fetch(SQL["to_forecast"], ids[start : start + CHUNK])
            facts = await Transaction(connection).facts({record["id"]: record["subdomain"] for record in records})
            by_pack: dict[str, list[Any]] = {}
            for record in records:
                by_pack.setdefault(pack_name(record), []).append(record)
            for name, websites in by_pack.items():
                if name not in library:
                    library[name] = await _read(packs, name)
                beside = await _beside(connection, library[name], [website["id"] for website in websites])
                for website in websites:
                    number = website["id"]
                    found[number] = forecast(website, facts[number], library[name], beside.get(number, Beside()))
    return [found[website_id] for website_id in ids if website_id in found]


def pack_name(website: Mapping[str, Any]) -> str:
    """Return the name of the pack that seeds a website."""
    return website["seed_pack_name"] or PACK_BY_SITE_TYPE.get(website["site_type"] or "", PACK_OTHERWISE)


def forecast(website: Mapping[str, Any], facts: Facts, pack: Pack | PackError, beside: Beside = Beside()) -> Forecast:
    """Return what a requeue of one website would come to. Pure.

    Args:
        website: its row, as `to_forecast.sql` reads it.
        facts: what it has now.
        pack: the pack that seeds it, or why there is none.
        beside: what it has beside a strict pack's rows.
    """
    number = website["id"]
    if website["provisioning_state"] != State.FAILED:
        return Forecast(number, Prospect.NOT_FAILED, website["provisioning_state"])
    state = proven = proven_state(facts, our_state(website["provisioning_failed_from"]))
    seeds: list[str] = []
    remark: str | None = None
    while trigger := next_trigger(
        state, skip_properties=website["skip_properties"], auto_go_live=website["auto_go_live"]
    ):
        guard, lacked = EDGES[trigger].guard, unmet(EDGES[trigger].guard, facts)
        facts = _after_step(trigger, facts, pack, beside, owner_named=website["owner_named"])
        if made := [requirement for requirement in lacked if requirement.met(facts)]:
            source, remark = _source(trigger, website, pack, remark)
            seeds += [f"{requirement.key} from {source}" for requirement in made]
        match judge(EDGES[trigger], facts):
            case Advance(target):
                state = target
            case Wait():
                return Forecast(number, Prospect.WAITS, _lacking(unmet(guard, facts), facts), tuple(seeds), remark)
            case Refuse():
                if isinstance(pack, PackError) and trigger in FROM_PACKS:
                    remark = f"strict pack {pack_name(website)} cannot be used: {pack}"
                return Forecast(
                    number, Prospect.FAILS_AGAIN, _lacking(unmet(guard, facts), facts), tuple(seeds), remark
                )
            case never:
                assert_never(never)
    error = website["provisioning_error"] or ""
    if not error.startswith(GUARDS_SAY):
        unknown = f"no guard tells whether the cause is mended: {fingerprint(error) or 'no error was recorded'}"
        remark = f"{unknown}; {remark}" if remark else unknown
    return Forecast(number, Prospect.ADVANCES, proven.value, tuple(seeds), remark)


def preflight(told: Sequence[Forecast], most: int | None = None) -> dict[str, Any]:
    """Return forecasts as JSON shows them: a sentence, what stands beside it, and the websites, so many at most."""
    return {"summary": summary(told), "remarks": remarks(told), "websites": [item.told() for item in told[:most]]}


def summary(told: Iterable[Forecast]) -> str:
    """Return forecasts as one sentence: how many, and what of them."""
    counted = Counter((item.prospect, item.about) for item in told)
    order = list(Prospect)
    parts = [
        _clause(prospect, about, count)
        for (prospect, about), count in sorted(counted.items(), key=lambda item: (order.index(item[0][0]), -item[1]))
    ]
    return f"{counted.total()} selected" + (f": {', '.join(parts)}" if parts else "")


def remarks(told: Sequence[Forecast]) -> list[str]:
    """Return what stands beside the sentence: what would be seeded first, and what cannot be promised."""
    found = []
    advancing = [item for item in told if item.prospect == Prospect.ADVANCES]
    if seeds := Counter(seed for item in advancing for seed in item.seeds):
        found.append("seeded first: " + ", ".join(f"{seed} ({count})" for seed, count in seeds.most_common()))
    counted = Counter(item.remark for item in told if item.remark)
    return found + [f"{count} of them: {remark}" for remark, count in counted.most_common()]


def _clause(prospect: Prospect, about: str, count: int) -> str:
    match prospect:
        case Prospect.ADVANCES:
            return f"{count} will advance from {about}"
        case Prospect.WAITS:
            return f"{count} {'waits' if count == 1 else 'wait'} for {about}"
        case Prospect.FAILS_AGAIN:
            return f"{count} will fail again: {about}"
        case Prospect.NOT_FAILED:
            return f"{count} {'is' if count == 1 else 'are'} {about}"
        case never:
            assert_never(never)


def _lacking(requirements: Sequence[Requirement], facts: Facts) -> str:
    return ", ".join(requirement.missing(facts) for requirement in requirements)


# ------------------------------------------------------------------------------------------------- what steps insert

FROM_PACKS = frozenset({Trigger.COMPLETE_AGENCY, Trigger.COMPLETE_LINKS, Trigger.COMPLETE_FIELD_KEYS})


def _after_step(trigger: Trigger, facts: Facts, pack: Pack | PackError, beside: Beside, *, owner_named: bool) -> Facts:
    """Return what a website will have once the step before the guard has done its work.

    A pack that says too little gets defaults unless it is strict, and they are enough.
    """
    strict = pack.strict
    brought = Pack(name="") if isinstance(pack, PackError) else pack
    match trigger:
        case Trigger.ASSIGN_OWNER if owner_named:
            return replace(facts, owners=max(facts.owners, 1))
        case Trigger.COMPLETE_AGENCY if brought.agency or not strict:
            return replace(facts, agencies=max(facts.agencies, 1))
        case Trigger.COMPLETE_LINKS:
            least = beside.links if strict else LINKS_NEEDED - len(brought.links)
            return replace(facts, links=max(facts.links, len(brought.links) + max(0, least)))
        case Trigger.COMPLETE_FIELD_KEYS:
            least = beside.field_keys if strict else FIELD_KEYS_NEEDED - len(brought.field_keys)
            return replace(facts, field_keys=max(facts.field_keys, len(brought.field_keys) + max(0, least)))
        case _:
            return facts


def _source(
    trigger: Trigger, website: Mapping[str, Any], pack: Pack | PackError, remark: str | None
) -> tuple[str, str | None]:
    """Return where a step takes its rows from, and what is to be said of that."""
    if trigger not in FROM_PACKS:
        return "its signup", remark
    name = pack_name(website)
    if isinstance(pack, PackError):
        return "defaults", f"defaults are used, since pack {name} cannot be: {pack}"
    return f"pack {name}", remark


async def _read(packs: PackLibrary, name: str) -> Pack | PackError:
    try:
        return await packs.get(name)
    except PackError as error:
        return error


async def _beside(connection: Any, pack: Pack | PackError, ids: Sequence[int]) -> dict[int, Beside]:
    """Count what websites have beside the rows of a strict pack that brings too few."""
    if isinstance(pack, PackError) or not pack.strict:
        return {}
    found: dict[int, Beside] = {}
    if 0 < len(pack.links) < LINKS_NEEDED:
        records = await connection.fetch(SQL["links_beside"], ids, [link.slug for link in pack.links])
        found = {record["website_id"]: Beside(links=record["count"]) for record in records}
    if 0 < len(pack.field_keys) < FIELD_KEYS_NEEDED:
        keys = [entry.global_key for entry in pack.field_keys]
        for record in await connection.fetch(SQL["field_keys_beside"], ids, keys):
            number = record["website_id"]
            found[number] = replace(found.get(number, Beside()), field_keys=record["count"])
    return found
