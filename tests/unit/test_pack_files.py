"""What a pack's files may look like: what is refused, in which words, and what is accepted as it stands."""

import subprocess
import sys
from pathlib import Path

import pytest

import seeders
from seeders.loading.duplicate_checks import MAX_ENTRIES
from seeders.loading.field_keys_file import TAGS
from seeders.loading.pack_library import PackLibrary
from seeders.loading.yaml_reader import MAX_FILE_BYTES
from seeders.pack import AgencyEntry
from seeders.pack_problems import PackError


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


STEP_OF = {"pack.yml": "", "links.yml": "links", "field_keys.yml": "field_keys"}


@pytest.fixture
def refusals(read, tmp_path):
    """Read a pack that has errors; return their words, which never give away where the packs are."""

    async def refusals(files):
        try:
            errors = (await read(files)).errors
        except PackError as error:
            errors = error.errors
        assert errors
        for error in errors:
            assert str(tmp_path) not in str(error)
            assert " at 0x" not in str(error)
            file = error.file.removeprefix("mine/")
            assert error.step == STEP_OF.get(file, "properties") or file == "pack.yml"
        return [str(error) for error in errors]

    return refusals


@pytest.fixture
def refusal(refusals):
    """The same for a pack that has one error."""

    async def refusal(files):
        [text] = await refusals(files)
        return text

    return refusal


def house(lines):
    """A property's file, with an entry to be named by."""
    return {"properties/01_house.yml": f"reference: H-1\n{lines}\n"}


# ------------------------------------------------------------------------------------------------ refused

LINKS = "mine/links.yml"
KEYS = "mine/field_keys.yml"
HOUSE = "mine/properties/01_house.yml, line 2, entry 'H-1': "


@pytest.mark.parametrize(
    ("file", "text", "line"),
    [
        ("pack.yml", "name: mine\nagency: [\n", 3),
        ("links.yml", "- slug: a\n  page_slug: b\n\tlink_path: c\n", 3),
        ("field_keys.yml", "types:\n  villa: {en: Villa\nstates: {}\n", 3),
        ("properties/x.yml", "reference: A\ncity: 'open\n", 3),
        ("links.yml", "- slug: a\n---\n- slug: b\n", 2),
    ],
)
async def test_what_is_not_yaml_is_named_with_its_line(refusal, file, text, line):
    """Syntax, and a second document."""
    assert (await refusal({file: text})).startswith(f"mine/{file}, line {line}: is not YAML: ")


@pytest.mark.parametrize("tag", ["!!python/object/apply:os.getcwd []", "!ruby/symbol a", "!!int 3", "!!binary aGk="])
async def test_tags_are_refused(refusal, tag):
    """One may run code, another changes what a value is."""
    error = await refusal({"links.yml": f"- slug: a\n- slug: {tag}\n"})
    assert error.startswith(f"{LINKS}, line 2: uses the YAML tag '")
    assert error.endswith("; write the value without it")


@pytest.mark.parametrize(
    ("text", "line", "byte"),
    [
        (b"- slug: a\n- slug: caf\xe9\n", 2, "0xe9"),
        ("- slug: a\n".encode("utf-16"), 1, "0xff"),
        ("- slug: Málaga\n".encode("cp1252"), 1, "0xe1"),
    ],
)
async def test_what_is_not_utf_8_is_refused(refusal, text, line, byte):
    """With the line, and what to do; Windows saves so."""
    assert await refusal({"links.yml": text}) == f"{LINKS}, line {line}: is not UTF-8 (byte {byte}); save it as UTF-8"


async def test_a_byte_order_mark_and_windows_line_ends_are_read(read):
    """Windows saves UTF-8 so."""
    pack = await read({"links.yml": "- slug: a\r\n  link_title: Málaga\r\n".encode("utf-8-sig")})
    assert (pack.errors, pack.links[0].translations) == ((), {"en": {"link_title": "Málaga"}})


