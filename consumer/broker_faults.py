"""What the exceptions of aio-pika and aiormq mean. Knows no connection."""

import asyncio
from urllib.parse import urlsplit

from aiormq.exceptions import AMQPError, InvalidFrameError

INIT = "`provisioner init` makes it"

AWAY = (AMQPError, OSError, EOFError, RuntimeError, TimeoutError)
"""What a lost connection or channel looks like; aiormq raises RuntimeError on one that is closed already."""


def is_lost(error: BaseException) -> bool:
    """Say whether this is how aiormq tells that connection or channel is gone. It has two ways that look like something
    else: a CancelledError, though nobody asked us to stop (after the event loop was blocked for long, say), and a bare
    Exception, where it closes without a reason."""
    if isinstance(error, asyncio.CancelledError):
        task = asyncio.current_task()
        return task is not None and not task.cancelling()
    return isinstance(error, AWAY) or type(error) is Exception


def where(url: str) -> str:
    """Return the part of a URL that anybody may see."""
    try:
        parts = urlsplit(url)
        return f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)
    except ValueError:
        return "the broker"


def told(error: BaseException) -> str:
    """Return what an error of the client's says, bounded. None of them quotes a password."""
    if isinstance(error, InvalidFrameError) and "Connection.OpenOk" in str(error):
        return "no such vhost, which is the last part of the URL, or no access to it"
    return f"{type(error).__name__} {error}".strip()[:300]
