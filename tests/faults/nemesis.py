"""Signups keep coming while faults of all classes strike at random; then all heals, drains and is reckoned.

python -m tests.faults.nemesis --seconds 300 --seed 4711     `make nemesis`

What was confirmed to its sender has to be somewhere in the end: live, where people put it, failed with a reason, or a
dead letter with a reason, after what the broker's fuse threw out was put back. That is counted by draining, never by a
broker's counters. A seed gives the same faults in the same order; when each meets whom is up to the machine.
"""

import argparse
import asyncio
import json
import logging
import random
import secrets
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any
from uuid import uuid4

import aio_pika

from ops.sandbox.postgres import PostgresServer, private_postgres
from ops.sandbox.rabbitmq import RabbitServer, private_rabbitmq
from tests.conftest import make_schema
from tests.faults.adversity import AWAY, WORKERS, Adversity, Fault
from tests.faults.scene import Scene, set_scene
from tests.foreign_client import signup
from tests.service import strict_pack
from tests.worker_processes import until

DRAIN_SECONDS = 180.0
SETTLING_SECONDS = 2.0
ELECTION_SECONDS = 30.0
"""An election takes a second; a queue that has no leader after this has none after five minutes either (measured)."""
BURST = 10
BACKLOG = 500
"""Signups that may be under way: more would prove no more, and take long to drain."""
SHORT_EVERY = 20
"""Every so many signups, one has a seed pack that falls short: it has to end failed, with a reason."""


