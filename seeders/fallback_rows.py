"""The fallback, called defaults: the rows of a website whose seed pack does not suffice."""

from collections.abc import Mapping

from seeders.pack import AgencyEntry, FieldKeyEntry, LinkEntry, Pack


def _link(
    slug: str, url: str, route: tuple[str, str, str | None], titles: Mapping[str, str], sort_order: int
) -> LinkEntry:
    """Return a link: by its address, and by the existing product's page, route and the route's parameter."""
    page, path, parameter = route
    labels = {locale: {"link_title": title} for locale, title in titles.items()}
    return LinkEntry(slug, page, path, parameter, url, sort_order=sort_order, translations=labels)


LINKS = (
    _link("home", "/", ("home", "home_path", None), {"en": "Home", "es": "Inicio", "de": "Startseite"}, 1),
    _link("properties", "/search", ("buy", "buy_path", None), {"en": "Buy", "es": "Comprar", "de": "Kaufen"}, 2),
    _link(
        "about", "/about", ("about-us", "show_page_path", "about-us"),
        {"en": "About us", "es": "Sobre nosotros", "de": "Über uns"}, 3,
    ),
    _link(
        "contact", "/contact", ("contact-us", "contact_us_path", None),
        {"en": "Contact", "es": "Contacto", "de": "Kontakt"}, 4,
    ),
)  # fmt: skip
"""Each with the page, the route and the title by which the existing product shows a link."""
FIELD_KEYS = (
    FieldKeyEntry("types.house", "property-types"),
    FieldKeyEntry("types.apartment", "property-types"),
    FieldKeyEntry("types.villa", "property-types"),
    FieldKeyEntry("states.good", "property-states"),
    FieldKeyEntry("states.new", "property-states"),
    FieldKeyEntry("features.pool", "property-features"),
    FieldKeyEntry("features.garage", "property-features"),
)
DEFAULTS = Pack(name="defaults", agency=AgencyEntry(), links=LINKS, field_keys=FIELD_KEYS)
"""What a website gets where its pack does not suffice; it has no properties."""
