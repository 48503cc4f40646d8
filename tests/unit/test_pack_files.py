"""What a pack's files may look like: what is refused, in which words, and what is accepted as it stands."""

import subprocess
import sys
from pathlib import Path

import pytest

import seeders
from seeders import PackError, PackLibrary
from seeders.pack import AgencyEntry
from seeders.pack_files import MAX_ENTRIES, MAX_FILE_BYTES, TAGS


@pytest.fixture
def read(tmp_path):
    """Write a pack called `mine` out of files by name, and read it."""

    async def read(files):
        for file, text in {"pack.yml": "name: mine\n", **files}.items():
            path = tmp_path / "mine" / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return await PackLibrary([tmp_path]).get("mine")

    return read


@pytest.fixture
def refusal(read, tmp_path):
    """Read a pack that must be refused; return the words, which never give away where the packs are."""

    async def refusal(files):
        with pytest.raises(PackError) as caught:
            await read(files)
        text = str(caught.value)
        assert str(tmp_path) not in text
        assert " at 0x" not in text
        return text

    return refusal


def house(lines):
    """A property's file, with an entry to be named by."""
    return {"properties/01_house.yml": f"reference: H-1\n{lines}\n"}


# ------------------------------------------------------------------------------------------------ refused

LINKS = "mine/links.yml"
KEYS = "mine/field_keys.yml"
HOUSE = "mine/properties/01_house.yml, entry 'H-1': "


@pytest.mark.parametrize(
    ("file", "text", "line"),
    [
        ("pack.yml", "name: mine\nagency: [\n", 3),
        ("links.yml", "- slug: a\n  page_slug: b\n\tlink_path: c\n", 3),
        ("field_keys.yml", "types:\n  villa: {en: Villa\nstates: {}\n", 3),
        ("properties/x.yml", "reference: A\ncity: 'open\n", 3),
        ("links.yml", "- slug: a\n---\n- slug: b\n", 2),
        ("links.yml", "- slug: a\n- !!python/object/apply:os.getcwd []\n", 2),
    ],
)
async def test_what_is_not_yaml_is_named_with_its_line(refusal, file, text, line):
    """Syntax, a second document, and a tag that would run code."""
    assert (await refusal({file: text})).startswith(f"mine/{file}, line {line}: is not YAML: ")


@pytest.mark.parametrize("text", [b"- slug: caf\xe9\n", b"\xff\xfe\x00"])
async def test_what_is_not_utf_8_is_refused(refusal, text):
    """With the file, and without the bytes."""
    assert await refusal({"links.yml": text}) == f"{LINKS}: cannot be read (UnicodeDecodeError)"


async def test_a_date_that_does_not_exist_is_refused(refusal):
    """YAML makes a date of it, and stumbles."""
    assert (await refusal({"links.yml": "- slug: 2020-13-45\n"})).startswith(f"{LINKS}: is not YAML: ")


@pytest.mark.parametrize("file", ["pack.yml", "links.yml", "field_keys.yml", "properties/x.yml"])
async def test_aliases_are_refused(refusal, file):
    """They make a huge tree out of a small file."""
    text = await refusal({file: "one: &one {a: b}\ntwo: *one\n"})
    assert text == f"mine/{file}: uses YAML aliases (*name); write the values out"


