"""Taskiq with taskiq-aio-pika: one async task a step, which kicks the next when its own transaction is committed.

Its default queue is a quorum queue. Messages are acked when the task is done and its result saved (`--ack-type
when_saved`, the default); results go nowhere, as no result backend is set. `qos` is the prefetch, and
`--max-async-tasks` how many run at once. Publishes are persistent and confirmed by aio-pika. asyncpg's pool, as
bench/naive.py uses it, is opened by the startup event, as its pages show.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import asyncpg
from taskiq import Context, TaskiqDepends, TaskiqEvents, TaskiqState
from taskiq_aio_pika import AioPikaBroker, Exchange, Queue

from bench.naive import Stepping, packs_by_site_type
from bench.peers.producer import SignUp
from consumer.config import load_settings

SETTINGS = load_settings()

broker = AioPikaBroker(
    SETTINGS.amqp_url.get_secret_value(),
    qos=int(os.environ.get("PROVISIONER_PEER_PREFETCH", "32")),
    exchange=Exchange(name=f"{SETTINGS.namespace}.taskiq"),
    task_queues=[Queue(name=f"{SETTINGS.namespace}.taskiq")],
    dead_letter_queue=Queue(name=f"{SETTINGS.namespace}.taskiq.dead"),
)


@broker.on_event(TaskiqEvents.WORKER_STARTUP)
async def open_pool(state: TaskiqState) -> None:
    """Connect to the database."""
    pool = await asyncpg.create_pool(SETTINGS.database_url.get_secret_value())
    state.stepping = Stepping(pool, await packs_by_site_type())


@broker.task
async def advance(trigger: str, body: dict[str, Any], context: Annotated[Context, TaskiqDepends()]) -> None:
    """Carry one step out, then kick the next."""
    stepping: Stepping = context.state.stepping
    following = await stepping.advance(trigger, body, context.message.task_id)
    if following:
        await advance.kiq(following, {"website_id": body["website_id"]})


@asynccontextmanager
async def producer() -> AsyncIterator[SignUp]:
    """Lend what signs a website up."""
    await broker.startup()

    async def sign_up(body: dict[str, Any]) -> None:
        await advance.kiq("assign_owner", body)

    yield sign_up
    await broker.shutdown()
