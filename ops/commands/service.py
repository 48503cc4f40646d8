"""The service itself: init, worker, console, demo."""

import asyncio
import os
import sys
from collections.abc import Coroutine
from typing import Any

import click

from consumer.config import WrongSettings
from ops.terminal import AWAY, FAILED, USAGE, as_json, fail, opened, run, settings_or_exit, show


def _log_json(_context: click.Context, _parameter: click.Parameter, value: bool) -> None:  # noqa: FBT001 - click's
    """Set the setting, where this command and the processes that it starts read it."""
    if value:
        os.environ["PROVISIONER_LOG_FORMAT"] = "json"


logs_as_json = click.option(
    "--json", is_flag=True, callback=_log_json, expose_value=False, help="Log JSON even on a terminal."
)


@click.command()
@as_json
def init(*, as_json: bool) -> None:
    """Make the schema and the queues. Doing it again changes nothing.

    Example: provisioner init
    """
    settings = settings_or_exit()

    async def work() -> None:
        from consumer.app import make_broker
        from consumer.topology import Topology

        async with opened(settings) as store:
            await store.apply_schema()
        await make_broker(settings).declare(Topology(settings.namespace))

    run(work())
    done = {"schema": "up to date", "topology": settings.namespace}
    show(done, as_json=as_json, table=lambda _: click.echo(f"schema up to date, queues of {settings.namespace} there"))


@click.command()
@click.option("--concurrency", type=click.IntRange(1, 64), help="Workers a process.")
@click.option("--processes", type=click.IntRange(1, 64), default=1, show_default=True, help="Processes.")
@logs_as_json
def worker(*, concurrency: int | None, processes: int) -> None:
    """Consume commands until SIGTERM; a second one stops at once, with exit code 1.

    Example: provisioner worker --concurrency 4 --processes 2
    """
    settings = settings_or_exit()
    if concurrency:
        settings = settings.model_copy(update={"concurrency": concurrency})
    from consumer.logs import configure_logs

    configure_logs(settings.log_level, settings.log_format)
    if processes > 1:
        from ops.processes import run_processes

        sys.exit(_listening(run_processes(processes, concurrency, settings)))
    from consumer.app import run_worker

    _listening(run_worker(settings))


def _listening(work: Coroutine[Any, Any, Any]) -> Any:
    """Run workers, or end with the one line that says why nobody can ask for their health."""
    from consumer.listener import CannotListen

    try:
        return asyncio.run(work)
    except CannotListen as error:
        fail(f"PROVISIONER_HTTP_PORT: {error}", USAGE)


@click.command()
@as_json
def ready(*, as_json: bool) -> None:
    """Ask the workers on this machine whether they are ready; exit code 1 if not, with the reasons.

    Example: PROVISIONER_HTTP_PORT=9464 provisioner ready
    """
    settings = settings_or_exit()
    if not settings.http_port:
        fail("PROVISIONER_HTTP_PORT: say where the workers answer; unset, they do not", USAGE)
    from ops.readiness import NoAnswer, ask, reasons_table

    try:
        is_ready, reasons = ask(settings.http_host, settings.http_port)
    except NoAnswer as error:
        fail(str(error), AWAY)
    show({"ready": is_ready, "reasons": reasons}, as_json=as_json, table=reasons_table)
    sys.exit(0 if is_ready else FAILED)


@click.command()
@logs_as_json
def console() -> None:
    """Serve the page and the JSON API for ops and the signup system; docs/console.md has its settings.

    Example: PROVISIONER_CONSOLE_OPERATOR_TOKENS=ana=… provisioner console
    """
    settings = settings_or_exit()
    try:
        from ops.console.app import run_console
        from ops.console.settings import load_console_settings
    except ModuleNotFoundError as missing:
        fail(f"the console needs {missing.name}: pip install 'website-provisioner[console]'", USAGE)
    from consumer.logs import configure_logs

    configure_logs(settings.log_level, settings.log_format)
    try:
        run_console(settings, load_console_settings())
    except WrongSettings as wrong:
        fail(str(wrong), USAGE)


@click.command("follow-token")
@click.argument("website_id", type=click.IntRange(1))
@click.option("--seconds", type=click.IntRange(1), default=3600, show_default=True, help="How long it is valid.")
@as_json
def follow_token(*, website_id: int, seconds: int, as_json: bool) -> None:
    """Make a token by which a browser may follow one website in the console's API, and no other.

    Example: provisioner follow-token 42 --seconds 3600
    """
    from ops.console.following import Followers
    from ops.console.settings import read_console_settings

    try:
        token, expires = Followers(read_console_settings()).mint(website_id, seconds)
    except (ValueError, WrongSettings) as wrong:
        fail(str(wrong), USAGE)
    show({"token": token, "expires": expires}, as_json=as_json, table=lambda made: click.echo(made["token"]))


@click.command()
@click.option("--count", type=click.IntRange(10, 5000), default=200, show_default=True, help="How many websites.")
@click.option("--keep", is_flag=True, help="Leave its database and queues, to look around.")
@as_json
def demo(*, count: int, keep: bool, as_json: bool) -> None:
    """Show the whole job on servers of its own: websites of all kinds, failures, a cure, a happy end.

    Example: provisioner demo --count 50
    """
    settings_or_exit(inprocess=True)
    from ops.demo import run_demo

    sys.exit(run_demo(count, keep=keep, as_json=as_json))
