"""docs/peers.md out of results: medians and spreads, what each loses under SIGKILL, and what is fair about it. Pure."""

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from bench.arena import NAIVE
from bench.drain import Drain
from bench.figures import by_name, ratios, spread
from bench.latency import Latency
from bench.page import cpu_of, table
from bench.peers.killing import KILLS, Killing
from bench.results import rounded

PARTS = ("workers", "postgres", "rabbitmq", "total")

INTRODUCTION = (
    "Written by `make peers`, out of every single run in [peers.json](peers.json). Frameworks that exist do the work "
    "of [bench/naive.py](../bench/naive.py), one transition a step, by the same statements, each in the idiom "
    "that its own pages teach: [bench/peers/](../bench/peers/), one module each. Every contestant has two workers, "
    "each a process tree of its own; all of them, the broker, the database and the signup system share the machine. "
    "Figures are medians, the smallest and the largest run in brackets; contestants take turns, and ratios are of "
    "runs that stood side by side. A run counts only if it was exact: every website live, a log row for each step, "
    "every row of its pack once, no message left."
)


@dataclass(slots=True)
class PeerResults:
    """What was measured so far."""

    day: str
    machine: dict[str, str]
    versions: dict[str, str]
    """What is installed for whom: "celery" → "celery 5.7.0, …"."""
    brokers: dict[str, str]
    does: dict[str, str]
    """What each contestant does more or less than others."""
    websites: int
    kill_websites: int
    rate: float
    drains: list[Drain] = field(default_factory=list)
    latencies: list[Latency] = field(default_factory=list)
    killings: list[Killing] = field(default_factory=list)

    def as_json(self) -> str:
        """Return everything, every single run."""
        return json.dumps(rounded(dataclasses.asdict(self)), ensure_ascii=False, indent=1) + "\n"


def page(results: PeerResults) -> str:
    """Return the page."""
    parts = [
        "# Peers",
        INTRODUCTION,
        table(("", ""), [*results.machine.items(), ("measured on", results.day)]),
        _drained(results),
        _latency(results),
        _killed(results),
        _fairness(results),
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def _drained(results: PeerResults) -> str:
    named = by_name(results.drains, lambda run: run.contestant)
    if not named:
        return ""
    yardstick = [run.rate for run in named.get(NAIVE.name, [])]
    rows = [
        (
            name,
            spread(run.rate for run in runs).told(),
            ratios([run.rate for run in runs], yardstick).told(2) if len(yardstick) == len(runs) else "–",
            *(spread(map(cpu_of(part), runs)).told(2) for part in PARTS),
            spread(run.rss_mib for run in runs).told(),
        )
        for name, runs in named.items()
    ]
    head = ("", "transitions/s", "× naive", "workers, CPU-ms each", "PostgreSQL", "RabbitMQ", "all", "MiB")
    text = (
        "A queue that is full before it begins. MiB is what all processes of both workers have resident, pages that "
        "several share counted once (PSS)."
    )
    return f"## A full queue: {results.websites:,} websites, two workers\n\n{text}\n\n{table(head, rows)}"


def _latency(results: PeerResults) -> str:
    named = by_name(results.latencies, lambda run: run.contestant)
    if not named:
        return ""
    rows = [
        (name, spread(run.p50 for run in runs).told(), spread(run.p99 for run in runs).told())
        for name, runs in named.items()
    ]
    title = f"## {results.rate:g} signups a second: from handed over to live"
    return f"{title}\n\n{table(('', 'p50, ms', 'p99, ms'), rows)}"


def _killed(results: PeerResults) -> str:
    named = by_name(results.killings, lambda run: run.contestant)
    if not named:
        return ""
    text = (
        f"A full queue of {results.kill_websites:,} websites and two workers. Each time another seventh of all "
        f"transitions is in the log, one of the workers is killed with all its processes, {KILLS} times in all, and "
        "started again at once. Both stand still (SIGSTOP) for the second in which it is counted what they have in "
        "hand; a run counts only if every kill struck processes that were alive, was answered with −9, and left none. "
        "When all is live or nothing has moved for longer than any timer that the contestant has, it is counted: "
        "*stuck* websites have a row and will never be live, *lost* ones have no row, *doubled* and *missing* are rows "
        "of log and packs beyond or below what a website's state stands for. *In hand* is what the killed worker had "
        "taken and not given back: messages unacknowledged, or workflows pending. *After the last kill* is how long "
        "transitions went on. Sums over all runs, and single runs in brackets."
    )
    head = (
        *("", "runs", "kills that struck", "in hand, a kill", "stuck for ever", "lost", "doubled", "missing"),
        *("dead letters", "after the last kill, s"),
    )
    return f"## {KILLS} × SIGKILL\n\n{text}\n\n{table(head, [_killed_row(name, runs) for name, runs in named.items()])}"


def _killed_row(name: str, runs: Sequence[Killing]) -> tuple[str, ...]:
    return (
        name,
        str(len(runs)),
        str(sum(run.struck for run in runs)),
        spread(stroke.in_hand for run in runs for stroke in run.strokes).told(),
        _summed(run.reckoning.stuck for run in runs),
        _summed(run.reckoning.lost for run in runs),
        _summed(run.reckoning.doubled for run in runs),
        _summed(run.reckoning.missing for run in runs),
        _summed(run.dead_letters for run in runs),
        spread(run.moved_for for run in runs).told(1),
    )


def _summed(counts: Iterable[int]) -> str:
    known = list(counts)
    total = f"**{sum(known):,}**" if any(known) else "0"
    return f"{total} ({', '.join(map(str, known))})" if len(known) > 1 else total


def _fairness(results: PeerResults) -> str:
    rows = [(name, results.versions[name], results.brokers[name], does) for name, does in results.does.items()]
    return f"## Who does what\n\n{_left_table(('', 'with', 'on', 'does'), rows)}\n\n{FAIRNESS}"


def _left_table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, ("---",) * len(head), *rows))


FAIRNESS = """\
- Nobody but **service** publishes events or has rescues, and nobody but it and DBOS remembers what was done: the others
  do less.
- Their SQL is naive's: six to nine statements a step, each a round trip. With the service's set-based statements they
  would be faster, but none of them hands a task more than one message in the way its pages teach.
- All run on the standard event loop or on threads: no uvloop for anybody.
- The service has been tuned far more than the peers: of two or three settings of concurrency and prefetch for each of
  them (`--tune`), the fastest in one run is here. DBOS has 16 workflows a worker; with 8 it was × 1.02 as fast.
- How many are stuck depends on chance, and on how many steps are under way in a worker: compare none with some, not 6
  with 14.
- A worker killed between its COMMIT and its next publish leaves a message that comes back and finds its step done.
  Whether the next one is then sent is the whole difference: the tasks written as naive is drop it; a `chain` or a
  `pipeline`, a durable workflow, and the service go on. Anybody can write the former so that they go on, too."""


def names(machine: Mapping[str, str]) -> dict[str, str]:
    """Return what describes the machine, less the libraries, which stand at those who use them."""
    kept = ("processor", "memory", "system", "Python", "PostgreSQL", "RabbitMQ")
    return {name: machine[name] for name in kept}
