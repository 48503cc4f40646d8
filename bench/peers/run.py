"""A peer with its own database, queues and workers. A worker is a session of its own: what it forked dies with it."""

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiormq

from bench.arena import LOOK_SECONDS, PATIENCE_SECONDS, ROOT, NotExactError, Run
from bench.peers.contestants import Peer
from bench.peers.counting import Reckoning, reckoning_of
from consumer.broker.protocol import QueueMissingError

READY = "ready to work"
"""What a worker without a broker prints when it takes work."""
KIB_A_MIB = 1024
STEPS_TAKEN = "SELECT count(*) FROM provisioning_transitions"
IN_HAND = "SELECT count(*) FROM dbos.workflow_status WHERE status = 'PENDING' AND executor_id = $1"
AT_MOST_SECONDS = 240.0
"""After this nobody waits for queues to become empty."""
DYING_SECONDS = 2.0
DEAD = (".dead-letters", ".dead", ".XQ")
"""How the names of queues end from which nobody takes messages."""


@dataclass(frozen=True, slots=True)
class Stroke:
    """One SIGKILL, and the proof that it struck."""

    at_step: int
    """Transitions in the log when the worker stood still."""
    alive: bool
    """Its processes were there, stopped and not ended, when it was sent."""
    returncode: int | None
    left: int
    """Processes of its that were there afterwards."""
    in_hand: int
    """Messages or workflows that it had taken and not given back."""

    @property
    def struck(self) -> bool:
        """Whether it ended a worker that was alive."""
        return self.alive and self.returncode == -signal.SIGKILL and not self.left


