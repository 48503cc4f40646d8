"""Alert rules, dashboard and docs/operations.md name only what workers really tell, and every alert has its entry."""

import json
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml
from prometheus_client.parser import text_string_to_metric_families

from consumer.app import App
from consumer.broker.protocol import QueueCounts
from consumer.config import Settings
from consumer.monitoring.cluster_metrics import Snapshot
from consumer.telemetry.metrics import OUTCOMES
from ops.cli.main import main
from ops.workers.health_aggregator import HealthAggregator
from statemachine import State
from tests.contract.faulty_broker import FaultyMemoryBroker
from tests.factories import TOPOLOGY
from tests.system_packages import program

ROOT = Path(__file__).parents[2]
RULES_FILE = ROOT / "deploy" / "monitoring" / "alerts.yml"
GROUPS = yaml.safe_load(RULES_FILE.read_text())["groups"]
RULES = [rule for group in GROUPS for rule in group["rules"]]
DASHBOARD = json.loads((ROOT / "deploy" / "monitoring" / "dashboard.json").read_text())
PAGE = (ROOT / "docs" / "operations.md").read_text()
ENTRIES = dict(re.findall(r"^## (Provisioner\w+)\n\n(.*?)(?=\n## |\Z)", PAGE, re.MULTILINE | re.DOTALL))
OF_RABBITMQ = {
    "rabbitmq_alarms_memory_used_watermark",
    "rabbitmq_alarms_free_disk_space_watermark",
    "rabbitmq_global_messages_dead_lettered_delivery_limit_total",
}
"""What RabbitMQ's own plugin tells."""
FIRING = {
    "ProvisionerNotConsuming": {"provisioner_registered": "0x60"},
    "ProvisionerPaused": {'provisioner_paused{what="database"}': "1x60"},
    "ProvisionerPauseForgotten": {'provisioner_paused{what="operator"}': "1x60"},
    "ProvisionerProcessMissing": {"provisioner_processes": "1x60", "provisioner_processes_wanted": "2x60"},
    "ProvisionerProcessesDie": {"provisioner_process_deaths_total": "0x20 1x40"},
    "ProvisionerOldestOwed": {"provisioner_oldest_owed_seconds": "200+15x60"},
    "ProvisionerOverdue": {"provisioner_overdue_seconds": "61+15x60"},
    "ProvisionerStuck": {"provisioner_stuck_websites": "1x60"},
    "ProvisionerDeadLetters": {'provisioner_dead_letters_written_total{reason="poison"}': "0x20 1x40"},
    "ProvisionerManyDeadLetters": {'provisioner_dead_letters_written_total{reason="poison"}': "0+1x60"},
    "ProvisionerDeadLettersForgotten": {'provisioner_queue_messages{queue="dead-letters"}': "1x60"},
    "ProvisionerFailures": {'provisioner_deliveries_total{outcome="refused"}': "0+1x60"},
    "ProvisionerFallbacks": {'provisioner_fallbacks_total{step="links"}': "0x20 1x40"},
    "ProvisionerRescues": {"provisioner_rescued_total": "0x20 1x40"},
    "ProvisionerSlowToLive": {
        'provisioner_time_to_live_seconds_bucket{le="60"}': "0x60",
        'provisioner_time_to_live_seconds_bucket{le="300"}': "0+1x60",
        'provisioner_time_to_live_seconds_bucket{le="+Inf"}': "0+1x60",
    },
    "ProvisionerSignupsWait": {
        'provisioner_signup_wait_seconds_bucket{le="60"}': "0x60",
        'provisioner_signup_wait_seconds_bucket{le="300"}': "0+1x60",
        'provisioner_signup_wait_seconds_bucket{le="+Inf"}': "0+1x60",
    },
    "ProvisionerRedelivered": {
        "provisioner_redelivered_total": "0+1x60",
        'provisioner_deliveries_total{outcome="advanced"}': "0+10x60",
    },
    "ProvisionerDuplicates": {
        'provisioner_deliveries_total{outcome="advanced"}': "0+10x60",
        'provisioner_deliveries_total{outcome="already_done"}': "0+1x60",
    },
    "ProvisionerCensusMissing": {"provisioner_census_timestamp_seconds": "0x60"},
    "ProvisionerPoolWait": {
        'provisioner_pool_wait_seconds_bucket{le="1"}': "0x60",
        'provisioner_pool_wait_seconds_bucket{le="2.5"}': "0+1x60",
        'provisioner_pool_wait_seconds_bucket{le="+Inf"}': "0+1x60",
    },
    "ProvisionerLockWait": {
        'provisioner_lock_seconds_bucket{le="1"}': "0x60",
        'provisioner_lock_seconds_bucket{le="2.5"}': "0+1x60",
        'provisioner_lock_seconds_bucket{le="+Inf"}': "0+1x60",
    },
    "ProvisionerLongTransaction": {"provisioner_oldest_transaction_seconds": "21+15x60"},
    "ProvisionerBlocked": {"provisioner_broker_blocked": "1x60"},
    "ProvisionerBrokerAlarm": {"rabbitmq_alarms_memory_used_watermark": "1x60"},
    "ProvisionerReconnects": {'provisioner_connections_total{connection="consumer"}': "0+1x60"},
    "ProvisionerUnknownAnswers": {
        'provisioner_published_total{answer="unknown"}': "0+1x60",
        'provisioner_published_total{answer="confirmed"}': "0+10x60",
    },
    "ProvisionerUnroutable": {'provisioner_published_total{answer="unroutable"}': "0x45 1x15"},
    "ProvisionerDeliveryLimit": {"rabbitmq_global_messages_dead_lettered_delivery_limit_total": "0x20 1x40"},
}
"""Series, a sample every 15 s, by which each alert fires after a quarter of an hour."""