async def test_a_bomb_of_aliases_is_refused_before_it_goes_off(refusal):
    """Nine levels of nine are refused at the first alias."""
    levels = ["a0: &a0 [x]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10))]
    assert "uses YAML aliases" in await refusal({"field_keys.yml": "\n".join(levels)})


@pytest.mark.parametrize(
    ("file", "text", "words"),
    [
        ("pack.yml", "- a\n", "holds a list, it must hold a dict"),
        ("pack.yml", "just words\n", "holds a str, it must hold a dict"),
        ("links.yml", "a: b\n", "holds a dict, it must hold a list"),
        ("links.yml", "3\n", "holds a int, it must hold a list"),
        ("field_keys.yml", "word\n", "holds a str, it must hold a dict or list"),
        ("properties/x.yml", "- reference: A\n", "holds a list, it must hold a dict"),
    ],
)
async def test_a_file_of_the_wrong_shape_is_refused(refusal, file, text, words):
    """With what it holds, and what it must hold."""
    assert await refusal({file: text}) == f"mine/{file}: {words}"


@pytest.mark.parametrize(
    ("lines", "field"),
    [
        ("agency: 3", "agency"),
        ("agency: [a]", "agency"),
        ("agency: {display_name: [a]}", "agency.display_name"),
        ("website: x", "website"),
        ("website: {currency: {}}", "website.currency"),
        ("fallback: perhaps", "fallback"),
        ("inherits_from: [base]", "inherits_from"),
    ],
)
async def test_a_wrong_value_in_pack_yml_is_named(refusal, lines, field):
    """By file and key."""
    assert (await refusal({"pack.yml": lines})).startswith(f"mine/pack.yml: {field} ")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("- 3", ", entry 'number 1': "),
        ("- slug: a\n- null", ", entry 'number 2': "),
        ("- slug: a\n- {page_slug: b}", ", entry 'number 2': slug "),
        ("- slug: ''", ", entry 'number 1': slug "),
        ("- {slug: a, sort_order: first}", ", entry 'a': sort_order "),
        ("- {slug: a, sort_order: 2147483648}", ", entry 'a': sort_order "),
        ("- {slug: a, placement: -2147483649}", ", entry 'a': placement "),
        ("- {slug: a, visible: perhaps}", ", entry 'a': visible "),
        ("- {slug: a, page_slug: [b]}", ", entry 'a': page_slug "),
        ("- {slug: a, link_title: [b]}", ", entry 'a': link_title"),
        ("- {slug: a, link_title: {en: [b]}}", ", entry 'a': link_title"),
        ("- {slug: a, placement: roof}", ", entry 'a': placement is 'roof'; known are top_nav, footer"),
        ('- {slug: a, link_url: "/\\0"}', ", entry 'a': link_url contains a NUL character"),
        ('- {slug: "a\\0"}', ": slug contains a NUL character"),
        ('- {slug: a, link_path_params: [b, "\\0"]}', ", entry 'a': link_path_params contains a NUL character"),
        ("- {slug: a}\n- {slug: b}\n- {slug: a}", ", entry 'a': stands there twice"),
        (f"- slug: {'a' * 256}", ": slug "),
    ],
)
async def test_a_wrong_link_is_named(refusal, text, words):
    """By its slug, or by its number where it has none."""
    error = await refusal({"links.yml": text})
    assert error.startswith(LINKS)
    assert words in error


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("types: 3", ", entry 'types': is a int, it must map keys to labels"),
        ("types: {yes: {en: Yes}}", ", entry 'types.True': needs a key of 1 to 255 characters"),
        ("types: {'': {en: Nothing}}", ", entry 'types.': needs a key of 1 to 255 characters"),
        ("types: [{a: b}]", ": needs a key of 1 to 255 characters"),
        ("types: {villa: 3}", ", entry 'types.villa': labels are a int, they must map locales to text"),
        ('types: {villa: {en: "V\\0"}}', ", entry 'types.villa': the en label contains a NUL character"),
        ("features: {pool: {en: A}}\namenities: {pool: {en: B}}", ", entry 'pool': stands there twice"),
        ("- 3", ", entry number 1: is a int, it must be a mapping"),
        ("- {tag: property-types}", ", entry 'number 1': needs a key of 1 to 255 characters"),
        ("- {global_key: a, tag: [b]}", ", entry 'a': needs a key of 1 to 255 characters"),
        ("- {global_key: a}\n- {field_key: a}", ", entry 'a': stands there twice"),
    ],
)
async def test_a_wrong_field_key_is_named(refusal, text, words):
    """By category and key, or by its number in the list."""
    error = await refusal({"field_keys.yml": text})
    assert error.startswith(KEYS)
    assert words in error


