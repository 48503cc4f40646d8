"""Starts websites that nothing is under way for: publishes `website.created` for each, in batches, confirmed.

The workers prove the guards of the states before and take the step that is due (docs/decisions/0029). The message is no
transition, and what comes of it may be none: so who started what and why stands in the audit trail, under the
message's id, which the log row of the step has too. Running it again does no harm: what is under way is not sent.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

from consumer.broker.protocol import Broker, Message, PublisherSession
from consumer.broker.topology import Topology
from consumer.store.database import Store
from ops.audit.identity_proof import UNPROVEN, Proof
from ops.audit.trail import AuditTrail
from ops.publishing import publish_all, publishing, website_created
from ops.websites import queries
from ops.websites.audit_items import published_items, website_item
from ops.websites.queries import BATCH_SIZE, MAX_SELECTED
from ops.websites.requeue_forecast import OtherRows, RequeueProspect, forecasts_of, next_of, walk
from ops.websites.verb_registry import START, why_left_alone, why_not_started
from seeders.loading.pack_library import PackLibrary
from seeders.pack import Pack
from seeders.pack_problems import PackError
from seeders.sql_loader import read_statements
from statemachine import BY_TRIGGER, CHAIN, Facts, Refuse, State, Wait, judge, unproven_step

SQL = read_statements("ops.websites.sql")


async def asleep_website_ids(store: Store, limit: int = MAX_SELECTED) -> list[int]:
    """Return the ids of websites that are asleep, in order, `limit` at most."""
    states = [state.value for state in CHAIN[:-1]]
    async with store.connection() as connection:
        return [record["id"] for record in await connection.fetch(SQL["asleep"], states, min(limit, MAX_SELECTED))]


async def start_websites(
    store: Store,
    broker: Broker,
    namespace: str,
    ids: Sequence[int],
    *,
    actor: str,
    reason: str | None,
    expected_seqs: Mapping[int, int] | None = None,
    proof: Proof = UNPROVEN,
    progress: Callable[[str], None] = lambda _: None,
) -> list[dict[str, Any]]:
    """Start websites over one connection; return what was sent and what could not be, as `verb_execution.send` does.

    Raises:
        BrokerError: what the broker has confirmed by then is sent; the audit trail has what it may have.
    """
    results: list[dict[str, Any]] = []
    topology, trail = Topology(namespace), AuditTrail(store, actor, reason, proof)
    session: PublisherSession | None = None
    async with trail.action(START) as action, AsyncExitStack() as stack:
        action.about("website", ids)
        for begin in range(0, len(ids), BATCH_SIZE):
            statuses = await queries.statuses(store, ids[begin : begin + BATCH_SIZE])
            outcomes, messages = starts_for(statuses, topology, expected_seqs=expected_seqs)
            numbers = await action.record([website_item(outcome, step=outcome["step"]) for outcome in outcomes])
            if messages:
                if session is None:
                    session = await stack.enter_async_context(publishing(broker))
                await publish_all(session, messages)
            await action.settle(published_items(numbers, outcomes))
            results += outcomes
            progress(f"{len(results)} of {len(ids)} started")
    return results


def starts_for(
    statuses: Sequence[Mapping[str, Any]], topology: Topology, *, expected_seqs: Mapping[int, int] | None = None
) -> tuple[list[dict[str, Any]], list[Message]]:
    """Return, for websites by their status, what is sent and what could not be; and the messages to publish. Pure but
    for the ids of the messages."""
    results: list[dict[str, Any]] = []
    messages = []
    for status in statuses:
        website_id = status["website_id"]
        why = why_left_alone(status, expected_seqs) or why_not_started(status)
        results.append(
            {
                "website_id": website_id,
                "subdomain": status["subdomain"],
                "state_before": status["state"],
                "step": None if why else status["next_step"],
                "sent": why is None,
                "why": why,
                "message_id": None,
            }
        )
        if why is None:
            messages.append(website_created(topology, {"website_id": website_id}))
            results[-1]["message_id"] = messages[-1].message_id
    return results, messages


@dataclass(frozen=True, slots=True)
class StartForecast:
    """What is to be expected of one website that is started: whether it gets to where it rests, a sentence that follows
    "would", and the rest as of a requeue."""

    website_id: int
    works: bool
    would: str
    seeds: tuple[str, ...] = ()
    remark: str | None = None


async def forecast_start(store: Store, packs: PackLibrary, ids: Sequence[int]) -> list[StartForecast]:
    """Return what a start of these websites would come to, each of which has a step before it."""
    return await forecasts_of(store, packs, ids, forecast_started)


def forecast_started(
    website: Mapping[str, Any], facts: Facts, pack: Pack | PackError, other_rows: OtherRows | None = None
) -> StartForecast:
    """Return what a start of one website would come to; the arguments as of `forecast_website`. Pure."""
    number, state = website["id"], State(website["provisioning_state"])
    step = next_of(website, state)
    # A cumulative guard contains those of the states before.
    proven = website["proven"] or (step is not None and BY_TRIGGER[step].cumulative)
    unproven = None if proven else unproven_step(facts, state)
    match judge(unproven, facts) if unproven else None:
        case Refuse(error):
            return StartForecast(number, works=False, would=f"fail from {state}: {error}")
        case Wait(error):
            return StartForecast(number, works=False, would=f"be tried again for a while, then fail: {error}")
    walked = walk(website, state, facts, pack, other_rows)
    takes = f"take {step} from {state}, and go on to {walked.reached}"
    if walked.prospect == RequeueProspect.ADVANCES:
        return StartForecast(number, works=True, would=takes, seeds=walked.seeds, remark=walked.remark)
    end = f"fail from {walked.reached}: missing: {walked.missing}"
    if walked.prospect == RequeueProspect.WAITS:
        end = f"wait at {walked.reached} for {walked.missing}, and fail where it does not come"
    would = end if walked.reached == state else f"{takes}; then {end}"
    return StartForecast(number, works=False, would=would, seeds=walked.seeds, remark=walked.remark)


async def plan_start(store: Store, packs: PackLibrary, ids: Sequence[int]) -> list[dict[str, Any]]:
    """Return what a start of these websites would do to each, and send nothing.

    Each that can be started has its `step`, `would` (a sentence), and whether it `works`: nothing known stands in its
    way. Each other has `why` not.
    """
    found = []
    for begin in range(0, len(ids), BATCH_SIZE):
        statuses = await queries.statuses(store, ids[begin : begin + BATCH_SIZE])
        reasons = {status["website_id"]: why_not_started(status) for status in statuses}
        forecasts = await forecast_start(store, packs, [number for number, why in reasons.items() if why is None])
        would = {forecast.website_id: forecast for forecast in forecasts}
        for status in statuses:
            number = status["website_id"]
            forecast = would.get(number)
            found.append(
                {
                    "website_id": number,
                    "subdomain": status["subdomain"],
                    "state": status["state"],
                    "step": status["next_step"] if forecast else None,
                    "works": forecast is not None and forecast.works,
                    "would": forecast.would if forecast else None,
                    "seeds": list(forecast.seeds) if forecast else [],
                    "remark": forecast.remark if forecast else None,
                    "why": reasons[number],
                }
            )
    return found
