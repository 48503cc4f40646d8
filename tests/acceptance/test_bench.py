"""The benchmark's harness: it counts exactly, it notices what is not exact, and its yardstick does the same work."""

import json
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from bench.arena import FIFO, NAIVE, SERVICE, NotExactError, Servers, in_turn, running
from bench.burst import Burst
from bench.chart import chart
from bench.drain import drain
from bench.exactness import STEPS, check
from bench.figures import percentile, ratios, spread
from bench.floor import Floor
from bench.idle import Idle
from bench.latency import Latency
from bench.machine import describe
from bench.meter import cpu_seconds, peak_rss_mib
from bench.page import page
from bench.results import Results
from bench.size import filled
from ops.sandbox.postgres import PostgresServer
from ops.sandbox.rabbitmq import RabbitServer

WEBSITES = 20
WRITTEN = (
    "SELECT subdomain, site_type, owner_email, provisioning_state, provisioning_seq FROM pwb_websites",
    "SELECT website_id, seq, trigger, from_state, to_state FROM provisioning_transitions",
    "SELECT email, first_names, last_names, website_id FROM pwb_users",
    "SELECT m.website_id, email, role, active FROM pwb_user_memberships AS m JOIN pwb_users AS u ON u.id = user_id",
    "SELECT website_id, display_name, email_primary, phone_number_primary FROM pwb_agencies",
    "SELECT to_jsonb(l) - '{id,created_at,updated_at}'::text[] FROM pwb_links AS l",
    "SELECT to_jsonb(k) - '{id,created_at,updated_at}'::text[] FROM pwb_field_keys AS k",
    "SELECT to_jsonb(a) - '{id,created_at,updated_at}'::text[] FROM pwb_realty_assets AS a",
    (
        "SELECT to_jsonb(s) - '{id,realty_asset_id,created_at,updated_at}'::text[] || jsonb_build_object('of', slug) "
        "FROM pwb_sale_listings AS s JOIN pwb_realty_assets AS a ON a.id = realty_asset_id"
    ),
    (
        "SELECT to_jsonb(r) - '{id,realty_asset_id,created_at,updated_at}'::text[] || jsonb_build_object('of', slug) "
        "FROM pwb_rental_listings AS r JOIN pwb_realty_assets AS a ON a.id = realty_asset_id"
    ),
)


@pytest.fixture
def servers(postgres: PostgresServer, rabbitmq: RabbitServer, tmp_path: Path) -> Servers:
    """The servers of this test run, with a folder of this test's for logs."""
    return Servers(postgres, rabbitmq, tmp_path)


async def test_a_drain_is_counted_exactly_and_told(servers: Servers) -> None:
    """Each website of the queue is taken through its steps once; page, chart and JSON say so, and name no path."""
    drains = [await drain(servers, contestant, WEBSITES) for contestant in (NAIVE, SERVICE)]
    for done in drains:
        assert done.transitions == WEBSITES * STEPS
        assert done.cpu.total > done.cpu.workers > 0
        assert done.rss_mib > 10
    latencies = [Latency(contestant.name, [1.0, 2.0]) for contestant in (NAIVE, SERVICE)]
    bursts = [Burst(contestant.name, 0.1, 0.5, 1.0, 0.2, 0.4) for contestant in (NAIVE, FIFO, SERVICE)]
    idle = [Idle(SERVICE.name, 0.1, 0.2, 0.3, 1.0)]
    machine = await describe(servers)
    results = Results(
        "2026-01-01", machine, WEBSITES, 20, drains, drains, drains, latencies, bursts, idle, [Floor(1, 900.0, 1.0)]
    )
    text = page(results)
    assert text.count("\n## ") == 8
    assert "/tmp" not in text + results.as_json()
    assert json.loads(results.as_json())["drains"][0]["transitions"] == WEBSITES * STEPS
    assert ET.fromstring(chart(drains)).tag.endswith("svg")


async def test_a_drain_beside_what_was_there_counts_its_own_only(servers: Servers) -> None:
    """In a copy of a database that is filled, each run is as exact as in an empty one; the original stays as it was."""
    async with filled(servers, 100) as template:
        for _ in range(2):
            assert (await drain(servers, SERVICE, WEBSITES, template=template)).transitions == WEBSITES * STEPS
        async with running(servers, SERVICE, template=template) as run:
            assert run.ids == range(101, 165)
            assert await run.connection.fetchval("SELECT count(*) FROM pwb_links WHERE website_id <= 100") == 36
            await run.stop()
            await run.connection.execute("DELETE FROM pwb_links WHERE id = (SELECT max(id) FROM pwb_links)")
            with pytest.raises(NotExactError, match="rows in pwb_links"):
                await check(run)


async def test_a_run_that_is_not_exact_does_not_count(servers: Servers) -> None:
    """A log row too few, and a link too many, are both named."""
    async with running(servers, NAIVE) as run:
        await run.stop()
        await check(run)
        await run.connection.execute("DELETE FROM provisioning_transitions WHERE website_id = 7 AND seq = 3")
        await run.connection.execute(
            "INSERT INTO pwb_links (website_id, slug, created_at, updated_at) VALUES (7, 'odd', now(), now())"
        )
        with pytest.raises(NotExactError, match=r"63 of 64 histories .*; \d+ rows in pwb_links, expected \d+"):
            await check(run)


async def test_the_yardstick_writes_the_same_rows(servers: Servers) -> None:
    """What naive and service leave in the tables of a website is the same, but for ids and times."""
    found = []
    for contestant in (NAIVE, SERVICE):
        async with running(servers, contestant) as run:
            found.append([sorted(map(str, await run.connection.fetch(question))) for question in WRITTEN])
    assert all(found[0]), "there are rows to compare"
    assert found[0] == found[1]


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
