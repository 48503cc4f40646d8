"""Dead letters: listed, grouped, shown, forecast and exported; sent back, edited and discarded."""

import re
from contextlib import nullcontext
from functools import partial
from tempfile import TemporaryFile
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import RedirectResponse, StreamingResponse
from starlette.background import BackgroundTask

from consumer.broker.protocol import Delivery
from consumer.messages.foreign_text import printable
from ops.audit.trail import AuditTrail
from ops.console.access.auth import Person
from ops.console.context import Console, Context
from ops.console.pages.rendering import render
from ops.console.routes.authorization import Operator, Reader
from ops.console.routes.dead_letter_models import (
    MAX_LISTED,
    ActionRequest,
    ActionResult,
    DeadLetter,
    DeadLetterGroup,
    RedriveForecast,
    WantedDeadLetters,
    WholeDeadLetter,
)
from ops.console.routes.inputs import ApiRoute, Posted, typed_query, verb_in_path
from ops.dead_letters import actions as dead_letter_actions
from ops.dead_letters import queue_reader, redrive_forecast
from ops.dead_letters.edited_copies import EditRefusedError
from ops.dead_letters.listing import DeadLetterListing
from ops.dead_letters.reader_redaction import for_readers
from ops.errors import InvalidInputError, NotFoundError
from ops.text.printable import escaped, indented, json_text

api, pages = APIRouter(route_class=ApiRoute), APIRouter()
AGES = (("3600", "1 hour"), ("7200", "2 hours"), ("86400", "1 day"), ("604800", "1 week"))
DONE_TEXTS = {"redrive": "sent back", "discard": "discarded", "edit": "edited and sent back"}
CHUNK_BYTES = 1 << 16
"""Of an export, in memory at once."""
DONE = re.compile(rf"[0-9]{{1,6}} ({'|'.join(DONE_TEXTS.values())})")
"""What the page says of an action that is done. It comes by the address, so it may say nothing else."""


PathVerb = Annotated[str, verb_in_path(DONE_TEXTS)]
PostedAction = Annotated[ActionRequest, Depends(Posted(ActionRequest))]
Wanted = Annotated[WantedDeadLetters, Query()]


@api.get("/dead-letters", response_model=list[DeadLetter])
async def list_dead_letters(context: Console, person: Reader, wanted: Wanted, response: Response) -> Any:
    """Return dead letters, the latest first, without their bodies; the header x-read-at says when they were read."""
    found = await wanted.listing(context, person)
    _add_reading(response, found)
    return person.view(found.letters)


@pages.get("/dead-letters")
async def dead_letters_page(
    request: Request, context: Console, person: Reader, wanted: Wanted, done: str = ""
) -> Response:
    """Show dead letters in groups and by filters; with `forecast=1`, what they would come to, too."""
    found = await wanted.listing(context, person, grouped=True)
    asked = typed_query(request, WantedDeadLetters)
    summary = None
    if "forecast" in request.query_params and found.total:
        summary = redrive_forecast.redrive_summary((await wanted.forecast(context, person)).letters)
    return render(
        request, "dead_letters.html", person, letters=found.letters, total=found.total, reading=found.reading,
        groups=found.groups, ages=AGES, asked=asked, forecast=summary, query=urlencode(asked), seen=found.seen,
        done=done if DONE.fullmatch(done) else None,
    )  # fmt: skip


@api.get("/dead-letters/groups", response_model=list[DeadLetterGroup])
async def group_dead_letters(context: Console, person: Reader, wanted: Wanted, response: Response) -> Any:
    """Return dead letters in groups by reason and cause; the header x-read-at says when they were read."""
    found = await wanted.listing(context, person, grouped=True)
    _add_reading(response, found)
    return person.view(found.groups)


def _add_reading(response: Response, found: DeadLetterListing) -> None:
    """Say in the headers when dead letters were read, and why that was not now."""
    response.headers["x-read-at"] = found.reading.began_at.isoformat()
    if found.reading.note:
        response.headers["x-read-note"] = printable(found.reading.note).encode("ascii", "replace").decode()


@api.get("/dead-letters/letter", response_model=WholeDeadLetter)
async def show_dead_letter(context: Console, person: Reader, message_id: str = "") -> Any:
    """Return one dead letter whole, with what it would come to if it were sent back."""
    return person.view(await _whole(context, person, message_id))


@pages.get("/dead-letters/letter")
async def dead_letter_page(request: Request, context: Console, person: Reader, message_id: str = "") -> Response:
    """Show one dead letter whole, with what may be done with it."""
    return await _dead_letter_page(request, context, person, message_id)


async def _dead_letter_page(
    request: Request, context: Context, person: Person, message_id: str, *, typed: ActionRequest | None = None,
    refused: str | None = None,
) -> Response:  # fmt: skip
    letter = await _whole(context, person, message_id)
    headers = {
        escaped(name): escaped(value) if isinstance(value, str) else json_text(value)
        for name, value in letter["headers"].items()
    }
    return render(
        request, "dead_letter.html", person, 400 if refused else 200, letter=letter, headers=headers, typed=typed,
        refused=refused, pretty=escaped(indented(letter["body"])) if "body" in letter else None,
    )  # fmt: skip