@pytest.mark.parametrize(
    ("lines", "field"),
    [
        ("latitude: .nan", "latitude"),
        ("longitude: -.inf", "longitude"),
        ("latitude: north", "latitude"),
        ("bathrooms: .inf", "bathrooms"),
        ("bedrooms: 2147483648", "bedrooms"),
        ("bedrooms: 2.5", "bedrooms"),
        ("year_built: -2147483649", "year_built"),
        ("city: [Valencia]", "city"),
        ('city: "Val\\0encia"', "city contains a NUL character"),
        ("sale: 3", "sale"),
        ("sale: {price_cents: -1}", "sale.price_cents"),
        ("sale: {price_cents: 9223372036854775808}", "sale.price_cents"),
        ("sale: {price_cents: cheap}", "sale.price_cents"),
        ("rental: {monthly_price_cents: .nan}", "rental.monthly_price_cents"),
        ("rental: {furnished: perhaps}", "rental.furnished"),
        ("sale: {title: [a]}", "sale.title"),
        ('sale: {title: {en: "a\\0"}}', "sale.title"),
    ],
)
async def test_a_wrong_property_is_named(refusal, lines, field):
    """By file, reference and key."""
    error = await refusal(house(lines))
    assert error.startswith(HOUSE + field)


@pytest.mark.parametrize("text", ["", "city: Valencia\n", "reference: null\n", "reference: ''\n"])
async def test_a_property_needs_a_reference(refusal, text):
    """It is its natural key; the file is what there is to name it by."""
    assert (await refusal({"properties/x.yml": text})).startswith("mine/properties/x.yml: reference ")


async def test_a_reference_may_stand_in_one_file_only(refusal):
    """One of the two would silently not be there."""
    files = {"properties/a.yml": "reference: A\n", "properties/b.yml": "reference: A\n"}
    assert await refusal(files) == "mine/properties, entry 'A': stands there twice"


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("links.yml", "- {slug: a, link_title: {en: One}, link_title: {en: Two}}\n"),
        ("links.yml", "- slug: a\n  slug: b\n"),
        ("field_keys.yml", "types:\n  villa: {en: One}\n  villa: {en: Two}\n"),
        ("field_keys.yml", "types: {villa: {en: One}}\ntypes: {house: {en: Two}}\n"),
    ],
)
async def test_a_key_written_twice_is_not_an_error(read, file, text):
    """YAML and the existing product take the last one: only what cannot be inserted is refused."""
    pack = await read({file: text})
    assert [len(pack.links), len(pack.field_keys)] == ([1, 0] if file == "links.yml" else [0, 1])
    assert "One" not in repr(pack)


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("links.yml", '- {slug: a, link_title: {"e\\0n": A}}'),
        ("field_keys.yml", 'types: {villa: {"e\\0n": A}}'),
        ("field_keys.yml", '"ty\\0pes": {villa: {en: A}}'),
        ("properties/01_house.yml", 'reference: H-1\nsale: {title: {"e\\0n": A}}'),
    ],
)
async def test_a_nul_in_a_key_is_refused_too(refusal, file, text):
    """PostgreSQL stores it neither as a locale nor in a tag; it is found here, and not by the insert."""
    error = await refusal({file: text})
    assert error.startswith(f"mine/{file}")
    assert "NUL" in error


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("links.yml", "- slug: {number}"),
        ("field_keys.yml", "types: {{a: {{en: {number}}}}}"),
        ("properties/01_house.yml", "reference: {number}"),
    ],
)
async def test_a_number_too_long_to_print_is_refused(refusal, file, text):
    """As a bad pack, and not as a bare ValueError that fails the batch around it."""
    assert (await refusal({file: text.format(number="0x" + "f" * 5000)})).startswith(f"mine/{file}")


READ_IT = """
import asyncio, pathlib, sys
from seeders import PackError, PackLibrary
try:
    asyncio.run(PackLibrary([pathlib.Path(sys.argv[1])]).get("mine"))
except PackError as error:
    print(error)
"""


