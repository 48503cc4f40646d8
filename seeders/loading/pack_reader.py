"""Reads the files of one seed pack into rows that can be inserted. Reads no parents, and searches no folders.

The files are the existing product's: `pack.yml`, `links.yml`, `field_keys.yml`, `properties/*.yml`. An error in one of
them costs the rows of its own step: what is wrong in links.yml leaves field keys and properties as they are.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from seeders.loading.duplicate_checks import refuse_doubles, refuse_repetitions, refuse_too_many
from seeders.loading.field_keys_file import read_field_keys
from seeders.loading.file_models import (
    CURRENCY,
    AgencyModel,
    FileModel,
    HeadModel,
    LinkModel,
    PropertyModel,
    WebsiteModel,
)
from seeders.loading.image_url_composer import image_address
from seeders.loading.model_validation import named, validated
from seeders.loading.pack_files import (
    FIELD_KEYS,
    HEAD,
    LINKS,
    PROPERTIES,
    folders_left_out,
    property_files,
    unread_files,
)
from seeders.loading.problem_collector import FileProblems, in_order
from seeders.loading.scalar_conversion import RefusedValueError, flag
from seeders.loading.yaml_reader import YamlMapping, YamlSequence, read_yaml, repetitions
from seeders.pack import AgencyEntry, LinkEntry, Pack, PropertyEntry
from seeders.pack_problems import PackProblem

Part = TypeVar("Part", bound=FileModel)
MAX_LEFT_OUT = 40
"""How many names a warning lists; the models know fewer."""


@dataclass(frozen=True, slots=True)
class Head:
    """What pack.yml says. An error among its problems that names no step costs the whole pack."""

    name: str
    inherits_from: str | None = None
    inherits_line: int | None = None
    strict: bool = False
    agency: AgencyEntry | None = None
    currency: str = CURRENCY
    errors: tuple[PackProblem, ...] = ()
    warnings: tuple[PackProblem, ...] = ()
    left_out: tuple[str, ...] = ()
    """Keys from which the existing product seeds something, and this service does not."""


def read_head(root: Path, name: str) -> Head:
    """Read a pack's pack.yml. What is wrong with it is noted."""
    problems = FileProblems(f"{name}/{HEAD}")
    content = read_yaml(root, problems.file, problems, YamlMapping) or YamlMapping(1)
    for again in content.repetitions:
        problems.error(f"stands there twice, in line {again.first} too; remove one", line=again.line, key=again.key)
    for key in content.keys() - {"agency", "website"}:
        for again in repetitions(content[key]):
            problems.warning(
                f"stands there twice, in line {again.first} too", line=again.line, key=f"{key}.{again.key}"
            )
    model = validated(HeadModel, content, problems, name=named("")) or HeadModel()
    agency = _part(AgencyModel, content, "agency", "agency", problems)
    website = _part(WebsiteModel, content, "website", "properties", problems)
    return Head(
        name,
        model.inherits_from,
        content.lines.get("inherits_from"),
        _is_strict(content.get("fallback")),
        agency.entry() if agency else None,
        (website and website.currency) or CURRENCY,
        tuple(problems.errors),
        tuple(problems.warnings),
        tuple(problems.left_out),
    )


def _part(model: type[Part], content: YamlMapping, key: str, step: str, problems: FileProblems) -> Part | None:
    """Read a mapping of pack.yml that one step alone takes something of."""
    if content.get(key) is None:
        return None
    own = FileProblems(problems.file, step)
    refuse_repetitions(content[key], own)
    part = validated(model, content[key], own, name=lambda path: ("", (key, *path)))
    problems.include(own)
    return part


def _is_strict(fallback: Any) -> bool:
    """Say whether no defaults may be added. What cannot be read may have meant that: a failure can be mended."""
    try:
        return fallback is not None and not flag(fallback)
    except RefusedValueError:
        return True


def read_pack(root: Path, head: Head, images_url: str | None = None) -> Pack:
    """Read the rest of a pack as its files say, without its parents. What is wrong with it is noted.

    `images_url` is where pictures are; None where nobody has set it, so that none is seeded.
    """
    files = [
        FileProblems(f"{head.name}/{LINKS}", "links"),
        FileProblems(f"{head.name}/{FIELD_KEYS}", "field_keys"),
        FileProblems(f"{head.name}/{PROPERTIES}", "properties"),
    ]
    links = _read_links(root, files[0])
    field_keys = read_field_keys(root, files[1])
    properties = _read_properties(root, head, files[2], images_url)
    currency_known = all(error.step != "properties" for error in head.errors)
    errors = in_order([*head.errors, *(error for each in files for error in each.errors)])
    return Pack(
        name=head.name,
        agency=head.agency,
        links=links,
        field_keys=field_keys,
        properties=properties if currency_known else (),
        strict=head.strict,
        errors=errors,
        warnings=in_order(
            [
                *head.warnings,
                *_left_out(root, head, files),
                *(warning for each in files for warning in each.warnings),
                *_unread(root, head.name),
            ]
        ),
    )


