"""The contracts as AsyncAPI and JSON Schema: they describe what is taken and sent, and which changes break somebody."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from pydantic import ValidationError

from consumer.messages import asyncapi
from consumer.messages.contract_changes import NotAsyncApiError, breaking_changes
from consumer.messages.inbound_contracts import CONTRACTS
from tests.unit.test_docs import EXAMPLES

ROOT = Path(__file__).parents[2]
DOCUMENT = asyncapi.document()
SCHEMAS = asyncapi.schemas()
MESSAGES = [(name, body) for name, body in EXAMPLES if name in SCHEMAS]


def test_the_files_in_docs_are_what_the_code_says() -> None:
    """`make docs` writes them."""
    assert (ROOT / "docs" / "asyncapi.yaml").read_text() == asyncapi.as_yaml(DOCUMENT)
    written = {path.stem: json.loads(path.read_text()) for path in (ROOT / "docs" / "schemas").glob("*.json")}
    assert written == SCHEMAS


@pytest.mark.parametrize("name", SCHEMAS)
def test_each_schema_is_one_by_its_dialect(name: str) -> None:
    """By the public validator of JSON Schema; the document has the same one."""
    jsonschema.Draft202012Validator.check_schema(SCHEMAS[name])
    assert SCHEMAS[name]["$schema"] == jsonschema.Draft202012Validator.META_SCHEMA["$id"]
    assert DOCUMENT["components"]["messages"][name]["payload"]["schema"] == SCHEMAS[name]


def test_every_reference_of_the_document_leads_somewhere() -> None:
    """From operations to channels, and from there to messages."""
    references: list[str] = []

    def collect(value: Any) -> None:
        for key, part in (
            value.items() if isinstance(value, dict) else enumerate(value if isinstance(value, list) else ())
        ):
            if key == "$ref" and str(part).startswith("#/c"):
                references.append(part)
            elif key != "payload":
                collect(part)

    collect(DOCUMENT)
    assert len(references) == 3 * len(SCHEMAS)
    for reference in references:
        found: Any = DOCUMENT
        for part in reference.removeprefix("#/").split("/"):
            found = found[part]


@pytest.mark.parametrize(("name", "body"), MESSAGES)
def test_the_examples_of_the_page_are_valid(name: str, body: dict[str, Any]) -> None:
    """And with a field too many, what comes in is not."""
    jsonschema.validate(body, SCHEMAS[name], jsonschema.Draft202012Validator)
    if name in CONTRACTS:
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(body | {"unheard_of": 1}, SCHEMAS[name], jsonschema.Draft202012Validator)


@pytest.mark.parametrize(
    "change",
    [
        {"website_id": 0}, {"website_id": "7"}, {"website_id": 2**63}, {"subdomain": "-a-"}, {"subdomain": "ab"},
        {"subdomain": "admin"}, {"subdomain": "x" * 41}, {"site_type": "castle"}, {"owner": {"email": 1}},
        {"owner": {"user_id": 0}}, {"owner": {}}, {"seed_pack": ""}, {"auto_go_live": "yes"},
        {"subdomain": "good-one"}, {"owner": {"email": "ana@example.com"}}, {"owner": {"user_id": 1}},
        {"seed_pack": None},
    ],
)  # fmt: skip
def test_schema_and_contract_agree(change: dict[str, Any]) -> None:
    """What the contract refuses the schema refuses, and what it takes the schema takes."""
    body = {"website_id": 7} | change
    try:
        CONTRACTS["website.created"].model_validate(body)
    except ValidationError:
        taken = False
    else:
        taken = True
    validator = jsonschema.Draft202012Validator(SCHEMAS["website.created"])
    assert validator.is_valid(body) == taken


def changed(name: str, change: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    """Return the document with one message's schema changed."""
    document = copy.deepcopy(DOCUMENT)
    change(document["components"]["messages"][name]["payload"]["schema"])
    return document


