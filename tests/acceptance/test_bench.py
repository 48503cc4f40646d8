"""The benchmark's harness: it counts exactly, it notices what is not exact, and its yardstick does the same work."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.arena import NAIVE, SERVICE, NotExact, Servers, in_turn, running
from bench.drain import drain
from bench.exactness import STEPS, check
from bench.figures import percentile, ratios, spread
from bench.meter import cpu_seconds, peak_rss_mib
from ops.local_servers import PostgresServer, RabbitServer

WEBSITES = 20


@pytest.fixture
def servers(postgres: PostgresServer, rabbitmq: RabbitServer, tmp_path: Path) -> Servers:
    """The servers of this test run, with a folder of this test's for logs."""
    return Servers(postgres, rabbitmq, tmp_path)


@pytest.mark.parametrize("contestant", [NAIVE, SERVICE], ids=lambda contestant: contestant.name)
async def test_a_drain_is_counted_exactly(servers: Servers, contestant) -> None:
    """Each website of the queue is taken through its seven transitions once, and every part has used CPU."""
    done = await drain(servers, contestant, WEBSITES)
    assert done.transitions == WEBSITES * STEPS
    assert done.seconds > 0
    assert done.cpu.workers > 0
    assert done.cpu.total >= done.cpu.workers
    assert done.rss_mib > 10


async def test_a_run_that_is_not_exact_does_not_count(servers: Servers) -> None:
    """A log row too few, and a link too many, are both named."""
    async with running(servers, NAIVE) as run:
        await run.stop()
        await check(run)
        await run.connection.execute("DELETE FROM provisioning_transitions WHERE website_id = 7 AND seq = 3")
        await run.connection.execute(
            "INSERT INTO pwb_links (website_id, slug, created_at, updated_at) VALUES (7, 'odd', now(), now())"
        )
        with pytest.raises(NotExact, match=r"63 of 64 histories .*; \d+ rows in pwb_links, expected \d+"):
            await check(run)


def test_cpu_of_children_that_ended_is_counted() -> None:
    """A child that has burnt CPU and is gone is still in the sum of its parent's tree."""
    before = cpu_seconds(os.getpid())
    subprocess.run([sys.executable, "-c", "sum(range(10_000_000))"], check=True)
    assert cpu_seconds(os.getpid()) - before >= 0.05
    assert peak_rss_mib(os.getpid()) > 10


def test_turns_are_interleaved() -> None:
    """Each goes first as often as the other."""
    assert [contestant.name for contestant in in_turn([NAIVE, SERVICE], 2)] == ["naive", "service", "service", "naive"]


def test_figures() -> None:
    """Median, range, ratio of neighbours, percentile."""
    assert spread([3, 1, 2]).told() == "2 (1–3)"
    assert ratios([3, 8], [1, 2]).told(1) == "3.5 (3.0–4.0)"
    assert [percentile(range(1, 101), share) for share in (0.5, 0.99, 1)] == [50, 99, 100]
