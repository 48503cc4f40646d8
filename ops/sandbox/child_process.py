"""Child processes: one run each of a server program, with its log and its end. Knows no particular server."""

import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ops.sandbox.privilege_separation import Account, run_as
from ops.sandbox.reaper import Reaper

PORTS = range(20_000, 30_000)
"""Below the range from which the kernel takes the ports of outgoing connections (32768-60999 on Linux). A client that
keeps connecting to a port of that range while the server is down can end up connected to itself, and then holds the
port. 35672-35682, which RabbitMQ's command line tools use, are not among them either."""

LOG_TAIL_LINES = 15
"""Of a log, in an error message: enough for the reason, short enough to read."""


class LocalServerError(Exception):
    """A private server could not be made, started or stopped. The text says which, why, and what to do."""


def run_program(
    command: Sequence[str],
    environment: Mapping[str, str],
    *,
    folder: Path | None = None,
    account: Account | None = None,
    within_seconds: float | None = None,
    standard_input: str = "",
) -> subprocess.CompletedProcess[str]:
    """Run a program of a server's to its end; what it writes, errors too, is its `stdout`.

    Pass secrets by `standard_input`: other users of the machine can read the arguments.

    Raises:
        OSError: it could not be run.
        subprocess.TimeoutExpired: it did not end in time.
    """
    return subprocess.run(  # noqa: S603 - the commands are this project's own
        command, cwd=folder, env=environment, input=standard_input, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, check=False, timeout=within_seconds, **run_as(account),
    )  # fmt: skip


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
    """One run of a server program, watched by the reaper from its start. To run it again, make another Child."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        folder: Path,
        log: Path,
        environment: Mapping[str, str],
        account: Account | None,
        reaper: Reaper,
        reaper_signal: signal.Signals = signal.SIGKILL,
    ) -> None:
        self.name = name
        self._log = log
        self._reaper = reaper
        log.touch()
        self._log_starts_at = log.stat().st_size
        try:
            self._popen = self._open(command, folder, environment, account)
        except OSError as error:
            raise LocalServerError(f"{name} could not be run: {error}") from error
        reaper.watch(self._popen.pid, reaper_signal)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._popen.pid

    def is_running(self) -> bool:
        """Say whether it runs, also where another process ended it."""
        if self._popen.poll() is None:
            return True
        self._reaper.forget(self.pid)
        return False

    def wait_until(self, ready: Callable[[], bool], *, within_seconds: float) -> None:
        """Wait until `ready` returns true.

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
        self._reaper.forget(self.pid)

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
                **run_as(account),
            )

    def _with_log(self, what: str) -> str:
        with self._log.open(errors="replace") as log:
            log.seek(self._log_starts_at)
            tail = log.read().splitlines()[-LOG_TAIL_LINES:]
        return f"{self.name} {what}; the end of its log:\n" + "\n".join(f"  {line}" for line in tail or ["(empty)"])


class PrivateServer:
    """A private server on a port of 127.0.0.1: at most one child process at a time runs it."""

    def __init__(self, name: str, folder: Path, reaper: Reaper) -> None:
        self.name = name
        self.port = free_port()
        self._folder = folder
        self._reaper = reaper
        self._child: Child | None = None

    @property
    def pid(self) -> int:
        """The process id of what runs it.

        Raises:
            LocalServerError: it is stopped.
        """
        if self._child is None or not self._child.is_running():
            raise LocalServerError(f"{self.name} is stopped; start() starts it")
        return self._child.pid

    def _refuse_second_start(self) -> None:
        if self._child is not None and self._child.is_running():
            raise LocalServerError(f"{self.name} runs already, as process {self._child.pid}")

    def _end(self, how: signal.Signals, *, within_seconds: float = 5) -> None:
        """End what runs it, if anything does."""
        if self._child is not None:
            self._child.end(how, within_seconds=within_seconds)
