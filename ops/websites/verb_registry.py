"""The registry of verbs: what people may do to a website, as command, API route, button and forecast.

A verb is one entry of `VERBS`. One with a `trigger` asks for a transition: a command is published, and the workers
carry it out. One with a `run` is no transition: that function carries it out.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, assert_never

from consumer.domain.existing_product_states import our_state
from statemachine import CHAIN, Advance, Facts, Illegal, Passed, Refuse, State, Transition, Trigger, Wait, judge, plan


@dataclass(frozen=True, slots=True)
class Verb:
    """What people may do to a website.

    Args:
        name: as the command line, the API's path and the page call it.
        help: the first line of the command's help.
        effect: what it does, beside the page's button and in the API.
        outcome: what `explain` says that it would do, after "would", with the state that it leads to as `{target}`; of
            an empty one it says nothing.
        trigger: the transition that it asks for; None for what is no transition.
        run: carries out what is no transition: called as `verb_execution.carry_out` is, less the verb, it returns a
            result for each website, as `verb_execution.send` does.
        publishes: what `run` does is to publish, and the workers carry it out.
        declines: says by its status why a website does not take what is no transition; None where it does.
        destroys: nothing undoes it, so the command line asks, and the page wants the website's id typed.
        held_only: offered only for websites that are held; the others get there by themselves.
    """

    name: str
    help: str
    effect: str
    outcome: str = ""
    trigger: Trigger | None = None
    run: Callable[..., Awaitable[list[dict[str, Any]]]] | None = None
    publishes: bool = False
    declines: Callable[[Mapping[str, Any]], str | None] | None = None
    destroys: bool = False
    held_only: bool = False

    def is_open_to(self, status: Mapping[str, Any]) -> bool:
        """Return whether a website takes the verb where it is now, by its status as `queries.statuses` returns it."""
        if self.trigger is None:
            return self.declines is None or self.declines(status) is None
        state = our_state(status["state"])
        planned = state is not None and isinstance(plan(state, self.trigger), Transition)
        return planned and not (self.held_only and status["auto_go_live"])


DONE_FOR = {State.LIVE: "it is live: nothing is left to do", State.TERMINATED: "it is terminated for good"}


def why_left_alone(status: Mapping[str, Any], expected_seqs: Mapping[int, int] | None) -> str | None:
    """Say why a website is left alone: it has moved since its seq in `expected_seqs` was seen. None: it has not."""
    if expected_seqs is None or expected_seqs.get(status["website_id"], status["seq"]) == status["seq"]:
        return None
    return f"it has moved since you looked, and is {status['state']}"


def why_not_started(status: Mapping[str, Any]) -> str | None:
    """Return why a website is not started, and what to do instead; None where it can be, by its status."""
    state, website_id = our_state(status["state"]), status["website_id"]
    match state:
        case None:
            return f"it is {status['state']}, a state of the existing product's own; the product takes it on from there"
        case State.FAILED:
            return f"it is failed: `provisioner requeue {website_id}` sends it round again"
        case State.SUSPENDED:
            return f"it is suspended: `provisioner reactivate {website_id}` brings it back"
        case State.LIVE | State.TERMINATED:
            return DONE_FOR[state]
    if status.get("erased_at"):
        return "its owner's data was erased, so that nothing is signed up for it any more"
    if status["next_step"] is None:
        return f"it is held at {state}: `provisioner go-live {website_id}` lets it go live"
    if not status["under_way"]:
        return None
    if status["attempts"]:
        return f"it is under way: attempt {status['attempts'] + 1} is due at {status['next_attempt_at']}"
    return (
        f"it is under way: {state}, at seq {status['seq']}; `provisioner explain {website_id}` says what it waits for"
    )


def asleep_text(status: Mapping[str, Any]) -> str:
    """Return what is true of a website that is asleep, and what starts it."""
    start = f"`provisioner start {status['website_id']}`"
    return f"asleep: nothing is under way for it, and nothing sends {status['next_step']}; {start} does"


def why_not_erased(status: Mapping[str, Any]) -> str | None:
    """Return why the data of a website's owner is not erased, and what to do first; None where it can be."""
    state, website_id = our_state(status["state"]), status["website_id"]
    if state is None or status["next_step"] is None or not status.get("ours", True):
        return None
    if status["under_way"]:
        explain = f"`provisioner explain {website_id}` says what it waits for"
        return f"it is under way, and {state}: wait until it rests; {explain}"
    return f"it has a step before it, which needs its owner: `provisioner start {website_id}`, and erase it at rest"


