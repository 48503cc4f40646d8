"""A client of the workers' /readyz: whether they are ready, as a container's health check asks."""

import http.client
import json
from typing import Any

TIMEOUT_SECONDS = 8.0
"""A worker that probes a database which hangs answers after three seconds; a parent of several after five."""
LOOPBACK_OF = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - the address to ask where a worker listens on all
READY, UNREADY = 200, 503


class NoWorkerAnswersError(Exception):
    """Nobody answers there, or another program; the text says what to look at."""


def fetch_readiness(host: str, port: int) -> tuple[bool, dict[str, Any]]:
    """Return whether the workers are ready, and the reasons why they are not.

    Raises:
        NoWorkerAnswersError: nothing answers, or no worker of this service.
    """
    host = LOOPBACK_OF.get(host, host)
    connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_SECONDS)
    try:
        connection.request("GET", "/readyz")
        response = connection.getresponse()
        body = json.loads(response.read(1_000_000))
        if response.status in (READY, UNREADY):
            return bool(body["ready"]), dict(body["reasons"])
    except (OSError, http.client.HTTPException) as error:
        raise NoWorkerAnswersError(f"no worker answers on {host}:{port} ({error}); start one with this port") from error
    except (ValueError, KeyError, TypeError):
        pass
    finally:
        connection.close()
    raise NoWorkerAnswersError(
        f"what answers on {host}:{port} is no worker of this service; set PROVISIONER_HTTP_PORT to the port of one"
    )
