"""Finds seed packs by name and keeps them until their files change. Knows no database.

Files are read only in threads of its own: a file system that hangs makes a bad pack, not a hanging worker.
"""

import asyncio
import re
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from seeders.loading.image_url_composer import image_folders
from seeders.loading.merging import merge
from seeders.loading.pack_files import HEAD, files_of, is_file
from seeders.loading.pack_reader import Head, read_head, read_pack
from seeders.pack import Pack
from seeders.pack_problems import PackError, PackProblem

NAME = re.compile(r"[a-z0-9_-]{1,64}")
NAME_RULE = "1 to 64 of a-z, 0-9, _ and -"
LOAD_SECONDS = 5.0
"""The longest that a step waits for files, with its website locked; a pack of shipped size takes 20 ms."""
CHECK_SECONDS = 0.2
"""How often a pack's files are checked for changes: sooner than anybody can mend one and requeue."""
MAX_KEPT = 256
"""Names come from signups: without a limit they would fill the memory."""
MAX_GENERATIONS = 16
"""A pack, its parent, and so on; the existing product has 2."""
MAX_NAMED = 20
"""How many packs an error lists."""

Signature = tuple[tuple[str, int, int, int, int], ...]


@dataclass(frozen=True, slots=True)
class Kept:
    """What was read, from which packs, the signature of their files, and when those were last checked, in seconds."""

    result: Pack | PackError
    names: tuple[str, ...]
    signature: Signature
    checked_at: float


@dataclass(frozen=True, slots=True)
class PendingRead:
    """A thread that reads a pack since `began`, in seconds."""

    future: asyncio.Future[Kept]
    began: float