def _left_out(root: Path, head: Head, files: Sequence[FileProblems]) -> list[PackProblem]:
    """Return a warning that names all that the pack brings for the existing product alone, if it brings such."""
    of_files = [f"{key} ({each.file.rpartition('/')[2]})" for each in files for key in each.left_out]
    try:
        folders = [f"{folder}/" for folder in folders_left_out(root, head.name)]
    except OSError:  # what may not be listed is not read either
        folders = []
    names = list(dict.fromkeys([*sorted(head.left_out), *of_files, *folders]))
    if not names:
        return []
    shown = ", ".join(names[:MAX_LEFT_OUT]) + (f" and {len(names) - MAX_LEFT_OUT} more" if names[MAX_LEFT_OUT:] else "")
    return [PackProblem(f"{head.name}/{HEAD}", f"brings what this service does not seed: {shown}")]


def _read_links(root: Path, problems: FileProblems) -> tuple[LinkEntry, ...]:
    entries = read_yaml(root, problems.file, problems, YamlSequence) or []
    refuse_repetitions(entries, problems)
    refuse_too_many(entries, problems)
    links, lines = [], []
    for number, raw in enumerate(entries, start=1):
        slug = raw.get("slug") if isinstance(raw, YamlMapping) else None
        link = validated(LinkModel, raw, problems, name=named(_name(slug) or f"number {number}"))
        if link is None:
            continue
        links.append(link.entry(number))
        lines.append((link.slug, raw.line))
    refuse_doubles(lines, problems)
    return tuple(links)


def _read_properties(
    root: Path, head: Head, problems: FileProblems, images_url: str | None
) -> tuple[PropertyEntry, ...]:
    """Return the properties that have no error; of two with one reference, the first."""
    try:
        paths = property_files(root, head.name)
    except OSError as error:
        problems.error(f"cannot be read ({type(error).__name__}); make it readable for the user that runs the workers")
        return ()
    refuse_too_many(paths, problems)
    if problems.errors:
        return ()
    properties: list[PropertyEntry] = []
    files: dict[str, str] = {}
    images = 0
    for path in paths:
        own = FileProblems(f"{problems.file}/{path.name}", problems.step)
        if model := _read_property(root, files, own):
            photo_url = None
            if model.image:
                images += 1
                photo_url = image_address(images_url, root, head.name, model.image) if images_url else None
            properties.append(model.entry(head.currency, own.file, photo_url))
        problems.include(own)
    if images and not images_url:
        problems.warning(f"names pictures of {images} properties, which are seeded without: set PROVISIONER_IMAGES_URL")
    return tuple(properties)


def _read_property(root: Path, files: dict[str, str], problems: FileProblems) -> PropertyModel | None:
    """Read a property; `files` are those read before, by their references."""
    content = read_yaml(root, problems.file, problems, YamlMapping)
    if problems.errors:
        return None
    content = YamlMapping(1) if content is None else content
    refuse_repetitions(content, problems)
    name = _name(content.get("reference"))
    model = validated(PropertyModel, content, problems, name=named(name))
    if model is None or problems.errors:
        return None
    if (earlier := files.setdefault(model.reference, problems.file)) != problems.file:
        reason = f"stands in {earlier} too; each property needs its own"
        problems.error(reason, line=content.lines["reference"], entry=name, key="reference")
        return None
    if (model.latitude is None) != (model.longitude is None):
        given, missing = ("latitude", "longitude") if model.longitude is None else ("longitude", "latitude")
        reason = f"needs {missing} beside it; write both or neither"
        problems.error(reason, line=content.lines[given], entry=name, key=given)
        return None
    _warn_of_doubts(model, content, name, problems)
    return model


def _warn_of_doubts(model: PropertyModel, content: YamlMapping, name: str, problems: FileProblems) -> None:
    """Warn of what can be inserted, but is probably a mistake."""
    if model.sale is None and model.rental is None:
        problems.warning("is offered neither for sale nor for rent", line=content.line, entry=name)
    for again, count in Counter(model.features or ()).items():
        if count > 1:
            reason = f"has {again!r} {count} times; it counts once: remove the others"
            problems.warning(reason, line=content.lines["features"], entry=name, key="features")
    for kind, listing in (("sale", model.sale), ("rental", model.rental)):
        if listing and not listing.price:
            problems.warning("has no price", line=content.lines[kind], entry=name, key=kind)
    if model.rental and model.rental.long_term is False and not model.rental.short_term:
        reason = "is let neither long-term nor short-term, so that no search finds it"
        problems.warning(reason, line=content.lines["rental"], entry=name, key="rental")


def _name(key: Any) -> str:
    """Return a natural key to name an entry by; an empty text where there is none."""
    return key if isinstance(key, str) else ""


def _unread(root: Path, name: str) -> list[PackProblem]:
    """Return a warning for each file that looks like a part of the pack and is none."""
    try:
        return [PackProblem(str(path.relative_to(root)), reason) for path, reason in unread_files(root, name)]
    except OSError:  # what cannot be listed is an error where it is read
        return []
