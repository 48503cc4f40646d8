"""Publishes to RabbitMQ on a connection of its own, and matches each message with the broker's confirm."""

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from uuid import uuid4

from aiormq.exceptions import ChannelAccessRefused, ChannelNotFoundEntity

from consumer.broker.protocol import (
    INIT_HINT,
    AccessRefusedError,
    BrokerDownError,
    BrokerError,
    Message,
    NackedError,
    PublisherSession,
    Right,
    UnroutableError,
)
from consumer.broker.rabbitmq.connection import RabbitConnection
from consumer.broker.rabbitmq.errors import access_refused, error_text
from consumer.broker.rabbitmq.frame_reader import ReceivedMessage
from consumer.broker.rabbitmq.frame_writer import ENCODING_ERRORS, publish_frames


@dataclass(slots=True, eq=False)
class SentMessage:
    """A message that was sent, and what became of it."""

    message_id: str
    message: Message
    resolved: bool = False
    """Whether it is known what became of it: it was confirmed or returned, or the connection is closed."""
    error: BrokerError | None = None
    """Why the broker does not have it; None once it is resolved: it has."""
    waiters: list["ConfirmWaiter"] = field(default_factory=list)


class ConfirmWaiter:
    """Waits until all messages of one caller are resolved."""

    def __init__(self) -> None:
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._missing = 1  # until `all_added`: no more are added then

    def add(self, sent: SentMessage) -> None:
        """Wait for one more message."""
        if not sent.resolved:
            self._missing += 1
            sent.waiters.append(self)

    def count(self) -> None:
        """Count a message that was resolved."""
        self._missing -= 1
        if not self._missing and not self.done.done():
            self.done.set_result(None)

    all_added = count


