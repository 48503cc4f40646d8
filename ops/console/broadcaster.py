"""Event streams: one query a second serves every stream of this process, and none is made while nobody watches."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any

from sse_starlette import EventSourceResponse, ServerSentEvent

from consumer.error_classification import classify
from consumer.store.database import Store
from ops.websites import queries
from ops.websites.customer_progress import customer_progress_by_id
from ops.websites.service_figures import durations_to_live

POLL_SECONDS = 1.0
IDLE_FACTOR = 10
"""The next poll comes no sooner than ten times as long as the last one took: watching costs a tenth at most."""
ESTIMATES_SECONDS = 30.0
PING_SECONDS = 15.0
"""A comment in each stream, so that proxies keep it open, and a browser that is gone is noticed."""
STREAM_SECONDS = 900.0
"""A stream ends after that; its browser opens the next by itself, and shows again who it is."""
CONFIRM_SECONDS = 30.0
"""How long a stream may outlive the session or the token that opened it."""
MAX_UNREAD_EVENTS = 16
LINE_END = "\n"


View = Callable[[Any], Any]
"""Returns a value as the person who follows a stream may see it."""


MayFollow = Callable[[], Awaitable[bool]]
"""Returns whether a stream may go on: whether the session or the token that opened it is still valid."""


async def always() -> bool:
    """Return that a stream's person may go on to follow it."""
    return True


class Broadcaster:
    """Queries for all streams, and sends each what has changed for it.

    A stream follows one website, or with None the whole service: the number of websites in each state, and the
    overview.
    """

    def __init__(self, store: Store, *, domain: str) -> None:
        """Query `store`; `domain` is that of live websites."""
        self._store = store
        self._domain = domain
        self._streams: dict[asyncio.Queue[ServerSentEvent | None], int | None] = {}
        self._views: dict[asyncio.Queue[ServerSentEvent | None], View] = {}
        self._watched = asyncio.Event()
        self._closed = False
        self._estimates: tuple[float, dict[str, list[float]]] = (-ESTIMATES_SECONDS, {})
        self._counts: dict[str, int] = {}
        self._new: set[int | None] = set()
        """What streams follow that came since the last poll: they are sent it once more, so that nothing is missed."""
        self._versions: dict[int, tuple[Any, ...]] = {}
        self.polls = 0
        """How often the database was queried for streams."""

    async def estimates(self) -> dict[str, list[float]]:
        """Return how long recent websites took, at most half a minute old."""
        queried_at, durations = self._estimates
        if time.monotonic() - queried_at > ESTIMATES_SECONDS:
            durations = await durations_to_live(self._store)
            self._estimates = (time.monotonic(), durations)
        return durations

    async def progress(self, ids: list[int]) -> dict[int, dict[str, Any]]:
        """Return websites' progress as their customers may see it."""
        return await customer_progress_by_id(self._store, ids, await self.estimates(), self._domain)

    async def run(self) -> None:
        """Poll as long as somebody watches, until cancelled."""
        while True:
            await self._watched.wait()
            began = time.monotonic()
            try:
                await self._poll()
            except Exception as error:
                # Streams stay open: the next poll sends what they missed.
                for follows in set(self._streams.values()):
                    self._send(follows, "unavailable", {"error": type(classify(error)).__name__})
            took = time.monotonic() - began
            await asyncio.sleep(max(POLL_SECONDS, took * IDLE_FACTOR))

    async def _poll(self) -> None:
        self.polls += 1
        watched = set(self._streams.values())
        new, self._new = self._new, set()
        if None in watched:
            counts = await queries.state_counts(self._store)
            if counts != self._counts or None in new:
                self._counts = counts
                self._send(None, "states", counts)
        ids = [website_id for website_id in watched if website_id is not None]
        if ids:
            versions = await queries.website_versions(self._store, ids)
            moved = [number for number in versions if number in new or versions[number] != self._versions.get(number)]
            self._versions = versions
            for website_id, progress in (await self.progress(moved)).items() if moved else ():
                self._send(website_id, "provisioning", progress)

    def _send(self, website_id: int | None, event: str, value: Any) -> None:
        for queue, follows in self._streams.items():
            if follows == website_id:
                _put(queue, _event(event, value))

    @property
    def is_overview_followed(self) -> bool:
        """Whether a stream follows the whole service."""
        return None in self._streams.values()

    def publish_overview(self, overview: dict[str, Any]) -> None:
        """Send the overview to all who follow the whole service, as each may see it."""
        for queue, follows in self._streams.items():
            if follows is None:
                _put(queue, _event("overview", self._views[queue](overview)))

    def response(
        self, website_id: int | None, first: Mapping[str, Any], *,
        view: View = lambda value: value, may_follow: MayFollow = always,
    ) -> EventSourceResponse:  # fmt: skip
        """Return a stream as a response: the `first` events at once, then every change. Its place was reserved before.

        `view`: how its person sees the overview. `may_follow` is asked twice a minute, and the stream ends where not.
        """
        begin = [_event(event, value) for event, value in first.items()]
        return EventSourceResponse(
            self._stream(website_id, begin, view, may_follow), sep=LINE_END, ping=PING_SECONDS,
            ping_message_factory=lambda: ServerSentEvent(comment="still here", sep=LINE_END),
        )  # fmt: skip

    async def _stream(
        self, website_id: int | None, first: Sequence[ServerSentEvent], view: View, may_follow: MayFollow
    ) -> AsyncIterator[ServerSentEvent]:
        queue, loop = self.subscribe(website_id, view), asyncio.get_running_loop()
        ending = loop.call_later(STREAM_SECONDS, _put, queue, None)
        confirmed_at = loop.time()
        try:
            for each in first:
                yield each
            while (event := await queue.get()) is not None:
                if loop.time() - confirmed_at > CONFIRM_SECONDS:
                    confirmed_at = loop.time()
                    if not await may_follow():
                        break
                yield event
        finally:
            ending.cancel()
            self.unsubscribe(queue)

    def subscribe(self, website_id: int | None, view: View) -> asyncio.Queue[ServerSentEvent | None]:
        """Return the queue of a new stream; None in it ends the stream."""
        queue: asyncio.Queue[ServerSentEvent | None] = asyncio.Queue(MAX_UNREAD_EVENTS)
        self._streams[queue] = website_id
        self._views[queue] = view
        self._new.add(website_id)
        self._watched.set()
        if self._closed:
            queue.put_nowait(None)
        return queue

    def unsubscribe(self, queue: asyncio.Queue[ServerSentEvent | None]) -> None:
        """Remove a stream; without any, nothing is queried."""
        self._streams.pop(queue, None)
        self._views.pop(queue, None)
        if not self._streams:
            self._watched.clear()

    def close(self) -> None:
        """End every stream, and those that still come."""
        self._closed = True
        for queue in self._streams:
            _put(queue, None)


def _put(queue: asyncio.Queue[ServerSentEvent | None], event: ServerSentEvent | None) -> None:
    if queue.full():
        # A browser that reads too slowly gets the latest, not everything.
        queue.get_nowait()
    queue.put_nowait(event)


def _event(event: str, value: Any) -> ServerSentEvent:
    return ServerSentEvent(json.dumps(value), event=event, sep=LINE_END)
