"""What makes a process of the service stop well: its signals, and the end of the parent that supervises it."""

import asyncio
import os
import signal
from collections.abc import Callable


def stop_signals() -> tuple[signal.Signals, ...]:
    """Return the signals that ask for a graceful stop: SIGTERM, SIGINT, and SIGHUP, which a closed terminal sends.

    SIGHUP is left out where it is ignored, as `nohup` has it.
    """
    ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return (signal.SIGTERM, signal.SIGINT) if ignored else (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def on_parent_gone(pipe: int, stop: Callable[[], None]) -> None:
    """Call `stop` once the other end of a pipe is closed, which the kernel does however its holder ends.

    Not the kernel's parent-death signal: that is tied to the thread that started the child.
    """
    loop = asyncio.get_running_loop()

    def read() -> None:
        if not os.read(pipe, 1):
            loop.remove_reader(pipe)
            stop()

    loop.add_reader(pipe, read)
