"""Simulated runs: some hundred seeds, every seed that has ever failed, and proof that the simulation can see."""

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.simulation.breaking import WAYS
from tests.simulation.nemesis import FAULTS
from tests.simulation.run import FailedRunError, failing_seeds, simulate
from tests.simulation.world import World

SEEDS = 240
SLICE = 40
PATIENCE_SEEDS = 1000
"""Within so many seeds each broken design has to be found out."""


@pytest.mark.parametrize("first", range(0, SEEDS, SLICE))
def test_seeds(first: int) -> None:
    """Whatever the order, and whatever goes wrong: all rests in the end, and every invariant holds."""
    states: Counter[str] = Counter()
    for seed in range(first, first + SLICE):
        states += simulate(seed).states
    assert states["live"] > SLICE, f"hardly anything was provisioned: {states}"


@pytest.mark.parametrize("seed", failing_seeds())
def test_a_seed_that_once_failed(seed: int) -> None:
    """What was found once stays mended."""
    simulate(seed)


def test_a_seed_replays_exactly() -> None:
    """The same seed gives the same steps, rows and times, also in another process with another hash seed."""
    seeds = (3, 7, 516)
    here = [simulate(seed) for seed in seeds]
    assert here == [simulate(seed) for seed in seeds]
    told = subprocess.run(
        [sys.executable, "-m", "tests.simulation.run", "--fingerprint", *map(str, seeds)],
        env={**os.environ, "PYTHONHASHSEED": "4711"},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert told == [f"{result.seed}:{result.trace}:{result.steps}" for result in here]


def test_every_fault_strikes() -> None:
    """Each kind of fault fires in some of the first seeds, and so does what it makes of the database's connections."""
    fired: Counter[str] = Counter()
    for seed in range(60):
        result = simulate(seed)
        fired.update(note.split()[1] for note in result.notes)
        fired.update(dict(result.struck))
    expected = {
        *FAULTS,
        "commit reply lost",
        "in transaction",
        "refused",
        "SerializationError",
        "LockNotAvailableError",
    }
    assert expected <= set(fired), f"never fired: {expected - set(fired)}"


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_a_broken_design_is_found_out(way: Callable[[World, Any], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """The design broken on purpose turns some seed red."""
    for seed in range(WAYS[way], WAYS[way] + PATIENCE_SEEDS):
        with monkeypatch.context() as patch:
            try:
                simulate(seed, breaking=lambda world, patch=patch: way(world, patch))
            except FailedRunError:
                return
    pytest.fail(f"{PATIENCE_SEEDS} seeds are green although the engine {way.__name__.replace('_', ' ')}")
