"""The composition root of one worker process: composes, runs and stops it."""

import asyncio
import os
import signal
from collections.abc import Collection, Coroutine, Iterable
from contextlib import suppress
from typing import Any

from consumer import failpoints
from consumer.broker.protocol import Broker
from consumer.broker.topology import Topology
from consumer.config import Settings
from consumer.error_classification import Infrastructure, classify
from consumer.factories import make_broker, make_packs, make_store
from consumer.monitoring.cluster_metrics import ClusterMetrics
from consumer.monitoring.health import Health
from consumer.monitoring.http_server import HttpServer
from consumer.monitoring.worker_metrics_page import WorkerMetricsPage
from consumer.provisioning.use_case import Policy, ProvisioningUseCase
from consumer.store.database import Store
from consumer.telemetry import metrics
from consumer.telemetry.logs import log
from consumer.worker.buffer import Buffer
from consumer.worker.database_probe import DatabaseProbe, raise_for_wrong_setting
from consumer.worker.delivery_loop import Worker
from consumer.worker.delivery_settlement import Settlement
from consumer.worker.due_dispatcher import Dispatcher
from consumer.worker.gate import ClosedBy, Gate
from consumer.worker.heartbeat import Heartbeat
from consumer.worker.properties_view_refresher import ViewRefresher
from consumer.worker.publishing_connection import Publisher
from consumer.worker.reconnect_backoff import Backoff
from consumer.worker.signup_admission import Admission
from consumer.worker.stop_requests import on_parent_gone, stop_signals
from consumer.worker.subscriber import Subscriber
from seeders.loading.pack_library import PackLibrary
from seeders.seeding import Seeders

CANCEL_AGAIN_SECONDS = 0.25


async def run_worker(settings: Settings) -> None:
    """Run one worker process until it is signalled."""
    failpoints.arm(settings.failpoints)
    app = App(settings)
    loop = asyncio.get_running_loop()

    def stop() -> None:
        if not app.stopping.is_set():
            app.stopping.set()
            # A drain that cannot end, whatever the reason, ends here.
            loop.call_later(settings.drain_seconds + 2, os._exit, 1)

    def stop_by(signum: int) -> None:
        if app.stopping.is_set() and signum != signal.SIGHUP:
            log.warning("stopping at once", signal=signal.Signals(signum).name)
            os._exit(1)
        stop()

    def parent_gone() -> None:
        log.warning("stopping", reason="the parent process has ended")
        stop()

    for signum in stop_signals():
        with suppress(NotImplementedError):
            loop.add_signal_handler(signum, stop_by, signum)
    if settings.parent_pipe is not None:
        on_parent_gone(settings.parent_pipe, parent_gone)
    await app.run()