def test_nothing_breaks_while_nothing_changes() -> None:
    """Also after a way through a file."""
    assert breaking_changes(yaml.safe_load(asyncapi.as_yaml(DOCUMENT)), DOCUMENT) == []


@pytest.mark.parametrize(
    ("name", "change", "sentence"),
    [
        ("website.created", lambda s: s["required"].append("subdomain"), "subdomain is required now"),
        ("website.created", lambda s: s["properties"].pop("owner"), "owner is not taken any more"),
        ("website.created", lambda s: s["properties"]["website_id"].update(maximum=9), "website_id has maximum 9"),
        ("website.created", lambda s: s["properties"]["site_type"]["anyOf"][0]["enum"].pop(), "site_type may not be "),
        ("website.created", lambda s: s["properties"]["owner"]["anyOf"].pop(), "owner may not be null any more"),
        ("website.created", lambda s: s["$defs"]["OwnerByEmail"]["required"].append("name"), "owner.name is req"),
        ("provisioning.suspend", lambda s: s["properties"].pop("reason"), "reason is not taken any more"),
        ("website.live", lambda s: s["required"].remove("url"), "url is not always there any more"),
        ("website.live", lambda s: s["properties"]["seq"].update(type="string"), "seq may be string now"),
        ("website.live", lambda s: s["properties"]["message"]["anyOf"].append({"type": "integer"}), "message may be "),
        ("website.rejected", lambda s: s["properties"]["code"]["enum"].append("new"), "code may be new now"),
        ("website.ready", lambda s: s["properties"]["missing"]["items"].update(type="object"), "each of missing "),
        ("website.rejected", lambda s: s["properties"]["code"].pop("enum"), "code may have any value now"),
    ],
)  # fmt: skip
def test_what_breaks_somebody_is_named(name: str, change: Callable[[Any], Any], sentence: str) -> None:
    """With message, field and what is different; the opposite change breaks nobody, or somebody else."""
    (found,) = breaking_changes(DOCUMENT, changed(name, change))
    assert found.startswith(f"{name}: {sentence}")


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("website.created", lambda s: s["properties"].update(new={"type": "string"})),
        ("website.created", lambda s: s["properties"]["site_type"]["anyOf"][0]["enum"].append("castle")),
        ("website.live", lambda s: s["properties"].update(new={"type": "string"})),
        ("website.live", lambda s: s["required"].append("new")),
        ("website.rejected", lambda s: s["properties"]["code"]["enum"].pop()),
    ],
)
def test_what_breaks_nobody_is_not_named(name: str, change: Callable[[Any], Any]) -> None:
    """A field more, a value more for publishers, a value fewer for subscribers."""
    assert breaking_changes(DOCUMENT, changed(name, change)) == []


def test_a_message_that_goes_breaks_somebody_and_one_that_comes_does_not() -> None:
    """On both sides."""
    without = copy.deepcopy(DOCUMENT)
    for channel, name in (("commands", "provisioning.suspend"), ("events", "website.live")):
        del without["channels"][channel]["messages"][name]
    assert breaking_changes(DOCUMENT, without) == [
        "provisioning.suspend: is not taken any more", "website.live: is not published any more",
    ]  # fmt: skip
    assert breaking_changes(without, DOCUMENT) == []


def test_the_last_release_is_not_broken() -> None:
    """0.1.0's publishers and subscribers go on as they are, but for what its CHANGELOG entry of 0.2.0 names."""
    released = yaml.safe_load((ROOT / "tests" / "released" / "asyncapi_0.1.0.yaml").read_text())
    assert breaking_changes(released, DOCUMENT) == []


@pytest.mark.parametrize("document", [None, [], {}, {"channels": {"commands": {"messages": {"a": {}}}}}])
def test_what_is_no_such_document_is_refused(document: Any) -> None:
    """In words."""
    with pytest.raises(NotAsyncApiError, match="it has no"):
        breaking_changes(document, DOCUMENT)
