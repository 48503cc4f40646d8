"""Protection against cross-site requests: a change that a browser sends counts only if a page of ours made it.

A browser adds its person's credentials (session cookie, the proxy's headers) to whatever any page makes it send. Where
the request comes from it says itself, in `Sec-Fetch-Site` (to https and localhost) and in `Origin` (with every POST,
since 2020); no page can forge either. A request that carries neither comes from an old browser or from a program, and
must show the form's token, which only pages of that session contain.
"""

import hmac
from urllib.parse import urlsplit

from starlette.exceptions import HTTPException
from starlette.requests import Request

REFUSED = "this form is not from a page of this console, or it is too old: open the page again"
CALL_REFUSED = "a page of another site made this browser ask: open it from a page of this console"
DEFAULT_PORTS = {"http": 80, "https": 443}


def refuse_cross_site_change(request: Request, public_url: str | None, *, shown: str, expected: str) -> None:
    """Refuse a change that comes with a browser's credentials, unless a page of this console made the browser send it.

    `public_url`: the console's address as browsers see it; None takes what the request says. `shown`: the form's token
    that came with it, if any; `expected`: that of its session. Raises HTTPException 403.
    """
    from_own_page = is_same_origin(request, public_url)
    if from_own_page is None:
        from_own_page = hmac.compare_digest(shown.encode(errors="surrogatepass"), expected.encode())
    if not from_own_page:
        raise HTTPException(403, REFUSED)


def refuse_cross_site_login(request: Request, public_url: str | None) -> None:
    """Refuse a login that a page of another site made a browser send. Raises HTTPException 403.

    Before a login there is no session, so its form has no token, and a browser that sends neither header is let
    through. The form carries the secret itself, so another site's page gains nothing by it that its author could not
    open anyway. It could only sign somebody in as its author, so that their actions count as the author's. Sent by a
    script or from a frame, it does not even do that: browsers keep no SameSite=Strict cookie from such answers. Sent as
    a form that leads to our page, by a browser of before 2020, it does; but every page then shows whose session it is,
    and the author has shown us a secret by which we know them. A session that is there already is not in danger: being
    SameSite=Strict, its cookie comes with no request from another site.
    """
    if is_same_origin(request, public_url) is False:
        raise HTTPException(403, REFUSED)


def refuse_cross_site_call(request: Request) -> None:
    """Refuse a request for the API that a page of another site made a browser send with a person's credentials.

    Some of what is read takes turns with others, or is recorded as that person's action: an export of dead letters.
    Other sites may link to pages. A browser that does not say where a request comes from is let through: the session
    cookie, being SameSite=Strict, does not come from there. Raises HTTPException 403.
    """
    if request.headers.get("sec-fetch-site") in ("cross-site", "same-site"):
        raise HTTPException(403, CALL_REFUSED)


def is_same_origin(request: Request, public_url: str | None) -> bool | None:
    """Return whether a page of this console made a browser send a request; None where the browser does not say."""
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    own = public_url or f"{request.url.scheme}://{request.headers.get('host', '')}"
    answers = [site == "same-origin"] if site is not None else []
    if origin is not None:
        answers.append(_origin(origin) is not None and _origin(origin) == _origin(own))
    return all(answers) if answers else None


def _origin(url: str) -> tuple[str, str, int | None] | None:
    """Return scheme, host and port of a URL; None for what has no host, such as `null`, or is no URL."""
    try:
        parts = urlsplit(url)
        port = parts.port or DEFAULT_PORTS.get(parts.scheme)
    except ValueError:
        return None
    return (parts.scheme, parts.hostname, port) if parts.hostname else None
