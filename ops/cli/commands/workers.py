"""Worker processes: run, asked whether they are ready, listed, paused, resumed."""

import sys
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

import click

from consumer.messages.foreign_text import printable
from ops.cli.options import actor_option, json_option, logs_as_json
from ops.cli.output import fail, print_result, progress_line
from ops.cli.runtime import run_with_store, settings_or_exit
from ops.errors import EXIT_AWAY, EXIT_FAILED, EXIT_USAGE, InvalidInputError

if TYPE_CHECKING:
    from consumer.store.database import Store

wait_option = click.option(
    "--wait", "seconds", type=click.IntRange(0, 3600), default=15, show_default=True,
    help="Seconds to wait for the workers' answers.",
)  # fmt: skip
workers_argument = click.argument("workers", nargs=-1)
all_option = click.option("--all", "every", is_flag=True, help="All workers, and those that start later.")


@click.command()
@click.option("--concurrency", type=click.IntRange(1, 64), help="Workers a process.")
@click.option("--processes", type=click.IntRange(1, 64), default=1, show_default=True, help="Processes.")
@logs_as_json
def worker(*, concurrency: int | None, processes: int) -> None:
    """Consume commands until SIGTERM or SIGHUP; a second SIGTERM stops at once, with exit code 1.

    Processes started by --processes end when this one is gone.

    Example: provisioner worker --concurrency 4 --processes 2
    """
    settings = settings_or_exit()
    if concurrency:
        settings = settings.model_copy(update={"concurrency": concurrency})
    from consumer.telemetry.logs import configure_logs

    configure_logs(settings.log_level, settings.log_format)
    if processes > 1:
        from ops.workers.supervisor import run_processes

        sys.exit(_run_listening(run_processes(processes, concurrency, settings)))
    from consumer.app import run_worker

    _run_listening(run_worker(settings))


def _run_listening(work: Coroutine[Any, Any, Any]) -> Any:
    """Run workers, or end with one line where the address of their health listener cannot be bound."""
    import asyncio

    from consumer.monitoring.http_server import ListenError

    try:
        return asyncio.run(work)
    except ListenError as error:
        fail(f"PROVISIONER_HTTP_{error.setting}: {error}", EXIT_USAGE)


@click.command()
@json_option
def ready(*, as_json: bool) -> None:
    """Ask the workers on this machine whether they are ready; exit code 1 if not, with the reasons.

    Example: PROVISIONER_HTTP_PORT=9464 provisioner ready
    """
    settings = settings_or_exit()
    if not settings.http_port:
        fail("PROVISIONER_HTTP_PORT: say where the workers answer; unset, they do not", EXIT_USAGE)
    from ops.workers.readiness_client import NoWorkerAnswersError, fetch_readiness

    try:
        is_ready, reasons = fetch_readiness(settings.http_host, settings.http_port)
    except NoWorkerAnswersError as error:
        fail(str(error), EXIT_AWAY)
    print_result({"ready": is_ready, "reasons": reasons}, as_json=as_json, table=_print_readiness)
    sys.exit(0 if is_ready else EXIT_FAILED)


def _print_readiness(readiness: dict[str, Any]) -> None:
    click.echo("ready" if readiness["ready"] else "not ready")
    for what, why in readiness["reasons"].items():
        for part, reason in why.items() if isinstance(why, dict) else [("", why)]:
            click.echo(printable(f"  {what}{f', {part}' if part else ''}: {reason}"))


@click.command("workers")
@json_option
def list_workers(*, as_json: bool) -> None:
    """List worker processes: state, version, since when, deliveries in flight, last delivery.

    One that has not been seen for 15 s is marked, and vanishes after ten minutes. Example: provisioner workers --json
    """
    settings = settings_or_exit()
    from ops.cli.tables.workers import print_workers
    from ops.workers.queries import known_workers

    print_result(run_with_store(settings, known_workers), as_json=as_json, table=print_workers)


@click.command()
@workers_argument
@all_option
@click.option("--reason", required=True, help="Why; people see it as long as the pause lasts.")
@actor_option
@wait_option
@json_option
def pause(*, workers: tuple[str, ...], every: bool, as_json: bool, **options: Any) -> None:
    """Let workers take nothing more, by ID or HOST:PID, or all with --all, until `resume`.

    What was started is finished, the rest is given back to the broker, where signups and commands wait. A worker that
    starts while all are paused starts paused. Exit code 1 where one has not answered in time; the request stays.

    \b
    Examples:
      provisioner pause --all --reason "database maintenance"
      provisioner pause web-3:4711 --reason "odd errors"
    """
    _pause_or_resume("pause", workers, every=every, as_json=as_json, **options)


@click.command()
@workers_argument
@all_option
@click.option("--reason", help="Why; is recorded in the list of actions.")
@actor_option
@wait_option
@json_option
def resume(*, workers: tuple[str, ...], every: bool, as_json: bool, **options: Any) -> None:
    """Let paused workers go on, by ID or HOST:PID, or all with --all, those paused alone among them.

    Example: provisioner resume --all
    """
    _pause_or_resume("resume", workers, every=every, as_json=as_json, **options)


def _pause_or_resume(verb: Any, workers: tuple[str, ...], *, every: bool, as_json: bool, **options: Any) -> None:
    if bool(workers) == every:
        fail("name workers, or say --all", EXIT_USAGE)
    settings = settings_or_exit()
    from ops.audit.identity_proof import local_proof
    from ops.cli.tables.workers import print_answers
    from ops.workers.pause import pause_or_resume
    from ops.workers.queries import UnknownWorkerError

    async def work(store: "Store") -> dict[str, Any]:
        try:
            with progress_line() as progress:
                return await pause_or_resume(
                    store, verb, None if every else workers, proof=local_proof(settings), progress=progress, **options
                )
        except UnknownWorkerError as error:
            fail(f"{error}; `provisioner workers` lists them; nothing was done")
        except InvalidInputError as error:
            fail(f"{error}; nothing was done", EXIT_USAGE)

    result = run_with_store(settings, work)
    print_result(result, as_json=as_json, table=print_answers)
    if not result["answered"]:
        fail(f"{result['outcome']}; the request to {verb} stays, see `provisioner workers`")
