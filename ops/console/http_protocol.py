"""One HTTP connection of the console: uvicorn's protocol on h11, with deadlines for whatever the peer should do.

uvicorn waits for the rest of a head or a body as long as a peer leaves it open, and beside too many connections it
refuses every request. Here whatever a peer still has to send or to read has a deadline, and a new connection takes the
place of the one that has kept the server waiting longest: a peer that sends its request at once is answered, however
many others send half of one. docs/decisions/0036 says why this is no other server.
"""

from asyncio import Transport
from typing import Any, cast

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS = 10.0
"""For a request's head, from the connection's start or the answer before; a browser sends it in one packet."""
BODY_SECONDS = 20.0
"""For a request's body, of 64 KiB at most, from the end of its head."""
UNREAD_SECONDS = 30.0
"""A peer that reads an answer more slowly than `MIN_READ_BYTES` in this time is not waited for."""
MIN_READ_BYTES = 16_384
CHECK_SECONDS = 1.0
SLOW = b"the request did not arrive in time\n"


class DeadlineProtocol(H11Protocol):
    """One connection; `limit_concurrency` of uvicorn's configuration is how many there may be."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        """Take uvicorn's limit, which would have answered /livez with 503 like everything else."""
        super().__init__(*arguments, **options)
        self._connections_limit, self.limit_concurrency = self.limit_concurrency, None
        self._awaited: tuple[object, object] | None = None
        """Which part of which request the peer still has to send: h11's state, and the request before or of it."""
        self._awaited_since = 0.0
        self._unread_bytes, self._unread_since = 0, 0.0
        self._lost = False

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """Begin, in the place of another connection where there are too many."""
        super().connection_made(transport)
        if self._connections_limit is not None and len(self.connections) > self._connections_limit:
            self._make_room()
        self._note_awaited()
        self._check()

    def connection_lost(self, exc: Exception | None) -> None:
        """End the checks."""
        self._lost = True
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what has come, and note what is still to come."""
        super().data_received(data)
        self._note_awaited()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        super().on_response_complete()
        self._note_awaited()

    def resume_writing(self) -> None:
        """Note that the peer reads."""
        super().resume_writing()
        self._unread_bytes, self._unread_since = 0, self.loop.time()

    @property
    def waits_since(self) -> float | None:
        """Since when the peer has kept this connection waiting, on the loop's clock; None while a request is answered.

        A peer that leaves its answer unread keeps it waiting, too. One that is to be closed as soon as its peer has
        read the rest has waited longest.
        """
        if self.transport.is_closing():
            return 0.0
        if self._awaited:
            return self._awaited_since
        if not self.transport.get_write_buffer_size():
            return None
        # What the next check has not seen yet is unread since now.
        return self._unread_since if self._unread_bytes else self.loop.time()

    def _make_room(self) -> None:
        """Abort the connection that has waited longest, or this one where every other is being answered."""
        others = [cast("DeadlineProtocol", connection) for connection in self.connections if connection is not self]
        waiting = {connection: since for connection in others if (since := connection.waits_since) is not None}
        aborted = min(waiting, key=lambda connection: waiting[connection]) if waiting else self
        # At once: the next connection may come before the event loop reports the loss of this one.
        self.connections.discard(aborted)
        aborted.transport.abort()

    def _note_awaited(self) -> None:
        """Note which part the peer has to send next; its time is counted from when it became due."""
        part = self.conn.their_state
        awaited = (part, self.cycle) if part in (h11.IDLE, h11.SEND_BODY) else None
        if awaited != self._awaited:
            self._awaited, self._awaited_since = awaited, self.loop.time()

    def _check(self) -> None:
        """Look every second whether the peer is late, as long as the connection lasts."""
        if self._lost:
            return
        self.loop.call_later(CHECK_SECONDS, self._check)
        now, unread = self.loop.time(), self.transport.get_write_buffer_size()
        if not unread or unread <= self._unread_bytes - MIN_READ_BYTES or not self._unread_bytes:
            self._unread_bytes, self._unread_since = unread, now
        if unread:
            if now - self._unread_since > UNREAD_SECONDS:
                self.transport.abort()
        elif self._awaited and not self.transport.is_closing():
            allowed = HEAD_SECONDS if self._awaited[0] is h11.IDLE else BODY_SECONDS
            if now - self._awaited_since > allowed:
                self._refuse_slow()

    def _refuse_slow(self) -> None:
        """Close the connection; a peer that has sent a part of a request, and has no answer yet, gets the reason."""
        in_body = self._awaited is not None and self._awaited[0] is h11.SEND_BODY
        begun = in_body or bool(self.conn.trailing_data[0])
        if begun and self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            headers = [("content-type", "text/plain; charset=utf-8"), ("connection", "close")]
            for event in (h11.Response(status_code=408, headers=headers), h11.Data(data=SLOW), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        if in_body and not self.cycle.response_complete:
            # The route that reads the body learns that nobody is there any more.
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.transport.close()
