"""The servers of the demo: its PostgreSQL; a RabbitMQ that runs already, one of its own, or none; how to reach them."""

import os
import signal
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from consumer.broker.memory.broker import MemoryBroker
from consumer.broker.protocol import Broker
from consumer.config import Settings, load_settings
from ops.cli.output import confirm
from ops.cli.tables.columns import console
from ops.errors import OutputError
from ops.sandbox.child_process import LocalServerError
from ops.sandbox.postgres import PostgresServer, private_postgres
from ops.sandbox.rabbitmq import answers_amqp, private_rabbitmq


def start_postgres(stack: ExitStack) -> PostgresServer:
    """Start a PostgreSQL, which ends with the stack."""
    console.print("starting a PostgreSQL of its own … ", end="")
    began = time.monotonic()
    server = stack.enter_context(private_postgres())
    console.print(f"up after {time.monotonic() - began:.1f} s")
    return server


def find_broker(stack: ExitStack, *, yes: bool = False) -> tuple[str, Broker | None]:
    """Return the AMQP URL of a RabbitMQ that runs or is started here, or else the broker inside this process.

    One on another machine is used only after a question, which `yes` answers.
    """
    configured, default = load_settings().amqp_url.get_secret_value(), Settings.model_fields["amqp_url"].default
    for url in dict.fromkeys((configured, default.get_secret_value())):
        if answers_amqp(url):
            _say_whose(url, yes=yes)
            return url, None
    try:
        console.print("no RabbitMQ answers; starting one … ", end="")
        server = stack.enter_context(private_rabbitmq())
    except LocalServerError as error:
        reason = str(error).splitlines()[0]
        console.print(f"not possible: {reason}", markup=False, highlight=False, soft_wrap=True)
        console.print("using the broker inside this process: same semantics, nothing survives it")
        return "inprocess://", MemoryBroker()
    console.print("up")
    return server.url, None


def _say_whose(url: str, *, yes: bool) -> None:
    """Say that the broker is not the demo's own; ask before one on another machine is used."""
    parts = urlsplit(url)
    host = parts.hostname or "localhost"
    where = f"{host}:{parts.port}" if parts.port else host
    if not _is_this_machine(host):
        confirm(
            f"the RabbitMQ at {where} (PROVISIONER_AMQP_URL) is on another machine, and would get the demo's queues",
            yes=yes,
        )
    text = f"using the RabbitMQ at {where}, which is not the demo's own: its queues there are removed at the end"
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def _is_this_machine(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def connection_settings(settings: Settings, packs_dir: Path) -> dict[str, str]:
    """Return the environment variables by which the other commands reach the demo's servers."""
    return {
        "PROVISIONER_DATABASE_URL": settings.database_url.get_secret_value(),
        "PROVISIONER_AMQP_URL": settings.amqp_url.get_secret_value(),
        "PROVISIONER_NAMESPACE": settings.namespace,
        "PROVISIONER_PACKS_DIR": str(packs_dir),
    }


def keep_servers(environment: Mapping[str, str]) -> None:
    """Print how to reach the servers, and wait until Enter, Ctrl-C, SIGTERM or the end of the terminal."""
    for name, value in environment.items():
        console.print(f"export {name}={value}", markup=False, highlight=False, soft_wrap=True)
    with suppress(KeyboardInterrupt, EOFError, OSError, OutputError):
        if sys.stdin.isatty():
            console.print("these are kept until you press Enter")
            input()
        else:
            console.print(f"these are kept until process {os.getpid()} gets SIGTERM")
            signal.pause()
