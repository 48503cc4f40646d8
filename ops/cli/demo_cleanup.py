"""Cleans up behind demos: every signal that ends one lets it remove what it made, and the next removes what one left
that was killed.

A demo has a folder of its own, with a mark that says at which broker its queues are, and under which names. The mark is
locked as long as the demo lives: the kernel takes the lock away when it has ended, however it ended.
"""

import asyncio
import fcntl
import json
import os
import re
import shutil
import signal
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any, TextIO

from consumer.addresses.uri import AddressError, parse_uri
from consumer.broker.protocol import Broker, BrokerError
from consumer.broker.topology import Topology
from consumer.worker.stop_requests import stop_signals
from ops.cli.output import fail, warn
from ops.cli.tables.columns import console

PREFIX = "provisioner-demo-"
"""Of the folder's name, among the temporary files."""
MARK = ".demo"
NAMESPACE = re.compile(r"demo-[0-9a-f]{8}")
"""A mark that names any other is not ours: nothing else at the broker is ever deleted."""


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Let SIGTERM, SIGHUP and SIGQUIT end the block as Ctrl-C does, whether it is in an event loop or not.

    Later ones are ignored: a closed terminal sends several, and what is left to be done is the cleaning up.
    """
    received: list[int] = []
    handled = [signal.SIGQUIT, *(number for number in stop_signals() if number != signal.SIGINT)]

    def end(number: int, frame: FrameType | None) -> None:
        if not received:
            received.append(number)
            interrupt = signal.getsignal(signal.SIGINT)
            assert callable(interrupt)
            interrupt(signal.SIGINT, frame)

    before: dict[signal.Signals, Any] = {number: signal.signal(number, end) for number in handled}
    # Started in the background by a script, a process ignores SIGINT, and asyncio would not end by it.
    before[signal.SIGINT] = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    except BaseException as error:
        # A closed terminal may be met by a write, before its signal is.
        if not received or isinstance(error, SystemExit):
            raise
        fail(f"ended by {signal.Signals(received[0]).name}; what the demo had made is removed", 128 + received[0])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def demo_folder() -> Iterator[Path]:
    """Lend a folder to a demo, and remove it, unless its mark is there still: the next demo cleans the broker by it."""
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    try:
        yield folder
    finally:
        if not (folder / MARK).exists():
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def namespace_at(broker: Broker, topology: Topology, folder: Path, url: str) -> Iterator[None]:
    """Mark a demo's folder with its namespace and its broker while it runs, and delete all of it at the end.

    Raises:
        BrokerError: it could not be deleted; the mark stays.
    """
    made = os.open(folder / MARK, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(made, "w", encoding="utf-8") as mark:
        json.dump({"namespace": topology.namespace, "broker": _name_of(url)}, mark)
        mark.flush()
        fcntl.flock(mark, fcntl.LOCK_EX)
        try:
            yield
        finally:
            asyncio.run(broker.delete(topology))
            (folder / MARK).unlink()


def _leftovers(url: str) -> Iterator[tuple[str, Path]]:
    """Yield namespace and folder of each demo of this user that was killed and was at this broker, its mark locked."""
    for folder in sorted(Path(tempfile.gettempdir()).glob(f"{PREFIX}*")):
        # Another user's, or another process removes it at this moment.
        with suppress(OSError, ValueError, KeyError, TypeError), _opened_mark(folder) as mark:
            fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
            left = json.load(mark)
            if left["broker"] == _name_of(url) and NAMESPACE.fullmatch(left["namespace"]):
                yield left["namespace"], folder


@contextmanager
def _opened_mark(folder: Path) -> Iterator[TextIO]:
    """Open the mark of a demo of this user; refuse links, pipes, and files that other users own or may write.

    Raises:
        OSError: there is none.
    """
    entered = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        _refuse_foreign(os.fstat(entered), folder)
        opened = os.open(MARK, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=entered)
    finally:
        os.close(entered)
    with os.fdopen(opened, encoding="utf-8") as mark:
        status = os.fstat(mark.fileno())
        _refuse_foreign(status, folder / MARK)
        if not stat.S_ISREG(status.st_mode):
            raise PermissionError(f"{folder / MARK} is no file")
        yield mark


def _refuse_foreign(status: os.stat_result, path: Path) -> None:
    if status.st_uid != os.geteuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise PermissionError(f"{path} is not this user's alone")


def remove_leftovers(broker: Broker, url: str) -> None:
    """Remove what killed demos left at a broker, and say so; a broker that refuses is no reason not to go on."""
    for namespace, folder in _leftovers(url):
        try:
            asyncio.run(broker.delete(Topology(namespace)))
        except BrokerError as error:
            warn(f"what a killed demo left at the broker, {namespace}.*, stays there: {error}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
            console.print(f"removed what a killed demo had left at the broker: {namespace}", highlight=False)


def _name_of(url: str) -> str:
    """Return host, port and vhost of a broker: enough to know it again, and no password."""
    try:
        uri = parse_uri(url)
    except AddressError:
        return ""
    hosts = ",".join(f"{host}:{port or ''}" for host, port in uri.hosts)
    return f"{uri.scheme}://{hosts}{uri.path}"
