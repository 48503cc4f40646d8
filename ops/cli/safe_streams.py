"""The standard streams of a command: whatever they are connected to, writing to them raises no traceback.

Standard output that is closed or full raises one error of ours, which says so in a line. What standard error does not
take is dropped: there is nobody else to say it to. A letter that the terminal's encoding lacks is written as JSON
writes it, so that JSON stays JSON.
"""

import codecs
import errno
import io
import os
import select
import sys
from collections.abc import Callable
from typing import Any

from ops.errors import OutputError

ESCAPES = "json_escapes"
ASCII = "ascii_with_escapes"
"""ASCII under a name of its own: click takes a stream in ASCII for a mistake, and writes UTF-8 to it."""
CLOSED = "standard output: {} ({}); what was printed did not get there"


def prepare_streams() -> None:
    """Replace standard output and standard error. Does nothing where a program has done so before."""
    absent = {number for number in (0, 1, 2) if not _is_open(number)}
    for number in sorted(absent):
        # Else the next file or socket that is opened gets this number. Standard output is opened so that it refuses.
        os.open(os.devnull, os.O_RDONLY if number == 1 else os.O_RDWR)
    codecs.register_error(ESCAPES, _escape)
    codecs.register(_find_codec)
    if 1 in absent or (sys.stdout is sys.__stdout__ and isinstance(sys.stdout, io.TextIOWrapper)):
        sys.stdout = _text_stream(sys.stdout, _Output(1, "w", closefd=False))
    if 2 in absent or (sys.stderr is sys.__stderr__ and isinstance(sys.stderr, io.TextIOWrapper)):  # noqa: PLR2004
        sys.stderr = _text_stream(sys.stderr, _ErrorOutput(2, "w", closefd=False))


def close_output() -> None:
    """Let go of a standard output that cannot be written: what is still buffered goes nowhere when the program ends."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.close(null)


class _Output(io.FileIO):
    """A file that raises OutputError."""

    def write(self, data: Any, /) -> int:
        """Write; wait where it would block."""
        try:
            while (written := super().write(data)) is None:
                select.select((), (self,), ())
        except OSError as error:
            name = errno.errorcode.get(error.errno or 0, "")
            raise OutputError(CLOSED.format(error.strerror, name)) from error
        return written


class _ErrorOutput(io.FileIO):
    """A file that drops what it cannot write."""

    def write(self, data: Any, /) -> int:
        """Write what can be written."""
        try:
            return super().write(data) or len(data)
        except OSError:
            return len(data)


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def _text_stream(old: Any, file: io.FileIO) -> io.TextIOWrapper:
    """Return a stream of text like the old one, which the process may not have."""
    if old is not None:
        old.flush()
    encoding = getattr(old, "encoding", None) or "utf-8"
    ascii_only = codecs.lookup(encoding).name == "ascii"
    lines = file.isatty() or file.fileno() != 1
    return io.TextIOWrapper(
        io.BufferedWriter(file), ASCII if ascii_only else encoding, errors=ESCAPES, line_buffering=lines
    )


def _escape(error: UnicodeError) -> tuple[str, int]:
    """Return what stands for characters that an encoding lacks: the escapes of JSON, two where JSON has two."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    halves = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass")
    units = (int.from_bytes(halves[at : at + 2], "big") for at in range(0, len(halves), 2))
    return "".join(f"\\u{unit:04x}" for unit in units), error.end


class _AsciiEncoder(codecs.IncrementalEncoder):
    def encode(self, text: str, _final: bool = False) -> bytes:  # noqa: FBT001, FBT002 - codecs'
        return text.encode("ascii", self.errors)


def _find_codec(name: str) -> codecs.CodecInfo | None:
    """Return the codec of that name, if it is ours."""
    if name != ASCII:
        return None
    plain = codecs.lookup("ascii")
    encode: Callable[..., tuple[bytes, int]] = plain.encode
    return codecs.CodecInfo(
        encode, plain.decode, name=ASCII, incrementalencoder=_AsciiEncoder, incrementaldecoder=plain.incrementaldecoder
    )
