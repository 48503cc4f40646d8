"""Carries out verbs for websites: publishes their commands, each with the seq that was seen, or runs them at once."""

from collections.abc import Mapping, Sequence
from typing import Any, assert_never

from consumer.broker.protocol import Broker, Message
from consumer.broker.topology import Topology
from consumer.domain.existing_product_states import NOT_OURS, our_state
from consumer.store.database import Store
from ops.audit.identity_proof import UNPROVEN, Proof
from ops.audit.trail import Action, AuditTrail
from ops.publishing import operator_command, publish_all, publishing
from ops.retention.erasure import BeyondLeaseError, NotAtRestError, erase, refuse
from ops.retention.erasure_target import target_of
from ops.websites import queries
from ops.websites.audit_items import published_items, website_item
from ops.websites.verb_registry import ERASE, Verb, why_left_alone, why_not_erased
from statemachine import Illegal, Passed, Transition, Trigger, plan


async def carry_out(
    store: Store,
    broker: Broker,
    namespace: str,
    verb: Verb,
    ids: Sequence[int],
    *,
    actor: str,
    reason: str | None,
    expected_seqs: Mapping[int, int] | None = None,
    proof: Proof = UNPROVEN,
) -> list[dict[str, Any]]:
    """Carry out a verb for websites by id, or publish its command; return a result each.

    `expected_seqs` has the seq at which somebody looked, by id: a website that has moved since is left alone. `proof`:
    how the actor proved who they are.

    Raises:
        BrokerError: as for `send`.
    """
    if verb.trigger is None:
        assert verb.run is not None, verb.name
        return await verb.run(
            store, broker, namespace, ids, actor=actor, reason=reason, expected_seqs=expected_seqs, proof=proof
        )
    async with AuditTrail(store, actor, reason, proof).action(verb.name) as action:
        action.about("website", ids)
        return await send(
            store, broker, namespace, verb.trigger, ids,
            actor=actor, reason=reason, expected_seqs=expected_seqs, action=action,
        )  # fmt: skip


async def send(
    store: Store,
    broker: Broker,
    namespace: str,
    trigger: Trigger,
    ids: Sequence[int],
    *,
    actor: str,
    reason: str | None,
    expected_seqs: Mapping[int, int] | None = None,
    action: Action | None = None,
) -> list[dict[str, Any]]:
    """Publish `trigger` for websites by id; return what was sent and what could not be.

    `expected_seqs` has the seq at which somebody looked, by id: a website that has moved since is left alone. `action`
    records each website.

    Raises:
        BrokerError: nothing more was sent than what the answer would have named.
    """
    statuses = await queries.statuses(store, ids)
    results, messages = commands_for(
        statuses, Topology(namespace), trigger, actor=actor, reason=reason, expected_seqs=expected_seqs
    )
    numbers = await action.record([website_item(result) for result in results]) if action and results else []
    if messages:
        async with publishing(broker) as session:
            await publish_all(session, messages)
    if action and results:
        await action.settle(published_items(numbers, results))
    return results


def commands_for(
    statuses: Sequence[Mapping[str, Any]],
    topology: Topology,
    trigger: Trigger,
    *,
    actor: str,
    reason: str | None,
    expected_seqs: Mapping[int, int] | None = None,
) -> tuple[list[dict[str, Any]], list[Message]]:
    """Return, for websites by their status, what is sent and what could not be; and the commands to publish. Pure."""
    results: list[dict[str, Any]] = []
    messages = []
    for status in statuses:
        state = our_state(status["state"])
        planned = plan(state, trigger) if state else Illegal(NOT_OURS)
        moved = why_left_alone(status, expected_seqs)
        taken = isinstance(planned, Transition) and not moved
        results.append(
            {
                "website_id": status["website_id"],
                "subdomain": status["subdomain"],
                "state_before": status["state"],
                "sent": taken,
                "why": moved or _why(planned),
                "message_id": None,
            }
        )
        if taken:
            messages.append(
                operator_command(topology, trigger, status["website_id"], status["seq"], actor=actor, reason=reason)
            )
            results[-1]["message_id"] = messages[-1].message_id
    return results, messages


def _why(planned: Transition | Passed | Illegal) -> str | None:
    """Say why nothing is sent."""
    match planned:
        case Transition():
            return None
        case Passed(why):
            return f"nothing to do: {why}"
        case Illegal(why):
            return why
        case never:
            assert_never(never)


async def erase_websites(
    store: Store,
    broker: Broker,
    namespace: str,
    ids: Sequence[int],
    *,
    actor: str,
    reason: str | None,
    expected_seqs: Mapping[int, int] | None = None,
    proof: Proof = UNPROVEN,
) -> list[dict[str, Any]]:
    """Erase the data of websites' owners, as a verb is carried out; return a result each, as `send` does.

    Each website is an action of its own, done or not.

    Raises:
        InvalidInputError, LeaseHeldError, BrokerError: as for `erase`.
    """
    results = []
    for status in await queries.statuses(store, ids):
        website_id = status["website_id"]
        if why := why_left_alone(status, expected_seqs) or why_not_erased(status):
            async with AuditTrail(store, actor, reason, proof).action(ERASE) as action:
                action.about("website", [website_id])
                await refuse(action, website_id, why)
        else:
            try:
                target = await target_of(store, [website_id])
                await erase(store, broker, namespace, target, actor=actor, reason=reason, proof=proof)
            except (NotAtRestError, BeyondLeaseError) as error:
                why = str(error)
        results.append(
            {
                "website_id": website_id,
                "subdomain": status["subdomain"],
                "state_before": status["state"],
                "sent": why is None,
                "why": why,
                "message_id": None,
            }
        )
    return results
