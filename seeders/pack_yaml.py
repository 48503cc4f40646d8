"""Reads one YAML file within limits: bytes, depth, no aliases. What its entries mean is not known here."""

import re
from pathlib import Path
from typing import Any

import yaml

from seeders.pack import PackError

try:
    from yaml import CSafeLoader as SafeLoader
except ImportError:  # PyYAML without libyaml: slower, and the same
    from yaml import SafeLoader  # type: ignore[assignment]

MAX_FILE_BYTES = 1024 * 1024
"""The largest file of the existing product's packs has 8 KiB."""
MAX_DEPTH = 20
"""The existing product's deepest entry is 6 deep; without a limit the parser's recursion would end the worker."""

INTEGER_TAG = "tag:yaml.org,2002:int"
INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9_]*|0b[01_]+|0x[0-9a-fA-F_]+)$")
"""No octal and no base 60: to YAML 1.1 the postal code 03724 is 2004, and the time 12:30 is 750."""


class PlainLoader(SafeLoader):
    """A safe loader to which a word that begins with a zero is no number."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML's own table, replaced and never changed
        first: [(tag, INTEGER if tag == INTEGER_TAG else pattern) for tag, pattern in resolvers]
        for first, resolvers in SafeLoader.yaml_implicit_resolvers.items()
    }


def read_yaml(root: Path, file: str, *shapes: type) -> Any:
    """Return what a file holds, one of `shapes`; None where it is absent or empty.

    `root` is the folder of packs, `file` the path below it, as errors name it.

    Raises:
        PackError: it cannot be read, is no YAML, is beyond a limit, or holds something else.
    """
    try:
        text = _text(root / file, file)
        _check(text, file)
        value = yaml.load(text, Loader=PlainLoader)  # noqa: S506 - a safe loader, in C
    except (OSError, UnicodeDecodeError) as error:
        raise PackError(f"{file}: cannot be read ({type(error).__name__})") from None
    except (yaml.YAMLError, ValueError, TypeError, AttributeError, RecursionError) as error:
        problem = getattr(error, "problem", None) or getattr(error, "reason", None) or type(error).__name__
        raise PackError(f"{file}{_line(getattr(error, 'problem_mark', None))}: is not YAML: {problem}") from None
    if value is not None and not isinstance(value, shapes):
        expected = " or ".join(shape.__name__ for shape in shapes)
        raise PackError(f"{file}: holds a {type(value).__name__}, it must hold a {expected}")
    return value


def _text(path: Path, file: str) -> str:
    if not path.is_file():
        return ""
    with path.open("rb") as stream:
        read = stream.read(MAX_FILE_BYTES + 1)
    if len(read) > MAX_FILE_BYTES:
        raise PackError(f"{file}: has {path.stat().st_size} bytes, at most {MAX_FILE_BYTES} are read")
    return read.decode("utf-8-sig")


def _check(text: str, file: str) -> None:
    """Look at the events, which takes no recursion, before anything is built from them."""
    depth = 0
    for event in yaml.parse(text, Loader=SafeLoader):
        if isinstance(event, yaml.AliasEvent):
            # They are how a small file becomes a huge one; the existing product refuses them too.
            raise PackError(f"{file}: uses YAML aliases (*name); write the values out")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > MAX_DEPTH:
            raise PackError(f"{file}{_line(event.start_mark)}: is nested more than {MAX_DEPTH} deep; make it flatter")


def _line(mark: Any) -> str:
    return f", line {mark.line + 1}" if mark else ""
