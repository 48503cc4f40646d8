"""`python -m bench`: starts servers of its own, lets everybody run in turn, and says what came of it."""

import argparse
import asyncio
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from bench.arena import FIFO, NAIVE, ROOT, SERVICE, Contestant, NotExactError, Servers, in_turn
from bench.burst import burst
from bench.chart import chart
from bench.drain import Drain, drain
from bench.floor import floor
from bench.idle import idle
from bench.latency import latency
from bench.machine import describe
from bench.page import page
from bench.results import Results
from bench.size import sizes
from ops.sandbox.child_process import LocalServerError
from ops.sandbox.postgres import private_postgres
from ops.sandbox.rabbitmq import private_rabbitmq

RATE = 20.0
LATENCY_SECONDS = 10.0
IDLE_SECONDS = 10.0
FLOOR_SECONDS = 5.0
PARTS = ("drain", "latency", "burst", "scaling", "size", "idle", "floor")


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--websites", type=int, default=1000, help="in a full queue, and in a burst (%(default)s)")
    parser.add_argument("--repeats", type=int, default=5, help="runs of each contestant (%(default)s)")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="measure only these, and drain")
    parser.add_argument("--write", action="store_true", help="write docs/performance.md, .json and .svg")
    return parser.parse_args()


async def measure(servers: Servers, asked: argparse.Namespace) -> Results:
    """Measure everything that was asked for."""
    results = Results(f"{datetime.now(UTC):%Y-%m-%d}", await describe(servers), asked.websites, RATE)
    fewer = max(1, asked.repeats // 2)
    results.drains = await _drains(servers, [NAIVE, SERVICE], asked.repeats, asked.websites)
    if "latency" in asked.only:
        for contestant in in_turn([NAIVE, SERVICE], asked.repeats):
            steady = await latency(servers, contestant, rate=RATE, seconds=LATENCY_SECONDS)
            results.latencies.append(steady)
            say(f"{steady.contestant:>22}  p50 {steady.p50:6.1f} ms, p99 {steady.p99:6.1f} ms")
    if "burst" in asked.only:
        for contestant in in_turn([NAIVE, FIFO, SERVICE], asked.repeats):
            came = await burst(servers, contestant, asked.websites, retry=contestant != NAIVE)
            results.bursts.append(came)
            say(
                f"{came.contestant:>22}  live after {came.first:.2f} s, on average {came.mean:.2f}, all {came.last:.2f}"
            )
    await _scale(servers, asked, results)
    if "idle" in asked.only:
        results.idle = [await idle(servers, contestant, seconds=IDLE_SECONDS) for contestant in (NAIVE, SERVICE)]
    if "floor" in asked.only:
        for websites in (1, 16) * fewer:
            alone = await floor(servers, websites=websites, seconds=FLOOR_SECONDS)
            results.floors.append(alone)
            say(f"{'PostgreSQL alone':>22}  {alone.rate:7,.0f} transitions/s, {alone.websites} a transaction")
    return results


async def _scale(servers: Servers, asked: argparse.Namespace, results: Results) -> None:
    """Measure what batches, processes, and what is stored already, change in a drain."""
    if "scaling" in asked.only:
        fewer = max(1, asked.repeats // 2)
        batches = [SERVICE.having(f"service, {size} a transaction", BATCH_SIZE=size) for size in (1, 4, 16, 32, 96)]
        results.scaling = await _drains(servers, batches, fewer, asked.websites)
        pairs = [NAIVE.having("naive, 2 processes"), SERVICE.having("service, 2 processes")]
        results.scaling += await _drains(servers, pairs, fewer, asked.websites, processes=2)
    if "size" in asked.only:
        results.sizes = [_told(done) async for done in sizes(servers, asked.repeats, asked.websites)]


async def _drains(
    servers: Servers, contestants: Sequence[Contestant], repeats: int, websites: int, *, processes: int = 1
) -> list[Drain]:
    return [
        _told(await drain(servers, contestant, websites, processes=processes))
        for contestant in in_turn(contestants, repeats)
    ]


def _told(done: Drain) -> Drain:
    say(f"{done.contestant:>22}  {done.rate:7,.0f} transitions/s, {done.cpu_ms().total:5.2f} CPU-ms each")
    return done


def say(line: str) -> None:
    """Tell whoever waits how far it is."""
    print(line, file=sys.stderr, flush=True)


def write(results: Results, folder: Path) -> None:
    """Write the page, its chart, and every single run."""
    (folder / "performance.md").write_text(page(results))
    (folder / "performance.svg").write_text(chart(results.drains))
    (folder / "performance.json").write_text(results.as_json())


def main() -> int:
    """Run it; return 0 if every run was exact."""
    asked, began = arguments(), time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="provisioner-bench-"))
    try:
        with private_postgres() as postgres, private_rabbitmq() as rabbitmq:
            results = asyncio.run(measure(Servers(postgres, rabbitmq, folder), asked))
    except (LocalServerError, NotExactError) as error:
        say(f"bench: {error}")
        return 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(page(results))
    if asked.write:
        write(results, ROOT / "docs")
        say("written: docs/performance.md, docs/performance.svg, docs/performance.json")
    say(f"took {time.monotonic() - began:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