class RabbitPublisher(PublisherSession):
    """A connection that only publishes, with confirms."""

    def __init__(self, connection: RabbitConnection) -> None:
        self.closed = connection.closed
        self._connection = connection
        self._last_tag = 0
        self._refusal: str | None = None
        self._by_tag: dict[int, SentMessage] = {}
        """The messages that wait for their confirm, in the order of the tags."""
        self._by_id: dict[str, SentMessage] = {}
        """The same by message id: a message that is returned carries no tag."""
        connection.frame_reader.on_confirm = self._confirmed
        connection.frame_reader.on_message = self._returned
        connection.on_closed = self._connection_closed

    @property
    def refusal(self) -> str | None:
        """Which right was lacking, where the broker closed the channel for that."""
        return self._refusal

    @property
    def blocked(self) -> bool:
        """Whether the broker has blocked the connection: an alarm for memory or disk."""
        return self._connection.blocked

    async def publish_all(self, messages: Sequence[Message]) -> list[BrokerError | None]:
        """Publish messages together and wait for the confirms; see the protocol.

        A caller that is cancelled takes nobody else's confirm away: what has been sent stays on its way.
        """
        results: list[SentMessage | BrokerError] = []
        lost = BrokerDownError("the publishing connection is closed")
        try:
            async with asyncio.timeout(self._connection.timeout_seconds):
                waiter = ConfirmWaiter()
                await self._send(messages, results, waiter)
                waiter.all_added()
                await waiter.done
        except TimeoutError as error:
            # Whether they arrived is unknown, and confirms may still come: the connection is of no more use.
            self._connection.start_closing(error)
        results += [lost] * (len(messages) - len(results))
        return [item if isinstance(item, BrokerError) else item.error if item.resolved else lost for item in results]

    async def _send(
        self, messages: Sequence[Message], results: list[SentMessage | BrokerError], waiter: ConfirmWaiter
    ) -> None:
        """Write messages at once, and add to `results` what will have each one's.

        Of one id there is one on its way. A copy shares the confirm; another message with that id, such as a dead
        letter's original, waits until the first is confirmed.
        """
        frames: list[bytes] = []
        try:
            for message in messages:
                while (other := self._by_id.get(message.message_id)) is not None and other.message != message:
                    self._write(frames)
                    await _resolved(other)
                item = other or self._add(message, frames)
                results.append(item)
                if isinstance(item, SentMessage):
                    waiter.add(item)
        finally:
            self._write(frames)  # whatever happens: each has its tag, and the broker counts those that it gets

    def _add(self, message: Message, frames: list[bytes]) -> SentMessage | BrokerError:
        """Add a message's frames to `frames`; return what will have its result."""
        if self.closed.is_set():
            return BrokerDownError("the publishing connection is closed")
        channel = self._connection.channel
        message_id = message.message_id or uuid4().hex
        try:
            user = self._connection.user
            frames.append(publish_frames(channel.number, message, message_id, channel.max_content_size, user_id=user))
        except ENCODING_ERRORS as error:
            return BrokerError(f"{message.type} cannot be written as AMQP: {error}")
        self._last_tag += 1
        self._by_id[message_id] = self._by_tag[self._last_tag] = sent = SentMessage(message_id, message)
        return sent

    def _write(self, frames: list[bytes]) -> None:
        if frames:
            self._connection.write(b"".join(frames))
            frames.clear()

    def _confirmed(self, tag: int, multiple: bool, ack: bool) -> None:  # noqa: FBT001 - as AMQP has it
        """Resolve the message of a tag, or all up to it, with the broker's ack or nack."""
        tags = list(takewhile(lambda earlier: earlier <= tag, self._by_tag)) if multiple else [tag]
        for each in tags:
            if sent := self._by_tag.pop(each, None):
                nacked = NackedError(f"{sent.message.routing_key} was refused by the broker: is a queue full?")
                self._resolve(sent, None if ack else nacked)

    def _returned(self, message: ReceivedMessage) -> None:
        """Resolve a message that was returned; the confirm that follows is ignored."""
        sent = self._by_id.get(str(message.properties.get("message_id")))
        if sent and message.consumer_tag is None:
            self._resolve(sent, UnroutableError(f"no queue takes {sent.message.routing_key}"))

    def _connection_closed(self, reason: BaseException | None) -> None:
        """Resolve all that wait: no more confirms come."""
        unresolved, self._by_tag = self._by_tag, {}
        for sent in unresolved.values():
            error = _lost_error(sent.message, self._connection.user, reason)
            if isinstance(error, AccessRefusedError):
                self._refusal = str(error)
            self._resolve(sent, error)

    def _resolve(self, sent: SentMessage, error: BrokerError | None) -> None:
        if sent.resolved:
            return
        sent.resolved, sent.error = True, error
        del self._by_id[sent.message_id]
        for waiter in sent.waiters:
            waiter.count()

    async def close(self) -> None:
        """Close channel and connection; unconfirmed messages are not waited for."""
        await self._connection.close()


async def _resolved(sent: SentMessage) -> None:
    waiter = ConfirmWaiter()
    waiter.add(sent)
    waiter.all_added()
    await waiter.done


def _lost_error(message: Message, user: str | None, reason: BaseException | None) -> BrokerError:
    """Return the error of a message that was not confirmed before the connection closed. A missing exchange closes the
    channel for everybody, and so does a missing right; the broker names the exchange, and the routing key if that is
    what may not be: so it is an error of those messages alone."""
    if isinstance(reason, ChannelAccessRefused):
        text = str(reason)
        refused_topic = re.search(r"topic '([^']*)' in exchange", text)
        if f"exchange '{message.exchange or 'amq.default'}'" in text and (
            refused_topic is None or refused_topic[1] == message.routing_key
        ):
            return access_refused(Right("publish", message.exchange, message.routing_key), user, reason)
    if isinstance(reason, ChannelNotFoundEntity) and f"'{message.exchange}'" in str(reason):
        return UnroutableError(f"there is no exchange {message.exchange}; {INIT_HINT}")
    text = error_text(reason) if reason else "the connection is closed"
    return BrokerDownError(f"no confirm for {message.type}: {text}")
