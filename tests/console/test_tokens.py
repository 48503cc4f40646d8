"""Tokens of the settings: each its owner's alone, long enough, and recognised by a digest where they are hashed."""

import hashlib
import re
import subprocess
from pathlib import Path

import pytest

from consumer.config import SettingsError
from ops.console.access.settings import load_console_settings
from tests.console.conftest import OPERATOR, READER, Console

PAGE = Path(__file__).parents[2] / "docs" / "console.md"
OPERATORS, READERS, SIGNUPS, KEYS = (
    f"PROVISIONER_CONSOLE_{name}" for name in ("OPERATOR_TOKENS", "READER_TOKENS", "SIGNUP_TOKENS", "FOLLOW_SECRETS")
)
HASHED = f"sha256:{hashlib.sha256(OPERATOR.encode()).hexdigest()}"
SAME = "have the same secret; make another: openssl rand -hex 24"


@pytest.mark.parametrize(
    ("variables", "error"),
    [
        ({OPERATORS: f"ana={OPERATOR}", READERS: f"wall={OPERATOR}"}, f"operator ana and reader wall {SAME}"),
        ({OPERATORS: f"ana={OPERATOR}", SIGNUPS: f"shop={HASHED}"}, f"operator ana and signup shop {SAME}"),
        ({OPERATORS: f"ana={OPERATOR},ben={OPERATOR}"}, f"operator ana and operator ben {SAME}"),
        ({OPERATORS: f"ana={HASHED}", KEYS: OPERATOR}, f"operator ana and key 1 of the follow tokens {SAME}"),
        ({OPERATORS: "ana=hunter2"}, f"{OPERATORS}: ana: a secret must have 24 characters or more, it has 7; "),
        ({OPERATORS: f"ana={OPERATOR},ben={'x' * 40}"}, f"{OPERATORS}: ben: a secret must have 4 different char"),
        ({SIGNUPS: f"shop={'12' * 20}"}, f"{SIGNUPS}: shop: a secret must have 4 different characters or more, it has"),
        ({KEYS: f"{READER},{'k' * 32}"}, f"{KEYS}: key 2: a secret must have 4 different characters or more, it has 1"),
        ({OPERATORS: "ana=sha256:abc"}, f"{OPERATORS}: ana: after sha256: come the 64 hexadecimal digits"),
        ({OPERATORS: OPERATOR}, f"{OPERATORS}: must be name=secret or name=sha256:digest, separated by commas"),
        ({OPERATORS: f"={OPERATOR}"}, f"{OPERATORS}: must be name=secret or name=sha256:digest"),
    ],
)
def test_what_is_refused_at_start(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], error: str) -> None:
    """A secret that two share, or that can be guessed: one line says which, and what to do, and repeats no secret."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as refused:
        load_console_settings()
    said = str(refused.value)
    assert error in said
    assert "\n" not in said
    assert not any(secret in said for secret in (OPERATOR, READER, "hunter2", "x" * 40, "k" * 32, HASHED))


async def test_a_hashed_token_is_as_good(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    """The line in docs/console.md makes it; the secret opens the console, and what the settings have does not."""
    (line,) = re.findall(r"^    (echo .*sha256sum.*)$", PAGE.read_text(), re.MULTILINE)
    shell = {"SECRET": OPERATOR, "PATH": "/usr/bin:/bin"}
    made = subprocess.run(["sh", "-c", line], env=shell, capture_output=True, check=True, text=True).stdout
    assert made == f"ana={HASHED}\n"
    monkeypatch.setenv(OPERATORS, made.strip())
    authenticator = console.server.context.authenticator
    authenticator._tokens = load_console_settings().tokens
    async with console.client(OPERATOR) as ana:
        assert (await ana.get("/api/machine")).status_code == 200
    for shown in (HASHED, HASHED.removeprefix("sha256:")):
        async with console.client(shown) as reader_of_settings:
            assert (await reader_of_settings.get("/api/machine")).status_code == 401
    async with console.client() as browser:
        await console.sign_in(browser, OPERATOR)
        assert (await browser.get("/api/machine")).status_code == 200


async def test_a_weak_secret_opens_nothing_although_its_digest_is_set(console: Console) -> None:
    """Behind a digest nobody sees that a secret is short; whoever shows it does."""
    digest = hashlib.sha256(b"hunter2").hexdigest()
    settings = console.server.context.console.model_copy(
        update={"operator_tokens": type(console.server.context.console.operator_tokens)(f"ana=sha256:{digest}")}
    )
    console.server.context.authenticator._tokens = settings.tokens
    async with console.client("hunter2") as client:
        assert (await client.get("/api/machine")).status_code == 401
