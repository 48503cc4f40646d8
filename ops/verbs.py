"""What people may ask of a website, by the words of command line and console, and what each would do. Pure."""

from typing import Any, assert_never

from statemachine import CHAIN, Advance, Facts, Illegal, Refuse, Stale, State, Transition, Trigger, Wait, judge, plan

REQUEUE = "requeue"
VERBS = {
    REQUEUE: Trigger.RETRY_PROVISIONING,
    "go-live": Trigger.GO_LIVE,
    "suspend": Trigger.SUSPEND,
    "reactivate": Trigger.REACTIVATE,
    "terminate": Trigger.TERMINATE,
}


def may(state: State, facts: Facts, failed_from: State | None = None) -> list[dict[str, Any]]:
    """Return what people may ask of a website now, and what each would do. Pure: plan and judge, nothing else.

    `works`: whether it would take the website where the verb is meant to.
    """
    found = []
    for verb, trigger in VERBS.items():
        match plan(state, trigger):
            case Transition() as transition:
                match judge(transition, facts, failed_from=failed_from):
                    case Advance(target):
                        found.append({"verb": verb, "works": True, "would": _effect(trigger, target)})
                    case Refuse(error) | Wait(error) if state not in CHAIN:
                        found.append({"verb": verb, "works": False, "would": f"be refused: {error}"})
                    case Refuse(error):
                        found.append({"verb": verb, "works": False, "would": f"fail: {error}"})
                    case Wait(error):
                        would = f"be tried again for a while, then fail: {error}"
                        found.append({"verb": verb, "works": False, "would": would})
                    case never:
                        assert_never(never)
            case Stale() | Illegal():
                pass
            case no_answer:
                assert_never(no_answer)
    return found


def _effect(trigger: Trigger, target: State) -> str:
    match trigger:
        case Trigger.RETRY_PROVISIONING:
            return f"go on from {target}, as far as it had proven to be"
        case Trigger.GO_LIVE | Trigger.REACTIVATE:
            return "be live"
        case Trigger.SUSPEND:
            return "go offline, until it is reactivated"
        case _:
            return "end for good; nothing brings it back"
