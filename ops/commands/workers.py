"""Worker processes: who they are, pause them, let them go on."""

from collections.abc import Sequence
from typing import Any

import click

from ops.terminal import USAGE, as_json, fail, opened, run, settings_or_exit, show, who

patience = click.option(
    "--wait", "seconds", type=click.IntRange(0, 3600), default=15, show_default=True,
    help="Seconds to wait for the workers' answers.",
)  # fmt: skip
names = click.argument("workers", nargs=-1)
everybody = click.option("--all", "every", is_flag=True, help="All workers, and those that start later.")


@click.command("workers")
@as_json
def list_workers(*, as_json: bool) -> None:
    """List worker processes: standing, version, since when, deliveries in flight, last delivery.

    One that has not been seen for 15 s is marked, and vanishes after ten minutes. Example: provisioner workers --json
    """
    settings = settings_or_exit()

    async def work() -> dict[str, Any]:
        from ops.pausing import workers

        async with opened(settings) as store:
            return await workers(store)

    from ops import operating_tables

    show(run(work()), as_json=as_json, table=operating_tables.workers)


@click.command()
@names
@everybody
@click.option("--reason", required=True, help="Why; people see it as long as it lasts.")
@who
@patience
@as_json
def pause(*, workers: tuple[str, ...], every: bool, reason: str, actor: str, seconds: int, as_json: bool) -> None:
    """Let workers take nothing more, by ID or HOST:PID, or all with --all, until `resume`.

    What was started is finished, the rest is given back to the broker, where signups and commands wait. A worker that
    starts while all are paused starts paused. Exit code 1 where one has not answered in time; it stays wanted.

    \b
    Examples:
      provisioner pause --all --reason "database maintenance"
      provisioner pause web-3:4711 --reason "odd errors"
    """
    _want("pause", workers, every=every, reason=reason, actor=actor, seconds=seconds, as_json=as_json)


@click.command()
@names
@everybody
@click.option("--reason", help="Why; stands in the list of actions.")
@who
@patience
@as_json
def resume(
    *, workers: tuple[str, ...], every: bool, reason: str | None, actor: str, seconds: int, as_json: bool
) -> None:
    """Let paused workers go on, by ID or HOST:PID, or all with --all, those paused alone among them.

    Example: provisioner resume --all
    """
    _want("resume", workers, every=every, reason=reason, actor=actor, seconds=seconds, as_json=as_json)


def _want(
    verb: Any, workers: Sequence[str], *, every: bool, reason: str | None, actor: str, seconds: int, as_json: bool
) -> None:
    if bool(workers) == every:
        fail("name workers, or say --all", USAGE)
    settings = settings_or_exit()

    async def work() -> dict[str, Any]:
        from ops import pausing
        from ops.reading import Unusable

        async with opened(settings) as store:
            try:
                return await pausing.want(
                    store, verb, None if every else workers, actor=actor, reason=reason, seconds=seconds
                )
            except pausing.NoWorker as error:
                fail(f"{error}; `provisioner workers` lists them; nothing was done")
            except Unusable as error:
                fail(f"{error}; nothing was done", USAGE)

    from ops import operating_tables

    result = run(work())
    show(result, as_json=as_json, table=operating_tables.answers)
    if not result["answered"]:
        fail(f"{result['outcome']}; the {verb} stays wanted, see `provisioner workers`")
