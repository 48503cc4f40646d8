"""The composition root: puts one worker process together, runs it, and stops it well."""

import asyncio
import os
import signal
from collections.abc import Coroutine, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from consumer import failpoints
from consumer.admission import Admission
from consumer.backoff import Backoff
from consumer.broker import Broker
from consumer.census import Census
from consumer.config import Settings
from consumer.consumption import Consumption
from consumer.database_probe import DatabaseProbe
from consumer.dispatcher import Dispatcher
from consumer.errors import Infrastructure, classify
from consumer.gate import Gate
from consumer.health import Health
from consumer.intake import Intake
from consumer.listener import Listener
from consumer.logs import log
from consumer.presence import Presence
from consumer.provision import Policy, Provision
from consumer.publisher import Publisher
from consumer.store import Store
from consumer.topology import Topology
from consumer.worker import DATABASE, Worker
from seeders import PackLibrary, Seeders

CANCEL_AGAIN_SECONDS = 0.25
SHIPPED_PACKS = Path(__file__).parents[1] / "seeders" / "packs"
MAX_PACK_WARNINGS = 20
"""A pack of thousands of properties may warn of each; who mends it needs the first."""


def make_broker(settings: Settings) -> Broker:
    """Return the broker that the settings name. The client library is imported here and not above: tools that only
    read the database start faster, and weigh less, without it."""
    from consumer.broker_rabbitmq import RabbitBroker  # noqa: PLC0415

    return RabbitBroker(
        settings.amqp_url.get_secret_value(),
        timeout_seconds=settings.broker_timeout_seconds,
        heartbeat_seconds=settings.heartbeat_seconds,
    )


def make_store(settings: Settings, *, size: int) -> Store:
    """Return the store that the settings name, with up to `size` connections."""
    return Store(
        settings.database_url.get_secret_value(),
        size=size,
        lock_timeout_seconds=settings.lock_timeout_seconds,
        statement_timeout_seconds=settings.statement_timeout_seconds,
        command_timeout_seconds=settings.command_timeout_seconds,
        idle_transaction_seconds=settings.idle_transaction_seconds,
    )


def make_packs(settings: Settings) -> PackLibrary:
    """Return the seed packs: the settings' own folder before those that ship."""
    return PackLibrary([*([settings.packs_dir] if settings.packs_dir else []), SHIPPED_PACKS], warn=_pack_warned)


def _pack_warned(pack: str, warnings: tuple[str, ...]) -> None:
    for warning in warnings[:MAX_PACK_WARNINGS]:
        log.warning("pack warning", pack=pack, reason=warning)
    if (more := len(warnings) - MAX_PACK_WARNINGS) > 0:
        log.warning("pack warning", pack=pack, reason=f"and {more} more")