async def _whole(context: Context, person: Person, message_id: str) -> dict[str, Any]:
    """Return one dead letter whole, with what it would come to. Raises NotFoundError."""
    wanted = WantedDeadLetters(message_id=message_id)
    found = await _find(context, person, wanted) if message_id else []
    if not found:
        raise NotFoundError(f"there is no dead letter {message_id[:100]}")
    (forecast,) = await redrive_forecast.forecast_redrive(context.store, found[:1], context.settings.owner_by_id)
    letter = queue_reader.full_record(found[0], context.namespace) | forecast
    return letter if person.is_operator else for_readers(letter)


async def _find(context: Context, person: Person, wanted: WantedDeadLetters) -> list[Delivery]:
    """Return dead letters whole, the latest first. Raises LeaseHeldError, and QuotaError where a reader has no turn."""
    whole = person.is_operator
    with nullcontext() if whole else context.reader_turns.turn():
        found = await queue_reader.find_dead_letters(context.broker, context.namespace, wanted.filter, whole=whole)
    return found.deliveries


@api.get("/dead-letters/forecast", response_model=RedriveForecast)
async def forecast_redrive(context: Console, person: Reader, wanted: Wanted) -> Any:
    """Return what dead letters would come to if they were sent back."""
    found = await wanted.forecast(context, person)
    summary = redrive_forecast.redrive_summary(found.letters)
    return person.view({"summary": summary, "seen": found.seen, "letters": found.letters[:MAX_LISTED]})


@api.get(
    "/dead-letters/export",
    response_model=None,
    responses={200: {"content": {"application/x-ndjson": {}}, "description": "a JSON object a line"}},
)
async def export_dead_letters(context: Console, person: Operator, wanted: Wanted) -> Response:
    """Return dead letters whole, a JSON object a line, with all that is needed to send them again."""
    trail = AuditTrail(context.store, person.actor, proof=person.proof)
    file = TemporaryFile()  # noqa: SIM115 - it is closed once it is sent; until then it has no name, and is ours alone
    try:
        await dead_letter_actions.write_export(context.broker, context.namespace, wanted.filter, trail, file)
        length = file.tell()
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return StreamingResponse(
        iter(partial(file.read, CHUNK_BYTES), b""), media_type="application/x-ndjson",
        headers={"content-disposition": 'attachment; filename="dead-letters.ndjson"', "content-length": str(length)},
        background=BackgroundTask(file.close),
    )  # fmt: skip


@api.post(
    "/dead-letters/{verb}",
    response_model=ActionResult,
    responses={409: {"description": "another tool has them leased, or they are not those `seen`"}},
)
async def act_on_dead_letters(context: Console, person: Operator, verb: PathVerb, action: PostedAction) -> Any:
    """Send back, discard or edit dead letters; return what each of them was."""
    return {"verb": verb, "letters": await _carry_out(context, person, verb, action)}


@pages.post("/dead-letters/{verb}")
async def act_on_dead_letters_by_page(
    request: Request, context: Console, person: Operator, verb: PathVerb, action: PostedAction
) -> Response:
    """Send back, edit or discard, and show what is left; a body that does not fit is given back to be mended."""
    try:
        letters = await _carry_out(context, person, verb, action)
    except (InvalidInputError, EditRefusedError) as refusal:
        if verb != "edit":
            raise
        return await _dead_letter_page(
            request, context, person, action.message_id or "", typed=action, refused=str(refusal)
        )
    done = urlencode({"done": f"{len(letters)} {DONE_TEXTS[verb]}"})
    return RedirectResponse(f"/dead-letters?{done}", 303)


async def _carry_out(context: Context, person: Person, verb: str, action: ActionRequest) -> list[dict[str, Any]]:
    """Send back, edit or discard the dead letters that are meant; return what each was.

    Raises:
        NotFoundError: there is no such dead letter.
        InvalidInputError: none is named, or to edit not one.
        LeaseHeldError, SelectionChangedError, EditRefusedError, BrokerError: as in `ops.dead_letters.actions`.
    """
    wanted = action.filter
    if wanted == queue_reader.ALL and not action.all:
        raise InvalidInputError("message_ids: name them, or a filter, or say all")
    trail = AuditTrail(context.store, person.actor, action.why, person.proof)
    if verb == "redrive":
        return await dead_letter_actions.redrive(context.broker, context.namespace, wanted, trail, digest=action.seen)
    if verb == "discard":
        return await dead_letter_actions.discard(context.broker, context.namespace, wanted, trail, digest=action.seen)
    if len(wanted.message_ids) != 1:
        raise InvalidInputError("message_ids: name the one that is edited")
    (message_id,) = wanted.message_ids
    body = action.body.encode(errors="replace")
    try:
        return [await dead_letter_actions.edit(context.broker, context.namespace, message_id, body, trail)]
    except KeyError:
        raise NotFoundError(f"there is no dead letter {message_id[:100]}") from None