class PackLibrary:
    """Seed packs by name, searched in several folders in order. Serves the tasks of one event loop."""

    def __init__(
        self,
        roots: Sequence[Path],
        *,
        images_url: str | None = None,
        clock: Callable[[], float] = time.monotonic,
        warn: Callable[[str, tuple[PackProblem, ...]], None] = lambda _name, _warnings: None,
    ) -> None:
        """`roots` are folders of packs; the first that has a pack by that name wins. `images_url` is where the pictures
        are that packs name, without a slash at its end; None: none is seeded. `clock` counts seconds.

        `warn` is called with a pack's name and warnings whenever it was read and there are some.
        """
        self._roots = tuple(roots)
        self._images_url = images_url
        self._clock = clock
        self._warn = warn
        self._kept: dict[str, Kept] = {}
        self._pending: dict[str, PendingRead] = {}

    async def get(self, name: str) -> Pack:
        """Return a pack, its parents merged in. Steps that an error in it costs are named by its `errors`.

        It is read again once any of its files or its parents' has changed, so that a mended pack needs no restart.
        While a file system hangs, what was read before goes on being served.

        Raises:
            PackError: there is none, or its pack.yml or its parents leave no step that could be seeded from it; the
                text says which file and entry, why, and what to do.
        """
        if not NAME.fullmatch(name):
            raise PackError(f"{name[:64]!r} is no pack name; use {NAME_RULE}")
        kept = self._kept.get(name)
        if kept is None or self._clock() - kept.checked_at >= CHECK_SECONDS:
            kept = await self._check(name, kept)
        if isinstance(kept.result, PackError):
            # A new one each time: a raised exception collects the stacks it has been through.
            error = kept.result
            raise PackError(str(error), errors=error.errors, warnings=error.warnings, strict=error.strict)
        return kept.result

    def names(self) -> list[str]:
        """Return the names of all packs that can be found. Reads folders: not for an event loop."""
        found = {path.parent.name for root in self._roots for path in root.glob(f"*/{HEAD}")}
        return sorted(name for name in found if NAME.fullmatch(name) and self.folders(name))

    def folders(self, name: str) -> list[Path]:
        """Return the folders that have a pack by that name; the first is read. Reads folders: not for an event loop."""
        return [root / name for root in self._roots if NAME.fullmatch(name) and is_file(root / name / HEAD)]

    async def _check(self, name: str, kept: Kept | None) -> Kept:
        """Check the files in a thread, and read them if they changed; one thread at a time for each name."""
        reading = self._pending.get(name)
        if reading is None:
            reading = self._pending[name] = PendingRead(asyncio.get_running_loop().create_future(), self._clock())
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

    def _start(self, name: str, kept: Kept | None, reading: PendingRead) -> None:
        loop = asyncio.get_running_loop()

        def settle(result: Kept) -> None:
            self._pending.pop(name, None)
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

    def _read(self, name: str, kept: Kept | None, checked_at: float) -> Kept:
        """Return what was kept if its files have the same signature, else read them."""
        if kept and kept.signature == tuple(entry for each in kept.names for entry in self._sign(each)):
            return Kept(kept.result, kept.names, kept.signature, checked_at)
        lineage = _Lineage()
        result: Pack | PackError
        try:
            self._follow(name, lineage)
            packs = [read_pack(root, head, self._images_url) for root, head in lineage.heads]
            result = _merged(packs, lineage.problems)
        except OSError as error:
            why = error.strerror or type(error).__name__
            result = PackError(f"{name}: cannot be read ({why}); make it readable for the user that runs the workers")
        return Kept(result, tuple(lineage.names), tuple(lineage.signature), checked_at)

    def _follow(self, name: str, lineage: "_Lineage") -> None:
        """Read the heads of a pack and its parents, the child first, as far as they can be found.

        Each pack's files are checked before they are read: an edit in between is noticed at the next check, and so is a
        pack that was not there.
        """
        following: str | None = name
        while following:
            if not NAME.fullmatch(following):
                return lineage.end(f"{following[:64]!r} is no pack name; use {NAME_RULE}")
            if following in lineage.names:
                return lineage.end(
                    f"it goes in a circle, {' → '.join([*lineage.names, following])}; remove it from one"
                )
            if len(lineage.names) == MAX_GENERATIONS:
                return lineage.end(f"there are more than {MAX_GENERATIONS} generations; merge some")
            lineage.names.append(following)
            lineage.signature.extend(self._sign(following))
            root = self._root_of(following)
            if root is None:
                return lineage.end(self._absent(following))
            lineage.heads.append((root, read_head(root, following)))
            following = lineage.heads[-1][1].inherits_from
        return None

    def _absent(self, name: str) -> str:
        if any((root / name).is_dir() for root in self._roots):
            misnamed = any((root / name / "pack.yaml").is_file() for root in self._roots)
            hint = "name its pack.yaml so" if misnamed else "a seed pack needs one"
            return f"there is a folder {name} without a {HEAD}; {hint}"
        known = self.names()
        more = f" and {len(known) - MAX_NAMED} more" if len(known) > MAX_NAMED else ""
        return f"there is no seed pack {name!r}; there are {', '.join(known[:MAX_NAMED])}{more}"

    def _root_of(self, name: str) -> Path | None:
        return next((root for root in self._roots if (root / name / HEAD).is_file()), None)

    def _sign(self, name: str) -> Signature:
        """Return path, times, size and inode of each file of the pack, in all folders: they differ once one changed.

        Includes the folders of pictures, whose times change when a picture is added or removed.
        """
        signature = []
        for root in self._roots:
            pictures = [path for _, path in image_folders(root, name)] if self._images_url else []
            for path in (*files_of(root, name), *pictures):
                with suppress(OSError):  # gone since it was listed: then it looks like one that is not there
                    stat = path.stat()
                    signature.append((str(path), stat.st_mtime_ns, stat.st_ctime_ns, stat.st_size, stat.st_ino))
        return tuple(signature)


class _Lineage:
    """A pack and its parents, as far as they were found: heads with their folders, and the signature of their files."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.signature: list[tuple[str, int, int, int, int]] = []
        self.heads: list[tuple[Path, Head]] = []
        self.problems: list[PackProblem] = []

    def end(self, reason: str) -> None:
        """Note why the next pack cannot be had."""
        if self.heads:
            child = self.heads[-1][1]
            problem = PackProblem(
                f"{child.name}/{HEAD}", f"cannot be followed: {reason}", line=child.inherits_line, key="inherits_from"
            )
        else:
            problem = PackProblem("", reason)
        self.problems.append(problem)


def _merged(packs: Sequence[Pack], problems: Sequence[PackProblem]) -> Pack | PackError:
    """Return packs as one, or the error that costs all of it."""
    errors = [*problems, *(error for pack in packs for error in pack.errors)]
    warnings = [warning for pack in packs for warning in pack.warnings]
    fatal = [error for error in errors if not error.step]
    if fatal:
        strict = bool(packs) and packs[0].strict
        return PackError(str(fatal[0]), errors=errors, warnings=warnings, strict=strict)
    return merge(packs)
