"""What the shipped packs promise, and how the library finds packs, merges parents in and notices an edit."""

import traceback
from pathlib import Path

import pytest

import seeders
from seeders.loading.pack_library import PackLibrary
from seeders.pack import AgencyEntry
from seeders.pack_problems import PackError

SHIPPED = Path(seeders.__file__).parent / "packs"
SITE_TYPES = ("residential", "commercial", "vacation_rental")
LANGUAGES = {"en", "es", "de"}
TOP_NAV, FOOTER = 0, 1


class Clock:
    """A clock that goes when it is told to."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now

    def later(self):
        """Go on by more than the time for which files are not looked at."""
        self.now += 1.0


def write(root, name, files=None, **heads):
    """Write a pack: `files` by name, and `heads` as lines of pack.yml."""
    folder = root / name
    lines = [f"name: {name}", *(f"{key}: {value}" for key, value in heads.items())]
    for file, text in {"pack.yml": "\n".join(lines) + "\n", **(files or {})}.items():
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


async def refused(library, name):
    """The error with which a pack is refused."""
    with pytest.raises(PackError) as caught:
        await library.get(name)
    return caught.value


async def costs(library, name):
    """What is wrong with a pack, by step, as its first error has it; an empty step is the whole pack."""
    try:
        pack = await library.get(name)
    except PackError as error:
        return {"": str(error)}
    return {error.step: pack.error_of(error.step) for error in pack.errors}


def slugs(pack):
    return [link.slug for link in pack.links]


# ------------------------------------------------------------------------------------------------ what ships


def test_there_is_a_base_and_a_pack_for_each_site_type():
    """Nothing else ships, and nothing is missing."""
    assert PackLibrary([SHIPPED]).names() == sorted(["base", *SITE_TYPES])


async def test_base_has_links_at_the_top_and_at_the_foot():
    """At least ten, each with a title in three languages, none anywhere else than in top_nav and footer."""
    base = await PackLibrary([SHIPPED]).get("base")
    assert len(base.links) >= 10
    assert {link.placement for link in base.links} == {TOP_NAV, FOOTER}
    assert all(link.visible and link.link_path for link in base.links)
    assert all(set(link.translations) == LANGUAGES for link in base.links)
    assert all(told["link_title"] for link in base.links for told in link.translations.values())


async def test_base_has_the_36_field_keys():
    """Ten types, five states, eleven features, ten amenities; each with a label in three languages."""
    keys = (await PackLibrary([SHIPPED]).get("base")).field_keys
    tags = [key.tag for key in keys]
    counts = {tag: tags.count(tag) for tag in tags}
    assert counts == {
        "property-types": 10,
        "property-states": 5,
        "property-features": 11,
        "property-amenities": 10,
    }
    assert len({key.global_key for key in keys}) == 36
    assert all(set(key.translations) == LANGUAGES for key in keys)
    assert all(told["label"] for key in keys for told in key.translations.values())


async def test_base_leaves_the_agency_to_the_customer_and_has_no_properties():
    """Its agency is there but says nothing, so that it is named after the website; no warning either."""
    base = await PackLibrary([SHIPPED]).get("base")
    assert base.agency == AgencyEntry()
    assert base.properties == ()
    assert not base.strict
    assert base.warnings == ()


@pytest.mark.parametrize("name", SITE_TYPES)
async def test_a_site_types_pack_inherits_base(name):
    """Every link and field key of base is in it, as it stands there."""
    library = PackLibrary([SHIPPED])
    base, pack = await library.get("base"), await library.get(name)
    assert all(link in pack.links for link in base.links)
    assert all(key in pack.field_keys for key in base.field_keys)
    assert pack.agency == base.agency


@pytest.mark.parametrize("name", SITE_TYPES)
async def test_a_site_types_pack_has_something_to_buy_and_to_rent(name):
    """At least six properties, for sale and for rent, with a price, and with titles in three languages."""
    pack = await PackLibrary([SHIPPED]).get(name)
    assert len(pack.properties) >= 6
    assert any(entry.sale for entry in pack.properties)
    assert any(entry.rental for entry in pack.properties)
    for entry in pack.properties:
        offers = [offer for offer in (entry.sale, entry.rental) if offer]
        assert offers, entry.reference
        for offer in offers:
            assert offer.cents > 0, entry.reference
            assert set(offer.translations) == LANGUAGES, entry.reference
            assert all(told["title"] for told in offer.translations.values()), entry.reference


@pytest.mark.parametrize("name", ["base", *SITE_TYPES])
async def test_a_shipped_pack_has_no_warnings(name):
    """Each property's type and state are field keys of its pack, and each is offered."""
    assert (await PackLibrary([SHIPPED]).get(name)).warnings == ()


