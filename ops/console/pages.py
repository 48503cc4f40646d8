"""The pages: HTML made on the server, escaped without exception; a little script keeps them current."""

from typing import Any
from urllib.parse import urlencode

from jinja2 import Environment, PackageLoader, select_autoescape
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from ops import progressing, reading, searching
from ops.console.acting import LONGEST_REASON, act
from ops.console.api import chosen, one
from ops.console.desk import Desk, body, desk, meant, person, plain, shown_to, website_id, whole
from ops.console.drawing import draw
from ops.console.failures_api import for_eyes
from ops.console.people import CSRF_COOKIE, SESSION_COOKIE, Person, Role
from ops.explaining import explain
from ops.verbs import VERBS
from statemachine import State

TEMPLATES = Environment(
    loader=PackageLoader("ops.console"), autoescape=select_autoescape(default=True, default_for_string=True)
)
TEMPLATES.filters["words"] = lambda value: str(value).replace("_", " ")
TEMPLATES.filters["moment"] = lambda value: str(value or "–")[:19].replace("T", " ")
UNITS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))
SEE_OTHER = 303


def span(seconds: float) -> str:
    """Return a length of time in the largest unit that it fills."""
    size, unit = next(((size, unit) for size, unit in UNITS if seconds >= size), (0.001, "ms"))
    return f"{seconds / size:.3g} {unit}"


TEMPLATES.filters["span"] = span


def page(request: Request, name: str, who: Person | None, status: int = 200, **values: Any) -> Response:
    """Return a page as this person may see it."""
    shown = shown_to(who, values) if who else values
    text = TEMPLATES.get_template(name).render(
        who=who,
        operator=who is not None and who.role == Role.OPERATOR,
        csrf=request.state.csrf,
        path=request.url.path,
        longest_reason=LONGEST_REASON,
        **shown,
    )
    return HTMLResponse(text, status)


async def overview(request: Request) -> Response:
    """Show the machine with the numbers in its states, and what failed last."""
    who, here = person(request), desk(request)
    counts = await reading.states(here.store)
    failed = await searching.search(here.store, state=State.FAILED, limit=5)
    figures = await progressing.figures(here.store, await here.pulse.estimates())
    drawing = draw(counts)
    return page(
        request,
        "overview.html",
        who,
        counts=counts,
        figures=figures,
        failed=failed["websites"],
        size=(drawing.width, drawing.height),
        boxes=[(box.state, box.x, box.y, box.words, box.count) for box in drawing.boxes],
        arrows=[(arrow.path, arrow.kind, arrow.title) for arrow in drawing.arrows],
    )


async def websites(request: Request) -> Response:
    """Show websites by filters and search, page by page."""
    who, asked = person(request), chosen(request)
    found = await searching.search(desk(request).store, **asked, by_email=who.role == Role.OPERATOR)
    kept = {key: value for key, value in request.query_params.items() if key != "after" and value}
    return page(
        request,
        "websites.html",
        who,
        websites=found["websites"],
        further=urlencode(kept | {"after": found["next"]}) if found["next"] else None,
        asked=kept,
        states=[state.value for state in State],
    )


async def website(request: Request) -> Response:
    """Show one website: where it is, what it has, how it got there, what may be done."""
    who = person(request)
    here, number = desk(request), website_id(request)
    found = await one(here, number)
    sent = request.query_params.get("sent")
    return page(
        request, "website.html", who, site=found, sent=sent if sent in VERBS else None, **await _why(here, who, number)
    )


async def _why(here: Desk, who: Person, number: int) -> dict[str, Any]:
    """Return why a website is where it is; its dead letters have a page of their own."""
    told = for_eyes(who, await explain(here.store, None, here.settings.namespace, number, here.packs))
    return {"why": told, "would": {item["verb"]: item["would"] for item in told["may"]}}


async def command(request: Request) -> Response:
    """Publish a command for one website, and show it again."""
    who, here, number = person(request, Role.OPERATOR), desk(request), website_id(request)
    verb, said = request.path_params["verb"], await body(request)
    meant(request, who, said)
    if verb not in VERBS:
        raise HTTPException(404, "there is no such verb")
    found = await one(here, number)
    if verb == "terminate" and said.get("confirm") != str(number):
        raise HTTPException(400, f"nothing was sent: to terminate, type the website's number, {number}")
    result = await act(
        here.store, here.broker, here.settings.namespace, number, verb,
        seq=whole(said, "seq"), reason=plain(str(said.get("reason") or "")), actor=who.actor,
    )  # fmt: skip
    if not result["sent"]:
        return page(
            request,
            "website.html",
            who,
            409,
            site=found,
            sent=None,
            refused=f"Not sent: {result['why']}",
            **await _why(here, who, number),
        )
    return RedirectResponse(f"/websites/{number}?sent={verb}", SEE_OTHER)


async def enter(request: Request) -> Response:
    """Ask for a token, and let in who has one."""
    if request.method == "GET":
        return page(request, "login.html", None)
    people, said = desk(request).people, await body(request)
    if not people.meant_it(request, str(said.get("csrf") or "")):
        raise HTTPException(403, "this form is not one of ours, or too old: open the page again")
    who = people.by_token(str(said.get("token") or ""), ambient=True)
    if who is None or who.role == Role.SIGNUP:
        return page(request, "login.html", None, 401, wrong=True)
    answer = RedirectResponse("/", SEE_OTHER)
    seconds = int(desk(request).console.session_hours * 3600)
    answer.set_cookie(
        SESSION_COOKIE, people.session(who), seconds, httponly=True, samesite="strict", secure=request.state.secure
    )
    return answer


async def leave(request: Request) -> Response:
    """End a session."""
    who = person(request)
    meant(request, who, await body(request))
    answer = RedirectResponse("/login", SEE_OTHER)
    answer.delete_cookie(SESSION_COOKIE)
    answer.delete_cookie(CSRF_COOKIE)
    return answer


ROUTES = [
    Route("/", overview),
    Route("/login", enter, methods=["GET", "POST"]),
    Route("/logout", leave, methods=["POST"]),
    Route("/websites", websites),
    Route("/websites/{website_id:int}", website),
    Route("/websites/{website_id:int}/{verb}", command, methods=["POST"]),
]
