"""Finds seed packs by name and keeps them until their files change. Knows no database.

Files are only touched in threads of its own: a file system that hangs makes a bad pack, not a hanging worker.
"""

import asyncio
import re
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seeders.inheritance import merge
from seeders.pack import Pack, PackError
from seeders.pack_files import files_of, read_head, read_pack, says_strict

NAME = re.compile(r"[a-z0-9_-]{1,64}")
LOAD_SECONDS = 5.0
"""The longest that a step waits for files, with its website locked; a pack of shipped size takes 20 ms."""
LOOK_SECONDS = 0.2
"""How often a pack's files are looked at for changes: sooner than anybody can mend one and requeue."""
MAX_KEPT = 256
"""Names are what signups say: without a limit they would fill the memory."""
MAX_GENERATIONS = 16
"""A pack, its parent, and so on; the existing product has 2."""
MAX_NAMED = 20
"""How many packs an error lists."""

Signature = tuple[tuple[str, int, int, int, int], ...]


@dataclass(frozen=True, slots=True)
class Kept:
    """What was read, out of which packs' files, how those looked, and when they were last looked at, in seconds."""

    result: Pack | PackError
    names: tuple[str, ...]
    signature: Signature
    looked: float


@dataclass(frozen=True, slots=True)
class Reading:
    """A thread at work on a pack since `began`, in seconds."""

    future: asyncio.Future[Kept]
    began: float