@pytest_asyncio.fixture
async def told() -> dict[str, set[str]]:
    """The names of everything that a worker and a parent of workers tell, with their labels."""
    app = App(Settings(amqp_url="inprocess://", http_port=0), broker=FaultyMemoryBroker())
    owed = dict.fromkeys(("owed", "due", "waiting", "stuck", "oldest_seconds", "overdue_seconds"), 0.0)
    queues = {queue.name: QueueCounts(0, 0) for queue in TOPOLOGY.queues}
    app.cluster_metrics.snapshot = Snapshot(dict.fromkeys(State, 0), owed, 0, 0.0, queues, 0.0, 0.0)
    assert app.http_server
    worker = await app.http_server._routes["/metrics"]()
    parent = await HealthAggregator(Path("/nowhere"), 2).routes["/metrics"]()
    endings = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}
    return {
        f"{family.name}{ending}": {label for sample in family.samples for label in sample.labels}
        for text in (worker.body.decode(), parent.body.decode())
        for family in text_string_to_metric_families(text)
        for ending in endings.get(family.type, ("",))
    }


def named_in(expression: str) -> set[str]:
    """Return the metrics that an expression names."""
    return set(re.findall(r"\b(?:provisioner|process|rabbitmq)_\w+", expression)) - {"process_"}


EXPRESSIONS = {
    **{rule["alert"]: rule["expr"] for rule in RULES},
    **{
        f"{panel['title']} {target['refId']}": target["expr"]
        for panel in DASHBOARD["panels"]
        for target in panel.get("targets", ())
    },
}


def test_every_metric_of_rules_and_dashboard_exists(told: dict[str, set[str]]) -> None:
    """A rule about a metric that nobody tells would never fire."""
    assert len(EXPRESSIONS) > 60
    strangers = {what: named_in(text) - set(told) - OF_RABBITMQ for what, text in EXPRESSIONS.items()}
    assert not {what: names for what, names in strangers.items() if names}
    assert all(named_in(text) for text in EXPRESSIONS.values())


def test_every_label_that_is_asked_for_exists(told: dict[str, set[str]]) -> None:
    """A matcher with a label or an outcome that is not there would match nothing."""
    matcher = r'(provisioner_\w+)\{(\w+)="([^"]+)"'
    asked = [found for text in EXPRESSIONS.values() for found in re.findall(matcher, text)]
    assert len(asked) > 5
    assert not [(name, label) for name, label, _ in asked if label not in told[name]]
    assert {value for _, label, value in asked if label == "outcome"} <= set(OUTCOMES.values())
    assert {value for _, label, value in asked if label == "state"} <= set(State)


