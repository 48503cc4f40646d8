"""The tokens of the settings: whose each is, and the digest by which it is recognised. Secrets are not kept."""

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

MIN_SECRET = 24
"""Characters. Long enough that guessing over the network is hopeless, so that nothing has to count failed logins."""
MIN_DIFFERENT = 4
"""Different characters: fewer are a key held down, or a placeholder."""
HASHED = "sha256:"
"""Before a digest in place of a secret. One round is enough, since a secret is random and long, and no password."""
DIGEST = re.compile(r"[0-9a-fA-F]{64}")
ANOTHER = "make another: openssl rand -hex 24"


class Role(StrEnum):
    """What a person may do."""

    READER = "reader"
    OPERATOR = "operator"
    SIGNUP = "signup"


@dataclass(frozen=True, slots=True)
class Token:
    """A token by which somebody is known."""

    name: str
    role: Role
    digest: bytes


def digest_of(secret: str) -> bytes:
    """Return by what a secret is recognised; it may come from outside, as whatever text."""
    return hashlib.sha256(secret.encode(errors="surrogatepass")).digest()


def read_tokens(words: Iterable[str], role: Role) -> list[Token]:
    """Read `name=secret` and `name=sha256:digest`. Raises ValueError, which repeats no secret."""
    tokens = []
    for word in words:
        name, _, secret = (part.strip() for part in word.partition("="))
        if not name or not secret:
            raise ValueError("must be name=secret or name=sha256:digest, separated by commas")
        if secret.startswith(HASHED):
            written = secret.removeprefix(HASHED)
            if not DIGEST.fullmatch(written):
                raise ValueError(f"{name}: after {HASHED} come the 64 hexadecimal digits that sha256sum prints")
            tokens.append(Token(name, role, bytes.fromhex(written)))
        else:
            refuse_weak(secret, name)
            tokens.append(Token(name, role, digest_of(secret)))
    return tokens


def refuse_weak(secret: str, name: str) -> None:
    """Refuse a secret that can be guessed. Raises ValueError, which does not repeat it."""
    if len(secret) < MIN_SECRET:
        raise ValueError(f"{name}: a secret must have {MIN_SECRET} characters or more, it has {len(secret)}; {ANOTHER}")
    if len(set(secret)) < MIN_DIFFERENT:
        different = f"{MIN_DIFFERENT} different characters or more, it has {len(set(secret))}"
        raise ValueError(f"{name}: a secret must have {different}; {ANOTHER}")


def refuse_shared(named: Mapping[str, Iterable[bytes]]) -> None:
    """Refuse a secret that stands twice: who shows it could be either. `named`: digests by what they are for."""
    seen: dict[bytes, str] = {}
    for name, digests in named.items():
        for digest in digests:
            if digest in seen:
                raise ValueError(f"{seen[digest]} and {name} have the same secret; {ANOTHER}")
            seen[digest] = name