class PeerRun(Run):
    """One contestant of bench/peers."""

    contestant: Peer
    others: frozenset[str] = frozenset()
    """Queues that were there before it, and stay."""

    @property
    def queue(self) -> str | None:
        """The queue that its workers consume."""
        return None if self.contestant.queue is None else self.topology.namespace + self.contestant.queue

    async def open(self) -> None:
        """Make its tables and queues."""
        self.others = frozenset(await self._queues())
        await super().open()

    async def launch(self, place: int) -> asyncio.subprocess.Process:
        """Start the worker of one place, in a session of its own."""
        command = [word.replace("{place}", str(place)) for word in self.contestant.command]
        with (self.servers.folder / f"{self.database}-{place}.log").open("ab") as log:
            return await asyncio.create_subprocess_exec(
                sys.executable, "-m", *command, cwd=ROOT, stdout=log, stderr=log,
                env=self.environment() | {"PROVISIONER_PEER_PLACE": str(place)}, start_new_session=True,
            )  # fmt: skip

    async def consumed_by(self, consumers: int) -> None:
        """Wait until that many workers take work."""
        if self.queue is None:
            await self._told_ready(consumers)
            return
        async with asyncio.timeout(2 * PATIENCE_SECONDS):
            while await self._consumers(self.queue) < consumers:
                self._none_ended()
                await asyncio.sleep(LOOK_SECONDS)

    async def _told_ready(self, workers: int) -> None:
        logs = [self.servers.folder / f"{self.database}-{place}.log" for place in range(workers)]
        async with asyncio.timeout(2 * PATIENCE_SECONDS):
            while not all(READY in log.read_text(errors="replace") for log in logs):
                self._none_ended()
                await asyncio.sleep(LOOK_SECONDS)

    async def _consumers(self, queue: str) -> int:
        try:
            return (await self.counts(queue)).consumers
        except QueueMissingError:
            return 0

    def _none_ended(self) -> None:
        if any(process.returncode is not None for process in self.processes):
            raise NotExactError(self.told("has a worker that ended by itself"))

    async def sign_up(self, count: int) -> list[int]:
        """Have websites signed up, by its own library where it has one; return their ids."""
        if not self.contestant.module:
            return await super().sign_up(count)
        return list(await self.produce(count))

    async def produce(self, count: int, rate: float | None = None) -> Mapping[int, float]:
        """Have websites signed up by its own library, or as ours are; return when each was."""
        if not self.contestant.module:
            return await self._produce_ours(count, rate or 0)
        first, last = self.signed_up + 1, self.signed_up + count
        self.signed_up = last
        numbers = [str(first), str(last), *([str(rate)] if rate else [])]
        producer = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "bench.peers.producer", self.contestant.module, *numbers,
            cwd=ROOT, env=self.environment(), stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        output, _ = await producer.communicate()
        if producer.returncode:
            raise NotExactError(f"{self.contestant.name}: its producer ended with {producer.returncode}")
        return {int(website_id): when for website_id, when in json.loads(output).items()}

    async def _produce_ours(self, count: int, rate: float) -> dict[int, float]:
        published: dict[int, float] = {}
        began = time.monotonic()
        for number in range(count):
            await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
            published[self.signed_up + 1] = time.time()
            await super().sign_up(1)
        return published

    def signal(self, what: signal.Signals) -> None:
        """Send a signal to all processes of all workers."""
        for process in self.processes:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, what)

    async def stop(self) -> None:
        """End the workers, and whatever is left of them."""
        self.signal(signal.SIGCONT)
        await super().stop()
        self.signal(signal.SIGKILL)

    async def close(self) -> None:
        """End its workers, remove its queues."""
        await super().close()
        connection = await aiormq.connect(self.servers.rabbitmq.url)
        channel = await connection.channel()
        for name in {*await self._queues()} - self.others:
            await channel.queue_delete(name)
        await connection.close()

    def memory_mib(self) -> float:
        """Return what all its processes have resident, each page that several share counted once (PSS)."""
        pids = [pid for process in self.processes for pid in pids_of_session(process.pid)]
        return sum(_pss_kib(pid) for pid in pids) / KIB_A_MIB

    # ----------------------------------------------------------------------------------------------------- SIGKILL

    async def steps(self) -> int:
        """Return how many transitions have been taken."""
        found: int = await self.connection.fetchval(STEPS_TAKEN)
        return found

    async def strike(self, place: int) -> Stroke:
        """End one worker by SIGKILL and start it again at once.

        All workers stand still (SIGSTOP) while it is counted what they have in hand: what is killed then is what was
        running a moment ago, and the others cannot finish all the work behind a count that takes a second.
        """
        self.signal(signal.SIGSTOP)
        victim, at_step = self.processes[place], await self.steps()
        before = await self._in_hand(place)
        states = [_state(pid) for pid in pids_of_session(victim.pid)]
        os.killpg(victim.pid, signal.SIGKILL)
        returncode = await victim.wait()
        left = await _left_of(victim.pid)
        self.processes[place] = await self.launch(place)
        after = await self._in_hand(place) if self.queue else {}
        self.signal(signal.SIGCONT)
        in_hand = sum(count for channel, count in before.items() if channel not in after)
        return Stroke(at_step, bool(states) and set(states) == {"T"}, returncode, left, in_hand)

    async def _in_hand(self, place: int) -> dict[str, int]:
        """Return what is taken and not given back: by channel, or of this worker where there is no broker."""
        if self.queue is None:
            return {"workflows": await self.connection.fetchval(IN_HAND, f"worker-{place}")}
        told = await self._ctl("list_channels", "pid", "messages_unacknowledged")
        return {channel["pid"]: channel["messages_unacknowledged"] for channel in told}

    async def until_still(self) -> float:
        """Wait until all is live and every queue empty, or nothing moves any more; return for how long, in seconds."""
        began = since = time.monotonic()
        best = await self.steps()
        while (now := time.monotonic()) - began < AT_MOST_SECONDS:
            steps = await self.steps()
            if steps != best:
                best, since = steps, now
            done = await self.live() == self.signed_up
            if (done or now - since > self.contestant.quiet_seconds) and not await self.waiting():
                break
            await asyncio.sleep(0.5)
        return since - began

    async def waiting(self) -> int:
        """Return how many messages are in the queues from which somebody takes them, or in somebody's hands."""
        told = await self._ctl("list_channels", "pid", "messages_unacknowledged")
        unacked = sum(channel["messages_unacknowledged"] for channel in told)
        ready = [await self._ready(name) for name in await self._its_own() if not name.endswith(DEAD)]
        return int(unacked + sum(ready))

    async def dead(self) -> int:
        """Return how many messages lie where nobody takes them."""
        return sum([await self._ready(name) for name in await self._its_own() if name.endswith(DEAD)])

    async def _ready(self, queue: str) -> int:
        # Asked of the queue itself: what rabbitmqctl lists of a quorum queue is up to five seconds old.
        return (await self.counts(queue)).ready

    async def reckon(self) -> Reckoning:
        """Count what is stuck, lost, doubled or half done."""
        return await reckoning_of(self.connection, self.signed_up)

    async def _its_own(self) -> list[str]:
        return [name for name in await self._queues() if name.startswith(self.database)]

    async def _queues(self) -> list[str]:
        return [queue["name"] for queue in await self._ctl("list_queues", "name")]

    async def _ctl(self, *question: str) -> list[dict[str, Any]]:
        answer = await asyncio.to_thread(self.servers.rabbitmq.ctl, question[0], "--formatter", "json", *question[1:])
        told: list[dict[str, Any]] = json.loads(answer)
        return told


async def _left_of(leader: int) -> int:
    """Return how many processes of a killed session are there, given a moment: each dies in its own time."""
    until = time.monotonic() + DYING_SECONDS
    while (left := len(pids_of_session(leader))) and time.monotonic() < until:
        await asyncio.sleep(LOOK_SECONDS)
    return left


def pids_of_session(leader: int) -> list[int]:
    """Return the processes of a session, those apart that have ended and wait for their parent."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[3]) == leader and fields[0] not in "ZX":
                found.append(int(stat.parent.name))
    return found


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "gone"


def _pss_kib(pid: int) -> int:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
    return 0
