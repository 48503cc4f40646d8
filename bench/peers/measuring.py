"""Throughput, cost and latency of a peer: a full queue worked off, and a steady rate. Exact, or it does not count."""

import asyncio
import signal
import time

from bench.arena import REST_SECONDS, NotExactError, Servers, checkpoint, lent
from bench.drain import Drain
from bench.exactness import STEPS
from bench.latency import Latency
from bench.peers.contestants import WORKERS, Peer
from bench.peers.run import PeerRun


async def drain(servers: Servers, peer: Peer, websites: int) -> Drain:
    """Let a peer work off a queue that was filled while its warm workers stood still."""
    async with lent(PeerRun, servers, peer, processes=WORKERS) as run:
        before = await run.live()
        run.signal(signal.SIGSTOP)
        await run.sign_up(websites)
        await checkpoint(servers)
        cpu, began = run.cpu(), time.monotonic()
        run.signal(signal.SIGCONT)
        ended = await run.until_live(before + websites)
        await asyncio.sleep(REST_SECONDS)
        used, memory = run.cpu() - cpu, run.memory_mib()
        await check(run)
    return Drain(peer.name, websites * STEPS, ended - began, used, memory)


async def latency(servers: Servers, peer: Peer, *, rate: float, seconds: float) -> Latency:
    """Have websites signed up at a steady rate, and see how long each takes to be live."""
    async with lent(PeerRun, servers, peer, processes=WORKERS) as run:
        published = await run.produce(int(rate * seconds), rate)
        await run.until_live(run.signed_up)
        live = await run.live_since()
        await check(run)
    return Latency(peer.name, [(live[website_id] - when) * 1000 for website_id, when in published.items()])


async def check(run: PeerRun) -> None:
    """Look whether all is exactly done, and its queues are empty once its workers have ended.

    Raises:
        NotExactError: saying what is wrong.
    """
    await run.stop()
    reckoning, waiting, dead = await run.reckon(), await run.waiting(), await run.dead()
    if not reckoning.exact or waiting or dead:
        raise NotExactError(f"{run.contestant.name}: {reckoning}, {waiting} messages left, {dead} dead")
