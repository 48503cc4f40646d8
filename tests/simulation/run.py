"""One seed, one run: signups come in, things go wrong, things heal, all is drained, and everything is checked.

python -m tests.simulation.run 4711          replays a seed and says what happened
python -m tests.simulation.run --seconds 60  tries seeds for as long, and keeps those that fail
"""

import argparse
import asyncio
import os
import random
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from consumer.telemetry.logs import log
from tests.simulation import operator, product, stranger
from tests.simulation.checker import check, is_quiet, owing
from tests.simulation.database import Database
from tests.simulation.loop import NothingLeftError, SeededLoop
from tests.simulation.nemesis import FAULT_SECONDS, OF_ERRORS, Nemesis
from tests.simulation.store import Server
from tests.simulation.world import TOPOLOGY, WatchedBroker, World

DRAIN_SECONDS = 900.0
"""After the last fault: rescues wait twice as long each time, and a clock that was set back makes them wait longer."""
DEFECTS = ("worker failed", "defect", "publish failed", "publisher failed", "consumer failed", "log row missing")


class FailedRunError(AssertionError):
    """A run that showed something wrong; its text says how to see it again."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a run came to. Two runs of one seed are equal."""

    seed: int
    trace: int
    steps: int
    seconds: float
    states: Counter[str]
    rows: tuple[tuple[Any, ...], ...]
    notes: tuple[str, ...]
    struck: tuple[tuple[str, int], ...]


def simulate(seed: int, *, breaking: Callable[[World], None] | None = None) -> Result:
    """Run one seed.

    Raises:
        FailedRunError: something that must hold does not.
    """
    dice = random.Random(f"scheduler {seed}")
    state, configuration = random.getstate(), structlog.get_config()
    # What the service draws itself, the jitter of its waiting, comes from the module's dice.
    random.seed(f"service {seed}")
    errors: list[dict[str, Any]] = []
    _keep_errors(errors)
    loop = SeededLoop(dice)
    complaints: list[str] = []
    loop.set_exception_handler(
        lambda _, context: complaints.append(str(context.get("exception") or context["message"]))
    )
    world: World | None = None
    try:
        database = Database(loop.time)
        world = World(loop, random.Random(f"world {seed}"), database, Server(database, dice), WatchedBroker(database))
        nemesis = Nemesis(world, random.Random(f"nemesis {seed}"))
        if breaking:
            breaking(world)
        loop.run_until_complete(_run(world, nemesis, seed))
        states = check(world)
        stranger.check_strangers(world)
        assert not complaints, f"asyncio complained: {complaints[:3]}"
        excused = OF_ERRORS in world.taints or nemesis.packs
        defects = [error for error in errors if error["event"] in DEFECTS and not excused]
        assert not defects, f"a defect was logged: {defects[0]}"
    except Exception as error:  # noqa: BLE001 - whatever failed, it says its seed
        told, where = world.notes if world else [], "".join(traceback.format_tb(error.__traceback__))
        raise FailedRunError(
            f"seed {seed} failed: {type(error).__name__}: {error}\n  what went wrong on purpose: {told}\n"
            f"  see it again: python -m tests.simulation.run {seed}\n{where}"
        ) from None
    finally:
        random.setstate(state)
        structlog.configure(**configuration)
        vars(log).pop("bind", None)
        _abandon(loop)
    rows = tuple(
        (*key, row["trigger"], row["to_state"], str(row["message_id"]), row["occurred_at"].isoformat())
        for key, row in sorted(database.tables["log"].items())
    )
    struck = tuple(sorted(world.server.struck.items()))
    return Result(seed, loop.trace, loop.steps, loop.time(), states, rows, tuple(world.notes), struck)


def _keep_errors(errors: list[dict[str, Any]]) -> None:
    def keep(_logger: Any, _name: str, event: Any) -> Any:
        errors.append(dict(event))
        raise structlog.DropEvent

    structlog.configure(
        processors=[keep],
        wrapper_class=structlog.make_filtering_bound_logger(40),
        cache_logger_on_first_use=False,
    )
    vars(log).pop("bind", None)


def _abandon(loop: SeededLoop) -> None:
    """Close a loop; where a run broke off, its tasks are ended first."""
    loop.set_exception_handler(lambda *_: None)
    loop.unlimit()
    for _ in range(5):
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        if not left:
            break
        with suppress(NothingLeftError):
            loop.run_until_complete(_ended(left))
    loop.close()


async def _ended(tasks: set[Any]) -> None:
    await asyncio.wait(tasks, timeout=100)


async def _run(world: World, nemesis: Nemesis, seed: int) -> None:
    await world.broker.declare(TOPOLOGY)
    dice = world.dice
    for _ in range(dice.choice((1, 2, 2, 3))):
        world.start()
    owner = world.database.add_user("there@example.com")
    for website_id in range(1, dice.choice((2, 4, 6, 9))):
        world.spawn(_sign_up(world, nemesis, website_id, owner))
    product.begin(world, seed)
    stranger.begin(world, seed)
    if started_by := operator.draw(world, seed):
        world.spawn(operator.start_once(world, started_by, started_by.random() * FAULT_SECONDS))
    nemesis.begin()
    await asyncio.sleep(FAULT_SECONDS)
    world.heal()
    if started_by:
        await operator.start_all(world, started_by)
    await _drained(world)
    await _stopped(world)


