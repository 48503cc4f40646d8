"""Classifies the exceptions of aio-pika and aiormq, and puts them into words. Knows no connection."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from aio_pika.exceptions import ChannelClosed
from aiormq.exceptions import AMQPError, InvalidFrameError
from yarl import URL

from consumer.broker.protocol import AccessRefusedError, BrokerDownError, Right

URL_UNREADABLE = "the broker's URL cannot be read; amqp://USER:PASSWORD@HOST:5672/VHOST is one"
"""Raised `from None`: the client's text and its cause quote the URL, with its password."""

LOST_ERRORS = (AMQPError, OSError, EOFError, RuntimeError, TimeoutError)
"""What is raised on a lost connection or channel; aiormq raises RuntimeError on one that is closed already."""


def is_lost(error: BaseException) -> bool:
    """Return whether aiormq reports by this that connection or channel is gone. Two of its ways look like something
    else: a CancelledError, though nobody cancelled this task (after the event loop was blocked for long, say), and a
    bare Exception, where it closes without a reason."""
    if isinstance(error, asyncio.CancelledError):
        task = asyncio.current_task()
        return task is not None and not task.cancelling()
    return isinstance(error, LOST_ERRORS) or type(error) is Exception


def host_of(url: str) -> str:
    """Return host and port of a URL, the part of it that anybody may see."""
    try:
        parts = urlsplit(url)
        return f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)
    except ValueError:
        return "the broker"


def user_of(url: URL) -> str | None:
    """Return as whom a URL logs in; None where a certificate says that (`?auth=external`)."""
    return None if url.query.get("auth", "plain").lower() == "external" else url.user or "guest"


def access_refused(right: Right, user: str | None, refusal: BaseException) -> AccessRefusedError:
    """Return the error of a right that is lacking, in words, with the broker's own."""
    return AccessRefusedError(f"user {user or 'of this certificate'} may not {right} ({error_text(refusal)})")


def error_text(error: BaseException) -> str:
    """Return name and text of a client's error, at most 300 characters. None of them quotes a password."""
    if isinstance(error, InvalidFrameError) and "Connection.OpenOk" in str(error):
        # The client drops the broker's own text, which says which of the three it is.
        return (
            "no such vhost, which is the last part of the URL, no access to it, or its or the user's limit is reached"
        )
    return f"{type(error).__name__} {error}".strip()[:300]


@contextmanager
def broker_down_if_lost(what: str) -> Iterator[None]:
    """Raise BrokerDownError for an error of a lost connection; a refusal is a reply, and is raised as it is."""
    try:
        yield
    except BaseException as error:
        if is_lost(error) and not isinstance(error, ChannelClosed):
            raise BrokerDownError(f"{what}: {error_text(error)}") from error
        raise
