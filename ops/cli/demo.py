"""Demonstrates the service on servers of its own: signups of all kinds, failures, their repair, a requeue."""

import asyncio
import time
import uuid
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from pydantic import SecretStr
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from consumer.addresses.database import Pooler
from consumer.app import App
from consumer.broker.protocol import Broker
from consumer.broker.topology import Topology
from consumer.config import Settings
from consumer.factories import make_broker, make_store
from consumer.store import schema_lifecycle
from consumer.telemetry.logs import configure_logs
from ops.cli.demo_cleanup import demo_folder, ended_by_signals, namespace_at, remove_leftovers
from ops.cli.demo_servers import connection_settings, find_broker, keep_servers, start_postgres
from ops.cli.tables.columns import console, print_table, state_text
from ops.dead_letters.queue_reader import peek_dead_letters
from ops.publishing import publish_all, publishing, website_created
from ops.text.printable import json_text
from ops.websites import queries, verb_execution
from ops.websites.signups.submission import reserve_ids
from seeders.loading.pack_library import CHECK_SECONDS
from statemachine import State, Trigger
from statemachine.steps import LINKS

SITE_TYPES = ("residential", "commercial", "vacation_rental")
STRICT_PACK = "strict_two"
LINKS_BEFORE, LINKS_AFTER = LINKS.minimum - 1, LINKS.minimum
"""Links of the strict pack: one too few at first, enough once it is repaired."""
RETRY_BASE_SECONDS = 0.02
"""Eight attempts at this base take about three seconds instead of about two minutes."""
DISPATCH_SECONDS = 0.1
GIVE_UP_SECONDS = 120.0
"""The demo gives up on a website that is not at rest by then: that would be a bug."""


@dataclass(frozen=True, slots=True)
class SignupKind:
    """One kind of signup: one in `every`, what its body adds, and the states expected before and after the requeue."""

    name: str
    every: int
    body: dict[str, Any]
    before: State
    after: State


KINDS = (
    SignupKind(f"a strict pack with {LINKS_BEFORE} links", 20, {"seed_pack": STRICT_PACK}, State.FAILED, State.LIVE),
    SignupKind("no subdomain", 20, {"subdomain": None}, State.FAILED, State.LIVE),
    SignupKind("held at ready", 10, {"auto_go_live": False}, State.READY, State.READY),
    SignupKind("properties skipped", 5, {"skip_properties": True}, State.LIVE, State.LIVE),
    SignupKind("ordinary", 1, {}, State.LIVE, State.LIVE),
)


def run_demo(count: int, *, keep: bool, yes: bool = False, as_json: bool = False) -> int:
    """Run the demo with `count` websites; return 0 if every website ended in the expected state.

    As JSON, the result is printed at the end, and everything else goes to standard error. Whatever ends it but SIGKILL,
    nothing of it is left, at a broker of others neither; what SIGKILL left, the next demo removes.
    """
    configure_logs("error")
    with ExitStack() as stack:
        stack.enter_context(ended_by_signals())
        if as_json:
            stack.callback(setattr, console, "stderr", console.stderr)
            console.stderr = True
        folder = stack.enter_context(demo_folder())
        postgres = start_postgres(stack)
        amqp_url, broker = find_broker(stack, yes=yes)
        settings = Settings(
            database_url=SecretStr(postgres.url),
            pooler=Pooler.NONE,
            amqp_url=SecretStr(amqp_url),
            namespace=f"demo-{uuid.uuid4().hex[:8]}",
            packs_dir=folder,
            retry_base_seconds=RETRY_BASE_SECONDS,
            dispatch_interval_seconds=DISPATCH_SECONDS,
        )
        broker = broker or make_broker(settings)
        remove_leftovers(broker, amqp_url)
        stack.enter_context(namespace_at(broker, Topology(settings.namespace), folder, amqp_url))
        shortened = f"PROVISIONER_RETRY_BASE_SECONDS={RETRY_BASE_SECONDS:g} instead of 1"
        console.print(f"retries are shortened for this demo: {shortened}")
        result = asyncio.run(Demo(settings, broker, folder).run(count))
        environment = connection_settings(settings, folder)
        if as_json:
            click.echo(json_text(result | {"kept": environment} if keep else result, indent=2))
        if keep:
            keep_servers(environment)
        return 1 if result["misplaced"] or result["dead_letters"] else 0


