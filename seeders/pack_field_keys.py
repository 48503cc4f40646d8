"""Reads field_keys.yml of a seed pack, in both forms: `category: {key: {locale: label}}`, and the older list."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from seeders.pack import FieldKeyEntry, Labels, PackError
from seeders.pack_entries import bounded, refuse_doubles
from seeders.pack_layout import MAX_KEY_CHARACTERS, MAX_TEXT_CHARACTERS, storable
from seeders.pack_yaml import read_yaml

TAGS = {
    "types": "property-types",
    "states": "property-states",
    "features": "property-features",
    "amenities": "property-amenities",
    "extras": "property-features",
    "labels": "property-highlights",
}
"""The tag of a category; any other category is tagged property-CATEGORY."""


def read_field_keys(root: Path, file: str) -> tuple[FieldKeyEntry, ...]:
    """Return the field keys of a file; none where it is absent.

    Raises:
        PackError: naming file, entry and reason.
    """
    entries = read_yaml(root, file, dict, list) or {}
    keys = _of_categories(entries, file) if isinstance(entries, Mapping) else _of_list(entries, file)
    refuse_doubles(keys, file)
    return tuple(keys)


def _of_categories(categories: Mapping[Any, Any], file: str) -> list[FieldKeyEntry]:
    named = [
        (category, key, labels)
        for category, keys in categories.items()
        for key, labels in _members(keys, f"{file}, entry {_shown(category)!r}")
    ]
    keys = []
    for number, (category, key, labels) in enumerate(bounded(named, file), start=1):
        where = f"{file}, entry {f'{_shown(category)}.{_shown(key)}'!r}"
        tag = TAGS.get(category) or f"property-{_word(category, where)}"
        keys.append(FieldKeyEntry(_word(key, where), tag, number, translations=_labels(labels, where)))
    return keys


def _members(keys: Any, where: str) -> list[tuple[Any, Any]]:
    if keys is None:
        return []
    if isinstance(keys, list):
        return [(key, None) for key in keys]
    if not isinstance(keys, dict):
        raise PackError(f"{where}: is a {type(keys).__name__}, it must map keys to labels")
    return list(keys.items())


def _of_list(entries: list[Any], file: str) -> list[FieldKeyEntry]:
    keys = []
    for number, raw in enumerate(bounded(entries, file), start=1):
        if not isinstance(raw, dict):
            raise PackError(f"{file}, entry number {number}: is a {type(raw).__name__}, it must be a mapping")
        key = raw.get("global_key") or raw.get("field_key")
        where = f"{file}, entry {key if isinstance(key, str) else f'number {number}'!r}"
        tag = _word(raw.get("tag") or TAGS["features"], where)
        visible = raw.get("visible") is not False
        keys.append(FieldKeyEntry(_word(key, where), tag, number, visible, _labels(raw.get("translations"), where)))
    return keys


def _word(value: Any, where: str) -> str:
    """Return a key; numbers are words here."""
    text = _text(value, where, "its key")
    if text is None or not 0 < len(text) <= MAX_KEY_CHARACTERS:
        raise PackError(f"{where}: needs a key of 1 to {MAX_KEY_CHARACTERS} characters")
    return text


def _labels(value: Any, where: str) -> Labels:
    """Return labels by locale; a bare word is English, and `{label: …}` stands for its label."""
    if value is None:
        return {}
    if isinstance(value, str):
        value = {"en": value}
    if not isinstance(value, dict):
        raise PackError(f"{where}: labels are a {type(value).__name__}, they must map locales to text")
    labels: dict[str, dict[str, str]] = {}
    for locale, label in value.items():
        said = label.get("label") if isinstance(label, dict) else label
        if said is None:
            continue
        text = _text(said, where, f"the {_shown(locale)} label")
        if text is None or len(text) > MAX_TEXT_CHARACTERS:
            raise PackError(f"{where}: the {_shown(locale)} label must be a text of at most {MAX_TEXT_CHARACTERS}")
        labels[_word(locale, where)] = {"label": text}
    return labels


def _text(value: Any, where: str, what: str) -> str | None:
    """Return a word or a number as text that can be stored; None where it is something else."""
    try:
        if isinstance(value, str):
            return storable(value)
        # Python refuses to print a number of more than 4,300 digits.
        return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
    except ValueError as error:
        raise PackError(f"{where}: {what} {error}") from None


def _shown(key: Any) -> str:
    """Return a key to name an entry by, whatever YAML made of it."""
    if isinstance(key, str):
        return key.replace("\0", "")[:64]
    return repr(key) if isinstance(key, bool) else f"a {type(key).__name__}"
