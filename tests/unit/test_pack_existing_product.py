"""Packs in the existing product's layout load unchanged: its keys, its quoting, its comments."""

import pytest

from seeders.loading.pack_library import PackLibrary
from seeders.pack import AgencyEntry

LINKS = [  # slug, page, path, parameters, placement
    ("top_nav_home", "home", "home_path", None, "top_nav"),
    ("top_nav_buy", "buy", "buy_path", None, "top_nav"),
    ("top_nav_rent", "rent", "rent_path", None, "top_nav"),
    ("top_nav_about", "about-us", "show_page_path", "about-us", "top_nav"),
    ("top_nav_contact", "contact-us", "contact_us_path", None, "top_nav"),
    ("footer_home", "home", "home_path", None, "footer"),
    ("footer_buy", "buy", "buy_path", None, "footer"),
    ("footer_rent", "rent", "rent_path", None, "footer"),
    ("footer_contact", "contact-us", "contact_us_path", None, "footer"),
    ("footer_privacy", "privacy", "show_page_path", "privacy", "footer"),
    ("footer_terms", "legal", "show_page_path", "legal", "footer"),
]
HEAD = """\
# A pack, as the existing product writes one
#
name: {name}
display_name: "Pack {name}"
description: "For tests"
version: "1.0"
{inherits}
# Website
website:
  theme_name: default
  selected_palette: classic_red
  default_client_locale: es
  supported_locales:
    - es
    - en
  country: Spain
  currency: EUR
  area_unit: sqmt

  search_config:
    filters:
      price:
        enabled: true
        sale:
          min_presets:
            - "No min"
            - 200000
      bathrooms:
        enabled: true
        min_options: ["Any", 2, "5+"]
    display:
      default_results_per_page: 12
"""
AGENCY = """
agency:
  display_name: "Agency of {name}"
  email: "office@{name}.example"
  phone: "+34 952 000 000"
  address:
    street_address: "Calle 45"
    city: Marbella
    postal_code: "29600"

page_parts:
  home:
    - key: heroes/hero_centered
      order: 1
    - content_html

users:
  - email: admin@{name}.example
    role: admin
    password: secret
"""
PROPERTY = """\
# One property
reference: {reference}
prop_type: types.{keys}types_0
prop_state: states.{keys}states_0

# Location
address: "Calle {number}"
city: Mijas Costa
region: Málaga
country: Spain
postal_code: "0{number}49"
latitude: 36.5012
longitude: -4.7234

# Details
bedrooms: {number}
bathrooms: 4
garages: 0
constructed_area: 350
plot_area: 1200
year_built: 1720

{listing}
features:
{features}

# Image
image: front.jpg
"""
SALE = """\
sale:
  highlighted: true
  price_cents: {cents}  # as people say it
  title:
    es: "Casa {cents}"
    en: "House {cents}"
  description:
    en: "A house: with a colon, and # no comment."
"""
SPANISH_RENTAL = """\
rental:
  highlighted: true
  price_cents: {cents}  # a month
  title:
    en: "To let {cents}"
"""
DUTCH_RENTAL = """\
rental:
  highlighted: false
  long_term: true
  short_term: false
  furnished: true
  monthly_price_cents: {cents}
  title:
    nl: "Te huur {cents}"
"""
LEFT_ALONE = {
    "content/home.yml": "hero:\n  title: &t {en: Welcome}\n  again: *t\n",
    "page_parts/home__hero.yml": "- not: [what, this, service, reads\n",
    "pages/home.yml": "slug: home\n",
    "translations/en.yml": "en: {}\n",
    "images/front.jpg": b"\xff\xd8\xff",
}


def links():
    """links.yml."""
    text = "# Navigation\n"
    for number, (slug, page, path, parameters, placement) in enumerate(LINKS, start=1):
        text += f"- slug: {slug}\n  page_slug: {page}\n  link_path: {path}\n"
        text += f"  link_path_params: {parameters}\n" if parameters else ""
        text += f"  link_title: Title {number}\n  placement: {placement}\n  sort_order: {number}\n  visible: true\n\n"
    return text


def field_keys(prefix, **counts):
    """field_keys.yml with so many keys of each category; the first key of types and states is the one in use."""
    text = "# Keys\n"
    for category, count in counts.items():
        text += f"{category}:\n"
        for number in range(count):
            text += f"  {prefix}{category}_{number}:\n    en: Label {number}\n    es: Etiqueta {number}\n"
    return text


def properties(prefix, keys, rental, sales, features):
    """The files of properties/: so many for sale, the others to let; `features` is how many each has."""
    listings = [SALE.format(cents=f"{number}45000000") for number in range(1, sales + 1)]
    listings += [rental.format(cents=f"{number}95000") for number in range(1, len(features) - sales + 1)]
    return {
        f"properties/house_{number}.yml": PROPERTY.format(
            reference=f"{prefix}-{number:03}", keys=keys, number=number, listing=listing, features=lines(count)
        )
        for number, (listing, count) in enumerate(zip(listings, features, strict=True), start=1)
    }


def lines(count):
    """So many features, one a line."""
    return "\n".join(f"  - features.f_{number}" for number in range(count))


def head(name, inherits="", agency=""):
    return {"pack.yml": HEAD.format(name=name, inherits=inherits) + agency.format(name=name)}


