"""What a pack's scalars are: texts as they are written, and of those only what is exactly a number is a number."""

import pytest

from seeders.loading.pack_library import PackLibrary
from seeders.pack_problems import PackError


@pytest.fixture
def pack(tmp_path):
    """Read a pack called `mine` out of its agency, a link, field keys and a property."""

    async def pack(agency="{}", link="", keys="", house="", website="{}"):
        (tmp_path / "mine" / "properties").mkdir(parents=True, exist_ok=True)
        (tmp_path / "mine" / "pack.yml").write_text(f"name: mine\nagency: {agency}\nwebsite: {website}\n")
        (tmp_path / "mine" / "links.yml").write_text(f"- slug: home\n{link}")
        (tmp_path / "mine" / "field_keys.yml").write_text(keys)
        (tmp_path / "mine" / "properties" / "a.yml").write_text(house or "reference: A\nsale: {price_cents: 1}\n")
        return await PackLibrary([tmp_path]).get("mine")

    return pack


WORDS = [
    "NO", "no", "No", "On", "on", "OFF", "yes", "Y", "n", "true", "False", "0150", "0x1F", "0o17", "017", "0b11",
    "1_000", "12_345", "1.1", "1.10", "1e3", "1E3", "6.02e23", "12:30", "1:30:00", "190:20:30", "+34952123456",
    "044.2345670", "-0", "00", "1.", ".5", "450.000", "450,000", ".nan", ".inf", "-.INF", "2020-13-45", "2024-02-29",
    "2001-12-14t21:59:43.10-05:00", "=", "<<", "99999999999999999999999", "NaN", "1 017 AB", "null island",
]  # fmt: skip


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("quote", ["", "'", '"'])
async def test_a_text_is_what_is_written(pack, word, quote):
    """Wherever a text is wanted, with quotes or without; YAML's own types are not asked."""
    text = f"{quote}{word}{quote}"
    found = await pack(
        agency=f"{{display_name: {text}, phone: {text}}}"
        if "," not in word
        else f"\n  phone: {text}\n  display_name: {text}",
        link=f"  page_slug: {text}\n  link_title:\n    {text}: {text}\n",
        keys=f"{text}:\n  {text}:\n    {text}: {text}\n",
        house=f"reference: {text}\ncountry: {text}\npostal_code: {text}\nsale:\n  price_cents: 1\n  title:\n"
        f"    {text}: {text}\n",
    )
    assert found.errors == ()
    assert (found.agency.display_name, found.agency.phone) == (word, word)
    [link], [key], [house] = found.links, found.field_keys, found.properties
    assert (link.page_slug, link.translations) == (word, {word: {"link_title": word}})
    assert (key.global_key, key.tag, key.translations) == (word, f"property-{word}", {word: {"label": word}})
    assert (house.reference, house.columns["country"], house.columns["postal_code"]) == (word, word, word)
    assert house.sale.translations == {word: {"title": word}}


@pytest.mark.parametrize("word", ["~", "null", "Null", "NULL", ""])
async def test_null_is_null_only_without_quotes(pack, word):
    """As in YAML 1.2."""
    plain = (await pack(house=f"reference: A\ncity: {word}\nsale: {{price_cents: 1}}\n")).properties[0]
    quoted = (await pack(house=f"reference: A\ncity: '{word}'\nsale: {{price_cents: 1}}\n")).properties[0]
    assert (plain.columns["city"], quoted.columns["city"]) == (None, word)


async def test_a_key_of_norway_is_a_key(pack):
    """`no:` is a locale, `NO` a country, `On` a title, and `yes` a feature."""
    found = await pack(
        keys="types:\n  types.villa: {en: Villa, no: Enebolig}\nfeatures: [yes, no, pool]\n",
        house="reference: A\ncountry: NO\nfeatures: [yes, pool]\nsale: {price_cents: 1, title: {en: On, no: På}}\n",
    )
    assert found.errors == ()
    assert [key.global_key for key in found.field_keys] == ["types.villa", "yes", "no", "pool"]
    assert set(found.field_keys[0].translations) == {"en", "no"}
    assert found.properties[0].sale.translations == {"en": {"title": "On"}, "no": {"title": "På"}}


