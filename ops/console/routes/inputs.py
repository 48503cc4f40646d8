"""Inputs of routes: query, path and body as typed values, read within limits. What cannot be used is refused.

A body is a form, as pages send it, or else a JSON object, whatever its content type says. FastAPI would read a body
before it asks who sends it, and takes no forms; so `Posted` reads it, as a dependency that stands after the person.
"""

import json
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import parse_qsl

from fastapi import Depends, HTTPException, Path, Request
from fastapi.routing import APIRoute
from pydantic import BaseModel, BeforeValidator, ValidationError

from consumer.messages.inbound_contracts import MAX_ID
from ops.audit.trail import MAX_REASON_CHARACTERS
from ops.console.access.auth import Person
from ops.console.access.cross_site import refuse_cross_site_change
from ops.console.context import context_of
from ops.console.errors import describe_first
from ops.errors import InvalidInputError, NotFoundError

MAX_BODY_BYTES = 65_536


def one_line(value: object) -> str:
    """Return a text on one line, without what no column can hold: controls and lone surrogates."""
    kept = (" " if unicodedata.category(letter) in ("Cc", "Cs") else letter for letter in str(value or ""))
    return " ".join("".join(kept).split())


def _reason(value: object) -> str:
    text = one_line(value)
    if not 1 <= len(text) <= MAX_REASON_CHARACTERS:
        raise ValueError(f"say why, in 1 to {MAX_REASON_CHARACTERS} characters")
    return text


def _whole(value: object) -> int:
    """Return a whole number out of JSON or decimal digits; pydantic alone would take True, 1e3 and 1_000."""
    text = str(value)
    # Of numbers with as many digits as the largest id, some are larger.
    if not (text.isascii() and text.isdecimal() and len(text) < len(str(MAX_ID))):
        raise ValueError("must be a whole number")
    return int(text)


Line = Annotated[str, BeforeValidator(one_line)]
OptionalLine = Annotated[str | None, BeforeValidator(lambda value: one_line(value) or None)]
Reason = Annotated[str, BeforeValidator(_reason)]
Whole = Annotated[int, BeforeValidator(_whole)]
WHOLE_OR_NONE = BeforeValidator(lambda value: _whole(value) if value else None)
"""Nothing is None, as in a form's empty field."""
OptionalWhole = Annotated[int | None, WHOLE_OR_NONE]


def verb_in_path(names: Iterable[str]) -> Any:
    """Return a dependency of routes: the verb in their path, one of `names`. It raises NotFoundError for any other."""

    async def known_verb(verb: Annotated[str, Path(json_schema_extra={"enum": list(names)})]) -> str:
        if verb not in names:
            raise NotFoundError(f"there is no verb {verb}: {', '.join(names)}")
        return verb

    return Depends(known_verb)


async def website_in_path(website_id: int) -> int:
    """Return the id in a path. Raises NotFoundError where it can be no website's."""
    if website_id > MAX_ID:
        raise NotFoundError(f"there is no website {website_id}")
    return website_id


WebsiteId = Annotated[int, Depends(website_in_path)]


def typed_query(request: Request, model: type[BaseModel]) -> dict[str, str]:
    """Return the fields of a query that a model has, as they were typed, for a page to show and send again."""
    return {name: value for name, value in request.query_params.items() if value and name in model.model_fields}


@dataclass(frozen=True, eq=False)
class Posted:
    """A dependency of routes that change something: the fields of the body, as a model."""

    model: type[BaseModel]
    """As what bodies are read; what it does not know is ignored."""

    async def __call__(self, request: Request) -> BaseModel:
        """Return the body of a request.

        Raises:
            HTTPException: it is too large, or is neither a form nor a JSON object; or another site's page made a
                signed-in person's browser send it.
            InvalidInputError: a field cannot be used.
        """
        fields = await read_fields(request)
        context = await context_of(request)
        person: Person | None = getattr(request.state, "person", None)
        if person is not None and person.ambient:
            refuse_cross_site_change(
                request, context.console.public_url,
                shown=str(fields.get("csrf") or request.headers.get("x-csrf-token") or ""),
                expected=context.authenticator.form_token(person),
            )  # fmt: skip
        try:
            return self.model.model_validate(fields)
        except ValidationError as error:
            raise InvalidInputError(describe_first(error.errors())) from None


class NoFields(BaseModel):
    """The body of a change that says all by its path."""


async def read_fields(request: Request) -> dict[str, Any]:
    """Return a form's fields, or a JSON object. Raises HTTPException: it is too large, or neither."""
    received = b""
    async for chunk in request.stream():
        received += chunk
        if len(received) > MAX_BODY_BYTES:
            raise HTTPException(413, f"at most {MAX_BODY_BYTES} bytes")
    kind = request.headers.get("content-type", "").partition(";")[0].strip()
    try:
        if kind == "application/x-www-form-urlencoded":
            return _form_fields(parse_qsl(received.decode(), keep_blank_values=True))
        fields = json.loads(received or b"{}", object_pairs_hook=_without_doubles)
        # What JSON escapes may be half of a pair of surrogates: no text, and nothing that can be stored or sent on.
        json.dumps(fields, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise HTTPException(400, "the body has a lone surrogate, \\ud800 to \\udfff: send Unicode text") from None
    except (ValueError, RecursionError):
        raise HTTPException(400, "the body cannot be read: send a JSON object or a form") from None
    if not isinstance(fields, dict):
        raise HTTPException(400, "the body must be a JSON object")
    return fields


def _form_fields(pairs: list[tuple[str, str]]) -> dict[str, Any]:
    """Return a form's fields; one that occurs several times, such as a checkbox in each row, is a list."""
    fields: dict[str, Any] = {}
    for name, value in pairs:
        fields.setdefault(name, []).append(value)
    return {name: values[0] if len(values) == 1 else values for name, values in fields.items()}


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object's members. Raises HTTPException: a key stands twice, and nobody knows which value is meant."""
    members = dict(pairs)
    if len(members) != len(pairs):
        raise HTTPException(400, "the body has the same key twice in one object: send each once")
    return members


class ApiRoute(APIRoute):
    """A route of the API; its description has the body that `Posted` reads."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        """Describe the body, if there is one."""
        super().__init__(*arguments, **options)
        for dependency in self.dependant.dependencies:
            if isinstance(dependency.call, Posted):
                content = {"application/json": {"schema": dependency.call.model.model_json_schema()}}
                self.openapi_extra = {"requestBody": {"content": content}}
