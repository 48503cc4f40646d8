"""Reads field_keys.yml of a seed pack, in both forms: `category: {key: {locale: label}}`, and the older list."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from seeders.loading.duplicate_checks import refuse_doubles, refuse_repetitions, refuse_too_many
from seeders.loading.file_models import FieldKeyModel
from seeders.loading.model_validation import ValuePath, named, validated
from seeders.loading.pack_value_types import Categories
from seeders.loading.problem_collector import FileProblems
from seeders.loading.yaml_reader import Scalar, YamlMapping, YamlSequence, read_yaml
from seeders.pack import FieldKeyEntry, Labels

TAGS = {
    "types": "property-types",
    "states": "property-states",
    "features": "property-features",
    "amenities": "property-amenities",
    "extras": "property-features",
    "labels": "property-highlights",
}
"""The tag of a category; any other category is tagged property-CATEGORY."""


def read_field_keys(root: Path, problems: FileProblems) -> tuple[FieldKeyEntry, ...]:
    """Return the field keys of a file; none where it is absent. What is wrong with it is noted."""
    content = read_yaml(root, problems.file, problems, YamlMapping, YamlSequence)
    if content is None:
        return ()
    refuse_repetitions(content, problems)
    keys = _of_categories(content, problems) if isinstance(content, YamlMapping) else _of_list(content, problems)
    refuse_doubles(((key.global_key, line) for key, line in keys), problems)
    refuse_too_many(keys, problems)
    return tuple(key for key, _ in keys)


def _of_categories(content: YamlMapping, problems: FileProblems) -> list[tuple[FieldKeyEntry, int | None]]:
    for category, members in content.items():
        if isinstance(members, YamlSequence):
            refuse_doubles(((f"{category}.{key}", key.line) for key in members if isinstance(key, Scalar)), problems)
    categories: Any = validated(Categories, content, problems, name=_category_and_key) or {}
    keys: list[tuple[FieldKeyEntry, int | None]] = []
    for category, members in categories.items():
        tag = TAGS.get(category) or f"property-{category}"
        for key, labels in (members or {}).items():
            entry = FieldKeyEntry(key, tag, len(keys) + 1, translations=_translations(labels))
            keys.append((entry, _line(content[category], key)))
    return keys


def _of_list(content: YamlSequence, problems: FileProblems) -> list[tuple[FieldKeyEntry, int | None]]:
    keys: list[tuple[FieldKeyEntry, int | None]] = []
    for number, raw in enumerate(content, start=1):
        key = (raw.get("global_key") or raw.get("field_key")) if isinstance(raw, YamlMapping) else None
        name, line = key if isinstance(key, str) and key else f"number {number}", getattr(raw, "line", content.line)
        model = validated(FieldKeyModel, raw, problems, name=named(name))
        if model is None:
            continue
        if model.global_key and model.field_key and model.global_key != model.field_key:
            problems.error("differs from global_key; keep one of the two", line=line, entry=name, key="field_key")
            continue
        global_key = model.global_key or model.field_key
        if global_key is None:
            problems.error("has neither global_key nor field_key; an entry needs one", line=line, entry=name)
            continue
        tag, visible = model.tag or TAGS["features"], model.visible is not False
        keys.append((FieldKeyEntry(global_key, tag, number, visible, _translations(model.translations)), line))
    return keys


def _category_and_key(path: ValuePath) -> tuple[str, ValuePath]:
    """Name a value by its category and key."""
    return ".".join(str(part) for part in path[:2]), path[2:]


def _line(members: YamlMapping | YamlSequence, key: str) -> int | None:
    if isinstance(members, YamlMapping):
        return members.lines[key]
    return next((member.line for member in members if member == key), members.line)


def _translations(labels: Mapping[str, str | None] | None) -> Labels:
    return {locale: {"label": label} for locale, label in (labels or {}).items() if label is not None}
