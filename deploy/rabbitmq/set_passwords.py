"""Prints definitions.json with the hashes of the users' passwords, which it reads from the environment.

    MIGRATE_PASSWORD=… WORKER_PASSWORD=… OPS_PASSWORD=… SIGNUP_PASSWORD=… python3 set_passwords.py > filled.json

As it ships, no user of definitions.json can log in: a user without a hash has no password. Needs Python alone.
"""

import base64
import hashlib
import json
import os
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path

DEFINITIONS = Path(__file__).with_name("definitions.json")
MIN_CHARACTERS = 16


def password_hash(password: str, salt: bytes) -> str:
    """Return a hash as RabbitMQ keeps it: four bytes of salt, then SHA-256 of salt and password."""
    return base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()


def variable_of(user: str) -> str:
    """Return the variable that has the password of a user: WORKER_PASSWORD of provisioner-worker."""
    return f"{user.removeprefix('provisioner-').upper()}_PASSWORD"


def filled(text: str, environment: Mapping[str, str]) -> str:
    """Return definitions with every user's hash.

    Raises:
        ValueError: a password is missing, too short, or another user's too; the text names the variable alone.
    """
    definitions = json.loads(text)
    used: dict[str, str] = {}
    for user in definitions["users"]:
        variable = variable_of(user["name"])
        password = environment.get(variable, "")
        if len(password) < MIN_CHARACTERS:
            have = f"has {len(password)} characters" if password else "is not set"
            raise ValueError(f"{variable} {have}, need {MIN_CHARACTERS}: openssl rand -hex 24 makes one")
        if password in used:
            raise ValueError(f"{variable} is {used[password]} too: each user needs a password of its own")
        used[password] = variable
        user["password_hash"] = password_hash(password, secrets.token_bytes(4))
    return json.dumps(definitions, indent=2)


if __name__ == "__main__":
    try:
        print(filled(DEFINITIONS.read_text(), os.environ))
    except ValueError as error:
        sys.exit(str(error))
