"""Judges a planned command by what its website has: what is to be written, a transition or a counted attempt. Pure but
for the jitter of a backoff."""

import random
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, assert_never

from consumer.domain.outcomes import Advanced, AlreadyDone, Outcome, Reason, Rejected
from consumer.domain.records import Attempt, FailureCause, Move
from consumer.messages.outbound import first_traceparent, live_url
from consumer.provisioning.planning import Planned
from seeders.seeding import Fallback
from statemachine import (
    CHAIN,
    Advance,
    Facts,
    Refuse,
    State,
    Trigger,
    Wait,
    judge,
    missing_items,
    next_trigger,
    progress,
    status_message,
    unproven_step,
)

OwnersById = Literal["any", "without_website"]
"""Which users a signup may name as an owner by id: anyone, or only those who belong to no other website."""


@dataclass(frozen=True, slots=True)
class Policy:
    """The numbers of retries and rescues, the domain of live websites, and whom a signup may name as its owner."""

    retry_budget: int = 8
    retry_base_seconds: float = 1
    retry_cap_seconds: float = 300
    stall_seconds: float = 120
    base_domain: str = "propertywebbuilder.com"
    owner_by_id: OwnersById = "any"


class Judgement:
    """Judges planned commands, by a policy."""

    def __init__(self, policy: Policy, uniform: Callable[[float, float], float] = random.uniform) -> None:
        """Take the numbers; `uniform` draws the jitter of a backoff, in seconds."""
        self._policy = policy
        self._uniform = uniform

    def judge_earlier(self, item: Planned, facts: Facts) -> Move | Attempt | Rejected | None:
        """Judge the guards of the states before the website's own; None where all hold, and its step may be taken."""
        step = unproven_step(facts, item.website.state)
        return self.judge(replace(item, transition=step), facts, None) if step else None

    def judge(self, item: Planned, facts: Facts, fallback: Fallback | None) -> Move | Attempt | Rejected:
        """Judge what a website has after its step: compose what is to be written, or say why nothing is."""
        website = item.website
        match judge(item.transition, facts, failed_from=website.failed_from):
            case Advance(target):
                return self.move(item, target, facts, fallback)
            case Refuse(error) | Wait(error) if website.state not in CHAIN:
                # Nothing can fail from where it is: a suspended website stays suspended, and ops read why.
                return Rejected(Reason.GUARD_FAILED, error)
            case Refuse(error):
                return self.move(item, State.FAILED, facts, fallback, error=error, cause=FailureCause.GUARD)
            case Wait(error):
                return self.attempt_or_failure(item, error, FailureCause.GUARD, facts, fallback)
            case never:
                assert_never(never)

    def attempt_or_failure(
        self,
        item: Planned,
        error: str,
        cause: FailureCause,
        facts: Facts,
        fallback: Fallback | None,
        *,
        final: bool = False,
    ) -> Move | Attempt:
        """Compose a counted attempt, or a failure where the budget is spent or another attempt is of no use."""
        website, policy = item.website, self._policy
        attempts = website.attempts + 1
        if final or attempts >= policy.retry_budget:
            return self.move(item, State.FAILED, facts, fallback, error=error, cause=cause)
        longest = min(policy.retry_cap_seconds, policy.retry_base_seconds * 2 ** (attempts - 1))
        return Attempt(
            website_id=website.id,
            attempts=attempts,
            error=error,
            # Full jitter: websites that failed together do not return together.
            backoff_seconds=self._uniform(0, longest),
            asked_live=item.transition.trigger == Trigger.GO_LIVE,
            cause=cause,
            published_seq=item.published_seq,
        )

    def move(
        self,
        item: Planned,
        target: State,
        facts: Facts,
        fallback: Fallback | None,
        *,
        error: str | None = None,
        cause: FailureCause | None = None,
    ) -> Move:
        """Compose a transition: its log row holds all that its event and its next command need."""
        website, command, trigger = item.website, item.command, item.transition.trigger
        recorded, failed_from = trigger, None
        if target == State.FAILED:
            recorded, failed_from = Trigger.FAIL_PROVISIONING, website.state
            if trigger == Trigger.FAIL_PROVISIONING:
                error = command.reason or f"Failed by {command.actor or 'an operator'}"
        skipped = (
            trigger == Trigger.SKIP_PROPERTIES
            or (trigger == Trigger.RETRY_PROVISIONING and website.skip_properties)
            or not facts.properties
        )
        detail: dict[str, Any] = {
            "subdomain": website.subdomain,
            "progress": progress(target, facts, failed_from),
            "message": status_message(target, error=error, skipped=skipped),
            "error": error,
            "missing": missing_items(facts),
            "next": next_trigger(
                target,
                skip_properties=website.skip_properties,
                auto_go_live=website.auto_go_live or trigger == Trigger.GO_LIVE,
            ),
            "traceparent": command.traceparent or first_traceparent(command.message_id),
        }
        if recorded != trigger:
            detail["step"] = trigger
        if target == State.LIVE:
            detail["url"] = live_url(website.subdomain, self._policy.base_domain)
        if fallback:
            detail["fallback"] = asdict(fallback)
        return Move(
            website_id=website.id,
            seq=website.seq + 1,
            trigger=recorded,
            from_state=website.state,
            to_state=target,
            message_id=command.message_id,
            actor=command.actor,
            reason=command.reason,
            detail=detail,
            error=error,
            published_seq=item.published_seq,
            asked_live=trigger == Trigger.GO_LIVE,
            cause=cause,
        )


def seeded_properties(outcome: Outcome) -> bool:
    """Say whether sample properties are committed by a step, or were by an earlier try at it whose answer was lost."""
    if not isinstance(outcome, Advanced | AlreadyDone) or outcome.row is None:
        return False
    row = outcome.row
    return row.trigger == Trigger.SEED_PROPERTIES and row.detail.get("message") == status_message(State(row.to_state))
