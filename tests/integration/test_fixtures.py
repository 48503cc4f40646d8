"""What the fixtures in conftest promise to every other test."""

import aio_pika
import asyncpg
import pytest

from consumer.broker.topology import Topology

seen: list[str] = []


@pytest.mark.parametrize("turn", ["first", "second"])
async def test_each_test_has_an_empty_database_with_the_schema(database_url, turn):
    """What one test writes, the next does not see; the one before is dropped."""
    connection = await asyncpg.connect(database_url)
    assert await connection.fetchval("SELECT count(*) FROM pwb_websites") == 0
    await connection.execute("INSERT INTO pwb_websites (subdomain, created_at, updated_at) VALUES ('a', now(), now())")
    known = {row["datname"] for row in await connection.fetch("SELECT datname FROM pg_database")}
    await connection.close()
    assert not known & set(seen)
    seen.append(database_url.rpartition("/")[2])


@pytest.mark.parametrize("turn", ["first", "second"])
async def test_each_test_has_a_namespace_that_is_removed(amqp_url, namespace, turn):
    """A namespace is new, and its queues and exchanges are gone when the next test looks."""
    mine = Topology(namespace)
    async with await aio_pika.connect(amqp_url) as connection:
        for earlier in [name for name in seen if name.startswith("t-")]:
            channel = await connection.channel()
            with pytest.raises(aio_pika.exceptions.ChannelNotFoundEntity):
                await channel.declare_queue(Topology(earlier).commands, passive=True)
        channel = await connection.channel()
        for exchange in mine.exchanges:
            await channel.declare_exchange(exchange.name, exchange.kind, durable=True)
        for queue in mine.queues:
            await channel.declare_queue(queue.name, durable=True, arguments=dict(queue.arguments))
    seen.append(namespace)
