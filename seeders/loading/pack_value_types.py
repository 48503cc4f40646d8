"""The kinds of values that the keys of a seed pack take, as pydantic validates them."""

from typing import Annotated, Any

from pydantic import BeforeValidator, PlainValidator

from seeders.loading.scalar_conversion import (
    RefusedValueError,
    currency,
    decimal,
    email,
    filled,
    flag,
    measure,
    shown,
    text,
    whole,
    word,
)
from seeders.loading.yaml_reader import Scalar, YamlMapping, YamlSequence, kind

PLACEMENTS = {"top_nav": 0, "footer": 1, "social_media": 2, "admin": 3}
MAX_INTEGER = 2**31 - 1
MAX_BIGINT = 2**63 - 1
MAX_YEAR = 2100
"""Years to come are those of buildings that are planned; 0 means unknown."""


def _placement(value: Any) -> int:
    """Accept a placement by name or by number."""
    known = PLACEMENTS | {str(number): number for number in PLACEMENTS.values()}
    if not isinstance(value, str) or value not in known:
        raise RefusedValueError(f"is {shown(value)}; known are {', '.join(PLACEMENTS)}")
    return known[value]


def _parameters(value: Any) -> str:
    """Accept a list of parameters, as routes of the existing product take them."""
    if isinstance(value, YamlSequence):
        return ",".join(text(item) for item in value if item is not None)
    return text(value)


def _features(value: Any) -> list[str]:
    if not isinstance(value, YamlSequence):
        raise RefusedValueError(f"is {shown(value)}; write a list (- entry)")
    try:
        return [word(item) for item in value if item is not None]
    except RefusedValueError as error:
        raise RefusedValueError(f"has an entry that {error}") from None


def _english(value: Any) -> Any:
    """Accept a text without a locale: it is English, as in the existing product."""
    if isinstance(value, YamlMapping):
        if value.bare:
            raise RefusedValueError(
                f"has {shown(value.bare[0])} after a comma; put a text with a comma in it in quotes"
            )
        return value
    if not isinstance(value, Scalar):
        raise RefusedValueError(f"is {shown(value)}; write a text, or texts by locale (en: text)")
    return {"en": value}


def _label(value: Any) -> Any:
    """Accept `{label: …}` for its label."""
    return value["label"] if isinstance(value, YamlMapping) and "label" in value else value


def _members(value: Any) -> Any:
    """Accept a list of keys for a mapping of keys to no labels."""
    if isinstance(value, YamlMapping):
        return value
    if not isinstance(value, YamlSequence):
        raise RefusedValueError(f"is {shown(value)}; write a mapping of keys to labels")
    members = YamlMapping(value.line)
    for key in value:
        if not isinstance(key, Scalar):
            raise RefusedValueError(f"has {kind(key)} in its list; write a key, a word")
        members.add(key, None)
    return members


Text = Annotated[str, PlainValidator(text)]
Word = Annotated[str, PlainValidator(word)]
Filled = Annotated[str, PlainValidator(filled)]
Email = Annotated[str, PlainValidator(email)]
Currency = Annotated[str, PlainValidator(currency)]
Flag = Annotated[bool, PlainValidator(flag)]
Order = Annotated[int, PlainValidator(whole(-MAX_INTEGER - 1, MAX_INTEGER, example="3"))]
Count = Annotated[int, PlainValidator(whole(0, MAX_INTEGER, example="3"))]
Year = Annotated[int, PlainValidator(whole(0, MAX_YEAR, example="1998"))]
Cents = Annotated[int, PlainValidator(whole(0, MAX_BIGINT, example="45000000 for a price of 450000"))]
Measure = Annotated[float, PlainValidator(measure(1e12, example="85.5"))]
Latitude = Annotated[float, PlainValidator(decimal(-90, 90, example="36.5012"))]
Longitude = Annotated[float, PlainValidator(decimal(-180, 180, example="-4.7234"))]
Placement = Annotated[int, PlainValidator(_placement)]
Parameters = Annotated[str, PlainValidator(_parameters)]
Features = Annotated[list[str], PlainValidator(_features)]
Texts = Annotated[dict[Word, Text | None], BeforeValidator(_english)]
Labels = Annotated[dict[Word, Annotated[Text | None, BeforeValidator(_label)]], BeforeValidator(_english)]
Categories = dict[Word, Annotated[dict[Word, Labels | None], BeforeValidator(_members)] | None]
"""field_keys.yml: keys by category, labels by key."""
