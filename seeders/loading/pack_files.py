"""Says which files of a folder are a seed pack's. What editors and systems leave there is not."""

from collections.abc import Iterator
from pathlib import Path

HEAD, LINKS, FIELD_KEYS, PROPERTIES = "pack.yml", "links.yml", "field_keys.yml", "properties"

IMAGES = "images"
"""The folder of a pack's pictures: they are not read, the address of each is seeded."""
LEFT_OUT = ("content", "content_translations", "page_parts", "pages", "translations")
"""Folders of the existing product's packs that this service does not seed."""
SYSTEM_FILES = frozenset({"thumbs.db", "desktop.ini", "ehthumbs.db", "__macosx"})
STRAY_BEGINNINGS = (".", "#", "~")
"""Hidden files, `._a.yml` of a Mac, `.#a.yml` and `#a.yml#` of Emacs, `~$a.yml` of an office program."""
STRAY_ENDS = ("~", "#", ".swp", ".swo", ".bak", ".orig", ".rej", ".tmp")
DOCUMENTS = (".md", ".txt", ".rst")


def is_file(path: Path) -> bool:
    """Return whether there is a file, in a folder that may be entered."""
    try:
        return path.is_file()
    except OSError:  # its folder may not be entered
        return False


def files_of(root: Path, name: str) -> list[Path]:
    """Return the files that a pack is read from, those that are there."""
    folder = root / name
    heads = [folder / HEAD, folder / LINKS, folder / FIELD_KEYS]
    try:
        properties = property_files(root, name)
    except OSError:  # what cannot be listed is an error when it is read
        properties = []
    return [*(path for path in heads if is_file(path)), *properties]


def property_files(root: Path, name: str) -> list[Path]:
    """Return the files of a pack's properties, in the order of their names.

    Raises:
        OSError: the folder is there and cannot be listed.
    """
    return [path for path in _visible(root / name / PROPERTIES) if path.suffix == ".yml" and path.is_file()]


def folders_left_out(root: Path, name: str) -> list[str]:
    """Return the folders of a pack that the existing product seeds from, and this service does not."""
    return [folder for folder in LEFT_OUT if any(_visible(root / name / folder))]


def unread_files(root: Path, name: str) -> list[tuple[Path, str]]:
    """Return what stands in a pack's folder as if it were a part of it and is not read, and why not."""
    known = {HEAD, LINKS, FIELD_KEYS, PROPERTIES, IMAGES, *LEFT_OUT}
    found = [path for path in _visible(root / name) if path.name not in known and path.suffix not in DOCUMENTS]
    found += [path for path in _visible(root / name / PROPERTIES) if path.suffix not in (".yml", *DOCUMENTS)]
    return [
        (path, "is not read; name it .yml" if path.suffix == ".yaml" else "is not read: it is no file of a pack")
        for path in found
    ]


def _visible(folder: Path) -> Iterator[Path]:
    """Return what is in a folder, without what editors and systems leave there, and without broken links."""
    try:
        entries = sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return
    for path in entries:
        if path.name.startswith(STRAY_BEGINNINGS) or path.name.endswith(STRAY_ENDS):
            continue
        if path.name.lower() not in SYSTEM_FILES and path.exists():
            yield path
