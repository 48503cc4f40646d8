"""docs/performance.md out of results: tables of medians and spreads, and whether each goal is met. Pure."""

from collections.abc import Callable, Iterable, Sequence

from bench.arena import FIFO, NAIVE, SERVICE
from bench.drain import Drain
from bench.figures import Spread, by_name, ratios, spread
from bench.results import Results
from bench.size import LARGE, SMALL, WHOLE

PARTS = ("workers", "postgres", "rabbitmq", "total")
LogRow = tuple[str, ...]

INTRODUCTION = (
    "Written by `make bench`: the last run, as it came out. Every figure is a median, with the smallest and the "
    "largest run in brackets. Contestants take turns, on servers that the benchmark starts for itself and that share "
    "the machine with everything else on it: absolute figures depend on all that, ratios hardly."
)
CONTESTANTS = (
    "**naive** is [bench/naive.py](../bench/naive.py): one message, one transaction, by hand with aio-pika and "
    "asyncpg, no events, no deduplication, no retries, no logs; it writes the same rows. **service** is `provisioner "
    "worker` as it ships: log, events, admission, dispatcher, JSON logs into a file. After each run all websites must "
    "be live, with a log row for each step and every row of their packs once, and the queues empty, or the benchmark "
    "fails."
)


def page(results: Results) -> str:
    """Return the page."""
    parts = [
        "# Performance",
        INTRODUCTION,
        table(("", ""), [*results.machine.items(), ("measured on", results.day)]),
        CONTESTANTS,
        "![Transitions a second, and CPU of a transition](performance.svg)",
        _goals(results),
        _drained(results),
        _latency(results),
        _burst(results),
        _scaling(results),
        _sized(results),
        _idle(results),
        _floor(results),
        "Every single run: [performance.json](performance.json).",
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def table(head: LogRow, rows: Iterable[LogRow]) -> str:
    """Return a table, its first column to the left and all others to the right."""
    lines = [head, tuple("---" if not place else "---:" for place in range(len(head))), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _of(runs: Sequence[Drain], figure: Callable[[Drain], float]) -> Spread:
    return spread(figure(run) for run in runs)


def cpu_of(part: str) -> Callable[[Drain], float]:
    """Return a function from a run to the CPU milliseconds of a transition that a part has used."""
    return lambda run: float(getattr(run.cpu_ms(), part))


def _goals(results: Results) -> str:
    """Compare with the goals that the project has set itself."""
    drains = by_name(results.drains, lambda run: run.contestant)
    naive, service = drains[NAIVE.name], drains[SERVICE.name]
    rate = ratios([run.rate for run in service], [run.rate for run in naive])
    cpu = ratios([cpu_of("total")(run) for run in service], [cpu_of("total")(run) for run in naive])
    rows = [
        ("transitions a second, to naive's", "≥ 3", rate.told(2), _met(rate.median >= 3)),
        ("all CPU of a transition, to naive's", "≤ 0.30", cpu.told(2), _met(cpu.median <= 0.30)),
    ]
    latencies = by_name(results.latencies, lambda run: run.contestant)
    if latencies:
        for name in ("p50", "p99"):
            both = [[getattr(run, name) for run in latencies[who]] for who in (SERVICE.name, NAIVE.name)]
            found = ratios(*both)
            what = f"{name} of signup to live, at {results.rate:g} websites a second, to naive's"
            rows.append((what, "≤ 0.7", found.told(2), _met(found.median <= 0.7)))
    bursts = by_name(results.bursts, lambda run: run.contestant)
    if bursts:
        ours, line = bursts[SERVICE.name], bursts[FIFO.name]
        mean = ratios([run.mean for run in ours], [run.mean for run in line])
        first = spread(run.first * 1000 for run in ours)
        overtaken = spread(100 * (run.overtaken or 0) for run in ours)
        rows += [
            ("burst: mean time to live, to one queue's", "≤ 0.6", mean.told(2), _met(mean.median <= 0.6)),
            ("burst: first website live after, ms", "≤ 100", first.told(), _met(first.median <= 100)),
            (
                "burst: a retried website is live before, % of the burst",
                "> 0",
                overtaken.told(),
                _met(overtaken.low > 0),
            ),
        ]
    memory = _of(service, lambda run: run.rss_mib)
    rows.append(("largest resident memory of a worker process, MiB", "≤ 64", memory.told(), _met(memory.high <= 64)))
    if results.sizes:
        rows.append(_flat(results))
    ours_idle = [run for run in results.idle if run.contestant == SERVICE.name]
    if ours_idle:
        idle = spread(run.worker_percent for run in ours_idle)
        rows.append(("idle worker, % of a core", "< 1", idle.told(2), _met(idle.median < 1)))
    return "## Goals\n\n" + table(("what", "goal", "measured", ""), rows)


def _flat(results: Results) -> tuple[str, str, str, str]:
    """Compare the cost of a transition beside much with that beside little."""
    little, much = by_name(results.sizes, lambda run: run.contestant).values()
    found = ratios([cpu_of("total")(run) for run in much], [cpu_of("total")(run) for run in little])
    what = f"all CPU of a transition beside {LARGE:,} websites, to {SMALL:,}"
    return (what, "≤ 1.10", found.told(2), _met(found.median <= 1.10))


def _met(yes: bool) -> str:  # noqa: FBT001 - one word for one word
    return "met" if yes else "**missed**"


def _drained(results: Results) -> str:
    drains = by_name(results.drains, lambda run: run.contestant)
    rows = [
        (
            name,
            _of(runs, lambda run: run.rate).told(),
            *(_of(runs, cpu_of(part)).told(2) for part in PARTS),
            _of(runs, lambda run: run.rss_mib).told(),
        )
        for name, runs in drains.items()
    ]
    head = ("", "transitions/s", "workers, CPU-ms each", "PostgreSQL", "RabbitMQ", "all", "MiB")
    return f"## A full queue: {results.websites:,} websites, one worker process\n\n" + table(head, rows)


def _latency(results: Results) -> str:
    if not results.latencies:
        return ""
    rows = [
        (name, spread(run.p50 for run in runs).told(), spread(run.p99 for run in runs).told())
        for name, runs in by_name(results.latencies, lambda run: run.contestant).items()
    ]
    title = f"## {results.rate:g} signups a second: from published to live\n\n"
    return title + table(("", "p50, ms", "p99, ms"), rows)


def _burst(results: Results) -> str:
    if not results.bursts:
        return ""
    rows: list[LogRow] = []
    for name, runs in by_name(results.bursts, lambda run: run.contestant).items():
        known = [run for run in runs if run.retried is not None and run.overtaken is not None]
        rows.append(
            (
                name,
                *(spread(getattr(run, what) for run in runs).told(2) for what in ("first", "mean", "last")),
                spread(run.retried or 0 for run in known).told(2) if known else "–",
                spread(100 * (run.overtaken or 0) for run in known).told() if known else "–",
            )
        )
    text = (
        f"{results.websites:,} signups at once on an idle system, in seconds since the first was published. *one "
        "queue* is the service with its signups in the same queue as its commands: first in, first out. When a "
        "quarter is live, ops retry a failed website."
    )
    head = ("", "first live", "mean", "last live", "retried website took", "% of the burst that it overtook")
    return f"## A burst\n\n{text}\n\n" + table(head, rows)


def _scaling(results: Results) -> str:
    if not results.scaling:
        return ""
    rows = [
        (name, _of(runs, lambda run: run.rate).told(), *(_of(runs, cpu_of(part)).told(2) for part in PARTS))
        for name, runs in by_name(results.scaling, lambda run: run.contestant).items()
    ]
    head = ("", "transitions/s", "workers, CPU-ms each", "PostgreSQL", "RabbitMQ", "all")
    return "## Processes, and messages a transaction\n\n" + table(head, rows)


def _sized(results: Results) -> str:
    if not results.sizes:
        return ""
    named = by_name(results.sizes, lambda run: run.contestant)
    rows = [
        (name, _of(runs, lambda run: run.rate).told(), *(_of(runs, cpu_of(part)).told(2) for part in PARTS))
        for name, runs in named.items()
    ]
    little, much = named.values()
    figures = [lambda run: run.rate, *map(cpu_of, PARTS)]
    rows.append(("ratio", *(ratios([of(run) for run in much], [of(run) for run in little]).told(2) for of in figures)))
    text = (
        f"{results.websites:,} websites worked off in databases where so many were live before, each with a user, an "
        f"agency and a row of the log, one of {WHOLE} with all the rows of a pack; the disk at rest."
    )
    head = ("", "transitions/s", "workers, CPU-ms each", "PostgreSQL", "RabbitMQ", "all")
    return f"## Little and much in the database\n\n{text}\n\n" + table(head, rows)


def _idle(results: Results) -> str:
    if not results.idle:
        return ""
    rows = [
        (
            run.contestant,
            f"{run.worker_percent:.2f}",
            f"{run.postgres_percent:.2f}",
            f"{run.rabbitmq_percent:.2f}",
            f"{run.statements:.1f}",
        )
        for run in results.idle
    ]
    head = ("", "worker, % of a core", "PostgreSQL", "RabbitMQ", "statements a second")
    return "## Nothing to do\n\n" + table(head, rows)


def _floor(results: Results) -> str:
    if not results.floors:
        return ""
    rows = [
        (
            f"{websites} a transaction",
            spread(run.rate for run in runs).told(),
            spread(run.cpu_ms for run in runs).told(2),
        )
        for websites, runs in by_name(results.floors, lambda run: str(run.websites)).items()
    ]
    text = "pgbench writes the same rows by the same steps: no Python, no broker, eight clients."
    return f"## The floor: PostgreSQL alone\n\n{text}\n\n" + table(
        ("", "transitions/s", "PostgreSQL, CPU-ms each"), rows
    )
