"""FastStream on RabbitMQ: one subscriber for all steps, which publishes the next when its transaction is committed.

A quorum queue; `AckPolicy.NACK_ON_ERROR` (acked when the function has returned, back into the queue when it raised), as
its page on acknowledgement has it for at-least-once. The channel's prefetch is how many messages are in hand, and with
`max_workers` unset all of them run at once. Publishes are persistent, confirmed by aio-pika, through the broker object,
as its page on publishing shows. asyncpg's pool, as bench/naive.py uses it, is opened in the lifespan.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import asyncpg
from faststream import AckPolicy, Context, ContextRepo, FastStream
from faststream.rabbit import Channel, QueueType, RabbitBroker, RabbitMessage, RabbitQueue

from bench.naive import Stepping, packs_by_site_type
from bench.peers.producer import SignUp
from consumer.config import load_settings

SETTINGS = load_settings()
QUEUE = RabbitQueue(f"{SETTINGS.namespace}.faststream", queue_type=QueueType.QUORUM, durable=True)

broker = RabbitBroker(
    SETTINGS.amqp_url.get_secret_value(),
    default_channel=Channel(prefetch_count=int(os.environ.get("PROVISIONER_PEER_PREFETCH", "32"))),
    logger=None,
)


@asynccontextmanager
async def lifespan(context: ContextRepo) -> AsyncIterator[None]:
    """Connect to the database for as long as the application runs."""
    async with asyncpg.create_pool(SETTINGS.database_url.get_secret_value()) as pool:
        context.set_global("stepping", Stepping(pool, await packs_by_site_type()))
        yield


app = FastStream(broker, lifespan=lifespan)


@broker.subscriber(QUEUE, ack_policy=AckPolicy.NACK_ON_ERROR)
async def advance(
    trigger: str,
    body: dict[str, Any],
    message: RabbitMessage,
    stepping: Annotated[Any, Context()],
) -> None:
    """Carry one step out, then publish the next."""
    following = await stepping.advance(trigger, body, message.message_id)
    if following:
        await send(following, {"website_id": body["website_id"]})


async def send(trigger: str, body: dict[str, Any]) -> None:
    """Publish one step."""
    await broker.publish({"trigger": trigger, "body": body}, QUEUE, persist=True)


@asynccontextmanager
async def producer() -> AsyncIterator[SignUp]:
    """Lend what signs a website up."""
    async with broker:
        await broker.declare_queue(QUEUE)

        async def sign_up(body: dict[str, Any]) -> None:
            await send("assign_owner", body)

        yield sign_up