async def refused(pack, house):
    """What is said of a property's only wrong value."""
    found = await pack(house=f"reference: A\n{house}\n")
    [error] = found.errors
    assert (found.properties, error.step, error.file) == ((), "properties", "mine/properties/a.yml")
    assert error.line == len(house.splitlines()) + 1
    assert error.entry == "A"
    return f"{error.key} {error.reason}"


WHOLE = "write a whole number in digits, such as "
NO_NUMBERS = [
    "yes", "true", "On", "0x1F", "0o17", "017", "1e3", "1E3", "1.0", "1.5", "12:30", "1:30:00", ".inf", ".nan", "five",
    "''", "'1 '", "1/2", "²", "١٢", "4-5", "3+", "--1", "1.", ".5", "2024-02-29",
]  # fmt: skip


@pytest.mark.parametrize("key", ["bedrooms", "garages", "year_built", "sale:\n  price_cents"])
@pytest.mark.parametrize("written", NO_NUMBERS)
async def test_only_digits_are_a_whole_number(pack, key, written):
    """No base but ten, no exponent, no time of day, no truth value; the error says how to write one."""
    error = await refused(pack, f"{key}: {written}")
    assert f" is {written if written.startswith(chr(39)) else repr(written)}; {WHOLE}" in error


@pytest.mark.parametrize(
    ("written", "readings"),
    [
        ("450.000", "450 or as 450000"), ("'450.000'", "450 or as 450000"), ("450,000", "450 or as 450000"),
        ("1.250", "1 or as 1250"), ("-2.000", "-2 or as -2000"),
    ],
)  # fmt: skip
async def test_a_price_that_can_be_read_in_two_ways_is_refused(pack, written, readings):
    """450.000 is 450000 in Spain, Germany and the Netherlands, and 450 to YAML."""
    error = await refused(pack, f"sale:\n  price_cents: {written}")
    plain = written.strip("'")
    assert error == (
        f"sale.price_cents is '{plain}', which can be read as {readings}; {WHOLE}45000000 for a price of 450000"
    )


