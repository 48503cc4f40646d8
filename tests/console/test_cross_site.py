"""Changes that another site's page makes a browser send: refused, whatever it can put into them."""

import json
import re
from typing import Any

import pytest
from starlette.requests import Request

from ops.console.access.cross_site import is_same_origin
from ops.console.access.settings import ConsoleSettings
from ops.console.middleware import CONTENT_POLICY
from ops.console.routes import WITH_API, WITH_PAGES
from tests.console.conftest import OPERATOR, READER, Console

FORM = {"seq": "7", "reason": "x", "confirm": "7"}
PAGE, API = "/websites/7/suspend", "/api/websites/7/suspend"
CHANGES = [
    *(("", route) for resource in WITH_PAGES for route in resource.pages.routes),
    *(("/api", route) for resource in WITH_API for route in resource.api.routes),
]


@pytest.fixture(autouse=True)
async def _website(console: Console) -> None:
    await console.db.execute("INSERT INTO pwb_websites (id, created_at, updated_at) VALUES (7, now(), now())")


def foreign(own: str) -> list[dict[str, str]]:
    """The headers of requests that no page of a console at `own` has sent."""
    host = own.removeprefix("http://")
    return [
        {"origin": "https://evil.example"},
        {"origin": f"{own}.evil.example"},
        {"origin": f"http://evil.example/{host}"},
        {"origin": f"https://{host}"},
        {"origin": own.rpartition(":")[0]},
        {"origin": "null"},
        {"origin": ""},
        {"origin": "http://["},
        {"origin": "http://127.0.0.1:x"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "none"},
        {"sec-fetch-site": "Same-Origin, cross-site"},
        {"sec-fetch-site": "same-origin", "origin": "https://evil.example"},
        {"sec-fetch-site": "cross-site", "origin": own},
    ]


async def test_a_change_from_elsewhere_is_refused(console: Console) -> None:
    """A browser's session opens nothing from another site's page, even with the form's own token."""
    async with console.client() as browser:
        page = await browser.get("/login")
        assert page.headers["content-security-policy"].encode() == CONTENT_POLICY
        wrong = await browser.post("/login", data={"token": "x" * 40})
        assert wrong.status_code == 401
        form = FORM | {"csrf": await console.sign_in(browser, OPERATOR)}
        for headers in foreign(console.url):
            assert (await browser.post(PAGE, data=form, headers=headers)).status_code == 403, headers
            assert (await browser.post(API, json=form, headers=headers)).status_code == 403, headers
            assert (await browser.post("/logout", data=form, headers=headers)).status_code == 403, headers
        assert await console.db.fetchval("SELECT count(*) FROM provisioning_operator_actions") == 0
        assert (await browser.post(PAGE, data=form)).status_code == 409
        assert await console.db.fetchval("SELECT count(*) FROM provisioning_operator_actions") == 1


async def test_a_page_of_ours_needs_no_token_where_the_browser_says_so(console: Console) -> None:
    """Origin or Sec-Fetch-Site, or both."""
    async with console.client() as browser:
        await console.sign_in(browser, OPERATOR)
        for headers in (
            {"origin": console.url},
            {"sec-fetch-site": "same-origin"},
            {"sec-fetch-site": "same-origin", "origin": console.url},
        ):
            assert (await browser.post(PAGE, data=FORM, headers=headers)).status_code == 409
            assert (await browser.post(API, json=FORM, headers=headers)).status_code == 409


async def test_without_either_header_the_token_of_this_session_is_needed(console: Console) -> None:
    """Not none, nor another session's, another person's, one that was guessed or one of the old kind, in a cookie."""
    async with console.client() as browser, console.client() as earlier, console.client() as reader:
        others = [await console.sign_in(earlier, OPERATOR), await console.sign_in(reader, READER)]
        token = await console.sign_in(browser, OPERATOR)
        wrong: list[Any] = [
            "",
            *others,
            token[:-1],
            f"{token}A",
            token.swapcase(),
            browser.cookies["provisioner_session"],
        ]
        for shown in wrong:
            assert (await browser.post(PAGE, data=FORM | {"csrf": shown})).status_code == 403, shown
            assert (await browser.post(API, json=FORM | {"csrf": shown})).status_code == 403, shown
            assert (await browser.post(API, json=FORM, headers={"x-csrf-token": shown})).status_code == 403, shown
        for shown in (None, 7, ["x"], {"x": 1}, True):
            assert (await browser.post(API, content=json_of(FORM | {"csrf": shown}))).status_code == 403, shown
        for path, body in ((PAGE, {"data": FORM}), (API, {"json": FORM})):
            assert (await browser.post(path, **body)).status_code == 403
        browser.cookies.set("provisioner_csrf", "planted")
        planted = FORM | {"csrf": "planted"}
        assert (await browser.post(PAGE, data=planted, headers={"x-csrf-token": "planted"})).status_code == 403
        plain = {"content-type": "text/plain"}
        assert (await browser.post(API, content=json_of(FORM), headers=plain)).status_code == 403
        assert (await browser.post(PAGE, data=FORM | {"csrf": token})).status_code == 409
        assert (await browser.post(API, json=FORM, headers={"x-csrf-token": token})).status_code == 409
        assert (await browser.post("/logout", data={"csrf": token})).status_code == 303


def json_of(value: object) -> bytes:
    """Return JSON, whatever the content type says."""
    return json.dumps(value).encode()