class App:
    """One worker process: a consumer, a publisher, a dispatcher, and workers between them."""

    def __init__(
        self,
        settings: Settings,
        *,
        broker: Broker | None = None,
        store: Store | None = None,
        packs: PackLibrary | None = None,
    ) -> None:
        """Compose it; `broker`, `store` and `packs` may be handed in, by the demo and by tests."""
        self.settings = settings
        self.topology = Topology(settings.namespace)
        self.broker = broker or make_broker(settings)
        # One connection a worker, one each for dispatcher, admission, probe, and the census with its lock; presence and
        # readiness borrow for a moment.
        self.store = store or make_store(settings, size=settings.concurrency + 3 + settings.answers)
        self.gate = Gate()
        self.gate.close(DATABASE, "not connected yet")
        self.admission = Admission(settings.admission_limit, self._under_way)
        self.intake = Intake(self.topology.signups, self.admission)
        self.admission.on_room = self.intake.wake
        self.publisher = Publisher(
            self.broker, self.gate, self._backoff(), refusal_seconds=2 * settings.watchdog_seconds
        )
        self.consumption = Consumption(
            self.broker,
            self.topology,
            self.intake,
            self._backoff(),
            prefetch=settings.prefetch,
            watchdog_seconds=settings.watchdog_seconds,
        )
        self.publisher.on_unroutable = self.consumption.doubt
        self.probe = DatabaseProbe(self.store, self.gate, self._backoff())
        self.dispatcher = Dispatcher(
            self.store,
            self.publisher,
            self.topology,
            self.gate,
            stall_seconds=settings.stall_seconds,
            interval_seconds=settings.dispatch_interval_seconds,
        )
        self.presence = Presence(
            self.store, self.gate, self.consumption, self.intake, interval_seconds=settings.presence_seconds
        )
        library = packs or make_packs(settings)
        self.workers = [self._worker(library) for _ in range(settings.concurrency)]
        self.stopping = asyncio.Event()
        self.running: dict[str, asyncio.Task[Any]] = {}
        """The loops of this process by name; none ends before the process does."""
        self.census = Census(
            self.store, self.broker, self.topology, self.gate, interval_seconds=settings.census_seconds
        )
        self.listener = Listener(Health(self, self.census).routes) if settings.answers else None

    def _backoff(self) -> Backoff:
        return Backoff(self.settings.reconnect_base_seconds, self.settings.reconnect_cap_seconds)

    def _worker(self, packs: PackLibrary) -> Worker:
        settings = self.settings
        policy = Policy(
            settings.retry_budget,
            settings.retry_base_seconds,
            settings.retry_cap_seconds,
            settings.stall_seconds,
            settings.base_domain,
        )
        return Worker(
            intake=self.intake,
            admission=self.admission,
            gate=self.gate,
            provision=Provision(self.store, Seeders(packs), policy),
            store=self.store,
            publisher=self.publisher,
            topology=self.topology,
            batch_size=settings.batch_size,
            step_timeout_seconds=settings.step_timeout_seconds,
        )

    async def _under_way(self, ids: Iterable[int]) -> set[int]:
        """Ask the store; while it is away, everything counts as under way."""
        asked = set(ids)
        try:
            return await self.store.under_way(asked)
        except Exception as error:
            fault = classify(error)
            if isinstance(fault, Infrastructure):
                self.gate.close(DATABASE, fault.error)
            return asked

    async def run(self) -> None:
        """Run until `stopping` is set, then stop well: finish what was started, hand back what was not."""
        await failpoints.reach("boot")
        await self._listen()
        supervisors = [
            self._spawn(self.publisher.run(), "publisher"),
            self._spawn(self.probe.run(), "database probe"),
            self._spawn(self.admission.run(), "admission"),
            self._spawn(self.dispatcher.run(), "dispatcher"),
            self._spawn(self.presence.run(), "presence"),
            *([self._spawn(self.census.run(), "census")] if self.listener else []),
        ]
        workers = [
            self._spawn(worker.run(self.stopping), f"worker {number}") for number, worker in enumerate(self.workers)
        ]
        consumption = self._spawn(self._consume(), "consumption")
        stopped = self._spawn(self.stopping.wait(), "stop")
        try:
            # None of them ends by itself: one that does takes the process with it, and its error to the log.
            done, _ = await asyncio.wait(
                (*supervisors, *workers, consumption, stopped), return_when=asyncio.FIRST_COMPLETED
            )
            self.stopping.set()
            await self._stop(workers)
        finally:
            await _ended((*supervisors, *workers, consumption, stopped))
            await self.consumption.close()
            await self.store.close()
            if self.listener:
                await self.listener.close()
        for task in done:
            if task is not stopped and not task.cancelled() and (error := task.exception()):
                raise error

    async def _listen(self) -> None:
        """Answer for our health from the first moment on. Raises CannotListen."""
        settings = self.settings
        if self.listener and settings.http_socket:
            await self.listener.listen_locally(settings.http_socket)
        elif self.listener and settings.http_port is not None:
            port = await self.listener.listen(settings.http_host, settings.http_port)
            log.info("listening", host=settings.http_host, port=port)

    def _spawn(self, coroutine: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        task = self.running[name] = asyncio.create_task(coroutine, name=name)
        return task

    async def _consume(self) -> None:
        """Consume nothing before the database has answered once."""
        await self.gate.passed()
        await self.consumption.run()

    async def _stop(self, workers: list[asyncio.Task[Any]]) -> None:
        busy = [task for task, worker in zip(workers, self.workers, strict=True) if worker.busy]
        log.info("stopping", in_flight=self.intake.in_flight, waiting=len(self.intake))
        for task in workers:
            if task not in busy:
                task.cancel()
        await self.consumption.stop()
        handed_back = await self.consumption.hand_back()
        if busy:
            _, unfinished = await asyncio.wait(busy, timeout=self.settings.drain_seconds)
            if unfinished:
                log.warning("stopped before the end", count=len(unfinished), seconds=self.settings.drain_seconds)
        handed_back += await self.consumption.hand_back()
        await self.presence.leave()
        log.info("stopped", handed_back=handed_back)


async def _ended(tasks: Sequence[asyncio.Task[Any]]) -> None:
    """Cancel tasks until they have ended: aio-pika loses a cancel that comes while it closes a connection."""
    while pending := [task for task in tasks if not task.done()]:
        for task in pending:
            task.cancel()
        await asyncio.wait(pending, timeout=CANCEL_AGAIN_SECONDS)
    await asyncio.gather(*tasks, return_exceptions=True)


async def run_worker(settings: Settings) -> None:
    """Run one worker process until it is signalled."""
    failpoints.arm(settings.failpoints)
    app = App(settings)
    loop = asyncio.get_running_loop()

    def stop(signum: int) -> None:
        if app.stopping.is_set():
            log.warning("stopping at once", signal=signal.Signals(signum).name)
            os._exit(1)
        app.stopping.set()
        # A drain that cannot end, whatever the reason, ends here.
        loop.call_later(settings.drain_seconds + 2, os._exit, 1)

    for signum in (signal.SIGTERM, signal.SIGINT):
        with suppress(NotImplementedError):
            loop.add_signal_handler(signum, stop, signum)
    log.info("starting", concurrency=settings.concurrency, namespace=settings.namespace, process=os.getpid())
    await app.run()
