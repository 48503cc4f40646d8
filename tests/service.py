"""One worker's App on a real PostgreSQL and the in-process broker, and the hands of whoever is outside of it."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg

from consumer.app import App
from consumer.broker.protocol import Message
from consumer.broker.topology import Binding, Queue, Topology
from consumer.config import Settings
from ops.publishing import publishing
from tests.contract.faulty_broker import FaultyMemoryBroker
from tests.foreign_client import signup
from tests.worker_processes import until

SECONDS = 60
NAMESPACE = "t"
SEEN = "seen"
"""A subscriber's queue: every event comes here, and stays."""


async def history_of(connection: Any, website_id: int) -> list[Any]:
    """Return a website's transitions, in order."""
    sql = "SELECT * FROM provisioning_transitions WHERE website_id = $1 ORDER BY seq"
    found: list[Any] = await connection.fetch(sql, website_id)
    return found


class Watched(Topology):
    """The service's own topology, and a subscriber's queue bound to its events."""

    @property
    def queues(self) -> tuple[Queue, ...]:
        return (*Topology(self.namespace).queues, Queue(SEEN, 1000))

    @property
    def bindings(self) -> tuple[Binding, ...]:
        return (*Topology(self.namespace).bindings, Binding(self.events_exchange, SEEN, "website.*"))


class Service:
    """One worker process's App, and the hands of whoever is outside of it."""

    def __init__(self, app: App, broker: FaultyMemoryBroker, connection: Any) -> None:
        self.app, self.broker, self.connection = app, broker, connection
        self.topology = Topology(NAMESPACE)
        self.batches: list[tuple[list[int], list[Any]]] = []
        for worker in app.workers:
            self._listen(worker.use_case)

    def _listen(self, use_case: Any) -> None:
        """Write down which websites were carried out together, and what came of it; no outcomes where it raised."""
        batch = use_case.batch

        async def heard(commands: Any, *, alone: bool = False) -> Any:
            outcomes: list[Any] = []
            self.batches.append(([command.website_id for command in commands], outcomes))
            outcomes += await batch(commands, alone=alone)
            return outcomes

        use_case.batch = heard

    async def publish(self, name: str, body: dict[str, Any], message_id: object = None) -> str:
        """Publish as a signup system or an operator does, and return the message id."""
        message_id = str(message_id or uuid.uuid4())
        async with publishing(self.broker) as session:
            exchange = self.topology.commands_exchange
            await session.publish(Message(message_id, name, json.dumps(body).encode(), exchange, name, False, {}))
        return message_id

    async def created(self, website_id: int, **changes: Any) -> str:
        """Publish a signup."""
        return await self.publish("website.created", signup(website_id, **changes))

    async def command(self, trigger: str, website_id: int, message_id: object = None, **more: Any) -> str:
        """Publish a command, and return once it is settled."""
        found = await self.publish(f"provisioning.{trigger}", {"website_id": website_id, **more}, message_id)
        await self.settled()
        return found

    async def settled(self) -> None:
        """Wait until nothing waits in a work queue or in the hands of a worker."""
        queues = (self.topology.signups, self.topology.commands)

        async def empty() -> bool:
            return not any(self.broker.ready(queue) or self.broker.unsettled(queue) for queue in queues)

        await until(empty, SECONDS, "every delivery settled")

    async def registered(self) -> None:
        """Wait until the worker has reported for the first time, so that others know that it runs."""
        count = "SELECT count(*) FROM provisioning_workers"
        await until(lambda: self.connection.fetchval(count), SECONDS, "the worker known")

    async def website(self, website_id: int) -> Any:
        """Return a website's row."""
        return await self.connection.fetchrow("SELECT * FROM pwb_websites WHERE id = $1", website_id)

    async def history(self, website_id: int) -> list[Any]:
        """Return a website's transitions."""
        return await history_of(self.connection, website_id)

    async def reaches(self, website_id: int, state: str) -> Any:
        """Wait until a website rests in a state, owing nothing; return its row."""

        async def there() -> Any:
            row = await self.website(website_id)
            return row if row and row["provisioning_state"] == state and row["provisioning_due_at"] is None else None

        row = await until(there, SECONDS, f"website {website_id} {state}")
        await self.settled()
        return row

    def events(self) -> list[dict[str, Any]]:
        """Return every event that a subscriber has received."""
        return [
            {"message_id": message.message_id, "type": message.type, "body": json.loads(message.body)}
            for message in self.broker.ready(SEEN)
        ]

    def letters(self) -> list[tuple[str, str]]:
        """Return the dead letters, as message id and reason."""
        found = self.broker.ready(self.topology.dead_letters)
        return [(message.message_id, str(message.headers["x-reason"])) for message in found]

    def x_error(self) -> str:
        """Return the sentence of the latest dead letter."""
        return str(self.broker.ready(self.topology.dead_letters)[-1].headers["x-error"])

    async def links(self, website_id: int) -> int:
        """Count a website's links."""
        found: int = await self.connection.fetchval("SELECT count(*) FROM pwb_links WHERE website_id = $1", website_id)
        return found

    async def lose_links(self, website_id: int, keep: int) -> None:
        """Delete all but some of a website's links, as somebody might by hand."""
        sql = """DELETE FROM pwb_links WHERE website_id = $1
                    AND id NOT IN (SELECT id FROM pwb_links WHERE website_id = $1 ORDER BY id LIMIT $2)"""
        await self.connection.execute(sql, website_id, keep)
        assert await self.links(website_id) == keep


Start = Callable[..., Any]
"""Starts a service with settings of the test's choice; `before` is published before it runs."""


def starter(database_url: str, folder: Path) -> Start:
    """Return what starts a service on this database, with seed packs of the test's own in `folder`."""

    @asynccontextmanager
    async def running(
        broker: FaultyMemoryBroker | None = None, before: list[dict[str, Any]] | None = None, **changes: Any
    ) -> AsyncIterator[Service]:
        settings = Settings.model_validate(
            {
                "database_url": database_url, "amqp_url": "inprocess://", "namespace": NAMESPACE, "concurrency": 2,
                "retry_base_seconds": 0.01, "retry_cap_seconds": 0.05, "retry_budget": 3, "stall_seconds": 60,
                "dispatch_interval_seconds": 0.05, "reconnect_base_seconds": 0.01, "lock_timeout_seconds": 0.2,
                "packs_dir": folder,
            }
            | changes
        )  # fmt: skip
        broker = broker or FaultyMemoryBroker()
        await broker.declare(Watched(NAMESPACE))
        connection = await asyncpg.connect(database_url)
        app = App(settings, broker=broker)
        service = Service(app, broker, connection)
        for body in before or []:
            await service.publish("website.created", body)
        task = asyncio.create_task(app.run())
        try:
            yield service
        finally:
            app.stopping.set()
            async with asyncio.timeout(SECONDS):
                await task
            await connection.close()

    return running


def strict_pack(folder: Path, links: int, name: str = "strict") -> None:
    """Write a pack that forbids fallbacks, with so many links and otherwise complete."""
    pack = folder / name
    pack.mkdir(exist_ok=True, parents=True)
    (pack / "pack.yml").write_text(
        f"name: {name}\ndisplay_name: Strict\nfallback: false\nagency: {{display_name: Strict Homes}}\n"
    )
    (pack / "links.yml").write_text("".join(f"- {{slug: link_{n}, link_url: /{n}}}\n" for n in range(links)))
    (pack / "field_keys.yml").write_text("types:\n" + "".join(f"  t{n}: {{en: Type {n}}}\n" for n in range(6)))