async def _erase(*arguments: Any, **options: Any) -> list[dict[str, Any]]:
    from ops.websites.verb_execution import erase_websites

    return await erase_websites(*arguments, **options)


async def _start(*arguments: Any, **options: Any) -> list[dict[str, Any]]:
    from ops.websites.start_asleep import start_websites

    return await start_websites(*arguments, **options)


REQUEUE, START, ERASE = "requeue", "start", "erase"
WITH_OWN_COMMAND = (REQUEUE, START, ERASE)
"""Verbs whose commands are written by hand (ops/cli/commands/), since they take more than websites: filters, rates,
canaries, dry runs."""
VERBS = (
    Verb(
        REQUEUE, help="Send failed websites round again, by ID or SUBDOMAIN, or all with --failed.",
        effect="Sends it round again, from its proven state.",
        outcome="go on from {target}, as far as it had proven to be", trigger=Trigger.RETRY_PROVISIONING,
    ),
    Verb(
        START, help="Start websites that nothing is under way for, by ID or SUBDOMAIN, or all with --asleep.",
        effect="Takes the step that it has before it; then it goes on by itself.",
        outcome="take the step that it has before it, and go on from there",
        run=_start, publishes=True, declines=why_not_started,
    ),
    Verb(
        "go-live", help="Let websites that are held at ready go live.",
        effect="Lets it go live; its guards must hold.",
        outcome="be live", trigger=Trigger.GO_LIVE, held_only=True,
    ),
    Verb(
        "suspend", help="Take ready or live websites offline.",
        effect="Takes it offline.",
        outcome="go offline, until it is reactivated", trigger=Trigger.SUSPEND,
    ),
    Verb(
        "reactivate", help="Bring suspended websites back; their guards must hold.",
        effect="Brings it back; its guards must hold.",
        outcome="be live", trigger=Trigger.REACTIVATE,
    ),
    Verb(
        "terminate", help="End suspended or failed websites for good.",
        effect="Ends it for good. There is no way back.",
        outcome="end for good; nothing brings it back", trigger=Trigger.TERMINATE, destroys=True,
    ),
    Verb(
        ERASE, help="Erase what is kept of the owner of a website at rest, by ID, SUBDOMAIN or EMAIL.",
        effect="Erases what this service keeps of its owner, dead letters included. There is no way back.",
        outcome="stay where it is, with nothing kept of its owner", run=_erase, declines=why_not_erased, destroys=True,
    ),
)  # fmt: skip
VERBS_BY_NAME = {verb.name: verb for verb in VERBS}


def verb_forecasts(
    state: State, facts: Facts, failed_from: State | None = None, *, status: Mapping[str, Any] | None = None
) -> list[dict[str, Any]]:
    """Return what people may do to a website now, and what each verb would do. Pure: plan and judge, nothing else.

    `works`: whether it would take the website where the verb is meant to. `status`: as `queries.statuses` returns it;
    by it verbs are judged that are no transition, and without it they are left out.
    """
    forecasts = {
        verb.name: _forecast(verb, state, facts, failed_from)
        for verb in VERBS
        if verb.trigger or (status is not None and verb.is_open_to(status))
    }
    return [{"verb": name, "works": each[0], "would": each[1]} for name, each in forecasts.items() if each]


def _forecast(verb: Verb, state: State, facts: Facts, failed_from: State | None) -> tuple[bool, str] | None:
    """Return whether a verb would work and what it would do; None where the website does not take it."""
    if verb.trigger is None:
        return (True, verb.outcome) if verb.outcome else None
    match plan(state, verb.trigger):
        case Transition() as transition:
            match judge(transition, facts, failed_from=failed_from):
                case Advance(target):
                    return True, verb.outcome.format(target=target)
                case Refuse(error) | Wait(error) if state not in CHAIN:
                    return False, f"be refused: {error}"
                case Refuse(error):
                    return False, f"fail: {error}"
                case Wait(error):
                    return False, f"be tried again for a while, then fail: {error}"
                case never:
                    assert_never(never)
        case Passed() | Illegal():
            return None
        case no_plan:
            assert_never(no_plan)
