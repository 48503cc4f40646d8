"""The machine as a picture: boxes and arrows in SVG terms, laid out from its table. Knows no HTML."""

from collections.abc import Mapping
from dataclasses import dataclass

from statemachine import CHAIN, TRANSITIONS, State, Trigger

WIDTH, HEIGHT = 132, 54
STEP_X, STEP_Y = 152, 130


BELOW = (State.FAILED, State.TERMINATED, State.SUSPENDED)


@dataclass(frozen=True, slots=True)
class Box:
    """A state: its middle, its name in words, and how many websites are in it."""

    state: str
    x: float
    y: float
    words: str
    count: int


@dataclass(frozen=True, slots=True)
class Arrow:
    """An edge between two boxes, from border to border. `kind` is chain, failure or people."""

    path: str
    kind: str
    title: str


@dataclass(frozen=True, slots=True)
class Drawing:
    """Everything that stands in the picture, in its own units."""

    width: float
    height: float
    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]


def draw(counts: Mapping[str, int]) -> Drawing:
    """Return the machine with the number of websites in each state: the chain above, where it may end below."""
    places = {state: (STEP_X * (i + 0.5), 46.0) for i, state in enumerate(CHAIN)}
    # terminated between the two that lead to it
    others = sorted((state for state in State if state not in places), key=BELOW.index)
    room = len(CHAIN) / len(others)
    places |= {state: (STEP_X * room * (i + 0.5), 46.0 + STEP_Y) for i, state in enumerate(others)}
    arrows = [
        Arrow(_path(places[source], places[transition.target]), _kind(transition.trigger), transition.trigger)
        for transition in TRANSITIONS
        if transition.target
        for source in transition.sources
        if transition.trigger != Trigger.SKIP_PROPERTIES
    ]
    boxes = [Box(state, *places[state], state.replace("_", " "), counts.get(state, 0)) for state in (*CHAIN, *others)]
    return Drawing(STEP_X * len(CHAIN), 92 + STEP_Y, tuple(boxes), tuple(arrows))


def _kind(trigger: Trigger) -> str:
    if trigger == Trigger.FAIL_PROVISIONING:
        return "failure"
    return "people" if trigger in (Trigger.SUSPEND, Trigger.REACTIVATE, Trigger.TERMINATE) else "chain"


def _path(source: tuple[float, float], target: tuple[float, float]) -> str:
    """Return a line between two boxes: sideways in a row, downwards or upwards between the rows."""
    (x1, y1), (x2, y2) = source, target
    if y1 == y2:
        side = 1 if x2 > x1 else -1
        return f"M{x1 + side * WIDTH / 2:g} {y1:g}H{x2 - side * (WIDTH / 2 + 3):g}"
    side = 1 if y2 > y1 else -1
    start, end = y1 + side * HEIGHT / 2, y2 - side * (HEIGHT / 2 + 3)
    # Up and down between the same two boxes stand beside each other.
    shift = 14 if side > 0 else -14
    a, b = x1 + shift, x2 + shift
    return f"M{a:g} {start:g}C{a:g} {start + side * 40:g} {b:g} {end - side * 40:g} {b:g} {end:g}"
