"""Runs commands: their settings, the store, the websites that they name, one event loop.

What only some commands need is imported by them: `--help` and completion wait for neither settings nor event loop.
"""

import os
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from ops.cli.output import fail
from ops.errors import EXIT_USAGE, InvalidInputError, NotFoundError

if TYPE_CHECKING:
    from consumer.config import Settings
    from consumer.store.database import Store


def settings_or_exit(*, inprocess: bool = False) -> "Settings":
    """Return the settings, or end with one line that names the wrong one.

    `inprocess`: whether the broker inside the process will do; no other process sees what it holds.
    """
    from consumer.config import SettingsError, load_settings, misspelt_settings

    for name, meant in misspelt_settings(os.environ).items():
        click.echo(f"provisioner: {name} is no setting" + (f"; is {meant} meant?" if meant else ""), err=True)
    try:
        settings = load_settings()
        if settings.audit_log:
            from ops.audit.log_file import audit_log

            audit_log.configure(settings.audit_log)
    except SettingsError as wrong:
        fail(str(wrong), EXIT_USAGE)
    if not inprocess and settings.amqp_url.get_secret_value().startswith("inprocess:"):
        demo_only = "inprocess:// is for the demo alone; say amqp://USER:PASSWORD@HOST:5672/"
        fail(f"PROVISIONER_AMQP_URL: {demo_only}", EXIT_USAGE)
    return settings


def run_async(work: Awaitable[Any]) -> Any:
    """Run a command's work to its end. Its errors are reported where the command line ends: `ops.cli.main`."""
    import asyncio

    from consumer.telemetry.logs import configure_logs

    # The libraries log a lost connection at length; the one line at the end is enough.
    configure_logs("error")

    async def coroutine() -> Any:
        return await work

    return asyncio.run(coroutine())


def run_with_store(settings: "Settings", work: "Callable[[Store], Awaitable[Any]]", size: int = 2) -> Any:
    """Run a command's work on a store of two connections, or `size`, as `run_async` does."""
    from consumer.factories import make_store

    async def with_store() -> Any:
        store = make_store(settings, size=size)
        try:
            return await work(store)
        finally:
            await store.close()

    return run_async(with_store())


async def website_ids_or_exit(store: "Store", names: Sequence[str], consequence: str = "") -> list[int]:
    """Return the ids of named websites; end where one is not there, with the `consequence` for the others."""
    from ops.websites import queries

    try:
        return await queries.find_website_ids(store, names)
    except NotFoundError as error:
        fail(f"{error}{consequence if len(names) > 1 else ''}")


class Audited:
    """Writes the audit line of an action that has no row, whether it succeeds or not: `with Audited("init"): …`."""

    def __init__(self, action: str, target: str, settings: "Settings | None" = None) -> None:
        """Take the action, and what it acts on."""
        self._action = action
        self._target = target
        self._settings = settings

    def __enter__(self) -> None:
        """Do nothing yet."""

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        """Write the line; an error is raised on."""
        from ops.audit.identity_proof import local_proof
        from ops.audit.log_file import audit_log, is_denial
        from ops.audit.trail import end_text

        proof = local_proof(self._settings)
        audit_log.write(
            self._action, "failure" if error else "success", actor=f"cli:{proof.user}", proof=proof,
            target=self._target, denied=error is not None and is_denial(error), why=end_text(error) if error else None,
        )  # fmt: skip


@contextmanager
def console_errors() -> Iterator[None]:
    """End with one line where the console's settings or libraries are missing."""
    from consumer.config import SettingsError

    try:
        yield
    except ModuleNotFoundError as missing:
        fail(f"the console needs {missing.name}: pip install 'website-provisioner[console]'", EXIT_USAGE)
    except (InvalidInputError, SettingsError) as wrong:
        fail(str(wrong), EXIT_USAGE)
