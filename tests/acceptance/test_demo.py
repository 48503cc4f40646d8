"""The demo, on a RabbitMQ and on the broker inside the process: each website where it belongs, nothing left behind."""

import json
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import NoReturn

import pytest

from consumer.broker.memory.broker import MemoryBroker
from ops.cli import demo, demo_servers
from ops.cli.main import main
from ops.errors import EXIT_USAGE
from ops.sandbox.child_process import LocalServerError
from ops.sandbox.rabbitmq import RabbitServer

SECONDS = 60


def test_the_demo_on_rabbitmq(rabbitmq: RabbitServer, tmp_path: Path) -> None:
    """On a RabbitMQ that answers, in a namespace that is gone afterwards; in under a minute."""
    ended = subprocess.run(
        [sys.executable, "-m", "ops", "demo", "--count", "40"],
        env={"PROVISIONER_AMQP_URL": rabbitmq.url, "PATH": "/usr/bin:/bin", "COLUMNS": "160"},
        cwd=tmp_path, capture_output=True, text=True, timeout=SECONDS, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "which is not the demo's own" in ended.stdout
    assert "Links creation failed - need at least 3, have 2" in ended.stdout
    assert "Cannot go live - missing: subdomain" in ended.stdout
    assert "every one of 40 websites is where it belongs" in ended.stdout
    assert "demo-" not in rabbitmq.ctl("list_queues", "name")


def test_the_smallest_demo(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """It mends its pack sooner after reading than a person could, and its requeued website goes live all the same."""
    monkeypatch.setattr(demo, "find_broker", lambda _, yes: ("inprocess://", MemoryBroker()))
    monkeypatch.setattr(demo, "GIVE_UP_SECONDS", 10.0)
    assert demo.run_demo(10, keep=False) == 0
    assert "every one of 10 websites is where it belongs" in capsys.readouterr().out


def test_the_demo_for_programs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """With --json what it found is all of standard output, and the story is told on standard error."""
    monkeypatch.setattr(demo, "find_broker", lambda _, yes: ("inprocess://", MemoryBroker()))
    with pytest.raises(SystemExit) as ended:
        main(["demo", "--count", "10", "--json"])
    told = capsys.readouterr()
    found = json.loads(told.out)
    assert ended.value.code == 0
    assert (found["websites"], found["requeued"], found["misplaced"], found["dead_letters"]) == (10, 1, [], 0)
    assert {item["state"] for item in found["at_first"]} == {"live", "ready", "failed"}
    assert {item["state"] for item in found["at_last"]} == {"live", "ready"}
    assert "every one of 10 websites is where it belongs" in told.err


def test_where_the_demo_looks_for_rabbitmq(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the settings say, then on localhost."""
    asked: list[str] = []
    monkeypatch.setenv("PROVISIONER_AMQP_URL", "amqp://guest:guest@127.0.0.1:1/")
    monkeypatch.setattr(demo_servers, "answers_amqp", lambda url: asked.append(url) or len(asked) > 1)
    with ExitStack() as stack:
        assert demo_servers.find_broker(stack) == ("amqp://guest:guest@127.0.0.1:5672/", None)
    assert asked[0] == "amqp://guest:guest@127.0.0.1:1/"


@pytest.mark.parametrize("url", ["amqp://a:b@10.0.0.9/", "amqps://a:b@[2001:db8::1]:5671/", "amqp://a:b@rabbit:5672/"])
def test_a_rabbitmq_on_another_machine_is_asked_about(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], url: str
) -> None:
    """Without a terminal to ask on, the demo ends and names it; --yes uses it, and says whose it is."""
    monkeypatch.setenv("PROVISIONER_AMQP_URL", url)
    monkeypatch.setattr(demo_servers, "answers_amqp", lambda _: True)
    with ExitStack() as stack, pytest.raises(SystemExit) as ended:
        demo_servers.find_broker(stack)
    assert ended.value.code == EXIT_USAGE
    assert "is on another machine" in capsys.readouterr().err
    with ExitStack() as stack:
        assert demo_servers.find_broker(stack, yes=True) == (url, None)
    out = capsys.readouterr().out
    assert "which is not the demo's own" in out
    assert "a:b" not in out


def test_the_demo_without_rabbitmq(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Where no RabbitMQ answers and none is installed, the broker inside the process serves, and the demo says so."""

    def none_installed() -> NoReturn:
        raise LocalServerError("no rabbitmq-server")

    monkeypatch.setattr(demo_servers, "answers_amqp", lambda _: False)
    monkeypatch.setattr(demo_servers, "private_rabbitmq", none_installed)
    assert demo.run_demo(40, keep=False) == 0
    told = capsys.readouterr().out
    assert "using the broker inside this process" in told


def test_a_server_that_cannot_be_started_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever its log said of a full disk, say: exit code 1, and no traceback."""

    def full() -> NoReturn:
        raise LocalServerError("initdb ended with exit code 1; the end of its log:\n  No space left on device")

    monkeypatch.setattr(demo_servers, "private_postgres", full)
    with pytest.raises(SystemExit) as ended:
        main(["demo", "--count", "10"])
    err = capsys.readouterr().err
    assert (ended.value.code, err.count("\n")) == (1, 1)
    assert "No space left on device" in err
