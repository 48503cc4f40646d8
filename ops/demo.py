"""The whole job on servers of its own: websites of all kinds, failures, a cure, and where each ends."""

import asyncio
import os
import shutil
import signal
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from pydantic import SecretStr
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from consumer.app import App, make_broker, make_store
from consumer.broker import Broker
from consumer.broker_inprocess import InProcessBroker
from consumer.config import Settings, load_settings
from consumer.logs import configure_logs
from consumer.topology import Topology
from ops import moving, reading, tables
from ops.local_servers import LocalServerError, answers_amqp, private_postgres, private_rabbitmq
from ops.looking import dead_letters
from ops.printable import json_text
from ops.sending import publish_all, publishing, website_created
from seeders.library import LOOK_SECONDS
from statemachine import State, Trigger

SITE_TYPES = ("residential", "commercial", "vacation_rental")
STRICT_PACK = "strict_two"
RETRY_BASE_SECONDS = 0.02
"""Eight attempts at this base take about three seconds instead of about two minutes."""
DISPATCH_SECONDS = 0.1
PATIENCE_SECONDS = 120.0
"""The demo gives up on a website that has not come to rest by then: that would be a bug."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of signup, and where its websites belong before and after the cure."""

    name: str
    every: int
    body: dict[str, Any]
    first: State
    finally_: State


KINDS = (
    Kind("doomed: a strict pack with 2 links", 20, {"seed_pack": STRICT_PACK}, State.FAILED, State.LIVE),
    Kind("no subdomain", 20, {"subdomain": None}, State.FAILED, State.LIVE),
    Kind("held at ready", 10, {"auto_go_live": False}, State.READY, State.READY),
    Kind("properties skipped", 5, {"skip_properties": True}, State.LIVE, State.LIVE),
    Kind("ordinary", 1, {}, State.LIVE, State.LIVE),
)


def run_demo(count: int, *, keep: bool, as_json: bool = False) -> int:
    """Run the demo with `count` websites; return 0 if every website ended where it belongs.

    As JSON, what it found is printed at the end, and the story goes to standard error.
    """
    configure_logs("error")
    say = tables.console.print
    with ExitStack() as stack:
        if as_json:
            stack.callback(setattr, tables.console, "stderr", tables.console.stderr)
            tables.console.stderr = True
        folder = Path(stack.enter_context(_scratch(keep=keep)))
        say("starting a PostgreSQL of its own … ", end="")
        began = time.monotonic()
        postgres = stack.enter_context(private_postgres())
        say(f"up after {time.monotonic() - began:.1f} s")
        amqp_url, broker = _broker(stack)
        settings = Settings(
            database_url=SecretStr(postgres.url),
            amqp_url=SecretStr(amqp_url),
            namespace=f"demo-{uuid.uuid4().hex[:8]}",
            packs_dir=folder,
            retry_base_seconds=RETRY_BASE_SECONDS,
            dispatch_interval_seconds=DISPATCH_SECONDS,
        )
        say(f"retries are shortened for this demo: PROVISIONER_RETRY_BASE_SECONDS={RETRY_BASE_SECONDS:g} instead of 1")
        told = asyncio.run(Demo(settings, broker or make_broker(settings), folder).run(count, keep=keep))
        if as_json:
            click.echo(json_text(told | {"kept": _kept(settings, folder)} if keep else told, indent=2))
        if keep:
            _keep(_kept(settings, folder))
        return 1 if told["misplaced"] or told["dead_letters"] else 0


def _kept(settings: Settings, folder: Path) -> dict[str, str]:
    """Return the settings that reach what is kept."""
    return {
        "PROVISIONER_DATABASE_URL": settings.database_url.get_secret_value(),
        "PROVISIONER_AMQP_URL": settings.amqp_url.get_secret_value(),
        "PROVISIONER_NAMESPACE": settings.namespace,
        "PROVISIONER_PACKS_DIR": str(folder),
    }


