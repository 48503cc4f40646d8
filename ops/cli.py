"""The command line `provisioner`. Parses, calls, prints; tables for people, --json for programs.

Exit codes: 0 done, 1 it was understood and did not succeed, 2 wrong usage or setting, 3 PostgreSQL or RabbitMQ away.
Errors are one line of text on standard error, with --json too.
"""

import asyncio
import getpass
import json
import math
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NoReturn

import click

from consumer.config import Settings, WrongSettings, load_settings, misspelt_settings
from statemachine import State, Trigger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from consumer.store import Store

FAILED, USAGE, AWAY = 1, 2, 3

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
why = click.option("--reason", help="Why; stands in the website's history.")
who = click.option("--actor", default=lambda: f"cli:{getpass.getuser()}", help="Who; stands in the history.")


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
        click.echo(json.dumps(value, ensure_ascii=False, indent=2, default=str))
    else:
        table(value)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="website-provisioner")
def main() -> None:
    """Take signed-up websites from website.created to live.

    Settings come from the environment, prefix PROVISIONER_; the README lists them.
    """


@main.command()
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


@main.command()
@click.option("--concurrency", type=click.IntRange(1, 64), help="Workers a process.")
@click.option("--processes", type=click.IntRange(1, 64), default=1, show_default=True, help="Processes.")
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

        sys.exit(asyncio.run(run_processes(processes, concurrency)))
    from consumer.app import run_worker

    asyncio.run(run_worker(settings))


def _a_number(_context: click.Context, _parameter: click.Parameter, value: float) -> float:
    """Refuse nan, which is within every range."""
    if math.isnan(value):
        raise click.BadParameter("nan is no number of seconds")
    return value


@main.command()
@click.option("--website-id", type=click.IntRange(1), help="Its id; without it, the next one is reserved.")
@click.option("--subdomain", help="3 to 40 lowercase letters, numbers, hyphens; made up where absent.")
@click.option("--site-type", type=click.Choice(["residential", "commercial", "vacation_rental"]))
@click.option("--seed-pack", help="A seed pack; by default that of the site type.")
@click.option("--owner-email", help="Its owner; a user is made where there is none.")
@click.option("--owner-name")
@click.option("--owner-id", type=click.IntRange(1), help="Its owner, as a user that exists.")
@click.option("--skip-properties", is_flag=True, help="No sample properties.")
@click.option("--hold", is_flag=True, help="Rest at ready until `go-live`.")
@click.option("--count", type=click.IntRange(1, 100_000), default=1, show_default=True, help="How many websites.")
@click.option("--wait", is_flag=True, help="Wait until each is live (exit 0), failed or rejected (exit 1).")
@click.option(
    "--timeout",
    "timeout_seconds",
    type=click.FloatRange(min=0, max=86400),
    callback=_a_number,
    default=300.0,
    show_default=True,
    help="With --wait, seconds.",
)
@as_json
def submit(*, as_json: bool, wait: bool, timeout_seconds: float, **options: Any) -> None:
    """Publish website.created, confirmed by the broker.

    \b
    Examples:
      provisioner submit --owner-email ana@example.com --site-type residential --wait
      provisioner submit --count 100
    """
    settings = settings_or_exit()
    if options["count"] > 1 and (options["website_id"] or options["subdomain"]):
        fail("--count makes websites of its own: leave --website-id and --subdomain out", USAGE)
    from ops import submitting

    try:
        signups = submitting.check(options)
    except ValueError as wrong:
        fail(str(wrong), USAGE)

    async def work() -> list[dict[str, Any]]:
        from consumer.app import make_broker

        async with opened(settings) as store:
            broker = make_broker(settings)
            bodies = await submitting.publish(store, broker, settings.namespace, signups)
            if not wait:
                return bodies
            return await submitting.wait_for(store, broker, settings.namespace, bodies, timeout_seconds)

    results = run(work())
    from ops import tables

    show(results, as_json=as_json, table=tables.waited if wait else tables.submitted)
    if wait and any(result["state"] not in ("live", "ready") for result in results):
        sys.exit(FAILED)


@main.command()
@click.argument("website")
@as_json
def status(*, website: str, as_json: bool) -> None:
    """Show one website, by ID or SUBDOMAIN: progress, checklist, missing items, history.

    Example: provisioner status sunny-meadow-42
    """
    settings = settings_or_exit()

    async def work() -> dict[str, Any]:
        from ops import reading

        async with opened(settings) as store:
            ids = await named(store, [website])
            (told,) = await reading.statuses(store, ids)
            return told | {"history": await reading.history(store, ids[0])}

    from ops import tables

    show(run(work()), as_json=as_json, table=tables.status)


async def named(store: "Store", names: Sequence[str], so: str = "") -> list[int]:
    """Return the ids of named websites, or end saying which is not there, and `so` what follows."""
    from ops import reading

    try:
        return await reading.find(store, names)
    except reading.NotFound as error:
        fail(f"{error}{so if len(names) > 1 else ''}")


