"""What a website gets where its pack is missing, broken, or says too little."""

from seeders.pack import AgencyEntry, FieldKeyEntry, LinkEntry, Pack

PACK_BY_SITE_TYPE = {
    "residential": "residential",
    "commercial": "commercial",
    "vacation_rental": "vacation_rental",
}
PACK_OTHERWISE = "base"

LINKS = (
    LinkEntry("home", link_url="/", sort_order=1),
    LinkEntry("properties", link_url="/search", sort_order=2),
    LinkEntry("about", link_url="/about", sort_order=3),
    LinkEntry("contact", link_url="/contact", sort_order=4),
)
FIELD_KEYS = (
    FieldKeyEntry("types.house", "property-types"),
    FieldKeyEntry("types.apartment", "property-types"),
    FieldKeyEntry("types.villa", "property-types"),
    FieldKeyEntry("states.good", "property-states"),
    FieldKeyEntry("states.new", "property-states"),
    FieldKeyEntry("features.pool", "property-features"),
    FieldKeyEntry("features.garage", "property-features"),
)

DEFAULTS = Pack("defaults", agency=AgencyEntry(), links=LINKS, field_keys=FIELD_KEYS)
"""Falling back is seeding from this pack: an agency with the website's name and its owner's address, no properties."""


def titleized(subdomain: str) -> str:
    """Return a subdomain as a name: `sunny-meadow-42` becomes `Sunny Meadow 42`."""
    return " ".join(word.capitalize() for word in subdomain.split("-") if word)
