"""The guard: a small program that outlives us by a moment, and ends our private servers if we could not.

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


class Guard:
    """Our end of the pipe. When it closes, however we end, the guard ends what it watches and removes the folder."""

    def __init__(self, folder: Path) -> None:
        command = [sys.executable, "-I", __file__, str(folder)]
        # A session of its own: a Ctrl-C at the terminal is for us, and the guard has to be there after it.
        self._child = subprocess.Popen(command, stdin=subprocess.PIPE, text=True, start_new_session=True)  # noqa: S603 - our own file

    def watch(self, pid: int, end_with: signal.Signals) -> None:
        """Have `pid` ended with that signal if we disappear."""
        self._say(f"watch {pid} {int(end_with)}")

    def forget(self, pid: int) -> None:
        """Leave `pid` alone from now on: it has ended, and its number may become another's."""
        self._say(f"forget {pid} 0")

    def dismiss(self) -> None:
        """Close the pipe, and wait until the guard has ended what is left and removed the folder."""
        assert self._child.stdin is not None
        with suppress(BrokenPipeError):
            self._child.stdin.close()
        self._child.wait()

    def _say(self, line: str) -> None:
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
        return not Path("/proc/self").exists()  # it ended just now; or there is no /proc here to tell more


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


def _stand_guard(folder: str) -> None:
    watched: dict[int, int] = {}
    for line in sys.stdin:
        word, pid, number = line.split()
        if word == "watch":
            watched[int(pid)] = int(number)
        else:
            watched.pop(int(pid), None)
    _end(watched)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    _stand_guard(sys.argv[1])
