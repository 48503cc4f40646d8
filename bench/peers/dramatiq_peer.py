"""Dramatiq: one actor for all steps, which sends the next message when its own transaction is committed.

Dramatiq acks after the actor has returned, always, and retries what raised. `confirm_delivery=True`, as its pages
advise for RabbitMQ; `CurrentMessage` gives an actor the id of its message. Threads are the unit of concurrency, each
with a connection out of one pool. It declares classic durable queues and knows no quorum queues. Without Prometheus:
nobody scrapes here.

With PROVISIONER_PEER_CHAINED=1 the messages of all steps are sent as one `pipeline`, Dramatiq's own for a sequence.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import dramatiq
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from dramatiq.middleware import CurrentMessage

from bench.naive import STEPS
from bench.peers.producer import SignUp
from bench.peers.sync_stepping import SyncStepping
from consumer.config import load_settings

SETTINGS = load_settings()
QUEUE = f"{SETTINGS.namespace}.dramatiq"
CHAINED = os.environ.get("PROVISIONER_PEER_CHAINED") == "1"

broker = RabbitmqBroker(url=SETTINGS.amqp_url.get_secret_value(), confirm_delivery=True)
broker.add_middleware(CurrentMessage())
dramatiq.set_broker(broker)


class Opening(dramatiq.Middleware):
    """Connects when a worker process starts."""

    stepping: SyncStepping

    def after_process_boot(self, broker: Any) -> None:  # noqa: ARG002 - Dramatiq's signature
        """Open as many connections as there are threads."""
        self.stepping = SyncStepping(connections=int(os.environ["PROVISIONER_PEER_THREADS"]))


opening = Opening()
broker.add_middleware(opening)


@dramatiq.actor(queue_name=QUEUE)
def advance(trigger: str, body: dict[str, Any]) -> None:
    """Carry one step out, then send the next."""
    following = opening.stepping.advance(trigger, body, CurrentMessage.get_current_message().message_id)
    if following:
        advance.send(following, {"website_id": body["website_id"]})


@dramatiq.actor(queue_name=QUEUE)
def link(trigger: str, body: dict[str, Any]) -> None:
    """Carry one step of a pipeline out; Dramatiq sends the next."""
    opening.stepping.advance(trigger, body, CurrentMessage.get_current_message().message_id)


@asynccontextmanager
async def producer() -> AsyncIterator[SignUp]:
    """Lend what signs a website up."""

    async def sign_up(body: dict[str, Any]) -> None:
        if CHAINED:
            first, *others = STEPS
            rest = {"website_id": body["website_id"]}
            dramatiq.pipeline(
                [link.message(first, body)]
                + [link.message_with_options(args=(trigger, rest), pipe_ignore=True) for trigger in others]
            ).run()
        else:
            advance.send("assign_owner", body)

    yield sign_up
    broker.close()