def test_every_metric_is_on_the_page_and_on_the_dashboard(told: dict[str, set[str]]) -> None:
    """What is told can be looked up, and is shown somewhere."""
    ours = {re.sub(r"_(bucket|sum|count)$", "", name) for name in told if name.startswith("provisioner_")}
    documented = {f"provisioner_{name}" for name in re.findall(r"`([a-z_]+)(?:\{[a-z,]+\})?`", PAGE)}
    assert not ours - documented
    shown = {re.sub(r"_(bucket|sum|count)$", "", name) for text in EXPRESSIONS.values() for name in named_in(text)}
    assert not ours - shown


def test_every_alert_has_its_entry_and_every_entry_its_alert() -> None:
    """In the same order, with a meaning, a first look and a command that exists; the rule links to it."""
    assert [*ENTRIES] == [rule["alert"] for rule in RULES]
    for rule in RULES:
        entry = ENTRIES[rule["alert"]]
        assert rule["annotations"]["runbook"] == f"docs/operations.md#{rule['alert'].lower()}"
        assert rule["annotations"]["summary"].endswith(".")
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert "**Meaning.** " in entry
        assert "**First look.** " in entry
        (command,) = re.findall(r"^    (\S.*)$", entry, re.MULTILINE)
        program, *arguments = shlex.split(command)
        assert program in ("provisioner", "psql", "rabbitmq-diagnostics")
        if program == "provisioner":
            main.make_context("provisioner", arguments, resilient_parsing=True)
            assert arguments[0] in main.commands


def test_every_alert_is_tried() -> None:
    """Each has series by which it fires, and no other has."""
    assert [*FIRING] == [rule["alert"] for rule in RULES]


@pytest.fixture
def promtool() -> str:
    """Where Prometheus's own tool is."""
    return str(program("promtool"))


def test_the_rules_in_promtool(promtool: str, tmp_path: Path) -> None:
    """In Prometheus's own tool the rules parse, and each alert fires on its series and not before."""
    subprocess.run([promtool, "check", "rules", RULES_FILE], check=True, capture_output=True)
    (tmp_path / "alerts.test.yml").write_text(yaml.safe_dump({
        "rule_files": [str(RULES_FILE)],
        "evaluation_interval": "15s",
        "tests": [healthy(), *map(firing, RULES)],
    }))  # fmt: skip
    command = [promtool, "test", "rules", "alerts.test.yml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def firing(rule: dict[str, Any]) -> dict[str, Any]:
    """Return promtool's test of one alert: it fires after a quarter of an hour of its series, with its annotations."""
    by = re.match(r"(?:max|sum) by \((.*?)\)", rule["expr"])
    kept = re.findall(r"\w+", by[1]) if by else []
    named = re.findall(r'(\w+)="([^"]+)"', " ".join(FIRING[rule["alert"]]))
    labels = rule["labels"] | {label: value for label, value in named if label in kept}
    return trial(
        FIRING[rule["alert"]], {rule["alert"]: [{"exp_labels": labels, "exp_annotations": rule["annotations"]}]}
    )


def healthy() -> dict[str, Any]:
    """Return promtool's test of a system in which all is well: no alert fires."""
    series = dict.fromkeys((name for one in FIRING.values() for name in one), "0x60")
    series |= dict.fromkeys((name for name in series if re.search(r"_bucket|advanced|confirmed", name)), "0+1x60")
    series |= {"provisioner_registered": "1x60", "provisioner_census_timestamp_seconds": "0+15x60"}
    series |= dict.fromkeys(("provisioner_processes", "provisioner_processes_wanted"), "2x60")
    return trial(series, {rule["alert"]: [] for rule in RULES})


def trial(series: dict[str, str], alerts: dict[str, list[Any]]) -> dict[str, Any]:
    """Return a test of promtool's: series, and which alerts fire after a quarter of an hour."""
    return {
        "interval": "15s",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "alert_rule_test": [
            {"eval_time": "15m", "alertname": name, "exp_alerts": expected} for name, expected in alerts.items()
        ],
    }
