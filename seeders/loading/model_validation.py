"""Validates what stands in a file by its model; says of each wrong value where it stands, and how to write it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from typing import Any, TypeVar, get_args

from pydantic import TypeAdapter, ValidationError

from seeders.loading.file_models import FileModel
from seeders.loading.problem_collector import FileProblems
from seeders.loading.scalar_conversion import shown
from seeders.loading.yaml_reader import YamlMapping, YamlSequence

AFTER_COMMA = (
    "stands after a comma without a value; in {…} a comma ends a value: write numbers in digits alone, and put a text"
    " with a comma in it in quotes"
)
"""What is wrong with a key without a colon, such as the 000 of `{price_cents: 450,000}`."""
ValuePath = Sequence[str | int]
Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Unknown:
    """Doubt about a key that nothing reads; `meant` is the one that may be meant, or an empty text."""

    meant: str


NO_COLON = "no colon"
"""Doubt about a key that stands there without a colon."""
LEFT_OUT = "left out"
"""Doubt about a key from which the existing product seeds something, and this service does not."""


def validated(
    model: Callable[..., Value],
    value: Any,
    problems: FileProblems,
    *,
    name: Callable[[ValuePath], tuple[str, ValuePath]],
) -> Value | None:
    """Return a value of a file as its model; where it is wrong, None, and all that is wrong in it is an error.

    `name` returns the entry that a path to a wrong value is in, and the rest of the path.
    """
    bare = 0
    for path, doubt in _keys_in_doubt(model, value):
        entry, rest = name(path)
        place: dict[str, Any] = {"line": _line(value, path), "entry": entry, "key": _joined(rest)}
        if isinstance(doubt, Unknown):
            problems.warning(f"is not read{doubt.meant and f'; is {doubt.meant} meant?'}", **place)
        elif doubt is LEFT_OUT:
            problems.left_out.append(_joined(rest))
        else:
            problems.error(AFTER_COMMA, **place)
            bare += 1
    try:
        found: Value = _adapter(model).validate_python(value)
    except ValidationError as error:
        for each in error.errors(include_url=False, include_context=False):
            path = [part for part in each["loc"] if part != "[key]"]
            if each["type"] == "missing":
                reason = "is missing; an entry needs it"
            elif each["type"] == "model_type":
                reason = f"is {shown(each['input'])}; write a mapping (key: value)"
            else:
                reason = each["msg"].removeprefix("Value error, ")
            entry, rest = name(path)
            problems.error(reason, line=_line(value, path), entry=entry, key=_joined(rest))
        return None
    return None if bare else found


def named(entry: str) -> Callable[[ValuePath], tuple[str, ValuePath]]:
    """Return a function that names every value of an entry by that entry."""
    return lambda path: (entry, path)


@lru_cache(maxsize=32)
def _adapter(model: Any) -> TypeAdapter[Any]:
    return TypeAdapter(model)


def _line(value: Any, path: ValuePath) -> int | None:
    """Return the line of what a path leads to, or of the innermost value around it that has one."""
    line: int | None = getattr(value, "line", None)
    for part in path:
        if isinstance(value, YamlMapping):
            line, value = value.lines.get(str(part), line), value.get(str(part))
        elif isinstance(value, YamlSequence) and isinstance(part, int):
            value = value[part]
            line = getattr(value, "line", line)
        else:
            break
    return line


def _joined(path: ValuePath) -> str:
    return ".".join(str(part) for part in path)


def _keys_in_doubt(model: Any, value: Any) -> Iterator[tuple[ValuePath, str | Unknown]]:
    """Return the path to each key in doubt, and which doubt."""
    if not (isinstance(model, type) and issubclass(model, FileModel) and isinstance(value, YamlMapping)):
        return
    for key in value:
        if key in value.bare:
            yield (key,), NO_COLON
        elif key in model.model_fields:
            inner = next(iter(get_args(model.model_fields[key].annotation)), None)
            yield from (((key, *path), doubt) for path, doubt in _keys_in_doubt(inner, value[key]))
        elif key in model.left_out:
            if value[key] is not None:
                yield (key,), LEFT_OUT
        elif key not in model.remarks:
            known = [*model.model_fields, *model.left_out, *model.remarks]
            yield (key,), Unknown("".join(get_close_matches(key.strip(), known, 1, 0.75)))