async def test_a_website_may_be_seeded_with_any_reference_once_only():
    """No two shipped packs share a reference: a website that changes its pack gets no half of each."""
    library = PackLibrary([SHIPPED])
    references = [entry.reference for name in SITE_TYPES for entry in (await library.get(name)).properties]
    assert len(references) == len(set(references))


# ------------------------------------------------------------------------------------------------ inheritance

PARENT = {
    "links.yml": "- {slug: home, link_url: /parent, sort_order: 1}\n- {slug: about, link_url: /about}\n",
    "field_keys.yml": "types:\n  villa: {en: Parent villa}\n  house: {en: House}\n",
    "properties/a.yml": "reference: A\ncity: Parentville\nsale: {price_cents: 1}\n",
    "properties/b.yml": "reference: B\nrental: {price_cents: 2}\n",
}
CHILD = {
    "links.yml": "- {slug: home, link_url: /child, sort_order: 9}\n- {slug: own, link_url: /own}\n",
    "field_keys.yml": "types:\n  villa: {en: Child villa}\n",
    "properties/a.yml": "reference: A\ncity: Childville\nsale: {price_cents: 7}\n",
}


async def test_the_childs_entry_wins_and_the_parent_fills_in(tmp_path):
    """By natural key: slug, global key, reference; an entry is taken whole, never mixed."""
    write(tmp_path, "parent", PARENT)
    write(tmp_path, "child", CHILD, inherits_from="parent")
    pack = await PackLibrary([tmp_path]).get("child")
    assert {link.slug: link.link_url for link in pack.links} == {"home": "/child", "own": "/own", "about": "/about"}
    assert {key.global_key: key.translations["en"]["label"] for key in pack.field_keys} == {
        "villa": "Child villa",
        "house": "House",
    }
    assert {entry.reference: entry.columns["city"] for entry in pack.properties} == {"A": "Childville", "B": None}
    assert {entry.reference: (entry.sale or entry.rental).cents for entry in pack.properties} == {"A": 7, "B": 2}
    assert pack.name == "child"


async def test_the_parent_stays_as_it_is(tmp_path):
    """A child's entries do not leak into the pack that it inherits from."""
    write(tmp_path, "parent", PARENT)
    write(tmp_path, "child", CHILD, inherits_from="parent")
    library = PackLibrary([tmp_path])
    await library.get("child")
    assert slugs(await library.get("parent")) == ["home", "about"]


async def test_an_agency_is_filled_in_field_by_field(tmp_path):
    """The child says its name, the parent its telephone number."""
    write(tmp_path, "parent", agency="{display_name: Parent, phone: '1'}")
    write(tmp_path, "child", inherits_from="parent", agency="{display_name: Child, email: c@example.com}")
    write(tmp_path, "silent", inherits_from="parent")
    library = PackLibrary([tmp_path])
    assert (await library.get("child")).agency == AgencyEntry("Child", "c@example.com", "1")
    assert (await library.get("silent")).agency == AgencyEntry("Parent", None, "1")