@pytest.mark.parametrize(
    "text", ["- slug: a\n\tpage_slug: b\n", "\t- slug: a\n", "- slug: a\n  link_title:\n\t\ten: A\n"]
)
async def test_a_tab_is_named(refusal, text):
    """YAML's own words for it are that a character cannot start any token."""
    assert (await refusal({"links.yml": text})).endswith("; this line has a tab: write spaces")


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("- slug: a\n  page_slug:\u00a0b\n  visible: true\n", 2, "U+00A0 (NO-BREAK SPACE), which is no space in YAML"),
        ("- slug: a\n\u3000\u3000page_slug: b\n", 2, "U+3000 (IDEOGRAPHIC SPACE), which is no space in YAML"),
        ("- slug: a\n  page_slug:b\n  visible: true\n", 2, "a key needs a colon and a space after it"),
        ('- slug: a\n  link_url: "C:\\Users\\x"\n', 2, "use single quotes"),
        ('- slug: a\n  link_url: "C:\\data"\n', 2, "use single quotes"),
        ("- slug: a\n<<<<<<< HEAD\n  page_slug: b\n=======\n  page_slug: c\n>>>>>>> x\n", 2, "git did not merge"),
        ("- slug: a\n- slug: b\u0007\n", 2, "has the control character U+0007; remove it"),
    ],
)
async def test_a_common_mistake_is_named(refusal, text, line, said):
    """At the line where it is, with what to do; the parser names what it met later."""
    error = await refusal({"links.yml": text})
    assert error.startswith(f"{LINKS}, line {line}: ")
    assert said in error


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("\u201cNerja\u201d", "in curly quotes"), ("\u00abNerja\u00bb", "in curly quotes"),
        ("<%= city %>", "'<%= city %>' in a value, which nothing replaces"), ("'{{ city }}'", "nothing replaces"),
        ("${CITY:-Nerja}", "nothing replaces"), ("|\n  Nerja", "ends with a line break; write |-"),
        (">\n  Nerja", "ends with a line break; write >-"),
    ],
)  # fmt: skip
async def test_a_value_that_nobody_meant_is_a_warning(read, value, said):
    """It can be stored, and a website would show it."""
    pack = await read(house(f"city: {value}\nsale: {{price_cents: 1}}"))
    (warning,) = map(str, pack.warnings)
    assert ", line 2" in warning
    assert said in warning
    assert pack.errors == ()


@pytest.mark.parametrize(
    "value",
    ["the \u201cold\u201d town", "100 % {x", "$5 {a", "'\u201cNerja\u201d'", "'%{x}'", "|-\n  Nerja", "|\n  a\n  b"],
)
async def test_signs_of_other_meaning_are_none(read, value):
    """Quotes within a text, or in straight quotes, are its own."""
    pack = await read(house(f"city: {value}\nsale: {{price_cents: 1}}"))
    assert (pack.warnings, pack.errors) == ((), ())


async def test_what_cannot_be_seen_in_a_key_is_shown(read):
    """A space that was pasted from a page makes another key of it."""
    pack = await read(house("\u00a0city: Nerja\nsale: {price_cents: 1}"))
    assert list(map(str, pack.warnings)) == [f"{HOUSE}\\xa0city is not read; is city meant?"]


@pytest.mark.parametrize("file", ["pack.yml", "links.yml", "field_keys.yml", "properties/x.yml"])
async def test_aliases_are_refused(refusal, file):
    """They make a huge tree out of a small file."""
    text = await refusal({file: "one: &one {a: b}\ntwo: *one\n"})
    assert text == f"mine/{file}, line 2: uses YAML aliases (*name); write the values out"