@pytest.mark.parametrize(
    ("written", "digits"),
    [
        ("1.250.000", "1250000"), ("1,250,000", "1250000"), ("1_000", "1000"), ("12_345_678", "12345678"),
        ("450 000", "450000"), ("450'000", "450000"), ("450\u00a0000", "450000"), ("450\u202f000", "450000"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("key", ["sale:\n  price_cents", "rental:\n  monthly_price_cents", "bedrooms", "plot_area"])
async def test_thousands_are_not_grouped(pack, key, written, digits):
    """However it is done; the error has the number in digits."""
    assert (await refused(pack, f"{key}: {written}")).endswith(f"; write {digits}, without separators")


@pytest.mark.parametrize("key", ["plot_area", "constructed_area", "bathrooms"])
@pytest.mark.parametrize(
    ("written", "way"),
    [("1.200", "1200, or 1.2"), ("1,200", "1200, or 1.2"), ("85.125", "85125, or 85.1250"), ("2.000", "2000, or 2")],
)
async def test_an_area_that_can_be_read_in_two_ways_is_refused(pack, key, written, way):
    """1.200 m² is a large plot to many; both ways to write what is meant are in the error, and are accepted."""
    assert (await refused(pack, f"{key}: {written}")).endswith(f"; write {way}")
    for value in way.split(", or "):
        found = await pack(house=f"reference: A\n{key}: {value}\nsale: {{price_cents: 1}}\n")
        assert found.errors == ()


@pytest.mark.parametrize(
    ("lines", "column", "value"),
    [
        ("bedrooms: 0", "count_bedrooms", 0),
        ("bedrooms: +3", "count_bedrooms", 3),
        ("bedrooms: '3'", "count_bedrooms", 3),
        ("bedrooms: 2147483647", "count_bedrooms", 2147483647),
        ("year_built: 1720", "year_construction", 1720),
        ("bathrooms: 4.5", "count_bathrooms", 4.5),
        ("plot_area: 1200", "plot_area", 1200.0),
        ("plot_area: 85.25", "plot_area", 85.25),
        ("latitude: 36.500", "latitude", 36.5),
        ("latitude: '-36.5012'", "latitude", -36.5012),
        ("latitude: 90", "latitude", 90.0),
        ("latitude: -90.0", "latitude", -90.0),
        ("longitude: 180", "longitude", 180.0),
        ("longitude: -180", "longitude", -180.0),
        ("longitude: +4.8835", "longitude", 4.8835),
    ],
)
async def test_numbers_are_read(pack, lines, column, value):
    """Digits, a sign, a dot before decimals where the column has them; quotes or none."""
    other = {"latitude": "longitude: 1\n", "longitude": "latitude: 1\n"}.get(column, "")
    [house] = (await pack(house=f"reference: A\n{other}{lines}\nsale: {{price_cents: 1}}\n")).properties
    assert house.columns[column] == value
    assert type(house.columns[column]) is type(value)


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ("latitude: 90.001", "latitude is 90.001; it must be from -90 to 90"),
        ("latitude: -91", "latitude is -91; it must be from -90 to 90"),
        ("latitude: 365012", "latitude is 365012; it must be from -90 to 90"),
        ("longitude: 180.5", "longitude is 180.5; it must be from -180 to 180"),
        ("latitude: 36,5012", "latitude is '36,5012'; write 36.5012, with a dot"),
        ("latitude: 36,500", "latitude is '36,500'; write 36.500, with a dot"),
        ("latitude: 36°30'", 'latitude is "36°30\'"; write a number in digits with a dot before decimals'),
        ("latitude: 1e1", "latitude is '1e1'; write a number in digits"),
        ("latitude: .nan", "latitude is '.nan'; write a number in digits"),
        ("latitude: .inf", "latitude is '.inf'; write a number in digits"),
        ("latitude: [1, 2]", "latitude is a list (- entry); write a number in digits"),
        ("bathrooms: 1,5", "bathrooms is '1,5'; write 1.5, with a dot"),
        ("bathrooms: -1", "bathrooms is -1; it must be from 0 to"),
        ("bedrooms: -1", "bedrooms is -1; it must be from 0 to 2147483647"),
        ("bedrooms: 2147483648", "bedrooms is 2147483648; it must be from 0 to 2147483647"),
        (f"bedrooms: {'9' * 5000}", "bedrooms has 5000 digits, at most 30 are read; shorten it"),
        ("bedrooms: {a: 1}", "bedrooms is a mapping (key: value); write a whole number"),
        ("sale:\n  price_cents: 9223372036854775808", "sale.price_cents is 9223372036854775808; it must be from 0 to"),
    ],
)
async def test_numbers_out_of_range_are_refused(pack, lines, words):
    """Coordinates lie on the globe, counts are not negative, and each fits its column."""
    assert (await refused(pack, lines)).startswith(words)


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("true", True),
        ("True", True),
        ("TRUE", True),
        ("yes", True),
        ("Yes", True),
        ("On", True),
        ("on", True),
        ("false", False),
        ("FALSE", False),
        ("no", False),
        ("NO", False),
        ("off", False),
        ("Off", False),
    ],
)
async def test_booleans_are_read_as_the_existing_product_reads_them(pack, written, value):
    """Where a boolean is wanted `yes` means nothing else; where a word is wanted it is a word."""
    found = await pack(link=f"  visible: {written}\n", house=f"reference: A\nrental: {{furnished: {written}}}\n")
    assert found.errors == ()
    assert (found.links[0].visible, found.properties[0].rental.furnished) == (value, value)


@pytest.mark.parametrize("written", ["'false'", '"true"', "'no'", "y", "n", "0", "1", "''", "tRUE", "falsch"])
async def test_nothing_else_is_a_boolean(pack, written):
    """Least of all 'false', which is true to many a program."""
    plain = written.strip("'\"")
    found = await pack(link=f"  visible: {written}\n", house=f"reference: A\nrental:\n  furnished: {written}\n")
    assert list(map(str, found.errors)) == [
        f"mine/links.yml, line 2, entry 'home': visible is {plain!r}; write true or false, without quotes",
        f"mine/properties/a.yml, line 3, entry 'A': rental.furnished is {plain!r}; write true or false, without quotes",
    ]