async def test_a_grandparent_fills_in_last(tmp_path):
    """The nearer ancestor wins over the farther one."""
    write(tmp_path, "old", {"links.yml": "- {slug: a, link_url: /old}\n- {slug: b, link_url: /old}\n"})
    write(tmp_path, "middle", {"links.yml": "- {slug: a, link_url: /middle}\n"}, inherits_from="old")
    write(tmp_path, "young", inherits_from="middle")
    pack = await PackLibrary([tmp_path]).get("young")
    assert {link.slug: link.link_url for link in pack.links} == {"a": "/middle", "b": "/old"}


async def test_a_circle_is_named(tmp_path):
    """The file that closes it, and the way round."""
    for child, parent in (("a", "b"), ("b", "c"), ("c", "a")):
        write(tmp_path, child, inherits_from=parent)
    error = str(await refused(PackLibrary([tmp_path]), "a"))
    assert error.startswith("c/pack.yml, line 2: inherits_from cannot be followed: ")
    assert "a → b → c → a" in error


async def test_a_pack_that_inherits_from_itself_is_a_circle(tmp_path):
    """The smallest circle there is."""
    write(tmp_path, "selfish", inherits_from="selfish")
    error = str(await refused(PackLibrary([tmp_path]), "selfish"))
    assert "selfish/pack.yml, line 2: inherits_from" in error
    assert "circle" in error


async def test_a_missing_parent_is_named_with_the_file_that_wants_it(tmp_path):
    """And with the packs that there are, as a hint."""
    write(tmp_path, "orphan", inherits_from="nobody")
    error = str(await refused(PackLibrary([tmp_path]), "orphan"))
    assert error.startswith("orphan/pack.yml, line 2: inherits_from cannot be followed: ")
    assert "'nobody'" in error
    assert str(tmp_path) not in error


@pytest.mark.parametrize("parent", ["../x", "'A b'", "x/y", "x" * 65])
async def test_a_parent_by_an_impossible_name_is_named_with_the_file_that_wants_it(tmp_path, parent):
    """The one who has to mend it needs to know where it stands."""
    write(tmp_path, "child", inherits_from=parent)
    error = str(await refused(PackLibrary([tmp_path]), "child"))
    assert "is no pack name" in error
    assert "child/pack.yml" in error
    assert "inherits_from" in error


async def test_an_error_in_a_parent_names_the_parents_file(tmp_path):
    """Not the child's, which is all right."""
    write(tmp_path, "parent", {"links.yml": "- {slug: x, placement: roof}\n"})
    write(tmp_path, "child", inherits_from="parent")
    found = await costs(PackLibrary([tmp_path]), "child")
    assert found["links"].startswith("parent/links.yml, line 1, entry 'x': placement is 'roof'")


async def test_a_missing_pack_names_those_there_are(tmp_path):
    """From all roots, and without saying where these are."""
    write(tmp_path / "one", "alpha")
    write(tmp_path / "two", "beta")
    error = str(await refused(PackLibrary([tmp_path / "one", tmp_path / "two"]), "gamma"))
    assert error == "there is no seed pack 'gamma'; there are alpha, beta"


@pytest.mark.parametrize("name", ["../x", "a/b", "/etc", "..", ".", "", "Base", "a b", "b\0", "base\n", "é", "x" * 65])
async def test_a_name_outside_of_the_alphabet_is_refused(tmp_path, name):
    """Before the file system is asked: such a name could leave the folder."""
    write(tmp_path, "x")
    write(tmp_path / "packs", "base")
    error = str(await refused(PackLibrary([tmp_path / "packs"]), name))
    assert "is no pack name" in error
    assert "a-z, 0-9, _ and -" in error
    assert len(error) < 200


async def test_a_name_of_64_characters_is_a_name(tmp_path):
    """The limit itself is allowed."""
    write(tmp_path, "x" * 64)
    assert (await PackLibrary([tmp_path]).get("x" * 64)).name == "x" * 64


# ------------------------------------------------------------------------------------------------ roots


