"""The composition root: puts one worker process together, runs it, and stops it well."""

import asyncio
import os
import signal
from collections.abc import Coroutine, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from consumer import failpoints
from consumer.admission import Admission
from consumer.backoff import Backoff
from consumer.broker import Broker
from consumer.config import Settings
from consumer.consumption import Consumption
from consumer.database_probe import DatabaseProbe
from consumer.dispatcher import Dispatcher
from consumer.errors import Infrastructure, classify
from consumer.gate import Gate
from consumer.intake import Intake
from consumer.logs import log
from consumer.provision import Policy, Provision
from consumer.publisher import Publisher
from consumer.store import Store
from consumer.topology import Topology
from consumer.worker import DATABASE, Worker
from seeders import PackLibrary, Seeders

SHIPPED_PACKS = Path(__file__).parents[1] / "seeders" / "packs"


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
    return PackLibrary([*([settings.packs_dir] if settings.packs_dir else []), SHIPPED_PACKS])


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
        # One connection a worker, one each for dispatcher, admission and probe.
        self.store = store or make_store(settings, size=settings.concurrency + 3)
        self.gate = Gate()
        self.gate.close(DATABASE, "not connected yet")
        self.admission = Admission(settings.admission_limit, self._under_way)
        self.intake = Intake(self.topology.signups, self.admission)
        self.admission.on_room = self.intake.wake
        self.publisher = Publisher(self.broker, self.gate, self._backoff())
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
        library = packs or make_packs(settings)
        self.workers = [self._worker(library) for _ in range(settings.concurrency)]
        self.stopping = asyncio.Event()

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
        supervisors = [
            self._spawn(self.publisher.run(), "publisher"),
            self._spawn(self.probe.run(), "database probe"),
            self._spawn(self.admission.run(), "admission"),
            self._spawn(self.dispatcher.run(), "dispatcher"),
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
            for task in (*supervisors, *workers, consumption, stopped):
                task.cancel()
            await asyncio.gather(*supervisors, *workers, consumption, stopped, return_exceptions=True)
            await self.consumption.close()
            await self.store.close()
        for task in done:
            if task is not stopped and not task.cancelled() and (error := task.exception()):
                raise error

    @staticmethod
    def _spawn(coroutine: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        return asyncio.create_task(coroutine, name=name)

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
        await self.consumption.hand_back()
        if busy:
            _, unfinished = await asyncio.wait(busy, timeout=self.settings.drain_seconds)
            if unfinished:
                log.warning("stopped before the end", count=len(unfinished), seconds=self.settings.drain_seconds)
        handed_back = await self.consumption.hand_back()
        log.info("stopped", handed_back=handed_back)


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
