"""Sends failed websites round again, in bulk and safely: at a rate, or first a few and more only if they advance.

Each command carries the seq that was seen, so whoever is requeued twice moves once: a tool that died half-way is simply
run again. Nothing is remembered between two runs; the database says who is still failed.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from consumer.broker import Broker
from consumer.store import Store
from ops import moving, reading
from statemachine import CHAIN, State, Trigger

CANARY = (1, 2, 5, 20)
CANARY_FACTOR = 5
"""Each later batch is so many times the one before."""
CHUNK = 500
POLL_SECONDS = 0.2


class Stopped(Exception):  # noqa: N818 - it is an answer, with what was done until then
    """A canary did not come through; the text says which and why, `results` what had been sent."""

    def __init__(self, why: str, results: list[dict[str, Any]]) -> None:
        super().__init__(why)
        self.results = results


async def requeue(
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
) -> list[dict[str, Any]]:
    """Requeue websites; return what was sent and what could not be, as `moving.send` does.

    Args:
        store: where they are.
        broker: where the commands go.
        namespace: whose it is.
        ids: the websites, in order.
        actor: who asks.
        reason: why.
        rate: commands a second at most.
        canary_seconds: with it, batches of 1, 2, 5, 20, 100, … go one after the other, each only once every website of
            the batch before has got past the state in which it failed, for which it has so long.
        progress: hears how far it is, a sentence at a time.
        results: filled as it goes and returned, for whoever stops it half-way.

    Raises:
        Stopped: a canary failed again, waits, or was not heard of in time; no more were sent.
        BrokerError: what the broker has confirmed by then is sent.
    """
    results = [] if results is None else results
    for batch in _batches(ids, rate=rate, canary=canary_seconds is not None):
        began = time.monotonic()
        before = await reading.statuses(store, batch)
        sent = await moving.send(
            store, broker, namespace, Trigger.RETRY_PROVISIONING,
            ids=batch, every=None, actor=actor, reason=reason, seen={one["website_id"]: one["seq"] for one in before},
        )  # fmt: skip
        results += sent
        progress(f"{len(results)} of {len(ids)} requeued")
        if canary_seconds is not None:
            gone = {item["website_id"] for item in sent if item["sent"]}
            await _all_advanced(store, [one for one in before if one["website_id"] in gone], canary_seconds, results)
            progress(f"{len(results)} of {len(ids)} have advanced")
        if rate is not None and len(results) < len(ids):
            await asyncio.sleep(max(0.0, began + len(batch) / rate - time.monotonic()))
    return results


def _batches(ids: Sequence[int], *, rate: float | None, canary: bool) -> Iterator[Sequence[int]]:
    """Cut the websites into what is sent at once: no more than a second's worth of the rate."""
    most = CHUNK if rate is None else max(1, min(CHUNK, int(rate)))
    sizes = iter(CANARY)
    size, start = (0 if canary else most), 0
    while start < len(ids):
        if canary:
            size = next(sizes, size * CANARY_FACTOR)
        yield ids[start : start + min(size, most)]
        start += min(size, most)


async def _all_advanced(
    store: Store, before: Sequence[dict[str, Any]], seconds: float, results: list[dict[str, Any]]
) -> None:
    """Wait until each website has got past where it failed. Raises Stopped where one has not."""
    deadline = time.monotonic() + seconds
    left = {one["website_id"]: one for one in before}
    waits: dict[int, str] = {}
    while left:
        for now in await reading.statuses(store, list(left)):
            was = left[now["website_id"]]
            waits[now["website_id"]] = _why_not_yet(was, now)
            if now["seq"] <= was["seq"]:
                continue  # nobody has carried it out yet
            if now["state"] == State.FAILED:
                raise Stopped(f"website {now['website_id']} failed again: {now['error']}", results)
            failed_from = reading.our_state(was["failed_from"])
            if has_passed(reading.our_state(now["state"]), failed_from, held=not now["auto_go_live"]):
                del left[now["website_id"]]
        if left and time.monotonic() > deadline:
            number = next(iter(left))
            raise Stopped(
                f"website {number} has not advanced in {seconds:g} s: {waits.get(number, 'it is gone')}", results
            )
        if left:
            await asyncio.sleep(POLL_SECONDS)


def _why_not_yet(was: dict[str, Any], now: dict[str, Any]) -> str:
    """Say of a website that has not advanced yet what it waits for."""
    if now["seq"] <= was["seq"]:
        return "nobody has carried out its command; are workers running? See `provisioner workers`"
    if now["attempts"]:
        return f"attempt {now['attempts']} did not succeed: {now['attempt_error']}"
    return f"it is {now['state']}"


def has_passed(state: State | None, failed_from: State | None, *, held: bool) -> bool:
    """Say whether a website is past the state in which it had failed; one that left the chain is nobody's worry.

    `held`: it rests at ready until somebody lets it go live, so that is as far as it gets.
    """
    if state not in CHAIN:
        return state != State.FAILED
    if state == State.READY and held:
        return True
    return CHAIN.index(state) > (CHAIN.index(failed_from) if failed_from in CHAIN else 0)