@pytest.mark.parametrize(
    ("prefix", "route"),
    [pytest.param(prefix, route, id=prefix + route.path) for prefix, route in CHANGES if "POST" in route.methods],
)
async def test_no_route_forgets_it(console: Console, prefix: str, route: Any) -> None:
    """Every route that changes something refuses another site's page, and but for the login a form without token."""
    path = prefix + re.sub(
        "{(.*?)(:int)?}", lambda found: {"website_id": "7", "job": "x"}.get(found[1], "suspend"), route.path
    )
    path = path.replace("workers/suspend", "workers/pause").replace("letters/suspend", "letters/discard")
    async with console.client() as browser:
        token = await console.sign_in(browser, OPERATOR)
        everything = FORM | {"csrf": token, "why": "x", "all": "on", "worker": "all", "token": OPERATOR}
        evil = {"origin": "https://evil.example", "sec-fetch-site": "cross-site"}
        assert (await browser.post(path, data=everything, headers=evil)).status_code == 403
        if path != "/login":
            del everything["csrf"]
            assert (await browser.post(path, data=everything)).status_code == 403
    assert await console.db.fetchval("SELECT count(*) FROM provisioning_operator_actions") == 0


def test_only_post_changes_anything() -> None:
    """Nothing that a link, an image or a typed address can do is a change."""
    routes = [route for resource in WITH_PAGES for route in resource.pages.routes]
    routes += [route for resource in WITH_API for route in resource.api.routes]
    assert {frozenset(route.methods) for route in routes} == {frozenset({"GET"}), frozenset({"POST"})}


async def test_a_login_from_elsewhere_is_refused(console: Console) -> None:
    """No other site's page signs somebody in as somebody else; a program, which sends neither header, may sign in."""
    async with console.client() as browser:
        for headers in foreign(console.url):
            answer = await browser.post("/login", data={"token": READER}, headers=headers)
            assert (answer.status_code, "set-cookie" in answer.headers) == (403, False), headers
        for own in ({"origin": console.url}, {"sec-fetch-site": "same-origin"}, {}):
            answer = await browser.post("/login", data={"token": READER}, headers=own)
            assert (answer.status_code, "set-cookie" in answer.headers) == (303, True), own


async def test_whoever_comes_by_the_proxy_is_protected_too(console: Console) -> None:
    """The proxy's headers come with every request, as cookies do; the token is this person's, out of their page."""
    console.server.context.authenticator._settings = ConsoleSettings(proxy_addresses="127.0.0.0/8")
    groups = {"x-forwarded-groups": "provisioner-operators"}
    async with (
        console.client(**groups, **{"x-forwarded-user": "eva"}) as eva,
        console.client(**groups, **{"x-forwarded-user": "ben"}) as ben,
    ):
        tokens = [re.findall('name="csrf" value="([^"]+)"', (await each.get("/")).text)[0] for each in (eva, ben)]
        assert tokens[0] != tokens[1]
        for form, headers, status in (
            (FORM, {}, 403),
            (FORM | {"csrf": tokens[1]}, {}, 403),
            (FORM | {"csrf": tokens[0]}, {"origin": "https://evil.example"}, 403),
            (FORM, {"origin": console.url}, 409),
            (FORM | {"csrf": tokens[0]}, {}, 409),
        ):
            assert (await eva.post(PAGE, data=form, headers=headers)).status_code == status


async def test_no_other_site_makes_a_browser_call_the_api(console: Console) -> None:
    """An export is recorded as the person's deed, and takes their turn; a link to a page is only opened."""
    console.server.context.authenticator._settings = ConsoleSettings(proxy_addresses="127.0.0.0/8")
    export = "/api/dead-letters/export"
    async with (
        console.client(**{"x-forwarded-user": "eva", "x-forwarded-groups": "provisioner-operators"}) as eva,
        console.client(OPERATOR) as program,
    ):
        for site, status in (("cross-site", 403), ("same-site", 403), ("none", 200), ("same-origin", 200)):
            assert (await eva.get(export, headers={"sec-fetch-site": site})).status_code == status, site
            assert (await eva.get("/dead-letters", headers={"sec-fetch-site": site})).status_code == 200
            assert (await program.get(export, headers={"sec-fetch-site": site})).status_code == 200
        assert (await eva.get(export)).status_code == 200


async def test_a_program_with_a_token_is_not_asked(console: Console) -> None:
    """No browser sends a bearer token by itself."""
    async with console.client(OPERATOR, origin="https://evil.example") as program:
        assert (await program.post(API, json=FORM)).status_code == 409


@pytest.mark.parametrize(
    ("public_url", "origin", "same"),
    [
        ("https://ops.example.com", "https://ops.example.com", True),
        ("https://OPS.example.com:443/", "https://ops.example.com", True),
        ("https://ops.example.com/console", "https://ops.example.com:443", True),
        ("http://ops.example.com:80", "http://ops.example.com", True),
        ("https://ops.example.com", "http://ops.example.com", False),
        ("https://ops.example.com:8443", "https://ops.example.com", False),
        ("https://ops.example.com", "https://ops.example.com.evil.example", False),
        ("https://ops.example.com", "null", False),
        (None, "http://inside:8480", True),
        (None, "https://inside:8480", False),
    ],
)
def test_what_is_the_same_origin(public_url: str | None, origin: str, same: bool) -> None:
    """Scheme, host and port; PUBLIC_URL where it is set, else what the request says."""
    scope = {
        "type": "http", "scheme": "http", "path": "/", "query_string": b"", "server": ("inside", 8480),
        "headers": [(b"host", b"inside:8480"), (b"origin", origin.encode())],
    }  # fmt: skip
    assert is_same_origin(Request(scope), public_url) is same
    assert is_same_origin(Request(scope | {"headers": []}), public_url) is None
