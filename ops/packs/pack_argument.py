"""Selects the packs that somebody means: all that can be found, one by its name, or those of a folder."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ops.errors import InvalidInputError, NotFoundError
from seeders.loading.pack_files import FIELD_KEYS, HEAD, LINKS, PROPERTIES, STRAY_BEGINNINGS
from seeders.loading.pack_library import MAX_NAMED, NAME, NAME_RULE, PackLibrary
from seeders.pack_problems import PackProblem

HEADS = (HEAD, "pack.yaml")
PARTS = (*HEADS, LINKS, FIELD_KEYS, PROPERTIES)


@dataclass(frozen=True, slots=True)
class Selection:
    """Packs to report on: in which library, by which names, and what is wrong beside them."""

    library: PackLibrary
    names: tuple[str, ...]
    problems: tuple[PackProblem, ...] = ()


def select_all_packs(folders: Sequence[Path], images_url: str | None = None) -> Selection:
    """Return all packs that can be found in folders of packs; folders that cannot be packs are problems."""
    library = PackLibrary(folders, images_url=images_url)
    problems = [problem for folder in folders for problem in _impossible(folder)]
    return Selection(library, tuple(library.names()), tuple(problems))


def select_packs(folders: Sequence[Path], wanted: str, images_url: str | None = None) -> Selection:
    """Return the packs that a name or a folder means; the name of a pack that can be found comes first.

    A folder is a pack, whose parents are searched beside it and then in `folders`, or a folder of packs.

    Raises:
        NotFoundError: there is neither such a pack nor such a folder.
        InvalidInputError: the folder is none of packs, or its name is no pack's.
    """
    if not wanted.strip():
        raise InvalidInputError("no pack is named: name one, or a folder, or leave the argument out to check all")
    library, path = PackLibrary(folders, images_url=images_url), Path(wanted)
    if library.folders(wanted):
        return Selection(library, (wanted,))
    try:
        found = path.is_dir()
    except OSError as error:
        raise InvalidInputError(f"{wanted[:200]!r} cannot be read: {error.strerror}") from None
    if not found:
        known = ", ".join(library.names()[:MAX_NAMED])
        raise NotFoundError(f"there is no seed pack and no folder {wanted[:200]!r}; there are {known}")
    path = path.resolve()
    if (path / HEAD).is_file():
        if not NAME.fullmatch(path.name):
            raise InvalidInputError(f"{path.name[:64]!r} is no pack name; rename the folder: {NAME_RULE}")
        return Selection(PackLibrary([path.parent, *folders], images_url=images_url), (path.name,))
    selection = select_all_packs([path])
    if not selection.names and not selection.problems:
        raise InvalidInputError(f"{wanted[:200]} has no {HEAD}, and no folder with one; a seed pack needs it")
    library = PackLibrary([path, *folders], images_url=images_url)
    return Selection(library, selection.names, selection.problems)


def _impossible(folder: Path) -> list[PackProblem]:
    """Return a problem for each folder that has files of a pack and is none, for want of a pack.yml or of a name."""
    problems = []
    for path in sorted(folder.glob("*/")):
        parts = [] if path.name.startswith(STRAY_BEGINNINGS) else _parts(path)
        if not parts:
            continue
        if not (path / HEAD).is_file():
            other = next((part for part in parts if part.lower() in HEADS), "")
            has = (
                f"has {other}, which is not read; name it {HEAD}" if other else f"has no {HEAD}; a seed pack needs one"
            )
            problems.append(PackProblem(path.name, has))
        elif not NAME.fullmatch(path.name):
            problems.append(
                PackProblem(path.name, f"is no pack name, so nobody can ask for it; rename the folder: {NAME_RULE}")
            )
    return problems


def _parts(folder: Path) -> list[str]:
    """Return what a folder has of a pack, as it is named there: in capitals it is not found by Linux."""
    try:
        return sorted(path.name for path in folder.iterdir() if path.name.lower() in PARTS)
    except OSError:  # it may not be entered
        return []