async def test_the_first_root_wins(tmp_path):
    """A customer's folder stands before the packs that ship."""
    write(tmp_path / "own", "base", {"links.yml": "- slug: own\n"})
    write(tmp_path / "shipped", "base", {"links.yml": "- slug: shipped\n", "field_keys.yml": "types: [villa]\n"})
    own, shipped = tmp_path / "own", tmp_path / "shipped"
    pack = await PackLibrary([own, shipped]).get("base")
    assert (slugs(pack), pack.field_keys) == (["own"], ())
    assert slugs(await PackLibrary([shipped, own]).get("base")) == ["shipped"]


async def test_a_parent_may_stand_in_another_root(tmp_path):
    """A pack of the customer's inherits the base that ships, and a shipped one a base of the customer's."""
    write(tmp_path, "mine", inherits_from="base")
    write(tmp_path, "base", {"links.yml": "- slug: replaced\n"})
    library = PackLibrary([tmp_path, SHIPPED])
    assert slugs(await library.get("mine")) == ["replaced"]
    assert slugs(await library.get("residential")) == ["replaced"]


async def test_a_root_that_is_not_there_is_passed_over(tmp_path):
    """A folder may be configured before it is made."""
    library = PackLibrary([tmp_path / "nowhere", SHIPPED])
    assert (await library.get("base")).links
    assert library.names() == sorted(["base", *SITE_TYPES])


async def test_a_folder_without_pack_yml_is_no_pack(tmp_path):
    """Neither found nor listed; the next root is asked."""
    (tmp_path / "one" / "base").mkdir(parents=True)
    write(tmp_path / "two", "base", {"links.yml": "- slug: second\n"})
    library = PackLibrary([tmp_path / "one", tmp_path / "two"])
    assert slugs(await library.get("base")) == ["second"]
    assert PackLibrary([tmp_path / "one"]).names() == []


# ------------------------------------------------------------------------------------------------ read again


async def test_a_pack_is_kept_while_nothing_changes(tmp_path):
    """The same object, however late it is."""
    clock = Clock()
    write(tmp_path, "mine", {"links.yml": "- slug: a\n"})
    library = PackLibrary([tmp_path], clock=clock)
    first = await library.get("mine")
    clock.later()
    assert await library.get("mine") is first


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("pack.yml", "name: mine\nagency: {display_name: Edited}\n"),
        ("links.yml", "- slug: edited\n"),
        ("field_keys.yml", "types: [edited]\n"),
        ("properties/a.yml", "reference: EDITED\n"),
        ("properties/new.yml", "reference: EDITED-TOO\n"),
    ],
)
async def test_an_edited_pack_is_read_again(tmp_path, file, text):
    """Whichever of its files it was, and a new one too; not before the library looks again."""
    clock = Clock()
    files = {"links.yml": "- slug: a\n", "field_keys.yml": "types: [b]\n", "properties/a.yml": "reference: C\n"}
    write(tmp_path, "mine", files)
    library = PackLibrary([tmp_path], clock=clock)
    first = await library.get("mine")
    (tmp_path / "mine" / file).write_text(text)
    assert await library.get("mine") is first
    clock.later()
    assert "edited" in repr(await library.get("mine")).lower()


async def test_a_removed_file_is_noticed(tmp_path):
    """Its entries are gone with it."""
    clock = Clock()
    write(tmp_path, "mine", {"links.yml": "- slug: a\n"})
    library = PackLibrary([tmp_path], clock=clock)
    await library.get("mine")
    (tmp_path / "mine" / "links.yml").unlink()
    clock.later()
    assert (await library.get("mine")).links == ()


async def test_an_edited_parent_is_noticed(tmp_path):
    """Its children are read again with it."""
    clock = Clock()
    write(tmp_path, "parent", {"links.yml": "- slug: a\n"})
    write(tmp_path, "child", inherits_from="parent")
    library = PackLibrary([tmp_path], clock=clock)
    await library.get("child")
    write(tmp_path, "parent", {"links.yml": "- slug: edited\n"})
    clock.later()
    assert slugs(await library.get("child")) == ["edited"]


