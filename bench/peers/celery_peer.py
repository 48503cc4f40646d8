"""Celery: one task a step, which sends the next one when its own transaction is committed.

Options, after Celery's pages on RabbitMQ's quorum queues, on tasks that may be run again, and on optimizing:
`task_acks_late` with `task_reject_on_worker_lost` (a task is acked when it is done, and comes back when its process is
lost), a quorum queue, publisher confirms, no results (nobody reads them), a prefetch above the default of four for
tasks that are this short, and no gossip and mingling between workers. Processes of the prefork pool are the unit of
concurrency, with one connection each.

With PROVISIONER_PEER_CHAINED=1 the tasks of all steps are sent as one `chain`, Celery's own way to say a sequence:
the rest of the chain travels in each message, and goes on after a task that found nothing to do, too.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from celery import Celery, chain
from celery.signals import worker_process_init

from bench.naive import STEPS
from bench.peers.producer import SignUp
from bench.peers.sync_stepping import SyncStepping
from consumer.config import load_settings

SETTINGS = load_settings()
CHAINED = os.environ.get("PROVISIONER_PEER_CHAINED") == "1"

app = Celery("provisioning", broker=SETTINGS.amqp_url.get_secret_value())
app.conf.update(
    task_default_queue=f"{SETTINGS.namespace}.celery",
    task_default_queue_type="quorum",
    task_default_exchange=f"{SETTINGS.namespace}.celery",
    task_default_exchange_type="topic",  # Celery asks for one where queues are quorum queues
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    task_ignore_result=True,
    worker_prefetch_multiplier=int(os.environ.get("PROVISIONER_PEER_PREFETCH", "16")),
    broker_transport_options={"confirm_publish": True},
    broker_connection_retry_on_startup=True,
)
stepping: SyncStepping


@worker_process_init.connect
def open_connection(**_: Any) -> None:
    """Connect after the fork, one connection a process."""
    global stepping  # noqa: PLW0603 - what Celery's pages show: one a process of the pool
    stepping = SyncStepping(connections=1)


@app.task(bind=True)
def advance(self: Any, trigger: str, body: dict[str, Any]) -> None:
    """Carry one step out, then send the next."""
    following = stepping.advance(trigger, body, self.request.id)
    if following:
        advance.delay(following, {"website_id": body["website_id"]})


@app.task(bind=True)
def link(self: Any, trigger: str, body: dict[str, Any]) -> None:
    """Carry one step of a chain out; Celery sends the next."""
    stepping.advance(trigger, body, self.request.id)


@asynccontextmanager
async def producer() -> AsyncIterator[SignUp]:
    """Lend what signs a website up."""

    async def sign_up(body: dict[str, Any]) -> None:
        if CHAINED:
            chain(
                link.si(trigger, {**body} if trigger == "assign_owner" else {"website_id": body["website_id"]})
                for trigger in STEPS
            ).apply_async()
        else:
            advance.delay("assign_owner", body)

    yield sign_up
