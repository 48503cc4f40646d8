"""`python -m bench.peers`: servers of its own, every peer in turn, what it does a second and what SIGKILL costs it."""

import argparse
import asyncio
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from bench.__main__ import say
from bench.arena import ROOT, NotExactError, Servers, in_turn
from bench.machine import describe
from bench.peers.contestants import FIELD, TUNING, Peer
from bench.peers.killing import killing
from bench.peers.measuring import drain, latency
from bench.peers.page import PeerResults, names, page
from ops.sandbox.child_process import LocalServerError
from ops.sandbox.postgres import private_postgres
from ops.sandbox.rabbitmq import private_rabbitmq

RATE = 20.0
LATENCY_SECONDS = 10.0
PARTS = ("drain", "latency", "kill")


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.peers", description=__doc__)
    parser.add_argument("--repeats", type=int, default=3, help="runs of each (%(default)s)")
    parser.add_argument("--websites", type=int, default=1000, help="in a full queue (%(default)s)")
    parser.add_argument("--kill-websites", type=int, default=800, help="in a full queue with kills (%(default)s)")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="measure only these")
    parser.add_argument("--only", nargs="+", metavar="WHO", choices=[peer.name for peer in FIELD], help="only these")
    parser.add_argument("--tune", action="store_true", help="try other settings instead: their drains, nothing written")
    parser.add_argument("--write", action="store_true", help="write docs/peers.md and docs/peers.json")
    return parser.parse_args()


async def measure(servers: Servers, asked: argparse.Namespace) -> PeerResults:
    """Measure everything that was asked for."""
    field: Sequence[Peer] = TUNING if asked.tune else FIELD
    peers = [peer for peer in field if not asked.only or {peer.name, peer.name.partition(",")[0]} & {*asked.only}]
    results = PeerResults(
        f"{datetime.now(UTC):%Y-%m-%d}",
        names(await describe(servers)),
        {peer.name: ", ".join(f"{name} {version(name)}" for name in peer.distributions) for peer in peers},
        {peer.name: peer.broker for peer in peers},
        {peer.name: peer.does for peer in peers},
        asked.websites,
        asked.kill_websites,
        RATE,
    )
    if "drain" in asked.parts:
        for peer in in_turn(peers, asked.repeats):
            done = await drain(servers, peer, asked.websites)
            results.drains.append(done)
            say(f"{peer.name:>20}  {done.rate:7,.0f} transitions/s, {done.cpu_ms().total:5.2f} CPU-ms each")
    if "latency" in asked.parts and not asked.tune:
        for peer in in_turn(peers, asked.repeats):
            steady = await latency(servers, peer, rate=RATE, seconds=LATENCY_SECONDS)
            results.latencies.append(steady)
            say(f"{peer.name:>20}  p50 {steady.p50:6.1f} ms, p99 {steady.p99:6.1f} ms")
    if "kill" in asked.parts and not asked.tune:
        for peer in in_turn(peers, asked.repeats):
            killed = await killing(servers, peer, asked.kill_websites)
            results.killings.append(killed)
            found = killed.reckoning
            say(f"{peer.name:>20}  {killed.struck} kills: {found.stuck} stuck, {found.lost} lost")
    return results


def main() -> int:
    """Run it; return 0 if every run was exact, and every kill struck."""
    asked, began = arguments(), time.monotonic()
    # Workers have sessions of their own, so that nobody but we ends them: on SIGTERM, too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    folder = Path(tempfile.mkdtemp(prefix="provisioner-peers-"))
    try:
        with private_postgres() as postgres, private_rabbitmq() as rabbitmq:
            results = asyncio.run(measure(Servers(postgres, rabbitmq, folder), asked))
    except (LocalServerError, NotExactError) as error:
        say(f"bench.peers: {error}")
        return 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(page(results))
    if asked.write:
        (ROOT / "docs" / "peers.md").write_text(page(results))
        (ROOT / "docs" / "peers.json").write_text(results.as_json())
        say("written: docs/peers.md, docs/peers.json")
    say(f"took {time.monotonic() - began:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