def _keep(kept: Mapping[str, str]) -> None:
    """Say how to reach what is kept, and keep it until Enter or Ctrl-C, or SIGTERM where nobody can press a key."""
    for name, value in kept.items():
        tables.console.print(f"export {name}={value}", markup=False, highlight=False, soft_wrap=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with suppress(KeyboardInterrupt, EOFError):
        if sys.stdin.isatty():
            tables.console.print("these are kept until you press Enter")
            input()
        else:
            tables.console.print(f"these are kept until process {os.getpid()} gets SIGTERM")
            signal.pause()


@contextmanager
def _scratch(*, keep: bool) -> Iterator[str]:
    folder = tempfile.mkdtemp(prefix="provisioner-demo-")
    try:
        yield folder
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)


def _broker(stack: ExitStack) -> tuple[str, Broker | None]:
    """Find a RabbitMQ that runs, or start one, or fall back to the broker inside this process; say which."""
    said, usual = load_settings().amqp_url.get_secret_value(), Settings.model_fields["amqp_url"].default
    say = tables.console.print
    for url in dict.fromkeys((said, usual.get_secret_value())):
        if answers_amqp(url):
            where = "" if url == said else " on localhost"
            say(f"using the RabbitMQ that answers{where}, in a namespace of its own")
            return url, None
    try:
        say("no RabbitMQ answers; starting one … ", end="")
        server = stack.enter_context(private_rabbitmq())
    except LocalServerError:
        say("none is installed: using the broker inside this process. Same semantics, nothing survives it.")
        return "inprocess://", InProcessBroker()
    say("up")
    return server.url, None