async def test_a_bomb_of_aliases_is_refused_before_it_goes_off(refusal):
    """Nine levels of nine are refused at the first alias."""
    levels = ["a0: &a0 [x]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10))]
    assert "uses YAML aliases" in await refusal({"field_keys.yml": "\n".join(levels)})


@pytest.mark.parametrize(
    ("file", "text", "words"),
    [
        ("pack.yml", "- a\n", "holds a list (- entry), it must hold a mapping (key: value)"),
        ("pack.yml", "just words\n", "holds a text, it must hold a mapping (key: value)"),
        ("links.yml", "a: b\n", "holds a mapping (key: value), it must hold a list (- entry)"),
        ("links.yml", "3\n", "holds a text, it must hold a list (- entry)"),
        ("field_keys.yml", "word\n", "holds a text, it must hold a mapping (key: value) or a list (- entry)"),
        ("properties/x.yml", "- reference: A\n", "holds a list (- entry), it must hold a mapping (key: value)"),
    ],
)
async def test_a_file_of_the_wrong_shape_is_refused(refusal, file, text, words):
    """With what it holds, and what it must hold."""
    assert await refusal({file: text}) == f"mine/{file}, line 1: {words}"


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
    assert (await refusal({"pack.yml": lines})).startswith(f"mine/pack.yml, line 1: {field} ")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("- 3", ", entry 'number 1': "),
        ("- slug: a\n- null", ", entry 'number 2': "),
        ("- slug: a\n- {page_slug: b}", ", entry 'number 2': slug "),
        ("- slug: ''", ", entry 'number 1': slug is empty"),
        ("- {slug: a, sort_order: first}", ", entry 'a': sort_order "),
        ("- {slug: a, sort_order: 2147483648}", ", entry 'a': sort_order "),
        ("- {slug: a, placement: -2147483649}", ", entry 'a': placement "),
        ("- {slug: a, visible: perhaps}", ", entry 'a': visible "),
        ("- {slug: a, page_slug: [b]}", ", entry 'a': page_slug "),
        ("- {slug: a, link_title: [b]}", ", entry 'a': link_title"),
        ("- {slug: a, link_title: {en: [b]}}", ", entry 'a': link_title.en is a list"),
        ("- {slug: a, placement: 4}", ", entry 'a': placement is '4'; known are top_nav, footer"),
        ("- {slug: a, placement: roof}", ", entry 'a': placement is 'roof'; known are top_nav, footer"),
        ('- {slug: a, link_url: "/\\0"}', ", entry 'a': link_url contains a NUL character"),
        ('- {slug: "a\\0"}', ", entry 'a\\x00': slug contains a NUL character"),
        ('- {slug: a, link_path_params: [b, "\\0"]}', ", entry 'a': link_path_params contains a NUL character"),
        ("- {slug: a}\n- {slug: b}\n- {slug: a}", ", line 3, entry 'a': stands there twice, in line 1 too"),
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
        ("types: 3", ", line 1, entry 'types': is '3'; write a mapping of keys to labels"),
        ("types: {'': {en: Nothing}}", ", line 1, entry 'types.': is empty; write 1 to 255 characters"),
        ("types: [{a: b}]", ", line 1, entry 'types': has a mapping (key: value) in its list; write a key, a word"),
        ("types: {villa: [a]}", ", line 1, entry 'types.villa': is a list (- entry); write a text, or texts"),
        ("types: {villa: {en: [a]}}", ", line 1, entry 'types.villa': en is a list (- entry); write a text"),
        ('types: {villa: {en: "V\\0"}}', ", line 1, entry 'types.villa': en contains a NUL character"),
        ("features: {pool: {en: A}}\namenities: {pool: {en: B}}", ", line 2, entry 'pool': stands there twice"),
        ("features: [pool]\namenities:\n - spa\n - pool\n", ", line 4, entry 'pool': stands there twice, in line 1"),
        ("- 3", ", line 1, entry 'number 1': is '3'; write a mapping (key: value)"),
        ("- {tag: property-types}", ", line 1, entry 'number 1': has neither global_key nor field_key"),
        ("- {global_key: a, tag: [b]}", ", line 1, entry 'a': tag is a list (- entry); write a text"),
        ("- {global_key: a}\n- {field_key: a}", ", line 2, entry 'a': stands there twice, in line 1 too"),
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
    assert (await refusal({"properties/x.yml": text})).startswith("mine/properties/x.yml, line 1: reference ")


async def test_a_reference_may_stand_in_one_file_only(refusal):
    """One of the two would silently not be there."""
    files = {"properties/a.yml": "reference: A\n", "properties/b.yml": "reference: A\n"}
    where, _, reason = (await refusal(files)).partition(": ")
    assert where == "mine/properties/b.yml, line 1, entry 'A'"
    assert reason == "reference stands in mine/properties/a.yml too; each property needs its own"


@pytest.mark.parametrize(
    ("file", "text", "lines"),
    [
        ("links.yml", "- {slug: a, link_title: {en: One}, link_title: {en: Two}}\n", (1, 1)),
        ("links.yml", "- slug: a\n  slug: b\n", (1, 2)),
        ("field_keys.yml", "types:\n  villa: {en: One}\n  villa: {en: Two}\n", (2, 3)),
        ("field_keys.yml", "types: {villa: {en: One}}\ntypes: {house: {en: Two}}\n", (1, 2)),
        ("properties/a.yml", "reference: A\ncity: B\ncity: C\n", (2, 3)),
        ("pack.yml", "name: mine\nfallback: true\nfallback: true\n", (2, 3)),
        ("pack.yml", "agency:\n  phone: 1\n  phone: 2\n", (2, 3)),
    ],
)
async def test_a_key_that_stands_twice_is_refused(refusal, file, text, lines):
    """YAML takes the last one, and the other is silently not there; both lines are named."""
    assert f", line {lines[1]}: " in (error := await refusal({file: text}))
    assert f" stands there twice, in line {lines[0]} too; remove one" in error


async def test_a_key_that_stands_twice_in_what_is_left_alone_is_a_warning(read):
    """Users, pages and theme are no affair of this service."""
    pack = await read({"pack.yml": "name: mine\nusers:\n  - email: a\n    email: b\n"})
    assert list(map(str, pack.warnings)) == [
        "mine/pack.yml: brings what this service does not seed: users",
        "mine/pack.yml, line 4: users.email stands there twice, in line 3 too",
    ]


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
        ("field_keys.yml", "types: [{number}]"),
        ("properties/01_house.yml", "reference: {number}"),
    ],
)
async def test_a_key_that_is_too_long_is_refused(refusal, file, text):
    """By its length, as any text is: an index takes no such key."""
    assert "has 5002 characters, at most 255" in await refusal({file: text.format(number="0x" + "f" * 5000)})


