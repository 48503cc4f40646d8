"""Breadth-first search of all that may happen, so that a counter-example is a shortest one."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from tests.protocol.world import ProtocolError

STATES_LIMIT = 4_000_000
SECONDS_LIMIT = 3600.0


class Searchable(Protocol):
    """A model that can be searched."""

    first: Any

    def actions(self, state: Any) -> Iterable[tuple[str, bool, Any]]:
        """Yield all that may happen next: a label, whether it is a fault, and the state after it."""

    def check_state(self, state: Any) -> None:
        """Raise ProtocolError where what must hold in every state does not."""

    def check_end(self, state: Any) -> None:
        """The same for states after which nothing happens but faults."""

    def is_live(self, state: Any) -> bool:
        """Return whether the website is live."""


@dataclass(frozen=True)
class Result:
    """What a search found.

    Attributes:
        passed: whether all properties hold; None where a limit ended the search.
        states: how many there are.
        seconds: how long it took.
        error: the property that does not hold, or the limit.
        trace: what leads there.
        receives: the most deliveries that follow once faults are over.
        receives_live: the same, from states where the website is live: the cost of late duplicates.
    """

    passed: bool | None
    states: int
    seconds: float
    error: str = ""
    trace: list[str] = field(default_factory=list)
    receives: int = 0
    receives_live: int = 0

    def __str__(self) -> str:
        """Return the result as lines."""
        name = {True: "PASS", False: "FAIL", None: "LIMIT"}[self.passed]
        cost = f"receives<={self.receives} after live<={self.receives_live}" if self.passed else f"=> {self.error}"
        head = f"{name:5} {self.states:9d} states {self.seconds:6.1f} s  {cost}"
        return "\n".join([head, *(f"      {label}" for label in self.trace)])


def search(model: Searchable, *, states_limit: int = STATES_LIMIT, seconds_limit: float = SECONDS_LIMIT) -> Result:
    """Search until a property fails, all is searched, or a limit is reached."""
    began = time.monotonic()
    numbers = {model.first: 0}
    order = [model.first]
    parents: list[tuple[int, str]] = [(-1, "")]
    faultless: list[tuple[int, ...]] = []
    """By state, the numbers of those that follow without a fault; of a receive, the complement."""

    def result(passed: bool | None, error: str = "", number: int = 0) -> Result:
        labels = []
        while number > 0:
            number, label = parents[number]
            labels.append(label)
        return Result(passed, len(order), time.monotonic() - began, error, labels[::-1])

    while (index := len(faultless)) < len(order):
        following = []
        try:
            model.check_state(order[index])
            for label, fault, state in model.actions(order[index]):
                number = numbers.setdefault(state, len(order))
                if number == len(order):
                    order.append(state)
                    parents.append((index, label))
                if not fault:
                    following.append(~number if " receives " in label else number)
            if not following:
                model.check_end(order[index])
        except ProtocolError as error:
            return result(False, str(error), index)
        faultless.append(tuple(following))
        if len(order) > states_limit or time.monotonic() - began > seconds_limit:
            return result(None, "a limit was reached")
    receives = _longest(faultless)
    if isinstance(receives, int):
        return result(False, "a cycle without faults", receives)
    live = max((count for count, state in zip(receives, order, strict=True) if model.is_live(state)), default=0)
    return Result(True, len(order), time.monotonic() - began, receives=max(receives), receives_live=live)


def _longest(graph: Sequence[tuple[int, ...]]) -> list[int] | int:
    """Return by node the most receives on a path from it; the number of a node on a cycle, where there is one.

    Without faults there is no cycle: then every schedule ends, in a state that `check_end` has seen.
    """
    incoming = [0] * len(graph)
    for following in graph:
        for each in following:
            incoming[max(each, ~each)] += 1
    ordered = [number for number, count in enumerate(incoming) if not count]
    for number in ordered:
        for each in graph[number]:
            target = max(each, ~each)
            incoming[target] -= 1
            if not incoming[target]:
                ordered.append(target)
    if len(ordered) < len(graph):
        return next(number for number, count in enumerate(incoming) if count)
    receives = [0] * len(graph)
    for number in reversed(ordered):
        receives[number] = max((receives[max(each, ~each)] + (each < 0) for each in graph[number]), default=0)
    return receives
