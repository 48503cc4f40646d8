"""docs/packs.md is true: its examples load, its tables are the layouts, and what it says is refused is refused."""

import re
from pathlib import Path
from typing import get_args

import pytest

import seeders
from seeders.loading import file_models, pack_value_types
from seeders.loading.duplicate_checks import MAX_ENTRIES
from seeders.loading.pack_library import PackLibrary
from seeders.loading.yaml_reader import MAX_FILE_BYTES

PAGE = (Path(__file__).parents[2] / "docs" / "packs.md").read_text()
SHIPPED = Path(seeders.__file__).parent / "packs"
EXAMPLES = re.findall(r"```yaml (\S+)\n(.*?)```", PAGE, re.DOTALL)
SECTIONS = dict(re.findall(r"^## (\S[^\n]*)\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE))
KINDS = {
    getattr(pack_value_types, name): kind
    for kind, names in {
        "text": ["Text", "Filled"], "word": ["Word"], "boolean": ["Flag"],
        "e-mail": ["Email"], "currency": ["Currency"],
        "whole": ["Order", "Count", "Year"], "cents": ["Cents"],
        "decimal": ["Measure"], "latitude": ["Latitude"], "longitude": ["Longitude"], "texts": ["Texts", "Labels"],
    }.items()
    for name in names
}  # fmt: skip


def cells(section):
    """The rows of a section's table."""
    lines = [line for line in SECTIONS[section].splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[1:]]


def write(root):
    """Write the examples as packs."""
    for file, text in [*EXAMPLES, ("older/pack.yml", "")]:
        path = root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


async def test_the_examples_load(tmp_path):
    """All of them, without an error or a warning, their values as they stand there."""
    write(tmp_path)
    library = PackLibrary([tmp_path, SHIPPED], images_url="https://img.example")
    coast, older = await library.get("coast"), await library.get("older")
    assert [coast.errors, coast.warnings, older.errors, older.warnings] == [()] * 4
    assert (coast.agency.phone, coast.parents) == ("+34952123456", ("base",))
    assert [link.slug for link in coast.links][-2:] == ["top_nav_sea", "footer_blog"]
    assert coast.links[-2].link_path_params == "sea-views"
    assert {"cave_house", "mooring", "sea", "harbour"} <= {key.global_key for key in coast.field_keys}
    [villa] = coast.properties
    assert (villa.reference, villa.columns["postal_code"], villa.sale.cents) == ("ES-1.10", "03724", 45000000)
    assert (villa.sale.highlighted, villa.rental.cents) == (True, 320000)
    assert villa.features == ("features.private_pool", "features.mooring")
    assert villa.photo_url == "https://img.example/packs/coast/villa.jpg"
    assert [key.global_key for key in older.field_keys] == ["types.villa", "states.good"]


def keys(model, prefix=""):
    """The keys of a layout with their kinds, in the layout's order."""
    for name, field in model.model_fields.items():
        kind = next((arg for arg in get_args(field.annotation) if arg is not type(None)), field.annotation)
        inner = isinstance(kind, type) and issubclass(kind, file_models.FileModel)
        annotated = KINDS.get(kind) or next(
            (name for known, name in KINDS.items() if field.metadata and get_args(known)[1:] == tuple(field.metadata)),
            None,
        )
        yield prefix + name, "mapping" if inner else annotated
        if inner:
            yield from keys(kind, f"{prefix}{name}.")


@pytest.mark.parametrize(
    ("section", "model", "own"),
    [
        ("links.yml", file_models.LinkModel, {"placement", "link_path_params"}),
        ("field_keys.yml", file_models.FieldKeyModel, set()),
        ("properties/*.yml", file_models.PropertyModel, {"features"}),
    ],
)
def test_the_tables_are_the_layouts(section, model, own):
    """Each key once, in the layout's order, with what is read from it; some have kinds of their own."""
    listed = [(name.strip("`"), kind) for name, kind, _ in cells(section)]
    expected = list(keys(model))
    assert [name for name, _ in listed] == [name for name, _ in expected]
    for (name, said), (_, kind) in zip(listed, expected, strict=True):
        assert name in own or said == kind, name


def test_the_table_of_pack_yml_is_its_layouts():
    """The head's own keys, then those of its two mappings."""
    listed = [(name.strip("`"), kind) for name, kind, _ in cells("pack.yml")]
    assert listed == [
        *keys(file_models.HeadModel),
        ("agency", "mapping"),
        *keys(file_models.AgencyModel, "agency."),
        ("website", "mapping"),
        *keys(file_models.WebsiteModel, "website."),
    ]


async def test_the_examples_leave_no_key_out(tmp_path):
    """Each key of the tables stands in an example."""
    text = "\n".join(text for _, text in EXAMPLES)
    for section in ("pack.yml", "links.yml", "field_keys.yml", "properties/*.yml"):
        for name, *_ in cells(section):
            key = name.strip("`").rpartition(".")[2]
            assert re.search(rf"^[ -]*{key}:", text, re.MULTILINE) or key == "price_cents", key


SAMPLES = {
    "whole": "bedrooms: {}",
    "cents": "sale: {{price_cents: {}}}",
    "decimal": "plot_area: {}",
    "latitude, longitude": "longitude: 1\nlatitude: {}",
    "currency": "website: {{currency: {}}}",
    "e-mail": "agency: {{email: {}}}",
    "boolean": "rental: {{price_cents: 1, furnished: {}}}",
}


@pytest.mark.parametrize("kind", SAMPLES)
async def test_what_the_page_says_is_refused_is_refused(tmp_path, kind):
    """And what it says is written is read."""
    [(written, refused)] = [row[1:] for row in cells("How values are written") if row[0] == kind]
    for column, errors in ((written, 0), (refused.partition(": write")[0], 1)):
        samples = re.findall(r"`([^`]+)`", column)
        assert samples
        for number, sample in enumerate(samples):
            folder = tmp_path / f"{kind[:5].strip()}-{errors}-{number}"
            (folder / "properties").mkdir(parents=True)
            value = SAMPLES[kind].format(sample if '"' in sample or sample.startswith("'") else f'"{sample}"')
            value = value if kind != "boolean" else SAMPLES[kind].format(sample)
            head, entry = (value, "") if kind in ("currency", "e-mail") else ("", value)
            (folder / "pack.yml").write_text(head)
            (folder / "properties" / "a.yml").write_text(f"reference: A\n{entry}\n")
            pack = await PackLibrary([tmp_path]).get(folder.name)
            assert len(pack.errors) == errors, (sample, pack.errors)


def test_the_limits_are_those_of_the_code():
    """Bytes and entries."""
    assert f"at most {MAX_FILE_BYTES // 1024**2} MiB, a pack {MAX_ENTRIES} entries" in PAGE