def test_deep_nesting_is_refused_and_does_not_kill_the_process(tmp_path):
    """A fifth of a megabyte of dashes is a bad pack; in a process of its own, as this is about surviving it."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "pack.yml").write_text("name: mine\n")
    (tmp_path / "mine" / "links.yml").write_text("- " * 100_000)
    tree = Path(seeders.__file__).parents[1]
    command = [sys.executable, "-c", READ_IT, str(tmp_path)]
    done = subprocess.run(command, cwd=tree, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout[:14]) == (0, "mine/links.yml")


@pytest.mark.parametrize("file", ["pack.yml", "links.yml", "field_keys.yml", "properties/x.yml"])
async def test_a_file_that_is_too_large_is_refused_unread(refusal, file):
    """With its size and the limit."""
    text = "# " + "x" * MAX_FILE_BYTES
    assert await refusal({file: text}) == f"mine/{file}: has {len(text)} bytes, at most {MAX_FILE_BYTES} are read"


async def test_a_file_of_just_the_limit_is_read(read):
    """The limit itself is allowed."""
    text = "- slug: a\n"
    assert len((await read({"links.yml": text + "#" * (MAX_FILE_BYTES - len(text))})).links) == 1


@pytest.mark.parametrize(
    ("file", "entry"),
    [("links.yml", "- slug: s{}\n"), ("field_keys.yml", "- global_key: k{}\n")],
)
async def test_too_many_entries_are_refused(refusal, read, file, entry):
    """One more than the limit, with the number; the limit itself is read."""
    text = "".join(entry.format(n) for n in range(MAX_ENTRIES))
    pack = await read({file: text})
    assert len(pack.links) + len(pack.field_keys) == MAX_ENTRIES
    error = await refusal({file: text + entry.format("more")})
    assert error == f"mine/{file}: has {MAX_ENTRIES + 1} entries, at most {MAX_ENTRIES} are read"


# ------------------------------------------------------------------------------------------------ accepted


async def test_an_empty_pack_is_a_pack(read):
    """pack.yml may be empty, and everything else missing or empty."""
    pack = await read({"pack.yml": "", "links.yml": "", "field_keys.yml": "# nothing\n"})
    assert (pack.name, pack.agency, pack.links, pack.field_keys, pack.properties) == ("mine", None, (), (), ())


async def test_unknown_keys_are_left_alone(read):
    """In every file and at every level."""
    pack = await read(
        {
            "pack.yml": "name: mine\nmood: good\n3: three\nwebsite: {theme_name: x}\nagency: {fax: '1', phone: '2'}\n",
            "links.yml": "- {slug: a, icon: star}\n",
            "field_keys.yml": "- {global_key: a, show_in_search_form: true}\n",
            **house("image: a.jpg\nnull: nothing\nsale: {price_cents: 1, vat: 2}"),
        }
    )
    assert pack.agency == AgencyEntry(None, None, "2")
    assert (len(pack.links), len(pack.field_keys), len(pack.properties)) == (1, 1, 1)


async def test_nulls_are_as_good_as_silence(read):
    """Every key but an entry's own may be null."""
    link = "page_slug link_path link_path_params link_url link_title placement sort_order visible"
    asset = (
        "prop_type prop_state address city region country postal_code latitude longitude bedrooms bathrooms garages "
        "constructed_area plot_area year_built rental features"
    )
    listing = "highlighted price_cents monthly_price_cents title description"
    pack = await read(
        {
            "pack.yml": "name: null\ninherits_from: null\nfallback: null\nwebsite: {currency: null}\n"
            "agency: {display_name: null, email: null, phone: null}\n",
            "links.yml": f"- {{slug: a, {', '.join(f'{key}: null' for key in link.split())}}}\n",
            "field_keys.yml": "types: null\nstates: {good: null}\nfeatures: {pool: {en: null, es: Piscina}}\n",
            **house(
                "\n".join(f"{key}: null" for key in asset.split())
                + f"\nsale: {{{', '.join(f'{key}: null' for key in listing.split())}}}"
            ),
        }
    )
    [link], [entry] = pack.links, pack.properties
    assert (link.placement, link.sort_order, link.visible, link.translations) == (0, 1, True, {})
    assert {key.global_key: key.translations for key in pack.field_keys} == {
        "good": {},
        "pool": {"es": {"label": "Piscina"}},
    }
    assert (entry.columns["prop_state_key"], entry.columns["count_bedrooms"]) == ("states.good", 0)
    assert (entry.sale.cents, entry.sale.currency, entry.rental) == (0, "EUR", None)


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("links.yml", "- {slug: a, link_title: {en: A, es: null}}\n"),
        ("properties/01_house.yml", "reference: H-1\nsale: {title: {en: A, es: null}}\n"),
        ("properties/01_house.yml", "reference: H-1\nfeatures: [pool, null]\n"),
    ],
)
async def test_a_null_among_translations_or_features_is_left_out(read, file, text):
    """A translator's empty line is no error."""
    pack = await read({file: text})
    assert len(pack.links) + len(pack.properties) == 1
    assert "es" not in repr([link.translations for link in pack.links])


