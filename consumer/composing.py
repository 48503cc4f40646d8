"""What is written of a judged command: a transition, a counted attempt, or a failure. Pure but for the jitter."""

import random
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from consumer.messages import Command
from consumer.planning import Planned
from consumer.store import Attempt, Move
from seeders import Fallback
from statemachine import Facts, State, Trigger, missing_items, next_trigger, progress, status_message


@dataclass(frozen=True, slots=True)
class Policy:
    """The numbers of A2: how often, how long, and where a live website is found."""

    retry_budget: int = 8
    retry_base_seconds: float = 1
    retry_cap_seconds: float = 300
    stall_seconds: float = 120
    base_domain: str = "propertywebbuilder.com"


class Composer:
    """Composes what is written, by a policy."""

    def __init__(self, policy: Policy, uniform: Callable[[float, float], float] = random.uniform) -> None:
        """Take the numbers; `uniform` draws the jitter of a backoff, in seconds."""
        self._policy = policy
        self._uniform = uniform

    def attempt_or_failure(
        self, item: Planned, error: str, facts: Facts, fallback: Fallback | None, *, final: bool = False
    ) -> Move | Attempt:
        """Count a try, or fail the website where the budget is spent or another try is of no use."""
        website, policy = item.website, self._policy
        attempts = website.attempts + 1
        if final or attempts >= policy.retry_budget:
            return self.failure(item, error, facts, fallback)
        longest = min(policy.retry_cap_seconds, policy.retry_base_seconds * 2 ** (attempts - 1))
        return Attempt(
            website.id,
            attempts,
            error,
            self._uniform(0, longest),  # full jitter: websites that failed together do not return together
            asked_live=item.transition.trigger == Trigger.GO_LIVE,
        )

    def failure(self, item: Planned, error: str, facts: Facts, fallback: Fallback | None) -> Move:
        """Compose the transition to failed, with its reason."""
        return self.move(item, State.FAILED, facts, fallback, error=error)

    def move(
        self, item: Planned, target: State, facts: Facts, fallback: Fallback | None, error: str | None = None
    ) -> Move:
        """Compose a transition: its log row says all that its event and its next command need."""
        website, command, trigger = item.website, item.command, item.transition.trigger
        recorded, failed_from = trigger, None
        if target == State.FAILED:
            recorded, failed_from = Trigger.FAIL_PROVISIONING, website.state
            if trigger == Trigger.FAIL_PROVISIONING:
                error = command.reason or f"Failed by {command.actor or 'an operator'}"
        skipped = trigger == Trigger.SKIP_PROPERTIES or (
            trigger == Trigger.RETRY_PROVISIONING and website.skip_properties
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
            "traceparent": command.traceparent or _traceparent(command),
        }
        if recorded != trigger:
            detail["step"] = trigger
        if target == State.LIVE:
            detail["url"] = f"https://{website.subdomain}.{self._policy.base_domain}"
        if fallback:
            detail["fallback"] = asdict(fallback)
        return Move(
            website.id,
            website.seq + 1,
            recorded,
            website.state,
            target,
            command.message_id,
            command.actor,
            command.reason,
            detail,
            error,
            item.proven,
            asked_live=trigger == Trigger.GO_LIVE,
        )


def _traceparent(command: Command) -> str:
    """Start a trace where the sender has none: it follows from the message, so that a redelivery continues it."""
    return f"00-{command.message_id.hex}-{command.message_id.hex[16:]}-01"