class Nemesis:
    """One run."""

    def __init__(self, scene: Scene, postgres: PostgresServer, rabbitmq: RabbitServer, seed: int) -> None:
        self.scene = scene
        self.seed = seed
        self.adversity = Adversity(scene, postgres, rabbitmq, random.Random(seed))
        self.fired: Counter[str] = Counter()
        self.confirmed: dict[int, str] = {}
        """Website ids of signups whose publish the broker confirmed, with their message ids."""
        self.letters: list[Any] = []
        self.put_back = 0
        self.mended = 0
        """How often the queue of commands had lost its leader for good, and was deleted."""
        self.states: Counter[str] = Counter()

    async def run(self, seconds: float) -> None:
        """Do it all.

        Raises:
            AssertionError: something that was confirmed is nowhere, or an invariant does not hold.
        """
        (self.scene.folder / "packs").mkdir(exist_ok=True)
        strict_pack(self.scene.folder / "packs", links=2)
        await self.scene.postgres_proxy()
        await self.scene.broker_proxy()
        for _ in range(WORKERS):
            await self.adversity.start_worker()
        await self.scene.consumers(WORKERS)
        # A node of RabbitMQ 3.10.8 that is killed within a fraction of a second of a quorum queue's declaration never
        # elects a leader of it again; after a second it always did (measured). Nothing tells when that second is over.
        await asyncio.sleep(SETTLING_SECONDS)
        end = asyncio.get_running_loop().time() + seconds
        kinds = self.adversity.kinds()
        dice = {kind: random.Random(f"{self.seed} {kind}") for kind in kinds}
        async with asyncio.TaskGroup() as everybody:
            everybody.create_task(self._sign_up(end))
            for kind, faults in kinds.items():
                everybody.create_task(self._strike(faults, dice[kind], end))
        await self._drain()
        await self._reckon()

    async def _sign_up(self, end: float) -> None:
        """Publish signups until the end, and those that nobody has confirmed again and again, under the same ids."""
        loop = asyncio.get_running_loop()
        owed: dict[int, str] = {}
        while owed or loop.time() < end:
            if not owed and len(self.confirmed) - await self.scene.count("provisioning_due_at IS NULL") < BACKLOG:
                self.scene.signed_up += BURST
                owed = {self.scene.signed_up - number: str(uuid4()) for number in range(BURST)}
            try:
                async with asyncio.timeout(10), self.scene.channel() as channel:
                    exchange = await channel.get_exchange(self.scene.topology.commands_exchange, ensure=False)
                    for website_id, message_id in list(owed.items()):
                        await exchange.publish(
                            message(website_id, message_id), routing_key="website.created", timeout=5
                        )
                        self.confirmed[website_id] = owed.pop(website_id)
            except AWAY:
                await asyncio.sleep(0.2)
            await asyncio.sleep(0.2)  # the load's own rhythm

    async def _strike(self, faults: list[Fault], dice: random.Random, end: float) -> None:
        """Deal out faults of one kind, each once before any comes again."""
        loop = asyncio.get_running_loop()
        deck: list[Fault] = []
        while loop.time() < end:
            deck = deck or dice.sample(faults, len(faults))
            fault = deck.pop()
            try:
                struck = await fault()
            except AWAY:
                struck = False  # the server that it wanted to hurt is just away for another reason
            self.fired[fault.__name__] += struck
            await asyncio.sleep(dice.uniform(0.1, 0.8))

    # ----------------------------------------------------------------------------------------- drain, then reckon

    async def _drain(self) -> None:
        """Wait until everything that was confirmed is accounted for and nothing moves; put back the fuse's victims.

        Raises:
            AssertionError: it is not, after DRAIN_SECONDS; with what is left where.
        """
        if self.fired["broker_killed"]:
            await self._mend_commands_queue()
        try:
            await until(self._settled, DRAIN_SECONDS, "all is accounted for")
        except AssertionError as error:
            raise AssertionError(f"{error}; {await self._left()}") from None

    async def _mend_commands_queue(self) -> None:
        """Do what docs/operations.md tells people: RabbitMQ 3.10.8, killed, may lose the Raft log of its busiest queue,
        which then has no leader for ever. What was in it is sent again from the database."""
        queue = self.scene.topology.commands

        async def has_leader() -> bool:
            status = f'rabbit_quorum_queue:status(<<"/">>, <<"{queue}">>).'
            return '"Raft State">>,leader' in await asyncio.to_thread(self.adversity.rabbitmq.ctl, "eval", status)

        try:
            await until(has_leader, ELECTION_SECONDS, f"{queue} has a leader")
        except AssertionError:
            self.mended += 1
            await asyncio.to_thread(self.adversity.rabbitmq.ctl, "delete_queue", queue)

    async def _left(self) -> str:
        """Return what is not accounted for, and what the workers do about it."""
        async with self.scene.connection() as connection:
            states = await connection.fetch(
                """SELECT provisioning_state AS state, provisioning_due_at IS NOT NULL AS due, count(*)
                     FROM pwb_websites GROUP BY 1, 2 ORDER BY 1, 2"""
            )
        queues = await asyncio.to_thread(self.adversity.rabbitmq.ctl, "list_queues", "name", "messages", "consumers")
        rows = ", ".join(f"{row['count']} {row['state']}{' due' if row['due'] else ''}" for row in states) or "none"
        return (
            f"websites: {rows}; confirmed and nowhere: {sorted(self.missing(await self._known()))[:5]}; "
            f"queues (messages, consumers): {queues.split()}; workers: {sorted(self.scene.zygote.running)}; "
            f"the end of their log: {self.scene.lines()[-8:]}"
        )

    async def _settled(self) -> bool:
        await asyncio.sleep(0.5)
        for letter in await self.scene.drain(self.scene.topology.dead_letters):
            if "x-reason" in letter.headers:
                self.letters.append(letter)
            else:
                await self.scene.put_back([letter])
                self.put_back += 1
        if await self.scene.count("provisioning_due_at IS NOT NULL") or self.missing(await self._known()):
            return False
        listed = await asyncio.to_thread(self.adversity.rabbitmq.ctl, "list_queues", "name", "messages")
        left = dict(line.split() for line in listed.splitlines())  # only to know when to look: nothing is counted by it
        topology = self.scene.topology
        return all(left[queue] == "0" for queue in (topology.signups, topology.commands, topology.dead_letters))

    async def _known(self) -> set[int]:
        async with self.scene.connection() as connection:
            return {row["id"] for row in await connection.fetch("SELECT id FROM pwb_websites")}

    def missing(self, known: set[int]) -> set[str]:
        """Return the ids of confirmed messages that are neither a website nor a dead letter with a reason."""
        lettered = {letter.message_id for letter in self.letters}
        lost = {message_id for website_id, message_id in self.confirmed.items() if website_id not in known}
        return (lost | self.adversity.poison) - lettered

    async def _reckon(self) -> None:
        async with self.scene.connection() as connection:
            rows = await connection.fetch(
                "SELECT id, provisioning_state AS state, provisioning_error AS error FROM pwb_websites"
            )
        self.states = Counter(row["state"] for row in rows)
        failed = {row["id"]: row["error"] for row in rows if row["state"] == "failed"}
        assert set(self.states) <= {"live", "failed", "suspended", "terminated"}, self.states
        assert all(failed.values()), "failed without a reason"
        blameless = {website_id: error for website_id, error in failed.items() if not is_short(website_id)}
        assert not blameless, f"faults made websites fail: {blameless}"
        lost = self.missing({row["id"] for row in rows})
        assert not lost, f"confirmed, and nowhere: {lost}"
        honest = set(self.confirmed.values()) & {letter.message_id for letter in self.letters}
        assert not honest, f"honest signups among the dead letters: {honest}"
        await self.scene.reckon(self.states, charged=True)

    def told(self) -> str:
        """Return the report."""
        found = ", ".join(f"{count} {state}" for state, count in sorted(self.states.items()))
        reasons = Counter(letter.headers["x-reason"] for letter in self.letters)
        dead = ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items())) or "none"
        lines = [
            f"seed {self.seed}, confirmed: {len(self.confirmed)} signups, {len(self.adversity.poison)} poison messages",
            f"  websites: {found}; dead letters with a reason: {dead}; put back after the fuse: {self.put_back}",
            f"  queue of commands without a leader: {self.mended}",
            f"  struck {self.fired.total()} times: "
            + ", ".join(f"{name.replace('_', ' ')} ×{count}" for name, count in sorted(self.fired.items())),
        ]
        return "\n".join(lines)