async def test_null_parameters_do_not_become_a_word(read):
    """A null in the list of a link's parameters is no page called None."""
    [link] = (await read({"links.yml": "- {slug: a, link_path_params: [about-us, null]}"})).links
    assert link.link_path_params == "about-us"


async def test_categories_become_tags(read):
    """The known ones as in the existing product, any other by its own name; the key stays bare."""
    text = "".join(f"{category}: {{{category}_key: {{en: A}}}}\n" for category in [*TAGS, "views"])
    keys = (await read({"field_keys.yml": text})).field_keys
    assert {key.global_key: key.tag for key in keys} == {
        "types_key": "property-types",
        "states_key": "property-states",
        "features_key": "property-features",
        "amenities_key": "property-amenities",
        "extras_key": "property-features",
        "labels_key": "property-highlights",
        "views_key": "property-views",
    }
    assert [key.sort_order for key in keys] == list(range(1, 8))


async def test_labels_come_in_several_forms(read):
    """By locale, by locale with `label`, a bare word, or none at all."""
    text = "types:\n  a: {en: A, es: {label: Á}}\n  b: Bare\n  c:\nstates: [d, 5]\n"
    keys = (await read({"field_keys.yml": text})).field_keys
    assert {key.global_key: key.translations for key in keys} == {
        "a": {"en": {"label": "A"}, "es": {"label": "Á"}},
        "b": {"en": {"label": "Bare"}},
        "c": {},
        "d": {},
        "5": {},
    }


async def test_the_legacy_list_of_field_keys_is_read(read):
    """Entries with global_key or field_key, tag and translations."""
    text = """\
- {global_key: types.villa, tag: property-types, translations: {en: Villa, es: {label: Villa}}}
- {field_key: states.good, tag: property-states, visible: true}
- {global_key: features.pool, translations: null}
"""
    keys = (await read({"field_keys.yml": text})).field_keys
    assert [(key.global_key, key.tag, key.translations) for key in keys] == [
        ("types.villa", "property-types", {"en": {"label": "Villa"}, "es": {"label": "Villa"}}),
        ("states.good", "property-states", {}),
        ("features.pool", "property-features", {}),
    ]


@pytest.mark.parametrize(
    ("said", "kept"),
    [("about-us", "about-us"), ("[about-us]", "about-us"), ("[a, b]", "a,b"), ("3", "3"), ("null", None)],
)
async def test_the_parameters_of_show_page_path_are_read(read, said, kept):
    """A word, a list, a number or nothing."""
    [link] = (await read({"links.yml": f"- {{slug: a, link_path: show_page_path, link_path_params: {said}}}"})).links
    assert (link.link_path, link.link_path_params) == ("show_page_path", kept)


@pytest.mark.parametrize(
    ("said", "kept"),
    [("top_nav", 0), ("footer", 1), ("social_media", 2), ("admin", 3), ("1", 1), ("null", 0)],
)
async def test_placements_are_words_or_numbers(read, said, kept):
    """As the existing product's enumeration numbers them."""
    [link] = (await read({"links.yml": f"- {{slug: a, placement: {said}}}"})).links
    assert link.placement == kept