class PackLibrary:
    """Seed packs by name, searched in several folders in order. Serves the tasks of one event loop."""

    def __init__(
        self,
        roots: Sequence[Path],
        *,
        clock: Callable[[], float] = time.monotonic,
        warn: Callable[[str, tuple[str, ...]], None] = lambda _name, _warnings: None,
    ) -> None:
        """`roots` are folders of packs; the first that has a pack by that name wins. `clock` counts seconds.

        `warn` is told a pack's name and warnings whenever it was read and there are some.
        """
        self._roots = tuple(roots)
        self._clock = clock
        self._warn = warn
        self._kept: dict[str, Kept] = {}
        self._readings: dict[str, Reading] = {}

    async def get(self, name: str) -> Pack:
        """Return a pack, its parents merged in.

        It is read again once any of its files or its parents' has changed, so that a mended pack needs no restart.
        While a file system hangs, what was read before goes on being served.

        Raises:
            PackError: there is none, or it is broken; the text says which file and entry, why, and what to do.
        """
        if not NAME.fullmatch(name):
            raise PackError(f"{name[:64]!r} is no pack name; use 1 to 64 of a-z, 0-9, _ and -")
        kept = self._kept.get(name)
        if kept is None or self._clock() - kept.looked >= LOOK_SECONDS:
            kept = await self._look(name, kept)
        if isinstance(kept.result, PackError):
            # A new one each time: a raised exception collects the stacks it has been through.
            raise PackError(str(kept.result), strict=kept.result.strict)
        return kept.result

    def names(self) -> list[str]:
        """Return the names of all packs that can be found. Reads folders: not for an event loop."""
        found = {path.parent.name for root in self._roots for path in root.glob("*/pack.yml")}
        return sorted(name for name in found if NAME.fullmatch(name))

    async def _look(self, name: str, kept: Kept | None) -> Kept:
        """Look at the files in a thread; one at a time for each name, whoever asks."""
        reading = self._readings.get(name)
        if reading is None:
            reading = self._readings[name] = Reading(asyncio.get_running_loop().create_future(), self._clock())
            self._start(name, kept, reading)
        try:
            async with asyncio.timeout(max(0.0, LOAD_SECONDS - (self._clock() - reading.began))):
                return await asyncio.shield(reading.future)
        except TimeoutError:
            if kept:
                return kept
            error = PackError(
                f"{name}: could not be read within {LOAD_SECONDS:g} s; see what its file system waits for"
            )
            return Kept(error, (name,), (), reading.began)

    def _start(self, name: str, kept: Kept | None, reading: Reading) -> None:
        loop = asyncio.get_running_loop()

        def settle(result: Kept) -> None:
            self._readings.pop(name, None)
            self._kept[name] = result
            while len(self._kept) > MAX_KEPT:
                self._kept.pop(next(iter(self._kept)))
            unchanged = kept is not None and kept.result is result.result
            if not unchanged and isinstance(result.result, Pack) and result.result.warnings:
                self._warn(name, result.result.warnings)
            if not reading.future.done():
                reading.future.set_result(result)

        def read() -> None:
            defect = PackError(f"{name}: reading it ended in a defect; the traceback is on standard error")
            result = Kept(defect, (name,), (), reading.began)
            try:
                result = self._read(name, kept, reading.began)
            finally:
                with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                    loop.call_soon_threadsafe(settle, result)

        # A daemon: a thread that hangs must not hold up the end of the program, as an executor's would.
        threading.Thread(target=read, name=f"seed pack {name}", daemon=True).start()

    # ------------------------------------------------------------------------------------------------ in the thread

    def _read(self, name: str, kept: Kept | None, looked: float) -> Kept:
        """Return what was kept if its files look the same, else read them."""
        if kept and kept.signature == tuple(entry for each in kept.names for entry in self._sign(each)):
            return Kept(kept.result, kept.names, kept.signature, looked)
        names: list[str] = []
        signature: list[tuple[str, int, int, int, int]] = []
        result: Pack | PackError
        try:
            result = merge([read_pack(root, each) for each, root in self._lineage(name, names, signature)])
        except PackError as error:
            result = PackError(str(error), strict=self._says_strict(name))
        except OSError as error:
            result = PackError(f"{name}: cannot be read ({error.strerror or type(error).__name__})")
        return Kept(result, tuple(names), tuple(signature), looked)

    def _lineage(self, name: str, names: list[str], signature: list[Any]) -> list[tuple[str, Path]]:
        """Return a pack and its parents with their folders, the child first.

        `names` and `signature` take what was looked at, each pack before it is read: an edit in between is noticed at
        the next look, and so is a pack that was not there.
        """
        lineage: list[tuple[str, Path]] = []
        wanted: str | None = name
        while wanted:
            child = f"{names[-1]}/pack.yml: inherits_from: " if names else ""
            if not NAME.fullmatch(wanted):
                raise PackError(f"{child}{wanted[:64]!r} is no pack name; use 1 to 64 of a-z, 0-9, _ and -")
            if wanted in names:
                way = " → ".join([*names, wanted])
                raise PackError(f"{child}goes in a circle, {way}; remove it from one of them")
            if len(names) == MAX_GENERATIONS:
                raise PackError(f"{child}there are more than {MAX_GENERATIONS} generations; merge some")
            names.append(wanted)
            signature.extend(self._sign(wanted))
            root = self._root_of(wanted)
            if root is None:
                raise PackError(f"{child}{self._absent(wanted)}")
            lineage.append((wanted, root))
            wanted = read_head(root, wanted).inherits_from
        return lineage

    def _absent(self, name: str) -> str:
        if any((root / name).is_dir() for root in self._roots):
            return f"there is a folder {name} without a pack.yml; a seed pack needs one"
        known = self.names()
        more = f" and {len(known) - MAX_NAMED} more" if len(known) > MAX_NAMED else ""
        return f"there is no seed pack {name!r}; there are {', '.join(known[:MAX_NAMED])}{more}"

    def _root_of(self, name: str) -> Path | None:
        return next((root for root in self._roots if (root / name / "pack.yml").is_file()), None)

    def _says_strict(self, name: str) -> bool:
        """Say whether a broken pack still says that it must stand on its own."""
        try:
            root = self._root_of(name)
            return root is not None and says_strict(root, name)
        except (PackError, OSError):
            return False

    def _sign(self, name: str) -> Signature:
        """Return what changes whenever a file of this pack does, in whichever folder."""
        signature = []
        for root in self._roots:
            for path in files_of(root, name):
                with suppress(OSError):  # gone since it was listed: then it looks like one that is not there
                    stat = path.stat()
                    signature.append((str(path), stat.st_mtime_ns, stat.st_ctime_ns, stat.st_size, stat.st_ino))
        return tuple(signature)