def is_short(website_id: int) -> bool:
    """Say whether a website's seed pack falls short."""
    return website_id % SHORT_EVERY == 0


def message(website_id: int, message_id: str) -> aio_pika.Message:
    """Return a signup's message."""
    changes = {"seed_pack": "strict"} if is_short(website_id) else {}
    body = json.dumps(signup(website_id, **changes)).encode()
    return aio_pika.Message(body, message_id=message_id, type="website.created", delivery_mode=2)


async def run(folder: Path, seconds: float, seed: int) -> Nemesis:
    """Run on servers of its own."""
    with private_postgres() as postgres, private_rabbitmq() as rabbitmq:
        await make_schema(postgres.url)
        async with set_scene(folder, postgres.url, rabbitmq.url, "nemesis") as scene:
            nemesis = Nemesis(scene, postgres, rabbitmq, seed)
            try:
                await nemesis.run(seconds)
            finally:
                print(nemesis.told(), flush=True)
    return nemesis


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=300, help="for how long faults strike (300)")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6), help="which faults; drawn if not given")
    chosen = parser.parse_args()
    logging.disable(logging.ERROR)  # what client libraries say of connections that we cut
    folder = Path(tempfile.mkdtemp(prefix="nemesis-"))
    print(f"seed {chosen.seed}, {chosen.seconds:g} s of faults; the workers' log is {folder}/zygote.log", flush=True)
    began = time.monotonic()
    try:
        asyncio.run(run(folder, chosen.seconds, chosen.seed))
    except AssertionError as error:
        print(f"seed {chosen.seed} FAILED: {error}", flush=True)
        sys.exit(1)
    print(f"all is accounted for, after {time.monotonic() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main()
