"""`python -m bench`: starts servers of its own, lets everybody run in turn, and says what came of it."""

import argparse
import asyncio
import shutil
import sys
import tempfile
from pathlib import Path

from bench.arena import NAIVE, SERVICE, NotExact, Servers, in_turn
from bench.drain import Drain, drain
from bench.figures import by_name, ratios, spread
from ops.local_servers import LocalServerError, ensure_rabbitmq_installed, private_postgres, private_rabbitmq


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--websites", type=int, default=1000, help="websites in a full queue (%(default)s)")
    parser.add_argument("--repeats", type=int, default=5, help="runs of each contestant (%(default)s)")
    return parser.parse_args()


async def measure(servers: Servers, asked: argparse.Namespace) -> None:
    """Measure everything, and tell it."""
    drains: list[Drain] = []
    for contestant in in_turn([NAIVE, SERVICE], asked.repeats):
        done = await drain(servers, contestant, asked.websites)
        drains.append(done)
        print(f"{done.contestant:>20}  {done.rate:7,.0f} transitions/s  {done.cpu_ms().total:5.2f} CPU-ms each")
    tell(drains)


def tell(drains: list[Drain]) -> None:
    """Print medians, spread and ratios."""
    named = by_name(drains, lambda done: done.contestant)
    for name, runs in named.items():
        cpu = [run.cpu_ms() for run in runs]
        print(f"\n{name}: {spread(run.rate for run in runs).told()} transitions/s")
        for part in ("workers", "postgres", "rabbitmq", "total"):
            print(f"  {part:>9} {spread(getattr(each, part) for each in cpu).told(2)} CPU-ms a transition")
        print(f"  {'memory':>9} {spread(run.rss_mib for run in runs).told(0)} MiB a worker process")
    naive, service = named[NAIVE.name], named[SERVICE.name]
    rate = ratios([run.rate for run in service], [run.rate for run in naive])
    cost = ratios([run.cpu_ms().total for run in service], [run.cpu_ms().total for run in naive])
    print(f"\nservice to naive: {rate.told(2)} times the throughput, {cost.told(2)} times the CPU")


def main() -> int:
    """Run it; return 0 if every run was exact."""
    asked = arguments()
    folder = Path(tempfile.mkdtemp(prefix="provisioner-bench-"))
    try:
        ensure_rabbitmq_installed(may_install=True)
        with private_postgres() as postgres, private_rabbitmq() as rabbitmq:
            asyncio.run(measure(Servers(postgres, rabbitmq, folder), asked))
    except (LocalServerError, NotExact) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