async def test_a_title_without_a_locale_is_english(read):
    """As the existing product would store it."""
    pack = await read({"links.yml": "- {slug: a, link_title: Home}", **house("sale: {title: House}")})
    assert pack.links[0].translations == {"en": {"link_title": "Home"}}
    assert pack.properties[0].sale.translations == {"en": {"title": "House"}}


async def test_a_hidden_link_stays_hidden(read):
    """`visible: false` is not silence."""
    assert [link.visible for link in (await read({"links.yml": "- {slug: a, visible: false}\n- slug: b"})).links] == [
        False,
        True,
    ]


@pytest.mark.parametrize(
    ("said", "cents"),
    [
        ("price_cents: 450000", 450000),
        ("monthly_price_cents: 120000", 120000),
        ("price_cents: 1, monthly_price_cents: 2", 2),
        ("price_cents: 1, monthly_price_cents: 0", 0),
        ("highlighted: true", 0),
        ("price_cents: 9223372036854775807", 9223372036854775807),
    ],
)
async def test_a_rentals_price_cents_is_its_monthly_price(read, said, cents):
    """The Spanish packs write it so; the exact key wins."""
    [entry] = (await read(house(f"rental: {{{said}}}"))).properties
    assert entry.rental.cents == cents
    assert entry.sale is None


async def test_a_listing_has_the_currency_of_its_pack(read):
    """And all that it says of itself."""
    lines = "rental: {price_cents: 1, highlighted: true, long_term: true, short_term: true, furnished: true}"
    [entry] = (await read({"pack.yml": "website: {currency: USD}\n", **house(lines)})).properties
    rental = entry.rental
    assert rental.currency == "USD"
    assert (rental.highlighted, rental.long_term, rental.short_term, rental.furnished) == (True, True, True, True)


async def test_unquoted_numbers_are_text_where_text_is_meant(read):
    """Postal codes, telephone numbers, references and slugs are numbers to YAML."""
    pack = await read(
        {
            "pack.yml": "agency: {display_name: 21, phone: 912345678}\n",
            "links.yml": "- {slug: 5, link_title: 7}\n",
            "properties/x.yml": "reference: 42\npostal_code: 46005\naddress: 7\nlatitude: '39.5'\n",
        }
    )
    assert pack.agency == AgencyEntry("21", None, "912345678")
    assert (pack.links[0].slug, pack.links[0].translations["en"]["link_title"]) == ("5", "7")
    [entry] = pack.properties
    assert (entry.reference, entry.columns["postal_code"], entry.columns["latitude"]) == ("42", "46005", 39.5)


async def test_a_reference_to_an_unknown_key_is_a_warning(read):
    """With or without its category's prefix it may be known; a property that is not offered is one too."""
    pack = await read(
        {
            "field_keys.yml": "types: [villa]\nstates: [states.good]\n",
            "properties/a.yml": "reference: A\nprop_type: types.villa\nsale: {price_cents: 1}\n",
            "properties/b.yml": "reference: B\nprop_type: types.castle\nsale: {price_cents: 1}\n",
            "properties/c.yml": "reference: C\n",
        }
    )
    assert len(pack.properties) == 3
    assert sorted(pack.warnings) == [
        "mine/properties/c.yml: C is offered neither for sale nor for rent",
        "mine: property B refers to 'types.castle', which is no field key",
    ]


# ------------------------------------------------------------------- the existing product's packs, in its own layout