FEATURES = {"spain_luxury": [8, 8, 8, 8, 8, 8, 10], "netherlands_urban": [13, 13, 13, 13, 13, 12, 12, 12]}
"""Of each property; 58 and 101 in all, as in the existing product's packs."""
PACKS = {
    "base": {
        **head("base"),
        "links.yml": links(),
        "field_keys.yml": field_keys("", types=10, states=5, features=11, amenities=10),
    },
    "spain_luxury": {
        **head("spain_luxury", "inherits_from: base", AGENCY),
        **properties("ES", "", SPANISH_RENTAL, 5, FEATURES["spain_luxury"]),
        **LEFT_ALONE,
    },
    "netherlands_urban": {
        **head("netherlands_urban", "inherits_from: base", AGENCY),
        "field_keys.yml": field_keys("nl_", types=12, states=6, features=13, amenities=13, labels=6),
        **properties("NL", "nl_", DUTCH_RENTAL, 7, FEATURES["netherlands_urban"]),
        **LEFT_ALONE,
    },
}


def write_packs(folder, packs):
    """Write packs, each by its name out of its files by theirs."""
    for name, files in packs.items():
        for file, text in files.items():
            path = folder / name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text if isinstance(text, bytes) else text.encode())


@pytest.fixture
def library(tmp_path):
    """The three packs in a folder."""
    write_packs(tmp_path, PACKS)
    return PackLibrary([tmp_path], images_url="https://img.example")


WEBSITE = "area_unit country default_client_locale search_config selected_palette supported_locales theme_name"
NOT_SEEDED = ", ".join(f"website.{key}" for key in WEBSITE.split())


@pytest.mark.parametrize("name", PACKS)
async def test_what_is_not_seeded_of_them_is_named_once_for_each_pack(library, name):
    """The keys and folders from which their own loader seeds something, a parent's after its child's; nothing else."""
    expected = f"brings what this service does not seed: {NOT_SEEDED}"
    warnings = [f"base/pack.yml: {expected}"]
    if name != "base":
        folders = "content/, page_parts/, pages/, translations/"
        before, after = "agency.address, page_parts, users", f"{NOT_SEEDED}, {folders}"
        warnings.insert(0, f"{name}/pack.yml: brings what this service does not seed: {before}, {after}")
    assert list(map(str, (await library.get(name)).warnings)) == warnings


async def test_their_features_and_pictures_are_those_of_their_own_loader(library):
    """A picture that lies with its pack has an address there."""
    for name, counts in FEATURES.items():
        houses = (await library.get(name)).properties
        assert [len(entry.features) for entry in houses] == counts
        assert houses[0].features[:2] == ("features.f_0", "features.f_1")
        assert [entry.photo_url for entry in houses] == [f"https://img.example/packs/{name}/front.jpg"] * len(counts)


async def test_the_spanish_rentals_are_long_term(library):
    """They do not say so: the existing product's loader takes it for granted, and its search finds no others."""
    lets = [entry.rental for entry in (await library.get("spain_luxury")).properties if entry.rental]
    assert [(let.long_term, let.short_term, let.furnished) for let in lets] == [(True, False, False)] * 2


@pytest.mark.parametrize(
    ("name", "counts"),
    [("base", (11, 36, 0, 0, 0)), ("spain_luxury", (11, 36, 7, 5, 2)), ("netherlands_urban", (11, 86, 8, 7, 1))],
)
async def test_the_existing_products_packs_load_unchanged(library, name, counts):
    """As many links, field keys, assets, sale and rental listings as by its own loader, and no error."""
    pack = await library.get(name)
    assert (pack.errors, pack.strict) == ((), False)
    sales = [entry for entry in pack.properties if entry.sale]
    rentals = [entry for entry in pack.properties if entry.rental]
    found = (len(pack.links), len(pack.field_keys), len(pack.properties), len(sales), len(rentals))
    assert found == counts


async def test_their_values_are_what_is_written(library):
    """Of an agency, a link, a key, and a property with its listing."""
    pack = await library.get("spain_luxury")
    assert pack.agency == AgencyEntry("Agency of spain_luxury", "office@spain_luxury.example", "+34 952 000 000")
    assert pack.parents == ("base",)
    about = pack.links[3]
    assert (
        about.slug,
        about.page_slug,
        about.link_path,
        about.link_path_params,
        about.placement,
        about.sort_order,
    ) == (
        *("top_nav_about", "about-us", "show_page_path", "about-us"),
        *(0, 4),
    )
    assert about.translations == {"en": {"link_title": "Title 4"}}
    assert pack.field_keys[0].translations == {"en": {"label": "Label 0"}, "es": {"label": "Etiqueta 0"}}
    house, let = pack.properties[1], pack.properties[5]
    assert (house.reference, house.columns["postal_code"], house.columns["count_bedrooms"]) == ("ES-002", "0249", 2)
    assert (house.columns["latitude"], house.columns["longitude"]) == (36.5012, -4.7234)
    assert (house.sale.cents, house.sale.currency, house.sale.highlighted) == (245000000, "EUR", True)
    assert house.sale.translations["en"]["description"] == "A house: with a colon, and # no comment."
    assert (let.rental.cents, let.rental.translations) == (195000, {"en": {"title": "To let 195000"}})


async def test_a_monthly_price_is_read_as_the_dutch_pack_writes_it(library):
    """With all that it says of the rental."""
    let = (await library.get("netherlands_urban")).properties[7].rental
    assert (let.cents, let.long_term, let.short_term, let.furnished) == (195000, True, False, True)
