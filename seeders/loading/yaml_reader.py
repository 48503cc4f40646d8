"""Reads one YAML file as text, within limits: every scalar is what is written, null alone is null.

YAML's own types are not used: in YAML 1.1 `NO` is false, 12:30 is 750 and 1.10 is 1.1. `scalar_conversion` converts a
text to what its field needs; `file_models` has the fields.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import yaml

from seeders.loading.problem_collector import FileProblems
from seeders.loading.yaml_mistakes import doubts, name_mistake

try:
    from yaml import CBaseLoader as Parser
except ImportError:  # PyYAML without libyaml: slower, and the same
    from yaml import BaseLoader as Parser  # type: ignore[assignment]

MAX_FILE_BYTES = 1024 * 1024
"""The largest file of the existing product's packs has 8 KiB."""
MAX_DEPTH = 20
"""The existing product's deepest entry is 6 deep; deeper ones would end the recursion of whatever reads the values."""

NULLS = frozenset({"", "~", "null", "Null", "NULL"})
"""What is null where it stands without quotes, as in YAML 1.2."""
TEXT_TAG = "tag:yaml.org,2002:str"
GLUED_COMMENT = re.compile(r"[ \t]+#[^\s#]")
"""What follows a value whose author did not mean a comment: the 2 of `Calle 7 #2`."""
COMMENT_GLUED = "has a comment right after a value; put the value in quotes if the # is a part of it"
TAGS = frozenset({"!", TEXT_TAG, "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"})


class Scalar(str):
    """A scalar as it is written, with its line, and whether it stands there without quotes."""

    __slots__ = ("line", "plain")

    line: int
    plain: bool

    def __new__(cls, text: str, line: int, *, plain: bool) -> Self:
        """Make one; `line` counts from 1."""
        scalar = super().__new__(cls, text)
        scalar.line, scalar.plain = line, plain
        return scalar


@dataclass(frozen=True, slots=True)
class Repetition:
    """A key that stands in a mapping twice."""

    key: str
    first: int
    line: int


class YamlMapping(dict[str, Any]):
    """A mapping, with its line, the line of each key, the keys that stand there again, and the keys without a colon.

    Where a comma is in a value of `{price: 450,000}`, what follows it is a key without a colon.
    """

    __slots__ = ("bare", "line", "lines", "repetitions")

    def __init__(self, line: int) -> None:
        super().__init__()
        self.line = line
        self.lines: dict[str, int] = {}
        self.repetitions: list[Repetition] = []
        self.bare: list[str] = []

    def add(self, key: Scalar, value: Any) -> None:
        """Take an entry; of a key that is there already, note it."""
        if key in self.lines:
            self.repetitions.append(Repetition(str(key), self.lines[key], key.line))
        else:
            self.lines[str(key)] = key.line
            self[str(key)] = value


class YamlSequence(list[Any]):
    """A list, with its line."""

    __slots__ = ("line",)

    def __init__(self, line: int) -> None:
        super().__init__()
        self.line = line


class UnreadableError(Exception):
    """A file is no YAML, or beyond a limit: why, and at which line."""

    def __init__(self, reason: str, line: int | None = None) -> None:
        super().__init__(reason)
        self.line = line


def read_yaml(root: Path, file: str, problems: FileProblems, *shapes: type) -> Any:
    """Return what a file holds, one of `shapes`: mappings, lists, scalars and None.

    `root` is the folder of packs, `file` the path below it. None where the file is absent or empty, and where it cannot
    be read, is no YAML, is beyond a limit, or holds something else: that is an error among `problems` then.
    """
    try:
        builder = _build(_text(root / file))
    except OSError as error:
        problems.error(f"cannot be read ({type(error).__name__}); make it readable for the user that runs the workers")
        return None
    except UnreadableError as error:
        problems.error(str(error), line=error.line)
        return None
    for line, doubt in builder.doubts:
        problems.warning(doubt, line=line)
    value = builder.document
    if value is not None and not isinstance(value, shapes):
        expected = " or ".join(KINDS[shape] for shape in shapes)
        problems.error(f"holds {kind(value)}, it must hold {expected}", line=value.line)
        return None
    return value


KINDS: dict[type, str] = {Scalar: "a text", YamlMapping: "a mapping (key: value)", YamlSequence: "a list (- entry)"}


def kind(value: Any) -> str:
    """Return what a value is, in words: `a list (- entry)`."""
    return KINDS.get(type(value), "nothing")


def repetitions(value: Any) -> Iterator[Repetition]:
    """Return the keys that stand twice in a value, and in all that it holds."""
    if isinstance(value, YamlMapping):
        yield from value.repetitions
        for inner in value.values():
            yield from repetitions(inner)
    elif isinstance(value, YamlSequence):
        for inner in value:
            yield from repetitions(inner)