BASE = {
    "pack.yml": "name: base\ndisplay_name: Base Pack\nversion: '1.0'\nwebsite:\n  theme_name: default\n"
    "  selected_palette: classic_red\n  default_client_locale: en\n  supported_locales:\n    - en\n  currency: EUR\n"
    "  area_unit: sqmt\n",
    "links.yml": "- slug: top_nav_home\n  page_slug: home\n  link_path: home_path\n  link_title: Home\n"
    "  placement: top_nav\n  sort_order: 1\n  visible: true\n"
    "- slug: top_nav_about\n  page_slug: about-us\n  link_path: show_page_path\n  link_path_params: about-us\n"
    "  link_title: About\n  placement: top_nav\n  sort_order: 4\n  visible: true\n"
    "- slug: footer_privacy\n  page_slug: privacy\n  link_path: show_page_path\n  link_path_params: privacy\n"
    "  link_title: Privacy Policy\n  placement: footer\n  sort_order: 5\n  visible: true\n",
    "field_keys.yml": "types:\n  villa:\n    en: Villa\n    es: Villa\n    de: Villa\n"
    "states:\n  excellent:\n    en: Excellent\n    es: Excelente\n    de: Ausgezeichnet\n",
}
SPAIN_LUXURY = {
    "pack.yml": "name: spain_luxury\ndisplay_name: 'Costa'\nversion: '1.0'\ninherits_from: base\n"
    "website:\n  theme_name: brisbane\n  currency: EUR\n  search_config:\n    filters:\n      bedrooms:\n"
    "        min_options: ['Any', 2, '6+']\n"
    "agency:\n  display_name: Costa\n  email: info@example.com\n  phone: '+34 952 000 000'\n"
    "  address: {street_address: Avenida 45, city: Marbella, postal_code: '29600'}\n"
    "page_parts:\n  home:\n    - key: heroes/hero_centered\n      order: 1\n    - content_html\n"
    "users:\n  - email: admin@example.com\n    role: admin\n    password: demo123\n",
    "properties/villa_rental.yml": "reference: ES-1\nprop_type: types.villa\nprop_state: states.excellent\n"
    "address: La Cala\ncity: Mijas\nregion: Málaga\ncountry: Spain\npostal_code: '29649'\nlatitude: 36.5\n"
    "longitude: -4.7\nbedrooms: 5\nbathrooms: 4.5\ngarages: 2\nconstructed_area: 350\nplot_area: 1200\n"
    "year_built: 2016\nrental:\n  highlighted: true\n  price_cents: 450000  # a month\n"
    "  title:\n    es: Villa para alquiler\n    en: Villa for rent\n  description:\n    en: Stunning\n"
    "features:\n  - features.private_pool\n  - amenities.alarm_system\nimage: mansion_front.jpg\n",
    "content/home.yml": "hero:\n  title: &t {en: Welcome}\n  again: *t\n",
    "page_parts/home__hero.yml": "- not: [what, this, service, reads\n",
    "pages/home.yml": "slug: home\n",
    "translations/en.yml": "en: {}\n",
    "images/mansion_front.jpg": b"\xff\xd8\xff",
}


async def test_the_existing_products_packs_load_unchanged(tmp_path):
    """Whatever this service has no table for is not even opened; the base's links and keys are inherited."""
    for name, files in (("base", BASE), ("spain_luxury", SPAIN_LUXURY)):
        for file, text in files.items():
            path = tmp_path / name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text if isinstance(text, bytes) else text.encode())
    pack = await PackLibrary([tmp_path]).get("spain_luxury")
    assert pack.agency == AgencyEntry("Costa", "info@example.com", "+34 952 000 000")
    assert [(link.slug, link.placement, link.link_path_params) for link in pack.links] == [
        ("top_nav_home", 0, None),
        ("top_nav_about", 0, "about-us"),
        ("footer_privacy", 1, "privacy"),
    ]
    assert [key.global_key for key in pack.field_keys] == ["villa", "excellent"]
    [entry] = pack.properties
    assert (entry.rental.cents, entry.rental.currency, entry.rental.highlighted) == (450000, "EUR", True)
    assert entry.rental.translations == {
        "es": {"title": "Villa para alquiler"},
        "en": {"title": "Villa for rent", "description": "Stunning"},
    }
    assert entry.columns["count_bathrooms"] == 4.5
    assert (pack.warnings, pack.strict) == ((), False)
