"""What people may do to one website, and the one way in which the console does it: by publishing a command."""

from typing import Any

from consumer.broker import Broker
from consumer.store import Store
from ops import moving
from ops.reading import Unusable, our_state
from ops.verbs import VERBS
from statemachine import Transition, plan

LONGEST_REASON = 500
EFFECTS = {
    "requeue": "Sends it round again, from its proven state.",
    "go-live": "Lets it go live; its guards must hold.",
    "suspend": "Takes it offline.",
    "reactivate": "Brings it back; its guards must hold.",
    "terminate": "Ends it for good. There is no way back.",
}


def open_to(status: dict[str, Any]) -> list[str]:
    """Return the verbs that a website takes where it is now. One that goes live by itself needs no push."""
    state = our_state(status["state"])
    verbs = [v for v, trigger in VERBS.items() if state and isinstance(plan(state, trigger), Transition)]
    return [verb for verb in verbs if verb != "go-live" or not status["auto_go_live"]]


async def act(
    store: Store, broker: Broker, namespace: str, website_id: int, verb: str, *, seq: int, reason: str, actor: str
) -> dict[str, Any]:
    """Publish a verb's command for a website that was seen at `seq`; return what was sent, or why not.

    Raises:
        Unusable: no reason, or too long a one.
        BrokerError: it was not sent.
    """
    if not 1 <= len(reason) <= LONGEST_REASON:
        raise Unusable(f"reason: say why, in 1 to {LONGEST_REASON} characters")
    (result,) = await moving.send(
        store, broker, namespace, VERBS[verb],
        ids=[website_id], every=None, actor=actor, reason=reason, seen={website_id: seq},
    )  # fmt: skip
    return result