READ_IT = """
import asyncio, pathlib, sys
from seeders.pack_problems import PackError
from seeders.loading.pack_library import PackLibrary
try:
    pack = asyncio.run(PackLibrary([pathlib.Path(sys.argv[1])]).get("mine"))
    print(*pack.errors)
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
    reason = f"has {len(text)} bytes, at most {MAX_FILE_BYTES} are read; shorten it"
    assert await refusal({file: text}) == f"mine/{file}: {reason}"


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
    assert error == f"mine/{file}: has {MAX_ENTRIES + 1} entries, at most {MAX_ENTRIES} are allowed; remove 1"


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


async def test_what_the_existing_product_alone_seeds_is_named_once(read):
    """Each key once, however often it stands there, and each folder; a null says nothing, and notes are nobody's."""
    link = "{slug: %s, href_class: big, is_external: null, icon_class: star}"
    pack = await read(
        {
            "pack.yml": "name: mine\nversion: '1'\ndescription: d\nusers: [{email: a@b.example}]\npage_parts: null\n"
            "website: {theme_name: x, area_unit: sqmt}\nagency: {address: {city: Nerja}}\n",
            "links.yml": f"- {link % 'a'}\n- {link % 'b'}\n",
            "field_keys.yml": "- {global_key: a, show_in_search_form: true}\n",
            "content/home.yml": "hero: {}\n",
            "images/a.jpg": "",
        }
    )
    [warning] = map(str, pack.warnings)
    assert warning == (
        "mine/pack.yml: brings what this service does not seed: agency.address, users, website.area_unit, "
        "website.theme_name, href_class (links.yml), icon_class (links.yml), show_in_search_form (field_keys.yml), "
        "content/"
    )
    assert pack.errors == ()


