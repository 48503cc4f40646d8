"""The JSON API for dead letters: listed, grouped, shown, forecast, exported, sent back, edited, discarded."""

import json
from collections.abc import Mapping
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ops import looking, reconsidering, redriving
from ops.console.acting import LONGEST_REASON
from ops.console.desk import Desk, body, desk, meant, person, plain, shown_to
from ops.console.people import Person, Role
from ops.holding import InOtherHands
from ops.looking import Sight, Wanted
from ops.printable import json_text
from ops.reading import Unusable

VERBS = ("redrive", "discard", "edit")
SHOWN = 500
CONFLICT = 409


def wanted(said: Mapping[str, Any]) -> Wanted:
    """Return which dead letters a query or a form means. Raises Unusable."""
    ids = said.get("message_ids") or said.get("message_id") or []
    ids = [ids] if isinstance(ids, str) else ids
    if not isinstance(ids, list) or not all(isinstance(one, str) for one in ids):
        raise Unusable("message_ids: must be a list of message ids")
    return Wanted(
        frozenset(ids),
        reason=_words(said, "reason"),
        type=_words(said, "type"),
        website_id=_number(said, "website_id"),
        text=_words(said, "text"),
        older_seconds=_number(said, "older_seconds"),
        newer_seconds=_number(said, "newer_seconds"),
        group=_words(said, "group"),
    )


async def look(here: Desk, who: Person, choice: Wanted) -> Sight:
    """Return the letters that are meant, each still where it is, the latest first. Raises 409.

    What only operators may read, only they may search.
    """
    operator = who.role == Role.OPERATOR
    try:
        return await looking.look(here.broker, here.settings.namespace, choice, into_bodies=operator)
    except InOtherHands as busy:
        raise HTTPException(CONFLICT, str(busy)) from None


async def one(here: Desk, who: Person, message_id: str) -> dict[str, Any]:
    """Return one letter whole, with what it would come to. Raises 404."""
    choice = Wanted(message_ids=frozenset({message_id}))
    found = (await look(here, who, choice)).letters if message_id else []
    if not found:
        raise HTTPException(404, f"there is no dead letter {message_id[:100]}")
    (prospect,) = await reconsidering.reconsider(here.store, found[:1])
    told = looking.whole(found[0], here.settings.namespace) | prospect
    if who.role != Role.OPERATOR:
        # What is no text cannot be searched for addresses, so it is for operators; nor can what JSON has escaped.
        told.pop("body_base64", None)
        told["headers"] = {name: value for name, value in told["headers"].items() if not isinstance(value, dict)}
        if "body" in told:
            told["body"] = _read_out(told["body"])
    return told


async def act(request: Request, said: dict[str, Any]) -> dict[str, Any]:
    """Send back, edit or discard those whom `said` means, for an operator who means it.

    Raises:
        HTTPException: there is no such verb or letter, somebody else has them in hand, they are not those that this
            person saw, or this person may not.
        Unusable: no reason, nobody named, or a body that breaks its contract.
    """
    who, here, verb = person(request, Role.OPERATOR), desk(request), request.path_params["letter_verb"]
    meant(request, who, said)
    if verb not in VERBS:
        raise HTTPException(404, f"there is no verb {verb}: {', '.join(VERBS)}")
    why = plain(str(said.get("why") or ""))
    if not 1 <= len(why) <= LONGEST_REASON:
        raise Unusable(f"why: say why, in 1 to {LONGEST_REASON} characters")
    choice = wanted(said)
    if choice == looking.ALL and said.get("all") not in (True, "true", "on"):
        raise Unusable("message_ids: name them, or a filter, or say all")
    ledger = redriving.Ledger(here.store, who.actor, why)
    try:
        return {"verb": verb, "letters": await _carry_out(here, verb, choice, said, ledger)}
    except (InOtherHands, redriving.Changed) as no:
        raise HTTPException(CONFLICT, str(no)) from None
    except redriving.NotLikeIt as wrong:
        raise Unusable(str(wrong)) from None
    except KeyError:
        raise HTTPException(404, "there is no such dead letter") from None


async def _carry_out(
    here: Desk, verb: str, choice: Wanted, said: Mapping[str, Any], ledger: redriving.Ledger
) -> list[dict[str, Any]]:
    namespace, seen = here.settings.namespace, _words(said, "seen")
    if verb == "redrive":
        return await redriving.redrive(here.broker, namespace, choice, ledger, seen=seen)
    if verb == "discard":
        return await redriving.discard(here.broker, namespace, choice, ledger, seen=seen)
    if len(choice.message_ids) != 1:
        raise Unusable("message_ids: name the one that is edited")
    (message_id,) = choice.message_ids
    text = str(said.get("body") or "").encode(errors="replace")
    return [await redriving.edit(here.broker, namespace, message_id, text, ledger)]


async def letters(request: Request) -> Response:
    """Answer dead letters, the latest first, without their bodies."""
    who = person(request)
    found = await look(desk(request), who, wanted(request.query_params))
    return JSONResponse(shown_to(who, [looking.told(letter) for letter in found.letters[:SHOWN]]))


async def groups(request: Request) -> Response:
    """Answer dead letters in groups."""
    who = person(request)
    found = await look(desk(request), who, wanted(request.query_params))
    return JSONResponse(shown_to(who, looking.grouped([looking.told(letter) for letter in found.letters])))


async def letter(request: Request) -> Response:
    """Answer one dead letter whole."""
    who = person(request)
    return JSONResponse(shown_to(who, await one(desk(request), who, request.query_params.get("message_id", ""))))


async def forecast(request: Request) -> Response:
    """Answer what letters would come to if they were sent back."""
    who, here = person(request), desk(request)
    found = await look(here, who, wanted(request.query_params))
    told = await reconsidering.reconsider(here.store, found.letters)
    answer = {"summary": reconsidering.summary(told), "seen": looking.mark(found.letters), "letters": told[:SHOWN]}
    return JSONResponse(shown_to(who, answer))


async def export(request: Request) -> Response:
    """Answer letters whole, one JSON object a line, for operators."""
    who, here = person(request, Role.OPERATOR), desk(request)
    found = await look(here, who, wanted(request.query_params))
    lines = "".join(f"{json_text(looking.whole(letter, here.settings.namespace))}\n" for letter in found.letters)
    return Response(
        lines, media_type="application/x-ndjson",
        headers={"content-disposition": 'attachment; filename="dead-letters.ndjson"'},
    )  # fmt: skip


async def command(request: Request) -> Response:
    """Send back, edit or discard; answer what that was done to."""
    person(request, Role.OPERATOR)
    return JSONResponse(await act(request, await body(request)))


def _read_out(text: str) -> str:
    """Return a body with whatever JSON has escaped read out."""
    try:
        return json.dumps(json.loads(text), ensure_ascii=False)
    except (ValueError, RecursionError):
        return text


def _words(said: Mapping[str, Any], name: str) -> str | None:
    return plain(str(said.get(name) or "")) or None


def _number(said: Mapping[str, Any], name: str) -> int | None:
    text = str(said.get(name) or "")
    if not text:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < 19):  # noqa: PLR2004 - a bigint
        raise Unusable(f"{name}: must be a whole number")
    return int(text)


ROUTES = [
    Route("/api/dead-letters", letters),
    Route("/api/dead-letters/groups", groups),
    Route("/api/dead-letters/letter", letter),
    Route("/api/dead-letters/forecast", forecast),
    Route("/api/dead-letters/export", export),
    Route("/api/dead-letters/{letter_verb}", command, methods=["POST"]),
]