@pytest.mark.parametrize(
    ("lines", "key"),
    [
        ("sale: {price_cents: 450,000}", "sale.000"),
        ("sale: {price_cents: 450, 000, highlighted: true}", "sale.000"),
        ("rental:\n  {monthly_price_cents: 1,250,000}", "rental.250"),
        ("sale: {price_cents: 450,title}", "sale.title"),
    ],
)
async def test_a_comma_in_braces_does_not_cut_a_value(pack, lines, key):
    """To YAML `{price_cents: 450,000}` is a price of 450 and a key 000: never read as 450."""
    found = await pack(house=f"reference: A\n{lines}\n")
    assert found.properties == ()
    assert found.errors[0].key == key
    assert all("stands after a comma without a value" in error.reason for error in found.errors)


@pytest.mark.parametrize("text", ["{en: Villa, pool}", "{en: Villa, Nerja, no: Hus}"])
async def test_a_comma_in_braces_does_not_cut_a_text(pack, text):
    """Of titles and labels; a key without labels may stand so, and a locale whose text is empty may, too."""
    found = await pack(
        link=f"  link_title: {text}\n", keys=f"types: {{a: {text}}}\n",
        house=f"reference: A\nsale: {{price_cents: 1, title: {text}}}\n",
    )  # fmt: skip
    assert [error.step for error in found.errors] == ["links", "field_keys", "properties"]
    assert all("after a comma; put a text with a comma in it in quotes" in error.reason for error in found.errors)
    found = await pack(
        link="  link_title: {en: 'Villa, pool', es: }\n", keys="types: {villa, house: {en: House, no: null}}\n",
        house="{reference: A, city: 'Nerja, Málaga', sale: {price_cents: 1}}\n",
    )  # fmt: skip
    assert found.errors == ()
    assert [key.global_key for key in found.field_keys] == ["villa", "house"]
    assert found.properties[0].columns["city"] == "Nerja, Málaga"


async def test_what_looks_like_a_comment_by_mistake_is_a_warning(pack):
    """`#2` after a blank is none of the value's any more; a comment with a blank after its # is one."""
    found = await pack(
        house="# a comment\nreference: A #1\naddress: Calle 7 #2\ncity: Nerja # a comment\nregion: C#\n"
        "country: 'a #b' # c\nsale: {price_cents: 1}\n"
    )
    assert [(warning.line, warning.reason.partition(";")[0]) for warning in found.warnings] == [
        (2, "has a comment right after a value"),
        (3, "has a comment right after a value"),
    ]
    assert (found.properties[0].columns["street_address"], found.properties[0].columns["region"]) == ("Calle 7", "C#")


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("Villa: sea", "put a value that has ': ' in it in quotes"),
        ("@home", "put a value that begins with @, % or ` in quotes"),
        ("*31#", "put a value that begins with * or & in quotes"),
        ("& more", "put a value that begins with * or & in quotes"),
        ("&Co", "has an anchor (&Co) of nothing; put the value in quotes"),
        ("'it's'", "check quotes and indentation"),
    ],
)
async def test_a_text_that_yaml_does_not_take_is_named_with_what_to_do(pack, text, hint):
    """The parser's words are about tokens."""
    found = await pack(link=f"  link_title: {text}\n")
    [error] = found.errors
    assert (error.file, error.line) == ("mine/links.yml", 2)
    assert error.reason.endswith(hint)


async def test_what_an_error_quotes_is_printable_and_short(pack):
    """It goes into history and log."""
    error = await refused(pack, f'bedrooms: "{"x" * 100}\\u202e\\e[31m"')
    assert len(error) < 160
    assert error.isprintable()


async def test_all_that_is_wrong_is_told(pack):
    """Not the first of each file only."""
    found = await pack(
        agency="{phone: [1], email: {a: b}}",
        link="  visible: 3\n- {slug: b, sort_order: x}\n",
        keys="types: {a: [b], c: {en: {x: y}}, d: {en: [z]}}\n",
        house="reference: A\nbedrooms: x\nlatitude: y\nsale: {price_cents: z}\n",
    )
    assert [error.step for error in found.errors] == [
        *["agency"] * 2, *["links"] * 2, *["field_keys"] * 3, *["properties"] * 3,
    ]  # fmt: skip
    assert found.error_of("properties").endswith(" (and 2 more: `provisioner packs check mine` lists them)")
    assert found.error_of("links").count("\n") == 0