class App:
    """One worker process: a subscriber, a publisher, a dispatcher, and workers between them."""

    def __init__(
        self,
        settings: Settings,
        *,
        broker: Broker | None = None,
        store: Store | None = None,
        packs: PackLibrary | None = None,
    ) -> None:
        """Compose it; the demo and tests bring a `broker`, a `store` or `packs` of their own."""
        self.settings = settings
        self.topology = Topology(settings.namespace)
        self.broker = broker or make_broker(settings)
        self.store = store or make_store(settings, size=settings.pool_size, on_connection=metrics.POOL_WAIT.observe)

        self.gate = Gate()
        self.gate.begin_closed(ClosedBy.DATABASE, "not connected yet")
        self.database_probe = DatabaseProbe(self.store, self.gate, self._backoff())

        self.admission = Admission(settings.admission_limit, self._under_way)
        self.buffer = Buffer(self.topology.signups, self.admission)
        self.admission.on_room = self.buffer.wake

        self.publisher = Publisher(
            self.broker, self.gate, self._backoff(), refusal_seconds=2 * settings.watchdog_seconds
        )
        self.subscriber = Subscriber(
            self.broker,
            self.topology,
            self.buffer,
            self._backoff(),
            prefetch=settings.prefetch,
            watchdog_seconds=settings.watchdog_seconds,
        )
        self.publisher.on_unroutable = self.subscriber.reconnect

        self.dispatcher = Dispatcher(
            self.store,
            self.publisher,
            self.topology,
            self.gate,
            stall_seconds=settings.stall_seconds,
            interval_seconds=settings.dispatch_interval_seconds,
            base_domain=settings.base_domain,
        )
        self.heartbeat = Heartbeat(
            self.store, self.gate, self.subscriber, self.buffer, interval_seconds=settings.presence_seconds
        )
        self.view_refresher = ViewRefresher(self.store, self.gate)
        self.workers, self.stopping = self._make_workers(packs or make_packs(settings)), asyncio.Event()
        self.running: dict[str, asyncio.Task[Any]] = {}
        """The loops of this process by name; none ends before the process does."""

        self.cluster_metrics = ClusterMetrics(
            self.store, self.broker, self.topology, self.gate, interval_seconds=settings.census_seconds
        )
        metrics_page = WorkerMetricsPage(self, self.cluster_metrics)
        routes = {**Health(self).routes, "/metrics": metrics_page.respond}
        self.http_server = HttpServer(routes) if settings.serves_health else None

    def _backoff(self) -> Backoff:
        return Backoff(self.settings.reconnect_base_seconds, self.settings.reconnect_cap_seconds)

    def _make_workers(self, packs: PackLibrary) -> list[Worker]:
        settings = self.settings
        policy = Policy(
            settings.retry_budget,
            settings.retry_base_seconds,
            settings.retry_cap_seconds,
            settings.stall_seconds,
            settings.base_domain,
            settings.owner_by_id,
        )
        settlement = Settlement(
            admission=self.admission,
            gate=self.gate,
            store=self.store,
            publisher=self.publisher,
            topology=self.topology,
        )
        return [
            Worker(
                buffer=self.buffer,
                gate=self.gate,
                use_case=ProvisioningUseCase(self.store, Seeders(packs), policy, on_properties=self.view_refresher.ask),
                settlement=settlement,
                batch_size=settings.batch_size,
                step_timeout_seconds=settings.step_timeout_seconds,
            )
            for _ in range(settings.concurrency)
        ]

    async def _under_way(self, ids: Iterable[int]) -> set[int]:
        """Ask the store; while it is away, everything counts as under way."""
        asked = set(ids)
        try:
            async with self.store.queries() as queries:
                return await queries.under_way(asked)
        except Exception as error:
            fault = classify(error)
            if isinstance(fault, Infrastructure):
                self.gate.close(ClosedBy.DATABASE, fault.error)
            return asked

    async def run(self) -> None:
        """Run until `stopping` is set, then stop: finish what was started, return the rest to the queues."""
        await failpoints.reach("boot")
        port = await self._listen()
        # Before any log line: a start that a wrong setting ends shows one line, the one that names the setting.
        await self._check_settings()
        settings = self.settings
        if port is not None:
            log.info("listening", host=settings.http_host, port=port)
        log.info("starting", concurrency=settings.concurrency, namespace=settings.namespace, process=os.getpid())
        self._start()
        try:
            # None of them ends by itself: one that does takes the process with it, and its error to the log.
            done, _ = await asyncio.wait(self.running.values(), return_when=asyncio.FIRST_COMPLETED)
            self.stopping.set()
            await self._stop()
        finally:
            await _cancel(self.running.values())
            await self.subscriber.close()
            await self.store.close()
            if self.http_server:
                await self.http_server.close()
        for task in done:
            if not task.cancelled() and (error := task.exception()):
                raise error

    async def _check_settings(self) -> None:
        """Wait until the database has accepted the settings, or until a stop. Raises ConnectionSettingError."""
        asked = asyncio.create_task(raise_for_wrong_setting(self.store))
        stopped = asyncio.create_task(self.stopping.wait())
        try:
            await asyncio.wait((asked, stopped), return_when=asyncio.FIRST_COMPLETED)
            if asked.done():
                asked.result()
        finally:
            await _cancel((asked, stopped))

    async def _listen(self) -> int | None:
        """Begin to serve health and metrics; return the port, None on a socket or nowhere. Raises ListenError."""
        settings = self.settings
        if self.http_server and settings.http_socket:
            await self.http_server.listen_locally(settings.http_socket)
        elif self.http_server and settings.http_port is not None:
            return await self.http_server.listen(settings.http_host, settings.http_port)
        return None

    def _start(self) -> None:
        loops: dict[str, Coroutine[Any, Any, Any]] = {
            "publisher": self.publisher.run(),
            "database probe": self.database_probe.run(),
            "admission": self.admission.run(),
            "dispatcher": self.dispatcher.run(),
            "heartbeat": self.heartbeat.run(),
            "view refresher": self.view_refresher.run(),
            **({"cluster metrics": self.cluster_metrics.run()} if self.http_server else {}),
            **{f"worker {number}": worker.run(self.stopping) for number, worker in enumerate(self.workers)},
            "subscriber": self._subscribe(),
            "stop": self.stopping.wait(),
        }
        self.running |= {name: asyncio.create_task(loop, name=name) for name, loop in loops.items()}

    async def _subscribe(self) -> None:
        """Consume nothing before the database has answered once."""
        await self.gate.wait_open()
        await self.subscriber.run()

    async def _stop(self) -> None:
        log.info("stopping", in_flight=self.buffer.in_flight, waiting=len(self.buffer))
        busy: list[asyncio.Task[Any]] = []
        for number, worker in enumerate(self.workers):
            task = self.running[f"worker {number}"]
            if worker.busy:
                busy.append(task)
            else:
                task.cancel()
        await self.subscriber.stop()
        handed_back = await self.subscriber.hand_back()
        if busy:
            _, unfinished = await asyncio.wait(busy, timeout=self.settings.drain_seconds)
            if unfinished:
                log.warning("stopped before the end", count=len(unfinished), seconds=self.settings.drain_seconds)
        handed_back += await self.subscriber.hand_back()
        await self.heartbeat.leave()
        log.info("stopped", handed_back=handed_back)


async def _cancel(tasks: Collection[asyncio.Task[Any]]) -> None:
    """Cancel tasks until they have ended: aio-pika loses a cancel that comes while it closes a connection."""
    while pending := [task for task in tasks if not task.done()]:
        for task in pending:
            task.cancel()
        await asyncio.wait(pending, timeout=CANCEL_AGAIN_SECONDS)
    await asyncio.gather(*tasks, return_exceptions=True)
