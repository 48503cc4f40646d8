"""Failpoints: places where a test may make this process die, raise, hang or freeze. Unarmed, they cost one comparison.

    PROVISIONER_FAILPOINTS="post_commit=kill9@2,locked=raise"

`name=action[@n]`: act at the n-th time (default 1), once; `raise` from then on. Names are a closed set, so that a test
can go through all. The name `await` is every suspension between receipt and ack, publishes included: a test can die at
each of them, or have the task cancelled there.
"""

import asyncio
import os
import signal
import sys
import types
from collections.abc import Coroutine, Generator
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, cast, get_args

Result = TypeVar("Result")

Name = Literal[
    "boot", "received", "registered", "locked", "planned", "step", "stepped", "judged", "written", "pre_commit",
    "post_commit", "events_sent", "commands_sent", "settled", "acked", "attempt_written", "claimed", "dispatched",
    "cleared", "await",
]  # fmt: skip
NAMES: tuple[Name, ...] = get_args(Name)
ACTIONS = ("kill9", "raise", "hang", "stop", "cancel")


class InjectedError(Exception):
    """The error that the action `raise` raises."""


@dataclass(slots=True)
class _Armed:
    action: str
    left: int


_armed: dict[str, _Armed] = {}
hits: dict[str, int] = {}
"""How often each armed failpoint was reached: a fault test that finds 0 here proves nothing."""


def arm(text: str) -> None:
    """Arm failpoints from their textual form; an empty text disarms all.

    Raises:
        ValueError: naming the unknown name or action.
    """
    _armed.clear()
    hits.clear()
    for item in filter(None, (part.strip() for part in text.split(","))):
        name, _, rest = item.partition("=")
        action, _, count = rest.partition("@")
        if name not in NAMES:
            raise ValueError(f"unknown failpoint {name!r}; known are {', '.join(NAMES)}")
        if action not in ACTIONS:
            raise ValueError(f"unknown action {action!r} at failpoint {name}; known are {', '.join(ACTIONS)}")
        if count and not (count.isdecimal() and int(count) > 0):
            raise ValueError(f"failpoint {name} acts at the 1st time or later, not at {count!r}")
        _armed[name] = _Armed(action, int(count or 1))


def _count_hit(name: Name) -> _Armed | None:
    """Count that a failpoint was reached; return it if it is armed and acts this time."""
    armed = _armed.get(name)
    if armed is None:
        return None
    hits[name] = hits.get(name, 0) + 1
    armed.left -= 1
    # A raise stands for a defect, and a defect is still there the next time; the rest happens once.
    if armed.left > 0 or (armed.left < 0 and armed.action != "raise"):
        return None
    sys.stderr.write(f'{{"event": "failpoint", "what": "{name}={armed.action}"}}\n')
    sys.stderr.flush()
    return armed


def watched(work: Coroutine[Any, Any, Result]) -> Coroutine[Any, Any, Result]:
    """Return `work` itself; with `await` armed, wrapped so that each of its suspensions is counted."""
    return _counting(work) if "await" in _armed else work


async def _counting(work: Coroutine[Any, Any, Result]) -> Result:
    return await _drive(work)


@types.coroutine
def _drive(work: Coroutine[Any, Any, Result]) -> Generator[Any, Any, Result]:
    """Run a coroutine as `await` does, and count each suspension."""
    answer: Any = None
    raised: BaseException | None = None
    while True:
        try:
            suspended = work.throw(raised) if raised else work.send(answer)
        except StopIteration as end:
            result: Result = end.value
            return result
        match _count_hit("await"):
            case None:
                pass
            case _Armed(action="cancel"):
                cast("asyncio.Task[None]", asyncio.current_task()).cancel()
            case _:
                os.kill(os.getpid(), signal.SIGKILL)
        answer, raised = None, None
        try:
            answer = yield suspended
        except BaseException as error:  # noqa: BLE001 - handed on to the coroutine, as await does
            raised = error


async def reach(name: Name) -> None:
    """Reach a failpoint: do what it is armed for, if it is."""
    if not _armed:
        return
    armed = _count_hit(name)
    if armed is None:
        return
    match armed.action:
        case "kill9":
            os.kill(os.getpid(), signal.SIGKILL)
        case "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
        case "hang":
            await asyncio.Event().wait()
        case "cancel":
            cast("asyncio.Task[None]", asyncio.current_task()).cancel()
            await asyncio.sleep(0)
        case _:
            raise InjectedError(name)