class Demo:
    """One run: publish signups, wait, report the failures, repair their causes, requeue, wait, report."""

    def __init__(self, settings: Settings, broker: Broker, packs: Path) -> None:
        self._settings = settings
        self._broker = broker
        self._packs = packs
        self._topology = Topology(settings.namespace)
        self._store = make_store(settings, size=3)
        self._kinds: dict[int, SignupKind] = {}

    async def run(self, count: int) -> dict[str, Any]:
        """Run it beside a worker; return the result, with the websites that are `misplaced`."""
        self._write_pack(links=LINKS_BEFORE)
        await schema_lifecycle.apply(self._store)
        await self._broker.declare(self._topology)
        app = App(self._settings, broker=self._broker)
        running = asyncio.create_task(app.run())
        try:
            return await self._scenario(count)
        finally:
            app.stopping.set()
            await running
            await self._store.close()

    async def _scenario(self, count: int) -> dict[str, Any]:
        began = time.monotonic()
        await self._sign_up(count)
        console.print(f"\n[bold]{count} signups published[/], every one confirmed by the broker", highlight=False)
        await self._wait_at_rest(count)
        misplaced = await self._misplaced("before")
        console.print(f"\nall at rest after {time.monotonic() - began:.1f} s. What became of them:")
        at_first = await self._report()
        console.print("\nfixing the causes: one link more for the strict pack, a subdomain for those without")
        console.print("then: requeue --failed")
        await self._repair()
        failed = [status["website_id"] for status in await queries.list_statuses(self._store, State.FAILED, count)]
        sent = await verb_execution.send(
            self._store, self._broker, self._settings.namespace, Trigger.RETRY_PROVISIONING, failed,
            actor="demo", reason="the cause is fixed",
        )  # fmt: skip
        await self._wait_until_none_failed()
        await self._wait_at_rest(count)
        misplaced += await self._misplaced("after")
        seconds = time.monotonic() - began
        console.print(f"\n{len(sent)} requeued, all at rest after {seconds:.1f} s in all:")
        at_last = await self._report()
        dead_letters = len(await peek_dead_letters(self._broker, self._settings.namespace, 1000))
        for item in misplaced:
            text = f"website {item['website_id']} is {item['state']}, expected was {item['expected']}"
            console.print(text, style="red")
        if misplaced or dead_letters:
            console.print(f"[red]{len(misplaced)} websites are not where they belong, {dead_letters} dead letters[/]")
        else:
            console.print(f"[green]every one of {count} websites is where it belongs; no dead letters[/]")
        return {
            "websites": count,
            "at_first": at_first,
            "requeued": len(sent),
            "at_last": at_last,
            "misplaced": misplaced,
            "dead_letters": dead_letters,
            "seconds": round(seconds, 1),
        }

    async def _sign_up(self, count: int) -> None:
        bodies = []
        for number, website_id in enumerate(await reserve_ids(self._store, count)):
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

    async def _repair(self) -> None:
        """Repair the causes as people would: edit the pack, and (as the product would) give websites a subdomain."""
        self._write_pack(links=LINKS_AFTER)
        # A person takes longer than the library takes to notice a changed file; the demo would not.
        await asyncio.sleep(CHECK_SECONDS)
        without_subdomain = [website_id for website_id, kind in self._kinds.items() if kind.name == "no subdomain"]
        async with self._store.connection() as connection:
            await connection.execute(
                "UPDATE pwb_websites SET subdomain = 'late-name-' || id WHERE id = ANY ($1::bigint[])",
                without_subdomain,
            )

    def _write_pack(self, *, links: int) -> None:
        folder = self._packs / STRICT_PACK
        folder.mkdir(exist_ok=True)
        strict = "fallback: false\nagency:\n  display_name: Strict Homes\n"
        more = strict if links == LINKS_BEFORE else "inherits_from: base\n"
        (folder / "pack.yml").write_text(f"name: {STRICT_PACK}\ndisplay_name: Strict\n{more}")
        entries = [f"- slug: link_{n}\n  link_url: /page-{n}\n  link_title: Page {n}\n" for n in range(links)]
        (folder / "links.yml").write_text("".join(entries))

    async def _wait_at_rest(self, count: int) -> None:
        """Show progress until every website is at rest."""
        deadline = time.monotonic() + GIVE_UP_SECONDS
        with Live(console=console, refresh_per_second=10, transient=True) as live:
            while True:
                live.update(_bars(await queries.state_counts(self._store), count))
                resting = await queries.count_at_rest(self._store, list(self._kinds))
                if resting == count or time.monotonic() > deadline:
                    return
                await asyncio.sleep(0.05)

    async def _wait_until_none_failed(self) -> None:
        """Wait until the requeued websites have left the state `failed`."""
        deadline = time.monotonic() + GIVE_UP_SECONDS
        while time.monotonic() < deadline:
            if not (await queries.state_counts(self._store))[State.FAILED]:
                return
            await asyncio.sleep(0.02)

    async def _report(self) -> list[dict[str, Any]]:
        """Print how many of each kind are in which state, and return it."""
        statuses = await queries.statuses(self._store, list(self._kinds))
        counted = sorted(
            Counter(
                (self._kinds[each["website_id"]].name, each["state"], each["error"] or "") for each in statuses
            ).items()
        )
        rows = [(str(number), kind, state_text(state), error) for (kind, state, error), number in counted]
        print_table(("websites", "kind", "state", "error"), rows)
        return [
            {"websites": number, "kind": kind, "state": state, "error": error or None}
            for (kind, state, error), number in counted
        ]

    async def _misplaced(self, when: str) -> list[dict[str, Any]]:
        """Return the websites that are not in the state that their kind expects."""
        statuses = await queries.statuses(self._store, list(self._kinds))
        states = {status["website_id"]: status["state"] for status in statuses}
        expected = {website_id: getattr(kind, when) for website_id, kind in self._kinds.items()}
        return [
            {"website_id": website_id, "state": states.get(website_id, "not registered"), "expected": state}
            for website_id, state in expected.items()
            if states.get(website_id) != state
        ]


def _bars(states: dict[str, int], count: int) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    for state, number in states.items():
        table.add_row(state_text(state), ProgressBar(total=count, completed=number, width=40), str(number))
    return table
