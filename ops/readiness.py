"""Asks workers over HTTP whether they are ready, as a container's health check does."""

import http.client
import json
from typing import Any

import click

SECONDS = 8.0
"""A check that probes a database which hangs answers after three; a group of processes after five."""
EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - where to ask whoever listens there
READY, UNREADY = 200, 503


class NoAnswer(Exception):  # noqa: N818 - says what it is
    """Nobody answers there, or somebody else; the text says what to look at."""


def ask(host: str, port: int) -> tuple[bool, dict[str, Any]]:
    """Return whether the workers are ready, and what stands in their way.

    Raises:
        NoAnswer: nobody answers, or nobody of ours.
    """
    where = EVERYWHERE.get(host, host)
    connection = http.client.HTTPConnection(where, port, timeout=SECONDS)
    try:
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        told = json.loads(answer.read(1_000_000))
        if answer.status in (READY, UNREADY):
            return bool(told["ready"]), dict(told["reasons"])
    except (OSError, http.client.HTTPException) as error:
        raise NoAnswer(f"no worker answers on {where}:{port} ({error}); does one run, with this port?") from error
    except (ValueError, KeyError, TypeError):
        pass
    finally:
        connection.close()
    raise NoAnswer(f"what answers on {where}:{port} is no worker of ours")


def reasons_table(told: dict[str, Any]) -> None:
    """Print an answer for people: a line a reason."""
    click.echo("ready" if told["ready"] else "not ready")
    for what, why in told["reasons"].items():
        lines = why.items() if isinstance(why, dict) else [("", why)]
        for part, reason in lines:
            click.echo(f"  {what}{f', {part}' if part else ''}: {reason}")