def _text(path: Path) -> str:
    if not path.is_file():
        return ""
    with path.open("rb") as stream:
        read = stream.read(MAX_FILE_BYTES + 1)
    if len(read) > MAX_FILE_BYTES:
        raise UnreadableError(f"has {path.stat().st_size} bytes, at most {MAX_FILE_BYTES} are read; shorten it")
    try:
        return read.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = read.count(b"\n", 0, error.start) + 1
        raise UnreadableError(f"is not UTF-8 (byte {read[error.start]:#04x}); save it as UTF-8", line) from None


def _build(text: str) -> "_Builder":
    """Build the document from the parser's events, without recursion and without YAML's own types.

    Raises:
        UnreadableError: it is no YAML, or more than a pack may use of it.
    """
    builder = _Builder(text)
    try:
        for event in yaml.parse(text, Loader=Parser):
            builder.take(event)
    except (yaml.YAMLError, ValueError, TypeError, AttributeError, RecursionError) as error:
        reason = getattr(error, "problem", None) or getattr(error, "reason", None) or type(error).__name__
        found, begun = (getattr(error, mark, None) for mark in ("problem_mark", "context_mark"))
        raise UnreadableError(*name_mistake(text, reason, found and found.line + 1, begun and begun.line + 1)) from None
    return builder


class _Builder:
    """The document so far, and the mappings and lists that are still open."""

    def __init__(self, text: str) -> None:
        self.document: Any = None
        self.doubts: list[tuple[int, str]] = []
        self._text = text
        self._documents = 0
        self._open: list[YamlMapping | YamlSequence] = []
        self._keys: list[Scalar | None] = []
        self._end_of_key = 0

    def take(self, event: yaml.Event) -> None:
        """Take the parser's next event."""
        match event:
            case yaml.AliasEvent():
                # They are how a small file becomes a huge one; the existing product refuses them too.
                raise UnreadableError("uses YAML aliases (*name); write the values out", _line(event))
            case yaml.ScalarEvent():
                self._check_tag(event)
                self._take_scalar(event)
            case yaml.MappingStartEvent():
                self._begin(event, YamlMapping(_line(event)))
            case yaml.SequenceStartEvent():
                self._begin(event, YamlSequence(_line(event)))
            case yaml.CollectionEndEvent():
                value = self._open.pop()
                self._keys.pop()
                self._place(value)
            case yaml.DocumentStartEvent():
                self._documents += 1
                if self._documents > 1:
                    raise UnreadableError("is not YAML: a second document begins, one is read", _line(event))

    def _take_scalar(self, event: yaml.ScalarEvent) -> None:
        line, plain = _line(event), not event.style and event.tag is None
        assert event.start_mark is not None
        assert event.end_mark is not None
        parent, begin, end = self._open[-1] if self._open else None, event.start_mark.index, event.end_mark.index
        if plain and event.value in NULLS and event.anchor:
            raise UnreadableError(f"has an anchor (&{event.anchor[:64]}) of nothing; put the value in quotes", line)
        if plain and event.value and GLUED_COMMENT.match(self._text, end):
            self.doubts.append((line, COMMENT_GLUED))
        self.doubts += [(line, doubt) for doubt in doubts(event.value, event.style)]
        if isinstance(parent, YamlMapping) and (key := self._keys[-1]) is not None:
            if not event.value and plain and ":" not in self._text[self._end_of_key : begin]:
                parent.bare.append(str(key))
        else:
            self._end_of_key = end
        self._place(Scalar(event.value, line, plain=plain))

    def _begin(self, event: yaml.CollectionStartEvent, value: YamlMapping | YamlSequence) -> None:
        self._check_tag(event)
        if len(self._open) == MAX_DEPTH:
            raise UnreadableError(f"is nested more than {MAX_DEPTH} deep; make it flatter", _line(event))
        self._open.append(value)
        self._keys.append(None)

    def _check_tag(self, event: yaml.ScalarEvent | yaml.CollectionStartEvent) -> None:
        if event.tag and event.tag not in TAGS:
            name = event.tag.replace("tag:yaml.org,2002:", "!!")[:64]
            raise UnreadableError(f"uses the YAML tag {name!r}; write the value without it", _line(event))

    def _place(self, value: Scalar | YamlMapping | YamlSequence) -> None:
        """Put a value where it belongs: into the list, under its key, or as the key of the next."""
        content = None if isinstance(value, Scalar) and value.plain and value in NULLS else value
        if not self._open:
            self.document = content
        elif isinstance(parent := self._open[-1], YamlSequence):
            parent.append(content)
        elif (key := self._keys[-1]) is not None:
            parent.add(key, content)
            self._keys[-1] = None
        elif isinstance(value, Scalar):
            self._keys[-1] = value
        else:
            raise UnreadableError(f"has {kind(value)} as a key; a key is a word", value.line)


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 1
