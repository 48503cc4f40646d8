"""What the entries of a seed pack's files must look like, and what they become. Only what cannot be used is an error.

The keys are the existing product's. What this service does not seed (pages, content, users, theme, …) is left out, and
named in one warning for the pack; a key that neither knows is a warning of its own, for it is probably misspelt.
"""

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from seeders.loading.pack_value_types import (
    Cents,
    Count,
    Currency,
    Email,
    Features,
    Filled,
    Flag,
    Labels,
    Latitude,
    Longitude,
    Measure,
    Order,
    Parameters,
    Placement,
    Text,
    Texts,
    Word,
    Year,
)
from seeders.pack import AgencyEntry, LinkEntry, ListingEntry, PropertyEntry

CURRENCY = "EUR"
STATE = "states.good"


class FileModel(BaseModel):
    """The rules of every entry."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    left_out: ClassVar[frozenset[str]] = frozenset()
    """Keys that the existing product seeds something from, and this service does not."""
    remarks: ClassVar[frozenset[str]] = frozenset()
    """Keys from which nobody seeds anything, or that are read elsewhere."""


class AgencyModel(FileModel):
    """`agency` in pack.yml."""

    left_out = frozenset({"address"})

    display_name: Filled | None = None
    email: Email | None = None
    phone: Filled | None = None

    def entry(self) -> AgencyEntry:
        """Return it as an entry."""
        return AgencyEntry(self.display_name, self.email, self.phone)


class WebsiteModel(FileModel):
    """`website` in pack.yml: only the currency matters here."""

    left_out = frozenset(
        {
            "theme_name", "selected_palette", "default_client_locale", "supported_locales", "country", "area_unit",
            "search_config",
        }
    )  # fmt: skip

    currency: Currency | None = None


class HeadModel(FileModel):
    """pack.yml; what stands in `agency` and `website` is read by itself, as an error there costs one step only."""

    left_out = frozenset({"page_parts", "users"})
    remarks = frozenset({"name", "display_name", "description", "version", "agency", "website"})

    inherits_from: Text | None = None
    fallback: Flag | None = None


class LinkModel(FileModel):
    """One entry of links.yml."""

    left_out = frozenset(
        {"href_class", "href_target", "icon_class", "is_deletable", "is_external", "parent_slug", "translations"}
    )

    slug: Word
    page_slug: Text | None = None
    link_path: Text | None = None
    link_path_params: Parameters | None = None
    link_url: Text | None = None
    link_title: Texts | None = None
    placement: Placement | None = None
    sort_order: Order | None = 0
    visible: Flag | None = None

    def entry(self, number: int) -> LinkEntry:
        """Return it as an entry; `number` is its place in the file."""
        known = self.model_dump(exclude_none=True, exclude={"link_title"})
        return LinkEntry(**{"sort_order": number, **known}, translations=_by_locale(link_title=self.link_title))


class FieldKeyModel(FileModel):
    """One entry of the older form of field_keys.yml, a list."""

    left_out = frozenset({"show_in_search_form", "sort_order", "props_count"})

    global_key: Word | None = None
    field_key: Word | None = None
    tag: Word | None = None
    visible: Flag | None = None
    translations: Labels | None = None


class SaleModel(FileModel):
    """`sale` of a property."""

    highlighted: Flag | None = None
    price_cents: Cents | None = None
    title: Texts | None = None
    description: Texts | None = None

    @property
    def price(self) -> int:
        """The price in cents."""
        return self.price_cents or 0

    def entry(self, currency: str, **terms: Any) -> ListingEntry:
        """Return it as an entry, with the terms of a rental."""
        return ListingEntry(
            cents=self.price,
            currency=currency,
            highlighted=bool(self.highlighted),
            translations=_by_locale(title=self.title, description=self.description),
            **terms,
        )


class RentalModel(SaleModel):
    """`rental` of a property."""

    long_term: Flag | None = None
    short_term: Flag | None = None
    furnished: Flag | None = None
    monthly_price_cents: Cents | None = None

    @property
    def price(self) -> int:
        """The price for a month in cents. Some packs of the existing product write it as price_cents."""
        return self.monthly_price_cents if self.monthly_price_cents is not None else super().price

    def entry(self, currency: str, **terms: Any) -> ListingEntry:
        """Return it as an entry; as in the existing product, it is let long-term unless its pack says otherwise."""
        terms |= {"long_term": self.long_term is not False}
        terms |= {name: bool(getattr(self, name)) for name in ("short_term", "furnished")}
        return super().entry(currency, **terms)


class PropertyModel(FileModel):
    """One file of properties/."""

    reference: Word
    prop_type: Text | None = None
    prop_state: Text | None = None
    address: Text | None = None
    city: Text | None = None
    region: Text | None = None
    country: Text | None = None
    postal_code: Text | None = None
    latitude: Latitude | None = None
    longitude: Longitude | None = None
    bedrooms: Count | None = None
    bathrooms: Measure | None = None
    garages: Count | None = None
    constructed_area: Measure | None = None
    plot_area: Measure | None = None
    year_built: Year | None = None
    sale: SaleModel | None = None
    rental: RentalModel | None = None
    features: Features | None = None
    image: Text | None = None

    def entry(self, currency: str, file: str, photo_url: str | None = None) -> PropertyEntry:
        """Return it as an entry, read from `file`, with the asset's columns by their names in the database."""
        return PropertyEntry(
            reference=self.reference,
            file=file,
            columns={
                "prop_type_key": self.prop_type,
                "prop_state_key": self.prop_state or STATE,
                "street_address": self.address,
                "city": self.city,
                "region": self.region,
                "country": self.country,
                "postal_code": self.postal_code,
                "latitude": self.latitude,
                "longitude": self.longitude,
                "count_bedrooms": self.bedrooms,
                "count_bathrooms": self.bathrooms,
                "count_garages": self.garages,
                "constructed_area": self.constructed_area,
                "plot_area": self.plot_area,
                "year_construction": self.year_built,
            },
            sale=self.sale.entry(currency) if self.sale else None,
            rental=self.rental.entry(currency) if self.rental else None,
            features=tuple(dict.fromkeys(self.features or ())),
            photo_url=photo_url,
        )


def _by_locale(**texts: dict[str, str | None] | None) -> dict[str, dict[str, str]]:
    """Return `{locale: {name: text}}` of texts by locale; a locale without a text is left out."""
    labels: dict[str, dict[str, str]] = {}
    for name, by_locale in texts.items():
        for locale, text in (by_locale or {}).items():
            if text is not None:
                labels.setdefault(locale, {})[name] = text
    return labels