async def test_a_pack_that_appears_in_an_earlier_root_is_noticed(tmp_path):
    """The search order is asked again, not only the files of the day before."""
    clock = Clock()
    write(tmp_path / "two", "mine", {"links.yml": "- slug: second\n"})
    library = PackLibrary([tmp_path / "one", tmp_path / "two"], clock=clock)
    await library.get("mine")
    write(tmp_path / "one", "mine", {"links.yml": "- slug: first\n"})
    clock.later()
    assert slugs(await library.get("mine")) == ["first"]


async def test_an_error_is_kept_until_the_pack_is_mended(tmp_path):
    """Not read again for each website, and forgotten once the file is right."""
    clock = Clock()
    write(tmp_path, "mine", {"links.yml": "- {slug: a, placement: roof}\n"})
    library = PackLibrary([tmp_path], clock=clock)
    first = await costs(library, "mine")
    (tmp_path / "mine" / "links.yml").write_text("- {slug: a, placement: footer}\n")
    assert (await costs(library, "mine"), list(first)) == (first, ["links"])
    clock.later()
    assert slugs(await library.get("mine")) == ["a"]


async def test_a_pack_that_breaks_is_refused_once_it_is_looked_at(tmp_path):
    """The good one is not kept beyond its files."""
    clock = Clock()
    write(tmp_path, "mine", {"links.yml": "- slug: a\n"})
    library = PackLibrary([tmp_path], clock=clock)
    await library.get("mine")
    (tmp_path / "mine" / "links.yml").write_text("a: mapping\n")
    clock.later()
    assert "mine/links.yml" in (await costs(library, "mine"))["links"]


async def test_a_missing_pack_is_found_once_it_is_there(tmp_path):
    """That it was missing is kept no longer than anything else."""
    clock = Clock()
    library = PackLibrary([tmp_path], clock=clock)
    await refused(library, "late")
    write(tmp_path, "late", {"links.yml": "- slug: a\n"})
    clock.later()
    assert slugs(await library.get("late")) == ["a"]


async def test_a_pack_with_broken_yaml_at_its_head_is_mended_too(tmp_path):
    """Where not even the parents were known."""
    clock = Clock()
    write(tmp_path, "mine", {"pack.yml": "name: [\n"})
    library = PackLibrary([tmp_path], clock=clock)
    await refused(library, "mine")
    write(tmp_path, "mine", {"links.yml": "- slug: a\n"})
    clock.later()
    assert slugs(await library.get("mine")) == ["a"]


async def test_a_missing_parent_that_arrives_mends_its_child(tmp_path):
    """The child's own files did not change; the error was about another's."""
    clock = Clock()
    write(tmp_path, "child", inherits_from="parent")
    library = PackLibrary([tmp_path], clock=clock)
    await refused(library, "child")
    write(tmp_path, "parent", {"links.yml": "- slug: a\n"})
    clock.later()
    assert slugs(await library.get("child")) == ["a"]


@pytest.mark.parametrize("broken", ["name: [\n", "agency: 3\n", "inherits_from: child\n"])
async def test_a_parent_whose_head_is_mended_mends_its_child(tmp_path, broken):
    """The error lay in the parent's pack.yml, and that is the file that somebody edits."""
    clock = Clock()
    write(tmp_path, "parent", {"pack.yml": broken})
    write(tmp_path, "child", inherits_from="parent")
    library = PackLibrary([tmp_path], clock=clock)
    assert await costs(library, "child")
    write(tmp_path, "parent", {"links.yml": "- slug: a\n"})
    clock.later()
    assert slugs(await library.get("child")) == ["a"]
    assert not await costs(library, "child")


