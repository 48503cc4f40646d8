"""Sends a command of ops to websites, each with the seq that was seen; says which could not take it."""

from collections.abc import Mapping, Sequence
from typing import Any, assert_never

from consumer.broker import Broker
from consumer.store import Store
from consumer.topology import Topology
from ops import reading
from ops.sending import command, publish_all, publishing
from statemachine import Illegal, Stale, State, Transition, Trigger, plan

EVERY_LIMIT = 100_000


async def send(
    store: Store,
    broker: Broker,
    namespace: str,
    trigger: Trigger,
    *,
    ids: Sequence[int] | None,
    every: State | None,
    actor: str,
    reason: str | None,
    seen: Mapping[int, int] | None = None,
) -> list[dict[str, Any]]:
    """Publish `trigger` for websites by id, or for all in a state; return what was sent and what could not be.

    `seen` has the seq at which somebody looked, by id: a website that has moved since is left alone.

    Raises:
        BrokerError: nothing more was sent than what the answer would have named.
    """
    if ids is None:
        statuses = await reading.listed(store, every, EVERY_LIMIT)
    else:
        statuses = await reading.statuses(store, ids)
    topology = Topology(namespace)
    results: list[dict[str, Any]] = []
    messages = []
    for status in statuses:
        state = reading.our_state(status["state"])
        planned = plan(state, trigger) if state else Illegal(reading.NOT_OURS)
        moved = seen is not None and seen.get(status["website_id"], status["seq"]) != status["seq"]
        taken = isinstance(planned, Transition) and not moved
        results.append(
            {
                "website_id": status["website_id"],
                "subdomain": status["subdomain"],
                "state_before": status["state"],
                "sent": taken,
                "why": f"it has moved since you looked, and is {status['state']}" if moved else _why(planned),
                "message_id": None,
            }
        )
        if taken:
            messages.append(command(topology, trigger, status["website_id"], status["seq"], actor=actor, reason=reason))
            results[-1]["message_id"] = messages[-1].message_id
    if messages:
        async with publishing(broker) as session:
            await publish_all(session, messages)
    return results


def _why(planned: Transition | Stale | Illegal) -> str | None:
    """Say why nothing is sent."""
    match planned:
        case Transition():
            return None
        case Stale(why):
            return f"nothing to do: {why}"
        case Illegal(why):
            return why
        case never:
            assert_never(never)
