"""Says which changes between two AsyncAPI documents break somebody: a publisher of what comes in, or a subscriber.

What comes in: every body that the old contract takes, the new one must take. What goes out: every body that the new
contract may have, the old one must allow, but for fields that are new. What cannot be compared is said to have changed.
"""

from collections.abc import Iterator, Mapping
from typing import Any

LOWER_BOUNDS = ("minimum", "minLength", "minItems")
UPPER_BOUNDS = ("maximum", "maxLength", "maxItems")
EXACT = ("pattern", "const", "not")
"""`format` says nothing that a validator has to check."""
Schema = Mapping[str, Any]


class NotAsyncApiError(ValueError):
    """A file is no AsyncAPI document as this service writes them; the text says why."""


def breaking_changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Return, in words, each change that breaks a publisher or a subscriber; none where nobody has to change anything.

    Raises:
        NotAsyncApiError: `old` or `new` has no messages as this service describes them.
    """
    found: list[str] = []
    for channel, action in (("commands", "taken"), ("events", "published")):
        before, after = _payloads(old, channel), _payloads(new, channel)
        found += [f"{name}: is not {action} any more" for name in before if name not in after]
        for name in before.keys() & after.keys():
            narrow, wide = (after[name], before[name]) if channel == "commands" else (before[name], after[name])
            compare = _Comparison(narrow, wide, incoming=channel == "commands")
            found += [f"{name}: {text}" for text in compare.all()]
    return sorted(found)


def _payloads(document: Mapping[str, Any], channel: str) -> dict[str, Schema]:
    try:
        names = document["channels"][channel]["messages"]
        return {name: document["components"]["messages"][name]["payload"]["schema"] for name in names}
    except (KeyError, TypeError) as error:
        raise NotAsyncApiError(f"it has no {error} where `provisioner contracts` writes one") from error


class _Comparison:
    """Finds what of `wide` is not within `narrow`: the schema that has to allow all, and the one whose bodies come."""

    def __init__(self, narrow: Schema, wide: Schema, *, incoming: bool) -> None:
        self._narrow, self._wide, self._incoming = narrow, wide, incoming

    def all(self) -> Iterator[str]:
        """Return the differences in words."""
        yield from self._compare(self._narrow, self._wide, "body")

    def _compare(self, narrow: Schema, wide: Schema, where: str) -> Iterator[str]:
        narrow, wide = self._resolved(narrow, self._narrow), self._resolved(wide, self._wide)
        allowed, possible = self._variants(narrow, self._narrow), self._variants(wide, self._wide)
        if len(allowed) > 1 or len(possible) > 1:
            for variant in possible:
                differences = [list(self._compare(each, variant, where)) for each in allowed]
                if all(differences):
                    yield from min(differences, key=len)
            return
        if _kind(narrow) not in ("any", _kind(wide)):
            yield f"{where} {self._may_be(_kind(wide))}"
            return
        yield from self._compare_values(narrow, wide, where)
        yield from self._compare_fields(narrow, wide, where)
        if "items" in narrow:
            yield from self._compare(narrow["items"], wide.get("items", {}), f"each of {where}")

    def _compare_values(self, narrow: Schema, wide: Schema, where: str) -> Iterator[str]:
        for bounds, reaches in ((LOWER_BOUNDS, -1), (UPPER_BOUNDS, 1)):
            for bound in bounds:
                limit, reach = narrow.get(bound), wide.get(bound)
                if limit is not None and (reach is None or reaches * reach > reaches * limit):
                    before, after = (reach, limit) if self._incoming else (limit, reach)
                    yield f"{where} has {bound} {after}, not {before}"
        if "enum" in narrow:
            values = wide.get("enum", [wide["const"]] if "const" in wide else None)
            if values is None:
                yield f"{where} {'takes only certain values' if self._incoming else 'may have any value'} now"
            else:
                yield from (f"{where} {self._may_be(value)}" for value in values if value not in narrow["enum"])
        for name in EXACT:
            if name in narrow and narrow[name] != wide.get(name):
                yield f"{where} has another {name}"

    def _compare_fields(self, narrow: Schema, wide: Schema, where: str) -> Iterator[str]:
        allowed, possible = narrow.get("properties", {}), wide.get("properties", {})
        for name in narrow.get("required", ()):
            if name not in wide.get("required", ()):
                yield f"{_at(where, name)} is {'required now' if self._incoming else 'not always there any more'}"
        for name in possible.keys() - allowed.keys():
            # An event may have a new field: subscribers ignore what they do not know.
            if self._incoming and narrow.get("additionalProperties") is False:
                yield f"{_at(where, name)} is not taken any more"
        for name in allowed.keys() & possible.keys():
            yield from self._compare(allowed[name], possible[name], _at(where, name))

    def _may_be(self, value: object) -> str:
        return f"may not be {value} any more" if self._incoming else f"may be {value} now"

    def _variants(self, schema: Schema, root: Schema) -> list[Schema]:
        alternatives = [*schema.get("anyOf", ()), *schema.get("oneOf", ())]
        if not alternatives:
            return [schema]
        return [part for each in alternatives for part in self._variants(self._resolved(each, root), root)]

    def _resolved(self, schema: Schema, root: Schema) -> Schema:
        if "$ref" not in schema:
            return schema
        found: Schema = root["$defs"][schema["$ref"].rpartition("/")[2]]
        return found


def _kind(schema: Schema) -> str:
    """Return the type of a schema; any where it has none."""
    return str(schema.get("type", "any"))


def _at(where: str, name: str) -> str:
    return name if where == "body" else f"{where}.{name}"
