"""Requeues failed websites in bulk: at a limited rate, or a first batch as a canary and more only if it advances.

Each command carries the seq that was seen, so whoever is requeued twice moves once: a tool that died half-way is simply
run again. Nothing is remembered between two runs; the database says who is still failed.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any

from consumer.broker.protocol import Broker, PublisherSession
from consumer.broker.topology import Topology
from consumer.domain.existing_product_states import our_state
from consumer.store.database import Store
from ops.audit.identity_proof import UNPROVEN, Proof
from ops.audit.trail import AuditTrail
from ops.publishing import publish_all, publishing
from ops.websites import queries
from ops.websites.audit_items import published_items, website_item
from ops.websites.queries import BATCH_SIZE
from ops.websites.verb_execution import commands_for
from ops.websites.verb_registry import REQUEUE
from statemachine import CHAIN, State, Trigger

CANARY_SIZES = (1, 2, 5, 20)
CANARY_FACTOR = 5
"""Each later batch is so many times the one before."""
POLL_SECONDS = 0.2


class RequeueStoppedError(Exception):
    """A canary did not advance; the text says which and why, `results` what had been sent."""

    def __init__(self, why: str, results: list[dict[str, Any]]) -> None:
        super().__init__(why)
        self.results = results


async def requeue_websites(
    store: Store,
    broker: Broker,
    namespace: str,
    ids: Sequence[int],
    *,
    actor: str,
    reason: str | None,
    rate: float | None = None,
    canary_seconds: float | None = None,
    progress: Callable[[str], None] = lambda _: None,
    results: list[dict[str, Any]] | None = None,
    proof: Proof = UNPROVEN,
    selection: Mapping[str, Any] | None = None,
) -> list[dict[str, Any]]:
    """Requeue websites over one connection; return what was sent and what could not be, as `verb_execution.send` does.

    Args:
        store: where they are.
        broker: where the commands go; it is connected to once there is something to send.
        namespace: the prefix of its queues.
        ids: the websites, in order.
        actor: who requeues them.
        reason: why.
        rate: commands a second at most.
        canary_seconds: with it, batches of 1, 2, 5, 20, 100, … go one after the other, each only once every website of
            the batch before has got past the state in which it failed, for which it has so long.
        progress: is called with how far it is, a sentence at a time.
        results: filled as it goes and returned, for whoever stops it half-way.
        proof: how the actor proved who they are.
        selection: the filters by which the websites were found; recorded with the action.

    Raises:
        RequeueStoppedError: a canary failed again, waits, or was not taken up in time; no more were sent.
        BrokerError: what the broker has confirmed by then is sent.
    """
    results = [] if results is None else results
    topology, trail = Topology(namespace), AuditTrail(store, actor, reason, proof)
    session: PublisherSession | None = None
    action = trail.action(REQUEUE, **(selection or {}), rate=rate, canary_seconds=canary_seconds)
    action.about("website", ids)
    async with action, AsyncExitStack() as stack:
        for batch in _batches(ids, rate=rate, canary=canary_seconds is not None):
            began = time.monotonic()
            before = await queries.statuses(store, batch)
            outcomes, commands = commands_for(before, topology, Trigger.RETRY_PROVISIONING, actor=actor, reason=reason)
            numbers = await action.record([website_item(outcome) for outcome in outcomes])
            if commands:
                if session is None:
                    session = await stack.enter_async_context(publishing(broker))
                await publish_all(session, commands)
            await action.settle(published_items(numbers, outcomes))
            results += outcomes
            progress(f"{len(results)} of {len(ids)} requeued")
            if canary_seconds is not None:
                await _wait_until_advanced(store, _sent_of(before, outcomes), canary_seconds, results)
                progress(f"{len(results)} of {len(ids)} have advanced")
            if rate is not None and len(results) < len(ids):
                await asyncio.sleep(max(0.0, began + len(batch) / rate - time.monotonic()))
    return results


def _sent_of(statuses: Sequence[dict[str, Any]], outcomes: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the statuses of the websites whose command was sent."""
    sent = {outcome["website_id"] for outcome in outcomes if outcome["sent"]}
    return [status for status in statuses if status["website_id"] in sent]


def _batches(ids: Sequence[int], *, rate: float | None, canary: bool) -> Iterator[Sequence[int]]:
    """Cut the websites into what is sent at once: no more than a second's worth of the rate."""
    limit = BATCH_SIZE if rate is None else max(1, min(BATCH_SIZE, int(rate)))
    sizes = iter(CANARY_SIZES)
    size, start = (0 if canary else limit), 0
    while start < len(ids):
        if canary:
            size = next(sizes, size * CANARY_FACTOR)
        yield ids[start : start + min(size, limit)]
        start += min(size, limit)


async def _wait_until_advanced(
    store: Store, before: Sequence[dict[str, Any]], seconds: float, results: list[dict[str, Any]]
) -> None:
    """Wait until each website has got past where it failed. Raises RequeueStoppedError where one has not."""
    deadline = time.monotonic() + seconds
    waiting = {status["website_id"]: status for status in before}
    reasons: dict[int, str] = {}
    while waiting:
        for status in await queries.statuses(store, list(waiting)):
            number = status["website_id"]
            earlier = waiting[number]
            reasons[number] = _wait_reason(earlier, status)
            if status["seq"] <= earlier["seq"]:
                continue  # no worker has carried it out yet
            if status["state"] == State.FAILED:
                raise RequeueStoppedError(f"website {number} failed again: {status['error']}", results)
            held = not status["auto_go_live"]
            if has_passed(our_state(status["state"]), our_state(earlier["failed_from"]), held=held):
                del waiting[number]
        if waiting and time.monotonic() > deadline:
            number = next(iter(waiting))
            reason = reasons.get(number, "it is gone")
            raise RequeueStoppedError(f"website {number} has not advanced in {seconds:g} s: {reason}", results)
        if waiting:
            await asyncio.sleep(POLL_SECONDS)


def _wait_reason(earlier: dict[str, Any], status: dict[str, Any]) -> str:
    """Return why a website has not advanced yet, by its status before the requeue and now."""
    if status["seq"] <= earlier["seq"]:
        return "no worker has carried out its command; are workers running? See `provisioner workers`"
    if status["attempts"]:
        return f"attempt {status['attempts']} did not succeed: {status['attempt_error']}"
    return f"it is {status['state']}"


def has_passed(state: State | None, failed_from: State | None, *, held: bool) -> bool:
    """Say whether a website is past the state in which it had failed, or has left the chain without failing.

    `held`: it rests at ready until somebody lets it go live, so that is as far as it gets.
    """
    if state not in CHAIN:
        return state != State.FAILED
    if state == State.READY and held:
        return True
    return CHAIN.index(state) > (CHAIN.index(failed_from) if failed_from in CHAIN else 0)
