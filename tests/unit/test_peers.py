"""What bench/peers counts after its kills, and how its page tells it. The frameworks themselves are not needed."""

import json
import signal
import tomllib
from pathlib import Path

from bench.drain import Drain
from bench.latency import Latency
from bench.meter import Cpu
from bench.peers.contestants import FIELD, TUNING
from bench.peers.counting import LOG, SEEDED, Reckoning, reckon, rows_of_packs
from bench.peers.killing import KILLS, Killing
from bench.peers.page import PeerResults, page
from bench.peers.run import Stroke
from statemachine import CHAIN
from tests.factories import STEPS

ROOT = Path(__file__).parents[2]
PACKS = {table: {1: 2, 2: 2, 3: 2} for table in SEEDED}
"""Three websites, with two rows in each table once they are that far."""
STROKE = Stroke(at_step=800, alive=True, returncode=-signal.SIGKILL, left=0, in_hand=30)


def rows(*, live=(), others=None):
    """What is found where some websites are live, and others have so many rows in so many tables."""
    found = {table: dict.fromkeys(live, 2) for table in SEEDED} | {LOG: dict.fromkeys(live, STEPS)}
    for table, counts in (others or {}).items():
        found[table] |= counts
    return found


def killed(**counts):
    """A run of 800 websites in which these were not live."""
    reckoning = Reckoning(928, 928 - sum(counts.values()), **{"stuck": 0, "lost": 0, **counts}, doubled=0, missing=0)
    return Killing("naive", 800, [STROKE] * KILLS, reckoning, dead_letters=0, moved_for=1.5)


def make_results(**measured):
    named = {"naive": "aio-pika 10"}
    return PeerResults("2026-11-29", {"memory": "24 GiB"}, named, named, named, 1000, 800, 20.0, **measured)


def test_all_live_is_exact():
    """Every website is live, with a log row for each step and the rows of its pack."""
    found = reckon(3, dict.fromkeys((1, 2, 3), "live"), rows(live=(1, 2, 3)), PACKS)
    assert found == Reckoning(3, live=3, stuck=0, lost=0, doubled=0, missing=0)
    assert found.exact


def test_a_website_without_a_row_is_lost_and_one_under_way_is_stuck():
    """What a website has by then is neither doubled nor missing."""
    others = {"pwb_users": {2: 2}, "pwb_user_memberships": {2: 2}, LOG: {2: 1}}
    found = reckon(3, {1: "live", 2: "owner_assigned"}, rows(live=(1,), others=others), PACKS)
    assert found == Reckoning(3, live=1, stuck=1, lost=1, doubled=0, missing=0)
    assert not found.exact


def test_rows_beyond_and_below_what_a_state_promises_are_counted():
    """A step that was carried out twice doubles rows, one that was torn misses some: neither hides the other."""
    others = {"pwb_links": {1: 4}, "pwb_field_keys": {2: 1}, LOG: {2: STEPS + 1}}
    found = reckon(2, {1: "live", 2: "live"}, rows(live=(1, 2), others=others), PACKS)
    assert (found.doubled, found.missing) == (2 + 1, 1)
    assert not found.exact


def test_each_seeded_table_belongs_to_a_state_of_the_chain():
    """Otherwise its rows would never be asked for."""
    assert set(SEEDED.values()) <= {str(state) for state in CHAIN}


async def test_every_website_gets_rows_in_every_table():
    """The packs that ship leave no table out, over the three site types together."""
    expected = await rows_of_packs(3)
    assert all(sum(counts.values()) >= 3 for counts in expected.values())


def test_a_kill_that_met_nobody_does_not_count():
    """It struck only if processes were alive, died of that signal, and none is left."""
    assert STROKE.struck
    assert not Stroke(800, alive=False, returncode=-signal.SIGKILL, left=0, in_hand=0).struck
    assert not Stroke(800, alive=True, returncode=0, left=0, in_hand=0).struck
    assert not Stroke(800, alive=True, returncode=-signal.SIGKILL, left=1, in_hand=0).struck


def test_the_page_sums_what_was_lost():
    """Over all runs, single runs beside it."""
    text = page(make_results(killings=[killed(stuck=12), killed(stuck=3, lost=1)]))
    assert "| naive | 2 | 12 | 30 (30–30) | **15** (12, 3) | **1** (0, 1) | 0 (0, 0) |" in text


def test_the_page_leaves_out_what_was_not_measured():
    """No heading without figures."""
    text = page(make_results())
    assert [line for line in text.splitlines() if line.startswith("#")] == ["# Peers", "## Who does what"]


def test_the_page_has_throughput_as_a_ratio_to_naive():
    """A run stands beside the one of the same turn."""
    drains = [Drain(name, 7000, took, Cpu(7.0, 3.5, 1.4), 64.0) for name, took in (("naive", 7.0), ("celery", 14.0))]
    latencies = [Latency("naive", [20.0, 30.0])]
    results = make_results(drains=drains, latencies=latencies)
    assert "| celery | 500 (500–500) | 0.50 (0.50–0.50) | 1.00 (1.00–1.00) |" in page(results)
    assert "| naive | 20 (20–20) | 30 (30–30) |" in page(results)
    assert json.loads(results.as_json())["drains"][1]["contestant"] == "celery"


def test_every_module_of_a_peer_is_there_and_names_differ():
    """A peer's module has a name of its own: one called celery.py would shadow Celery."""
    for peer in (*FIELD, *TUNING):
        assert not peer.module or (ROOT / "bench" / "peers" / f"{peer.module}.py").exists()
    assert len({peer.name for peer in FIELD}) == len(FIELD)


def test_mypy_lets_only_the_peers_go_untyped():
    """The exception names exactly their modules."""
    overrides = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mypy"]["overrides"]
    (lenient,) = [set(rule["module"]) for rule in overrides if "disallow_untyped_decorators" in rule]
    assert lenient == {f"bench.peers.{peer.module}" for peer in FIELD if peer.module}


def test_the_lock_holds_peers_to_the_versions_of_the_project():
    """What both environments have is the same in both, and no line says where it comes from."""
    locked = [
        dict(line.removesuffix(" \\").split("==") for line in text.splitlines() if "==" in line and line[0].isalpha())
        for text in ((ROOT / name).read_text() for name in ("requirements-dev.txt", "bench/peers/requirements.txt"))
    ]
    ours, peers = locked
    assert {name for name in ours.keys() & peers.keys() if ours[name] != peers[name]} == set()
    assert {"celery", "dramatiq", "taskiq", "faststream", "dbos"} <= peers.keys()
    assert not peers.keys() & {"python-statemachine", "statemachine", "ops"}
    assert "://" not in (ROOT / "bench/peers/requirements.txt").read_text()
