"""The pages on which people mend: failed websites in groups, and dead letters."""

import re
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from ops import failures, looking, reconsidering
from ops.console import failures_api, letters_api
from ops.console.desk import body, desk, person
from ops.console.pages import SEE_OTHER, page
from ops.console.people import Role
from ops.printable import escaped, indented, json_text
from ops.reading import Unusable

DEEDS = {"redrive": "sent back", "discard": "discarded", "edit": "edited and sent back"}
DONE = re.compile(rf"[0-9]{{1,6}} ({'|'.join(DEEDS.values())})")
"""What the page says of a deed that is done. It comes by the address, and so it may say nothing else."""
AGES = (("3600", "1 hour"), ("7200", "2 hours"), ("86400", "1 day"), ("604800", "1 week"))
ERRANDS = 5
"""Requeues that the page shows, the latest."""


async def failed(request: Request) -> Response:
    """Show failed websites in groups; with a group, what a requeue of it would come to; and requeues under way."""
    who, here = person(request), desk(request)
    group, asked = request.query_params.get("group") or None, request.query_params.get("errand")
    there = await failures.groups(here.store)
    # A group that has gone meanwhile is what everybody hopes for, and no error.
    known = group if any(told["group"] == group for told in there) else None
    return page(
        request, "failures.html", who, groups=there, group=group, gone=group if group and not known else None,
        preflight=await failures_api.preflight(here, {"group": known}) if known else None, asked=asked,
        errands=[errand.told(failures_api.MOST_TOLD) for errand in here.errands.latest(ERRANDS)],
    )  # fmt: skip


async def requeue(request: Request) -> Response:
    """Begin to requeue a group, and show how far it is."""
    errand = await failures_api.requeue(request)
    return RedirectResponse(f"/failures?errand={errand.id}", SEE_OTHER)


async def stop(request: Request) -> Response:
    """Stop a requeue, and show how far it came."""
    errand = await failures_api.halt(request)
    return RedirectResponse(f"/failures?errand={errand.id}", SEE_OTHER)


async def letters(request: Request) -> Response:
    """Show dead letters in groups and by filters; each stays where it is."""
    who, here = person(request), desk(request)
    asked = {name: value for name, value in request.query_params.items() if value and name != "done"}
    found = await letters_api.look(here, who, letters_api.wanted(asked))
    told = [looking.told(letter) for letter in found.letters]
    done = request.query_params.get("done", "")
    return page(
        request, "dead_letters.html", who, letters=told[: letters_api.SHOWN], total=len(told), asked=asked,
        groups=looking.grouped(told), done=done if DONE.fullmatch(done) else None, beyond=found.beyond, ages=AGES,
        seen=looking.mark(found.letters), query=urlencode(asked),
        forecast=reconsidering.summary(await reconsidering.reconsider(here.store, found.letters)) if told else None,
    )  # fmt: skip


async def letter(request: Request) -> Response:
    """Show one dead letter whole, with what may be done with it."""
    return await _letter(request, request.query_params.get("message_id", ""))


async def _letter(request: Request, message_id: str, typed: str | None = None, refused: str | None = None) -> Response:
    who, here = person(request), desk(request)
    told = await letters_api.one(here, who, message_id)
    headers = {
        escaped(name): escaped(value) if isinstance(value, str) else json_text(value)
        for name, value in told["headers"].items()
    }
    return page(
        request, "dead_letter.html", who, 400 if refused else 200, letter=told, headers=headers, typed=typed,
        refused=refused,
        pretty=escaped(indented(told["body"])) if "body" in told else None,
    )  # fmt: skip


async def command(request: Request) -> Response:
    """Send back, edit or discard, and show what is left; a body that does not fit is given back to be mended."""
    person(request, Role.OPERATOR)
    said = await body(request)
    try:
        done = await letters_api.act(request, said)
    except Unusable as no:
        if request.path_params["letter_verb"] != "edit":
            raise
        return await _letter(request, str(said.get("message_id") or ""), str(said.get("body") or ""), str(no))
    told = urlencode({"done": f"{len(done['letters'])} {DEEDS[done['verb']]}"})
    return RedirectResponse(f"/dead-letters?{told}", SEE_OTHER)


ROUTES = [
    Route("/failures", failed),
    Route("/failures/requeue", requeue, methods=["POST"]),
    Route("/failures/requeues/{errand}/stop", stop, methods=["POST"]),
    Route("/dead-letters", letters),
    Route("/dead-letters/letter", letter),
    Route("/dead-letters/{letter_verb}", command, methods=["POST"]),
]
