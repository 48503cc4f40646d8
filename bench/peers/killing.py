"""SIGKILL: a full queue, two workers, and six times one of them is killed in the middle of its work."""

import asyncio
import signal
import time
from dataclasses import dataclass

from bench.arena import LOOK_SECONDS, PATIENCE_SECONDS, NotExactError, Servers, lent
from bench.exactness import STEPS
from bench.peers.contestants import WORKERS, Peer
from bench.peers.counting import Reckoning
from bench.peers.run import PeerRun, Stroke

KILLS = 6


@dataclass(frozen=True, slots=True)
class Killing:
    """One run: what was done to a contestant, and what it lost by it."""

    contestant: str
    websites: int
    strokes: list[Stroke]
    reckoning: Reckoning
    dead_letters: int
    moved_for: float
    """Seconds after the last kill until the last transition."""

    @property
    def struck(self) -> int:
        """How many of the kills ended a worker that was alive."""
        return sum(stroke.struck for stroke in self.strokes)


async def killing(servers: Servers, peer: Peer, websites: int, *, kills: int = KILLS) -> Killing:
    """Kill workers at moments that are spread evenly over the work, counted in transitions.

    Raises:
        NotExactError: a kill did not strike, so that the run says nothing.
    """
    async with lent(PeerRun, servers, peer, processes=WORKERS) as run:
        before = await run.steps()
        run.signal(signal.SIGSTOP)
        await run.sign_up(websites)
        run.signal(signal.SIGCONT)
        strokes = []
        for number in range(1, kills + 1):
            await _until_steps(run, before + websites * STEPS * number // (kills + 1))
            strokes.append(await run.strike(number % WORKERS))
        moved_for = await run.until_still()
        result = Killing(peer.name, websites, strokes, await run.reckon(), await run.dead(), moved_for)
        await run.stop()
    if result.struck != kills:
        raise NotExactError(f"{peer.name}: only {result.struck} of {kills} kills struck: {strokes}")
    return result


async def _until_steps(run: PeerRun, count: int) -> None:
    """Wait until so many transitions are taken, or fail: the kill would not be where it is said to be."""
    best, since = 0, time.monotonic()
    while (found := await run.steps()) < count:
        if found > best:
            best, since = found, time.monotonic()
        if time.monotonic() - since > PATIENCE_SECONDS:
            raise NotExactError(run.told(f"stands at {found} of {count} transitions between two kills"))
        await asyncio.sleep(LOOK_SECONDS)
