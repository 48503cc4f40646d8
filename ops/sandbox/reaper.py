"""The reaper: a process that ends the private servers and removes their folder where this process ended without that.

It is run as a file, so it imports nothing of this project. It knows process ids, signals and one folder; it does not
know what runs there. A parent-death signal would be shorter, but it is tied to the *thread* that started the child.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

GRACE_SECONDS = 5.0
"""How long a server may take to follow its signal before it is killed; PostgreSQL's immediate stop takes 0.1 s."""


class Reaper:
    """This process's end of a pipe. When it closes, for whatever reason, the reaper ends what it watches."""

    def __init__(self, folder: Path) -> None:
        command = [sys.executable, "-I", __file__, str(folder)]
        # A session of its own: a Ctrl-C at the terminal must not end the reaper.
        self._child = subprocess.Popen(command, stdin=subprocess.PIPE, text=True, start_new_session=True, env={})  # noqa: S603 - our own file

    def watch(self, pid: int, end_with: signal.Signals) -> None:
        """End `pid` with that signal if this process ends."""
        self._send(f"watch {pid} {int(end_with)}")

    def forget(self, pid: int) -> None:
        """Stop watching `pid`: it has ended, and its number may be used again."""
        self._send(f"forget {pid} 0")

    def dismiss(self) -> None:
        """Close the pipe, and wait until the reaper has ended what is left and removed the folder."""
        assert self._child.stdin is not None
        with suppress(BrokenPipeError):
            self._child.stdin.close()
        self._child.wait()

    def _send(self, line: str) -> None:
        assert self._child.stdin is not None
        self._child.stdin.write(line + "\n")
        self._child.stdin.flush()


def is_running(pid: int) -> bool:
    """Say whether there is such a process, and it has not ended (one that nobody has waited for yet has ended)."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    except FileNotFoundError:
        return not Path("/proc/self").exists()  # it ended just now; or there is no /proc on this system


def _end(watched: dict[int, int]) -> None:
    for pid, number in watched.items():
        with suppress(ProcessLookupError):
            os.kill(pid, number)
    give_up_at = time.monotonic() + GRACE_SECONDS
    while time.monotonic() < give_up_at and any(map(is_running, watched)):
        time.sleep(0.02)
    for pid in filter(is_running, watched):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _watch_pipe(folder: str) -> None:
    watched: dict[int, int] = {}
    for line in sys.stdin:
        verb, pid, number = line.split()
        if verb == "watch":
            watched[int(pid)] = int(number)
        else:
            watched.pop(int(pid), None)
    _end(watched)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    _watch_pipe(sys.argv[1])
