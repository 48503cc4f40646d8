"""Throughput and cost: a full queue, worked off by warm workers."""

import asyncio
import signal
import time
from dataclasses import dataclass

from bench.arena import REST_SECONDS, Contestant, Servers, checkpoint, running
from bench.exactness import STEPS, check
from bench.meter import Cpu, peak_rss_mib


@dataclass(frozen=True, slots=True)
class Drain:
    """One run: transitions a second, CPU of it all in seconds, and the largest process in MiB."""

    contestant: str
    transitions: int
    seconds: float
    cpu: Cpu
    rss_mib: float

    @property
    def rate(self) -> float:
        """Transitions a second."""
        return self.transitions / self.seconds

    def cpu_ms(self) -> Cpu:
        """Return the CPU milliseconds of one transition, by part."""
        each = 1000 / self.transitions
        return Cpu(self.cpu.workers * each, self.cpu.postgres * each, self.cpu.rabbitmq * each)


async def drain(
    servers: Servers, contestant: Contestant, websites: int, *, processes: int = 1, template: str = "template1"
) -> Drain:
    """Let a contestant work off a queue of signups that is full before it begins; check that it did so exactly.

    Its processes are warm, and stand still (SIGSTOP) while the queue is filled.
    """
    async with running(servers, contestant, processes=processes, template=template) as run:
        before = await run.live()
        run.signal(signal.SIGSTOP)
        await run.sign_up(websites)
        await checkpoint(servers)
        cpu, began = run.cpu(), time.monotonic()
        run.signal(signal.SIGCONT)
        ended = await run.until_live(before + websites)
        await asyncio.sleep(REST_SECONDS)
        used = run.cpu() - cpu
        rss = max(peak_rss_mib(process.pid) for process in run.processes)
        await run.stop()
        await check(run)
    return Drain(contestant.name, websites * STEPS, ended - began, used, rss)