@pytest.mark.parametrize(
    ("said", "long_term", "short_term", "warned"),
    [
        ("", True, False, False),
        (", long_term: null", True, False, False),
        (", short_term: true", True, True, False),
        (", long_term: false, short_term: true", False, True, False),
        (", long_term: false", False, False, True),
    ],
)
async def test_a_rental_is_long_term_unless_it_says_otherwise(read, said, long_term, short_term, warned):
    """As the existing product reads it; one that is neither is found by no search, which is a warning."""
    pack = await read(house(f"rental: {{price_cents: 1{said}}}"))
    [entry] = pack.properties
    assert (entry.rental.long_term, entry.rental.short_term) == (long_term, short_term)
    reason = "rental is let neither long-term nor short-term, so that no search finds it"
    assert [reason in str(warning) for warning in pack.warnings] == [True] * warned


async def test_features_are_those_that_are_listed_each_once(read):
    """In the order of the file."""
    [entry] = (await read(house("features: [features.pool, sauna, features.pool, null]"))).properties
    assert entry.features == ("features.pool", "sauna")


@pytest.mark.parametrize(
    ("image", "there", "address"),
    [
        ("front.jpg", (), "packs/mine/front.jpg"),
        ("front", (), "packs/mine/front.jpg"),
        ("front.WEBP", (), "packs/mine/front.WEBP"),
        ("front.jpg", ("packs/mine/images", "seeds/images"), "packs/mine/front.jpg"),
        ("front.jpg", ("seeds/images", "example_images"), "seeds/front.jpg"),
        ("front", ("example_images",), "example/front.jpg"),
    ],
)
async def test_a_picture_is_where_the_existing_products_loader_says(tmp_path, image, there, address):
    """Among the pack's own, or where its source has those that packs share: db/seeds/images, db/example_images."""
    folder = tmp_path / "seeds" / "packs" / "mine"
    (folder / "properties").mkdir(parents=True)
    (folder / "pack.yml").write_text("")
    (folder / "properties" / "a.yml").write_text(f"reference: A\nsale: {{price_cents: 1}}\nimage: {image}\n")
    for place in there:
        path = tmp_path / place.replace("packs/", "seeds/packs/")
        path.mkdir(parents=True, exist_ok=True)
        (path / "front.jpg").write_text("")
    pack = await PackLibrary([folder.parent], images_url="https://img.example").get("mine")
    assert [entry.photo_url for entry in pack.properties] == [f"https://img.example/{address}"]
    assert pack.warnings == ()


async def test_pictures_without_an_address_are_one_warning(read):
    """It says how many, and which setting is missing."""
    houses = {f"properties/{n}.yml": f"reference: {n}\nsale: {{price_cents: 1}}\nimage: a.jpg\n" for n in range(3)}
    pack = await read(houses)
    assert [entry.photo_url for entry in pack.properties] == [None] * 3
    assert list(map(str, pack.warnings)) == [
        "mine/properties: names pictures of 3 properties, which are seeded without: set PROVISIONER_IMAGES_URL"
    ]


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
    assert (entry.columns["prop_state_key"], entry.columns["count_bedrooms"]) == ("states.good", None)
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
            "properties/x.yml": "reference: 42\npostal_code: 46005\naddress: 7\nlatitude: '39.5'\nlongitude: 0\n",
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
    remedy = "add it to field_keys.yml, or use one of those"
    assert sorted(map(str, pack.warnings)) == [
        f"mine/properties/b.yml, entry 'B': prop_type is 'types.castle', which is no field key of mine; {remedy}",
        "mine/properties/c.yml, line 1, entry 'C': is offered neither for sale nor for rent",
    ]