async def _sign_up(world: World, nemesis: Nemesis, website_id: int, user_id: int) -> None:
    dice = world.dice
    body: dict[str, Any] = {
        "website_id": website_id,
        "subdomain": f"website-{website_id}",
        "site_type": "residential",
        "owner": dice.choice(({"email": f"{website_id % 3}@example.com"}, {"user_id": user_id})),
        "skip_properties": dice.random() < 0.3,
        "auto_go_live": dice.random() < 0.8,
    }
    if pack := nemesis.pack():
        body["seed_pack"] = pack
    when = dice.choice((0.0, 0.0, dice.random(), dice.random() * FAULT_SECONDS))
    await asyncio.sleep(when)
    if dice.random() < 0.2:
        world.database.add_website(website_id, subdomain=body["subdomain"])
    await world.send("website.created", body)


async def _drained(world: World) -> None:
    """Wait until all is quiet, and for a little longer."""
    loop = world.loop
    ends = loop.time() + DRAIN_SECONDS + abs(world.database.offset) * 2
    await asyncio.gather(*world.tasks)
    quiet = 0
    while quiet < 3:
        await asyncio.sleep(1)
        quiet = quiet + 1 if is_quiet(world) else 0
        if loop.time() > ends:
            counts = {
                queue: (len(world.broker.ready(queue)), len(world.broker.unsettled(queue)))
                for queue in (TOPOLOGY.commands, TOPOLOGY.signups)
            }
            gates = [process.app.gate.reasons for process in world.processes]
            raise AssertionError(f"it does not come to rest: {owing(world)}, {counts}, gates {gates}")


async def _stopped(world: World) -> None:
    """Stop every process; nothing of it may be left."""
    for process in world.processes:
        process.stop()
    everybody = [*world.processes, *world.dead]
    async with asyncio.timeout(60):
        answers = await asyncio.gather(*(process.task for process in everybody), return_exceptions=True)
    for answer in answers:
        if isinstance(answer, BaseException) and not isinstance(answer, asyncio.CancelledError):
            raise answer
    await asyncio.sleep(30)
    left = asyncio.all_tasks() - {asyncio.current_task()}
    assert not left, f"tasks are left: {sorted(str(task.get_coro()) for task in left)}"
    assert not world.database.locks, f"locks are left: {list(world.database.locks)}"


KEPT = Path(__file__).with_name("failing_seeds.txt")


def failing_seeds() -> list[int]:
    """Return the seeds that have ever failed."""
    return [int(line.split()[0]) for line in KEPT.read_text().splitlines() if line and not line.startswith("#")]


def _try_for(seconds: float, first: int, every: int) -> tuple[int, list[tuple[int, str]]]:
    """Run every so manieth seed for some time; return how many, and what failed."""
    began, seed, failed = time.monotonic(), first, []
    while time.monotonic() - began < seconds:
        try:
            simulate(seed)
        except FailedRunError as error:
            failed.append((seed, str(error)))
        seed += every
    return (seed - first) // every, failed


def explore(seconds: float) -> int:
    """Try new seeds on every core, print and keep those that fail; return how many that were."""
    cores = os.cpu_count() or 1
    # Where to begin is not drawn: the clock says it, so that no two explorations try the same seeds.
    first = int(time.time() % 10_000_000) * 1000
    with ProcessPoolExecutor(cores) as pool:
        work = [pool.submit(_try_for, seconds, first + core, cores) for core in range(cores)]
        answers = [each.result() for each in work]
    runs = sum(count for count, _ in answers)
    failed = [each for _, found in answers for each in found]
    for seed, told in failed:
        print(told)
        with KEPT.open("a") as kept:
            kept.write(f"{seed} {told.splitlines()[0].partition('failed: ')[2][:150]}\n")
    print(
        f"{runs} seeds in {seconds:.0f} s on {cores} cores ({runs * 60 / seconds:.0f} a minute), {len(failed)} failed"
    )
    return len(failed)


def main() -> int:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("seeds", nargs="*", type=int, help="seeds to run again")
    parser.add_argument("--seconds", type=float, help="try new seeds for so long")
    parser.add_argument("--fingerprint", action="store_true", help="print what identifies each run, and no more")
    asked = parser.parse_args()
    if asked.seconds:
        return min(1, explore(asked.seconds))
    failed = 0
    for seed in asked.seeds:
        try:
            result = simulate(seed)
        except FailedRunError as error:
            failed = 1
            print(error)
        else:
            mark = f"{result.seed}:{result.trace}:{result.steps}"
            print(mark if asked.fingerprint else f"{mark} {dict(result.states)} after {result.seconds:.0f} s")
            if not asked.fingerprint:
                print(*result.notes, sep="\n")
    return failed


if __name__ == "__main__":
    sys.exit(main())