async def test_a_parents_broken_links_are_mended_for_its_child(tmp_path):
    """The same where only the parent's body was broken."""
    clock = Clock()
    write(tmp_path, "parent", {"links.yml": "no list\n"})
    write(tmp_path, "child", inherits_from="parent")
    library = PackLibrary([tmp_path], clock=clock)
    assert list(await costs(library, "child")) == ["links"]
    (tmp_path / "parent" / "links.yml").write_text("- slug: a\n")
    clock.later()
    assert slugs(await library.get("child")) == ["a"]


async def test_a_kept_error_does_not_grow(tmp_path):
    """Raised a hundred times it holds no hundred frames: a worker lives for months beside a broken pack."""
    library = PackLibrary([tmp_path], clock=Clock())
    first = len(traceback.extract_tb((await refused(library, "missing")).__traceback__))
    for _ in range(100):
        last = await refused(library, "missing")
    assert len(traceback.extract_tb(last.__traceback__)) <= first + 2


# ------------------------------------------------------------------------------------------------ strict


@pytest.mark.parametrize(
    ("said", "strict"), [("false", True), ("no", True), ("true", False), ("yes", False), ("", False), ("null", False)]
)
async def test_only_fallback_false_is_strict(tmp_path, said, strict):
    """Silence and null are the ordinary case."""
    write(tmp_path, "mine", fallback=said)
    assert (await PackLibrary([tmp_path]).get("mine")).strict is strict


async def test_a_pack_is_not_strict_because_its_parent_is(tmp_path):
    """Each pack speaks for itself."""
    write(tmp_path, "parent", fallback="false")
    write(tmp_path, "child", inherits_from="parent")
    write(tmp_path, "loose", fallback="true", inherits_from="parent")
    library = PackLibrary([tmp_path])
    assert not (await library.get("child")).strict
    assert not (await library.get("loose")).strict


@pytest.mark.parametrize(
    ("heads", "files"),
    [
        ({}, {"links.yml": "- {slug: a, placement: roof}\n"}),
        ({}, {"field_keys.yml": "types: [\n"}),
        ({"inherits_from": "nobody"}, {}),
        ({"inherits_from": "mine"}, {}),
        ({"inherits_from": "../x"}, {}),
        ({"inherits_from": "broken"}, {}),
        ({"agency": "3"}, {}),
    ],
)
async def test_a_broken_pack_is_strict_if_it_says_so(tmp_path, heads, files):
    """Wherever it is broken, as long as its `fallback: false` can be read."""
    write(tmp_path, "broken", {"links.yml": "no list\n"})
    write(tmp_path, "mine", files, fallback="false", **heads)
    assert await strictness(PackLibrary([tmp_path]), "mine") == (True, True)


async def strictness(library, name):
    """Whether a pack is broken, and whether it is strict."""
    try:
        pack = await library.get(name)
    except PackError as error:
        return True, error.strict
    return bool(pack.errors), pack.strict


async def test_a_broken_pack_that_says_nothing_is_not_strict(tmp_path):
    """Nor is one that is not there, nor one whose pack.yml cannot be read at all."""
    write(tmp_path, "mine", {"links.yml": "no list\n"})
    write(tmp_path, "garbled", {"pack.yml": "fallback: false\nname: [\n"})
    library = PackLibrary([tmp_path])
    for name in ("mine", "garbled", "missing", "../x"):
        assert await strictness(library, name) == (True, False)


@pytest.mark.parametrize("word", ["'no'", "'false'", "perhaps", "'true'", "0", "[false]"])
async def test_a_fallback_that_cannot_be_read_adds_no_defaults(tmp_path, word):
    """Defaults stay for good; a website that failed goes on once the word is mended."""
    write(tmp_path, "mine", fallback=word)
    error = await refused(PackLibrary([tmp_path]), "mine")
    assert str(error).startswith("mine/pack.yml, line 2: fallback is ")
    assert str(error).endswith("; write true or false, without quotes")
    assert error.strict
