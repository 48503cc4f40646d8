"""A TCP proxy that misbehaves on command: slow, narrow, cut, refusing, silent in one direction or both."""

import asyncio
import socket
import struct
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Literal

Towards = Literal["server", "client"]
BOTH: tuple[Towards, Towards] = ("server", "client")
CHUNK = 65_536


class Link:
    """One connection through the proxy."""

    def __init__(self, near: asyncio.StreamWriter, far: asyncio.StreamWriter) -> None:
        self.near, self.far = near, far
        self.hello = b""
        """The first bytes that the client sent: they tell a publisher's connection from a consumer's."""
        self.passed = Counter[Towards]()
        self.doomed = False
        """What the server answers next is swallowed, and the connection cut."""

    def reset(self) -> None:
        """End both halves with RST."""
        for writer in (self.near, self.far):
            with suppress(OSError, AttributeError):
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()


class FaultProxy:
    """Stands between a worker and a server. Every fault counts in `hits` when it strikes, not when it is asked for."""

    def __init__(self, host: str, port: int) -> None:
        self._upstream = (host, port)
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._all_links: set[Link] = set()
        self._open = {"server": asyncio.Event(), "client": asyncio.Event()}
        self._only = b""
        self.port = 0
        self.links: list[Link] = []
        self.hits: Counter[str] = Counter()
        self.latency_seconds = 0.0
        self.bytes_per_second = 0.0
        self.cut_answer_to = b""
        """Forward what contains these bytes, then swallow the answer and cut the connection; once."""
        self.budget: Callable[[], int] | None = None
        """Draws after how many bytes a new connection is reset."""
        self.heal()

    def heal(self) -> None:
        """Pass everything on again, what was held back included. A refusal ends with `accept` instead."""
        self.latency_seconds = self.bytes_per_second = 0.0
        self.cut_answer_to, self.budget, self._only = b"", None, b""
        for event in self._open.values():
            event.set()

    def hold(self, *towards: Towards, only: bytes = b"") -> None:
        """Pass nothing on in these directions, and keep all connections open: what a peer that vanished looks like.

        `only`: no connections but those whose client began by sending something with these bytes in it.
        """
        self._only = only
        for direction in towards:
            self._open[direction].clear()

    def reset(self) -> int:
        """End every connection with RST; return how many there were."""
        links, self.links = self.links, []
        for link in links:
            link.reset()
        self.hits["reset"] += len(links)
        return len(links)

    async def refuse(self) -> None:
        """End every connection, and refuse new ones until `accept`."""
        if self._server is not None:
            self._server.close()
            self._server = None
            self.hits["refuse"] += 1
        self.reset()

    async def accept(self) -> None:
        """Take connections, on the same port as before."""
        if self._server is None:
            self._server = await asyncio.start_server(self._arrived, "127.0.0.1", self.port)
            self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """End it all."""
        await self.refuse()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for link in self._all_links:
            link.reset()

    async def _arrived(self, reader: asyncio.StreamReader, near: asyncio.StreamWriter) -> None:
        self.hits["connected"] += 1
        try:
            far_reader, far = await asyncio.open_connection(*self._upstream)
        except OSError:
            near.transport.abort()
            return
        link = Link(near, far)
        self.links.append(link)
        self._all_links.add(link)
        limit = self.budget() if self.budget else 0
        for towards, source, target in (("server", reader, far), ("client", far_reader, near)):
            task = asyncio.create_task(self._pump(link, towards, source, target, limit))  # type: ignore[arg-type]
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pump(
        self, link: Link, towards: Towards, source: asyncio.StreamReader, target: asyncio.StreamWriter, limit: int
    ) -> None:
        try:
            while data := await source.read(1024 if self.bytes_per_second else CHUNK):
                if towards == "server" and len(link.hello) < 4096:
                    link.hello += data
                if not await self._strike(link, towards, data, limit):
                    return
                target.write(data)
                await target.drain()
            target.close()  # the source ended in good order, and so does the target
        except OSError:
            link.reset()
        finally:
            if link in self.links and target.transport.is_closing():
                self.links.remove(link)

    async def _strike(self, link: Link, towards: Towards, data: bytes, limit: int) -> bool:
        """Let what is armed strike; say whether these bytes are passed on."""
        if self.latency_seconds:
            self.hits["latency"] += 1
            await asyncio.sleep(self.latency_seconds)
        if self.bytes_per_second:
            self.hits["throttle"] += 1
            await asyncio.sleep(len(data) / self.bytes_per_second)
        if not self._open[towards].is_set() and self._only in link.hello:
            self.hits[f"hold {towards}"] += 1
            await self._open[towards].wait()
        if towards == "server" and self.cut_answer_to and self.cut_answer_to in data:
            self.cut_answer_to, link.doomed = b"", True
        elif towards == "client" and link.doomed:
            self.hits["answer cut"] += 1
            link.reset()
            return False
        link.passed[towards] += len(data)
        if limit and sum(link.passed.values()) > limit:
            self.hits["cut at random"] += 1
            link.reset()
            return False
        return True


@asynccontextmanager
async def fault_proxy(port: int, host: str = "127.0.0.1") -> AsyncIterator[FaultProxy]:
    """Lend a proxy to a server's port."""
    proxy = FaultProxy(host, port)
    await proxy.accept()
    try:
        yield proxy
    finally:
        await proxy.close()