@main.command("list")
@click.option("--state", type=click.Choice([state.value for state in State]), help="Only these.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=50, show_default=True)
@as_json
def list_websites(*, state: str | None, limit: int, as_json: bool) -> None:
    """List websites, the most recently changed first.

    Example: provisioner list --state failed
    """
    settings = settings_or_exit()

    async def work() -> dict[str, Any]:
        from ops import reading

        async with opened(settings) as store:
            found = await reading.listed(store, State(state) if state else None, limit)
            return {"websites": found, "states": await reading.states(store)}

    from ops import tables

    result = run(work())
    if as_json:
        show(result["websites"], as_json=True, table=tables.websites)
    else:
        tables.websites(result)


@main.command()
@click.argument("websites", nargs=-1)
@click.option("--failed", is_flag=True, help="All failed websites.")
@why
@who
@as_json
def requeue(*, websites: tuple[str, ...], failed: bool, reason: str | None, actor: str, as_json: bool) -> None:
    """Send failed websites round again, by ID or SUBDOMAIN, or all with --failed.

    Each resumes at its proven state. Example: provisioner requeue --failed --reason "pack mended"
    """
    if websites and failed:
        fail("name websites or say --failed, not both", USAGE)
    if not websites and not failed:
        fail("name websites, or say --failed", USAGE)
    every = State.FAILED if failed else None
    _send("requeue", Trigger.RETRY_PROVISIONING, websites, reason, actor, as_json=as_json, every=every)


def _verb(trigger: Trigger, name: str, text: str) -> None:
    @main.command(name, help=f"{text}\n\nExample: provisioner {name} sunny-meadow-42 --reason 'asked by phone'")
    @click.argument("websites", nargs=-1, required=True)
    @why
    @who
    @as_json
    def verb(*, websites: tuple[str, ...], reason: str | None, actor: str, as_json: bool) -> None:
        _send(name, trigger, websites, reason, actor, as_json=as_json)


_verb(Trigger.SUSPEND, "suspend", "Take ready or live websites offline.")
_verb(Trigger.REACTIVATE, "reactivate", "Bring suspended websites back; their guards must hold.")
_verb(Trigger.TERMINATE, "terminate", "End suspended or failed websites for good.")
_verb(Trigger.GO_LIVE, "go-live", "Let websites that are held at ready go live.")


def _send(
    verb: str,
    trigger: Trigger,
    websites: Sequence[str],
    reason: str | None,
    actor: str,
    *,
    as_json: bool,
    every: State | None = None,
) -> None:
    settings = settings_or_exit()

    async def work() -> list[dict[str, Any]]:
        from consumer.app import make_broker
        from ops import moving

        async with opened(settings) as store:
            ids = None if every else await named(store, websites, "; nothing was sent")
            return await moving.send(
                store,
                make_broker(settings),
                settings.namespace,
                trigger,
                ids=ids,
                every=every,
                actor=actor,
                reason=reason,
            )

    from ops import tables

    results = run(work())
    show(results, as_json=as_json, table=lambda found: tables.sent(verb, found, every))
    if any(not result["sent"] for result in results):
        sys.exit(FAILED)


@main.group("dead-letters")
def dead_letters() -> None:
    """What could not be carried out."""


@dead_letters.command("list")
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True)
@as_json
def list_dead_letters(*, limit: int, as_json: bool) -> None:
    """List dead letters, the latest first. Looking leaves every one where it is.

    Example: provisioner dead-letters list --json
    """
    settings = settings_or_exit()

    async def work() -> list[dict[str, Any]]:
        from consumer.app import make_broker
        from ops.looking import dead_letters

        return await dead_letters(make_broker(settings), settings.namespace)

    from ops import tables

    found = run(work())
    show(found[:limit], as_json=as_json, table=lambda shown: tables.dead_letters(shown, len(found)))


@dead_letters.command("redrive")
@click.argument("message_ids", nargs=-1)
@click.option("--all", "every", is_flag=True, help="All of them.")
@click.option("--reason", help="Only those dead-lettered for this x-reason.")
@as_json
def redrive_dead_letters(*, message_ids: tuple[str, ...], every: bool, reason: str | None, as_json: bool) -> None:
    """Send dead letters back to their queue, by MESSAGE_ID, or with --all: same id, same body.

    What was carried out before does nothing when it comes again. Example: provisioner dead-letters redrive --all
    --reason unknown_website
    """
    if bool(message_ids) == every:
        fail("name message ids, or say --all", USAGE)
    settings = settings_or_exit()

    async def work() -> list[dict[str, Any]]:
        from consumer.app import make_broker
        from ops.redriving import redrive

        return await redrive(make_broker(settings), settings.namespace, message_ids, reason)

    moved = run(work())
    show(moved, as_json=as_json, table=lambda letters: click.echo(f"{len(letters)} dead letters sent back"))
    if absent := set(message_ids) - {letter["message_id"] for letter in moved}:
        fail(f"no such dead letter: {', '.join(sorted(absent))}")


@main.command()
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


@main.command("follow-token")
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


@main.command()
@click.option("--count", type=click.IntRange(10, 5000), default=200, show_default=True, help="How many websites.")
@click.option("--keep", is_flag=True, help="Leave its database and queues, to look around.")
def demo(*, count: int, keep: bool) -> None:
    """Show the whole job on servers of its own: websites of all kinds, failures, a cure, a happy end."""
    settings_or_exit(inprocess=True)
    from ops.demo import run_demo

    sys.exit(run_demo(count, keep=keep))
