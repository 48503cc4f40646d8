"""What the entries of a seed pack's files must look like. Only what cannot be inserted is an error.

The keys are the existing product's; unknown keys and nulls are accepted. What this service has no table for (pages,
content, users, theme, …) is left alone.
"""

from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from seeders.pack import PackError

PLACEMENTS = {"top_nav": 0, "footer": 1, "social_media": 2, "admin": 3}
MAX_KEY_CHARACTERS = 255
"""A natural key is indexed; an index entry beyond some 2,700 bytes is refused by the database."""
MAX_TEXT_CHARACTERS = 10_000
"""The existing product's longest description has 600."""


def storable(text: str) -> str:
    """Refuse what no text column takes, and YAML can write with an escape."""
    if "\0" in text:
        raise ValueError("contains a NUL character; remove it")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("contains half of a surrogate pair; remove it")
    return text


def _placement(value: Any) -> Any:
    """Accept a placement by name or by number."""
    if isinstance(value, str):
        if value not in PLACEMENTS:
            raise ValueError(f"is {value[:64]!r}; known are {', '.join(PLACEMENTS)}")
        return PLACEMENTS[value]
    return value


def _as_text(value: Any) -> Any:
    """Accept what YAML makes of an unquoted word: postal codes and house numbers are numbers to it."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _parameters(value: Any) -> Any:
    """Accept a list of parameters, as routes of the existing product take them."""
    return ",".join(str(item) for item in value if item is not None) if isinstance(value, list) else value


def _without_nulls(value: Any) -> Any:
    return [item for item in value if item is not None] if isinstance(value, list) else value


def _english(value: Any) -> Any:
    """Accept a text without a locale: it is English, as in the existing product."""
    return {"en": value} if isinstance(value, str | int | float) else value


Text = Annotated[str, BeforeValidator(_as_text), AfterValidator(storable), Field(max_length=MAX_TEXT_CHARACTERS)]
Word = Annotated[
    str, BeforeValidator(_as_text), AfterValidator(storable), Field(min_length=1, max_length=MAX_KEY_CHARACTERS)
]
Integer = Annotated[int, Field(ge=-(2**31), le=2**31 - 1)]
Cents = Annotated[int, Field(ge=0, le=2**63 - 1)]
Number = Annotated[float, Field(allow_inf_nan=False)]
Texts = Annotated[dict[Word, Text | None], BeforeValidator(_english)]


class Layout(BaseModel):
    """The rules of every entry."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class AgencyLayout(Layout):
    """`agency` in pack.yml."""

    display_name: Text | None = None
    email: Text | None = None
    phone: Text | None = None


class WebsiteLayout(Layout):
    """`website` in pack.yml: only the currency matters here."""

    currency: Word | None = None


class StrictLayout(Layout):
    """What pack.yml says of defaults."""

    fallback: bool | None = None


class HeadLayout(StrictLayout):
    """pack.yml."""

    inherits_from: Text | None = None
    agency: AgencyLayout | None = None
    website: WebsiteLayout | None = None


class LinkLayout(Layout):
    """One entry of links.yml."""

    slug: Word
    page_slug: Text | None = None
    link_path: Text | None = None
    link_path_params: Annotated[Text | None, BeforeValidator(_parameters)] = None
    link_url: Text | None = None
    link_title: Texts | None = None
    placement: Annotated[Integer | None, BeforeValidator(_placement)] = None
    sort_order: Integer | None = 0
    visible: bool | None = None


class SaleLayout(Layout):
    """`sale` of a property."""

    highlighted: bool | None = None
    price_cents: Cents | None = None
    title: Texts | None = None
    description: Texts | None = None


class RentalLayout(Layout):
    """`rental` of a property."""

    highlighted: bool | None = None
    long_term: bool | None = None
    short_term: bool | None = None
    furnished: bool | None = None
    price_cents: Cents | None = None
    monthly_price_cents: Cents | None = None
    title: Texts | None = None
    description: Texts | None = None


class PropertyLayout(Layout):
    """One file of properties/."""

    reference: Word
    prop_type: Text | None = None
    prop_state: Text | None = None
    address: Text | None = None
    city: Text | None = None
    region: Text | None = None
    country: Text | None = None
    postal_code: Text | None = None
    latitude: Number | None = None
    longitude: Number | None = None
    bedrooms: Integer | None = None
    bathrooms: Number | None = None
    garages: Integer | None = None
    constructed_area: Number | None = None
    plot_area: Number | None = None
    year_built: Integer | None = None
    sale: SaleLayout | None = None
    rental: RentalLayout | None = None
    features: Annotated[list[Text] | None, BeforeValidator(_without_nulls)] = None


REASONS = {
    "model_type": "must be a mapping (key: value)",
    "dict_type": "must be a text, or texts by locale (en: …)",
    "missing": "is missing; an entry needs it",
    "string_type": "must be a text",
    "list_type": "must be a list",
}
"""In the words of people who write packs, where pydantic's are those of people who write Python."""

Model = TypeVar("Model", bound=Layout)


def validated(layout: type[Model], value: Any, file: str, entry: str = "") -> Model:
    """Return a value of a file as its layout.

    Raises:
        PackError: naming the file, the entry, the key in it and the reason.
    """
    try:
        return layout.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        key = ".".join(str(part).replace("\0", "") for part in first["loc"] if part != "[key]")
        reason = REASONS.get(first["type"]) or first["msg"].removeprefix("Value error, ")
        named = f", entry {entry[:64]!r}" if entry else ""
        raise PackError(f"{file}{named}: {f'{key} ' if key else ''}{reason}") from None
