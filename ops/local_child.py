"""A child: one run of a server program on this machine, with its log and its end. Knows no particular server."""

import os
import pwd
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ops.local_guard import Guard

PORTS = range(20_000, 30_000)
"""Below the range from which the kernel takes the ports of outgoing connections (32768-60999 on Linux). A client that
keeps knocking at a port of that range while the server is down can end up connected to itself, and then holds the
port. It also keeps clear of 35672-35682, which RabbitMQ's command line tools use."""

LOG_TAIL_LINES = 15
"""Of a log, in an error message: enough for the reason, short enough to read."""


class LocalServerError(Exception):
    """A private server could not be made, started or stopped. The text says which, why, and what to do."""


@dataclass(frozen=True, slots=True)
class Account:
    """The user that a program runs as, where it refuses to be run by root."""

    uid: int
    gid: int


def unprivileged_account() -> Account | None:
    """Return the account of `nobody` when we are root, and None when we are an ordinary user anyway."""
    if os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam("nobody")
    except KeyError:
        return Account(65534, 65534)  # the kernel's own overflow ids: whose, if nobody's
    return Account(entry.pw_uid, entry.pw_gid)


def free_port() -> int:
    """Return a port of 127.0.0.1 on which nothing listens now."""
    for port in random.sample(PORTS, 200):
        with socket.socket() as candidate:
            try:
                candidate.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise LocalServerError(f"no free port on 127.0.0.1 between {PORTS.start} and {PORTS.stop}: 200 were tried")


class Child:
    """One run of a server program, under guard from its first moment. To run it again is to make another Child."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        folder: Path,
        log: Path,
        environment: Mapping[str, str],
        account: Account | None,
        guard: Guard,
        guard_signal: signal.Signals = signal.SIGKILL,
    ) -> None:
        self.name = name
        self._log = log
        self._guard = guard
        log.touch()
        self._log_starts_at = log.stat().st_size
        try:
            self._popen = self._open(command, folder, environment, account)
        except OSError as error:
            raise LocalServerError(f"{name} could not be run: {error}") from error
        guard.watch(self._popen.pid, guard_signal)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._popen.pid

    def is_running(self) -> bool:
        """Say whether it runs, also where somebody else ended it."""
        if self._popen.poll() is None:
            return True
        self._guard.forget(self.pid)
        return False

    def wait_until(self, ready: Callable[[], bool], *, within_seconds: float) -> None:
        """Return when `ready` says so.

        Raises:
            LocalServerError: with the end of its log, when it ended by itself or was not ready in time. It is
                ended then.
        """
        give_up_at = time.monotonic() + within_seconds
        while not (ready() and self.is_running()):
            if not self.is_running():
                raise LocalServerError(self._with_log(f"ended with exit code {self._popen.returncode} while starting"))
            if time.monotonic() > give_up_at:
                self.end(signal.SIGKILL)
                raise LocalServerError(self._with_log(f"did not answer within {within_seconds:g} s"))
            time.sleep(0.05)

    def end(self, how: signal.Signals, *, within_seconds: float = 5) -> None:
        """Send the signal, wait, and kill it where it has not ended in time. Ended already is fine."""
        if self._popen.poll() is None:
            self._popen.send_signal(how)
            try:
                self._popen.wait(within_seconds)
            except subprocess.TimeoutExpired:
                self._popen.kill()
                self._popen.wait()
        self._guard.forget(self.pid)

    def _open(
        self, command: Sequence[str], folder: Path, environment: Mapping[str, str], account: Account | None
    ) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as output:
            return subprocess.Popen(  # noqa: S603 - the commands are this project's own
                command,
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a Ctrl-C is for us; we end it in order
                user=account.uid if account else None,
                group=account.gid if account else None,
                extra_groups=[] if account else None,
            )

    def _with_log(self, what: str) -> str:
        with self._log.open(errors="replace") as log:
            log.seek(self._log_starts_at)
            tail = log.read().splitlines()[-LOG_TAIL_LINES:]
        return f"{self.name} {what}; the end of its log:\n" + "\n".join(f"  {line}" for line in tail or ["(empty)"])