@pytest.mark.parametrize(
    ("part", "lines", "words"),
    [
        ("website", "{currency: €}", "website.currency is '€'; write the code by ISO 4217, three capital letters"),
        ("website", "{currency: eur}", "such as EUR"), ("website", "{currency: $}", "such as USD"),
        ("website", "{currency: usd}", "such as USD"), ("website", "{currency: Pounds}", "write the code by ISO 4217"),
        ("agency", "{email: nobody}", "agency.email is not an e-mail address: it needs a name, an @ and a domain"),
        ("agency", "{email: Ana <ana@x.example>}", "leave those out"),
        ("agency", "{email: ' '}", "agency.email is blank"),
        ("agency", "{display_name: '  '}", "agency.display_name is blank; write a text, or leave it out"),
        ("agency", '{phone: "\\a"}', "agency.phone contains the control character U+0007; remove it"),
        ("link", "- slug: ' '", "slug is blank; write 1 to 255 characters"),
        ("link", "- slug: 'a '", "slug is 'a ', with a space before or after it; remove the space"),
        ("link", '- slug: "a\\u200bb"', "slug has U+200B in it, which is invisible; remove that character"),
        ("link", '- slug: "a\\nb"', "slug has U+000A in it"),
        ("keys", "- {global_key: a, field_key: b}", "'a': field_key differs from global_key; keep one of the two"),
        ("keys", "views: [sea, hill,\n  sea]", "line 2, entry 'views.sea': stands there twice, in line 1 too"),
        ("house", "reference: “A”", "reference is '“A”', in curly quotes, which YAML reads as text; leave them out"),
        ("house", "reference: ' '", "reference is blank; write 1 to 255 characters"),
        ("house", "reference: A\nyear_built: 99999", "year_built is 99999; it must be from 0 to 2100"),
        ("house", "reference: A\nlatitude: 3.5", "line 2, entry 'A': latitude needs longitude beside it; write both"),
        ("house", "reference: A\nlongitude: 3.5", "longitude needs latitude beside it"),
        ("house", "reference: A\nfeatures: [pool, '']", "features has an entry that is empty"),
        ("house", 'reference: A\ncity: "a\\x1b[31m"', "city contains the control character U+001B; remove it"),
    ],
)  # fmt: skip
async def test_what_no_website_can_use_is_refused(pack, part, lines, words):
    """Each error says where the value is, and how it is written."""
    [error] = (await pack(**{part: lines})).errors
    assert words in str(error)


@pytest.mark.parametrize(
    ("part", "lines"),
    [
        ("agency", "{email: '', phone: '', display_name: ''}"), ("agency", "{email: Office@Coast.example}"),
        ("website", "{currency: CHF}"), ("keys", "- {global_key: a, field_key: a}"), ("link", '- slug: "a\u200cb"'),
        ("house", 'reference: A\naddress: "a\\nb\\tc"\nsale: {price_cents: 1}'),
        ("house", "reference: A\nyear_built: 2100\nlatitude: 0\nlongitude: 0\nsale: {price_cents: 1}"),
    ],
)  # fmt: skip
async def test_what_is_just_right(pack, part, lines):
    """Values next to the refused ones are accepted."""
    assert (await pack(**{part: lines})).errors == ()


async def test_a_feature_that_stands_there_twice_is_a_warning(pack):
    """The feature counts once, as before."""
    found = await pack(house="reference: A\nfeatures: [pool, views, views]\nsale: {price_cents: 1}\n")
    assert [str(warning).partition(": ")[2] for warning in found.warnings] == [
        "features has 'views' 2 times; it counts once: remove the others"
    ]
    assert found.properties[0].features == ("pool", "views")


async def test_a_pack_error_has_all_that_is_wrong_too(tmp_path):
    """Where the parent is missing, what is wrong in the child's own files is known all the same."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "pack.yml").write_text("inherits_from: nobody\nagency: 3\n")
    (tmp_path / "mine" / "links.yml").write_text("- slug: ''\n")
    with pytest.raises(PackError, match="nobody") as caught:
        await PackLibrary([tmp_path]).get("mine")
    assert [error.step for error in caught.value.errors] == ["", "agency", "links"]