class Demo:
    """The story: sign up, watch, look at the failures, mend the cause, requeue, watch."""

    def __init__(self, settings: Settings, broker: Broker, packs: Path) -> None:
        self._settings = settings
        self._broker = broker
        self._packs = packs
        self._topology = Topology(settings.namespace)
        self._store = make_store(settings, size=3)
        self._kinds: dict[int, Kind] = {}

    async def run(self, count: int, *, keep: bool) -> dict[str, Any]:
        """Tell it; return what was found, with the websites that are `misplaced`."""
        self._write_pack(links=2)
        await self._store.apply_schema()
        await self._broker.declare(self._topology)
        app = App(self._settings, broker=self._broker)
        running = asyncio.create_task(app.run())
        try:
            return await self._tell(count)
        finally:
            app.stopping.set()
            await running
            await self._store.close()
            if not keep:
                await self._broker.delete(self._topology)

    async def _tell(self, count: int) -> dict[str, Any]:
        say = tables.console.print
        began = time.monotonic()
        await self._sign_up(count)
        say(f"\n[bold]{count} signups published[/], every one confirmed by the broker", highlight=False)
        await self._watch(count)
        wrong = await self._compare("first")
        say(f"\nall at rest after {time.monotonic() - began:.1f} s. What became of them:")
        first = await self._report()
        say("\nmending the causes: a third link for the strict pack, a subdomain for those without")
        say("then: requeue --failed")
        await self._mend()
        sent = await moving.send(
            self._store, self._broker, self._settings.namespace, Trigger.RETRY_PROVISIONING,
            ids=None, every=State.FAILED, actor="demo", reason="the cause is fixed",
        )  # fmt: skip
        await self._leave(State.FAILED)
        await self._watch(count)
        wrong += await self._compare("finally_")
        seconds = time.monotonic() - began
        say(f"\n{len(sent)} requeued, all at rest after {seconds:.1f} s in all:")
        last = await self._report()
        letters = await dead_letters(self._broker, self._settings.namespace, 1000)
        for item in wrong:
            say(f"website {item['website_id']} is {item['state']}, it belongs to {item['expected']}", style="red")
        if wrong or letters:
            say(f"[red]{len(wrong)} websites are not where they belong, {len(letters)} dead letters[/]")
        else:
            say(f"[green]every one of {count} websites is where it belongs; no dead letters[/]")
        return {
            "websites": count,
            "at_first": first,
            "requeued": len(sent),
            "at_last": last,
            "misplaced": wrong,
            "dead_letters": len(letters),
            "seconds": round(seconds, 1),
        }

    # ------------------------------------------------------------------------------------------------ the story's acts

    async def _sign_up(self, count: int) -> None:
        ids = await reading.reserve_ids(self._store, count)
        bodies = []
        for number, website_id in enumerate(ids):
            kind = next(kind for offset, kind in enumerate(KINDS) if (number + offset) % kind.every == 0)
            self._kinds[website_id] = kind
            body = {
                "website_id": website_id,
                "subdomain": f"sunny-meadow-{website_id}",
                "site_type": SITE_TYPES[number % len(SITE_TYPES)],
                "owner": {"email": f"owner-{website_id}@example.com", "name": "Sample Owner"},
            }
            bodies.append(body | kind.body)
        async with publishing(self._broker) as session:
            await publish_all(session, [website_created(self._topology, body) for body in bodies])

    async def _mend(self) -> None:
        """Do what people would: edit the pack, and (as the product would) give websites their subdomain."""
        self._write_pack(links=3)
        # No person mends a pack and requeues before its files are looked at again; the demo would.
        await asyncio.sleep(LOOK_SECONDS)
        nameless = [website_id for website_id, kind in self._kinds.items() if kind.name == "no subdomain"]
        async with self._store.connection() as connection:
            await connection.execute(
                "UPDATE pwb_websites SET subdomain = 'late-name-' || id WHERE id = ANY ($1::bigint[])", nameless
            )

    def _write_pack(self, *, links: int) -> None:
        folder = self._packs / STRICT_PACK
        folder.mkdir(exist_ok=True)
        (folder / "pack.yml").write_text(
            f"name: {STRICT_PACK}\ndisplay_name: Strict\ninherits_from: base\nfallback: false\n"
            if links > 2  # noqa: PLR2004 - the story's number
            else f"name: {STRICT_PACK}\ndisplay_name: Strict\nfallback: false\nagency:\n  display_name: Strict Homes\n"
        )
        entries = [f"- slug: link_{n}\n  link_url: /page-{n}\n  link_title: Page {n}\n" for n in range(links)]
        (folder / "links.yml").write_text("".join(entries))

    # --------------------------------------------------------------------------------------------------- watching it

    async def _watch(self, count: int) -> None:
        """Show progress until every website rests."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        with Live(console=tables.console, refresh_per_second=10, transient=True) as live:
            while True:
                states = await reading.states(self._store)
                live.update(_bars(states, count))
                resting = await reading.count_at_rest(self._store, list(self._kinds))
                if resting == count or time.monotonic() > deadline:
                    return
                await asyncio.sleep(0.05)

    async def _leave(self, state: State) -> None:
        """Wait until the requeued have been taken up."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            if not (await reading.states(self._store))[state]:
                return
            await asyncio.sleep(0.02)

    async def _report(self) -> list[dict[str, Any]]:
        """Show how many of each kind are where, and return it."""
        found = {told["website_id"]: told for told in await reading.statuses(self._store, list(self._kinds))}
        rows = Counter(
            (self._kinds[website_id].name, told["state"], told["error"] or "") for website_id, told in found.items()
        )
        table = Table(box=None, pad_edge=False, header_style="bold")
        for column in ("websites", "kind", "state", "error"):
            table.add_column(column)
        for (kind, state, error), number in sorted(rows.items()):
            table.add_row(str(number), kind, tables.state_text(state), error)
        tables.console.print(table)
        return [
            {"websites": number, "kind": kind, "state": state, "error": error or None}
            for (kind, state, error), number in sorted(rows.items())
        ]

    async def _compare(self, when: str) -> list[dict[str, Any]]:
        """Return the websites that are not where their kind belongs."""
        found: Sequence[dict[str, Any]] = await reading.statuses(self._store, list(self._kinds))
        states = {told["website_id"]: told["state"] for told in found}
        return [
            {
                "website_id": website_id,
                "state": states.get(website_id, "not registered"),
                "expected": getattr(kind, when),
            }
            for website_id, kind in self._kinds.items()
            if states.get(website_id) != getattr(kind, when)
        ]


def _bars(states: dict[str, int], count: int) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    for state, number in states.items():
        table.add_row(tables.state_text(state), ProgressBar(total=count, completed=number, width=40), str(number))
    return table
