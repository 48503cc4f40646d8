"""What every command of the command line shares: settings, errors of one line, JSON or tables, options, exit codes."""

import asyncio
import getpass
import os
import re
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

import click

from consumer.config import Settings, WrongSettings, load_settings, misspelt_settings
from ops.printable import json_text

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from consumer.store import Store

FAILED, USAGE, AWAY = 1, 2, 3
LOG_SECONDS = 10.0
"""How often progress is a line of a log."""

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
why = click.option("--reason", help="Why; stands in the website's history.")
who = click.option("--actor", default=lambda: f"cli:{getpass.getuser()}", help="Who; stands in the history.")


UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def duration(_context: click.Context, _parameter: click.Parameter, value: str | None) -> float | None:
    """Read 90s, 30m, 2h or 7d as seconds; a callback of options."""
    if value is None:
        return None
    said = re.fullmatch(r"(\d{1,6})([smhd])", value)
    if said is None:
        raise click.BadParameter(f"{value!r} is no duration; 90s, 30m, 2h and 7d are")
    return float(said[1]) * UNITS[said[2]]


class Rate(click.FloatRange):
    """So many a second: 5, 0.5 or 5/s."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read it; as an error, say what is read."""
        try:
            return super().convert(str(value).removesuffix("/s"), param, ctx)  # type: ignore[arg-type]
        except click.BadParameter:
            limits = f"from {self.min:g} to {self.max:g}"
            self.fail(f"{value!r} is no rate {limits} a second; 5, 0.5 and 5/s are", param, ctx)


not_asking = click.option("--yes", is_flag=True, help="Do not ask.")


def sure(question: str, *, yes: bool) -> None:
    """Ask whether it is meant, unless `yes`; end where it is not, or where nobody is there to be asked."""
    if yes:
        return
    if not sys.stdin.isatty():
        fail(f"{question}; say --yes if that is meant", USAGE)
    if not click.confirm(f"{question}. Go on?", err=True):
        fail("nothing was done")


def fail(text: str, code: int = FAILED) -> NoReturn:
    """End with one line on standard error."""
    click.echo(f"provisioner: {text}", err=True)
    sys.exit(code)


def settings_or_exit(*, inprocess: bool = False) -> Settings:
    """Return the settings, or end with the one line that says which is wrong.

    `inprocess`: whether the broker inside the process will do; what it holds is seen by no other process.
    """
    for name, meant in misspelt_settings(os.environ).items():
        click.echo(f"provisioner: {name} is no setting" + (f"; is {meant} meant?" if meant else ""), err=True)
    try:
        settings = load_settings()
    except WrongSettings as wrong:
        fail(str(wrong), USAGE)
    if not inprocess and settings.amqp_url.get_secret_value().startswith("inprocess:"):
        fail("PROVISIONER_AMQP_URL: inprocess:// is for the demo alone; say amqp://USER:PASSWORD@HOST:5672/", USAGE)
    return settings


def run(work: Awaitable[Any]) -> Any:
    """Run a command's work; what is away becomes one line that says what to look at."""
    from consumer.broker import BrokerDown, BrokerError
    from consumer.errors import Infrastructure, classify
    from consumer.logs import configure_logs

    # What the libraries have to say about a lost connection, the one line below says better.
    configure_logs("error")

    async def ladder() -> Any:
        return await work

    try:
        return asyncio.run(ladder())
    except KeyboardInterrupt:
        fail("interrupted", 130)
    except BrokerError as error:
        fail(f"RabbitMQ: {error}" + (" (is PROVISIONER_AMQP_URL right?)" if type(error) is BrokerDown else ""), AWAY)
    except Exception as error:
        fault = classify(error)
        if isinstance(fault, Infrastructure):
            fail(f"PostgreSQL: {fault.error.removeprefix('PostgreSQL ')} ({_hint(error)})", AWAY)
        raise


def _hint(error: Exception) -> str:
    """Return what to do about a database that cannot be used."""
    match getattr(error, "sqlstate", None):
        case "42P01" | "42703":
            return "the schema is missing or old: run `provisioner init`"
        case "3D000":
            return "make that database, or mend PROVISIONER_DATABASE_URL"
        case _:
            return "is PROVISIONER_DATABASE_URL right?"


@contextmanager
def progress() -> "Iterator[Callable[[str], None]]":
    """Lend what tells progress on standard error: in place to a person, in a line now and then to a log."""
    watched, last, told = sys.stderr.isatty(), time.monotonic(), False

    def tell(text: str) -> None:
        nonlocal last, told
        if watched:
            click.echo(f"\r{text}\x1b[K", err=True, nl=False)
            told = True
        elif time.monotonic() - last >= LOG_SECONDS:
            click.echo(text, err=True)
            last = time.monotonic()

    try:
        yield tell
    finally:
        if told:
            click.echo(err=True)


@asynccontextmanager
async def opened(settings: Settings) -> "AsyncIterator[Store]":
    """Lend a store for a tool: two connections, closed at the end."""
    from consumer.app import make_store

    store = make_store(settings, size=2)
    try:
        yield store
    finally:
        await store.close()


def show(value: Any, *, as_json: bool, table: Callable[[Any], None]) -> None:
    """Print a value as JSON, or hand it to `table`."""
    if as_json:
        click.echo(json_text(value, indent=2))
    else:
        table(value)


async def named(store: "Store", names: Sequence[str], so: str = "") -> list[int]:
    """Return the ids of named websites, or end saying which is not there, and `so` what follows."""
    from ops import reading

    try:
        return await reading.find(store, names)
    except reading.NotFound as error:
        fail(f"{error}{so if len(names) > 1 else ''}")
