"""How a person has proved who they are: a token, a session, a proxy's header, or the account of a local shell."""

import os
import pwd
import socket
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import unquote, urlsplit

from consumer.config import Settings


class Means(StrEnum):
    """How somebody proved who they are."""

    NONE = "nothing"
    TOKEN = "token"  # noqa: S105 - no secret
    SESSION = "session"
    PROXY = "proxy header"
    SHELL = "local shell"


@dataclass(frozen=True, slots=True)
class Proof:
    """Who somebody is by what was checked, whatever name they give.

    Args:
        means: how they proved it.
        user: the proven name: of the token, in the proxy's header, or of the account on this machine.
        role: what they may do in the console; empty on the command line, where the servers' rights decide.
        user_id: the uid of the account.
        host: the name of the machine on which the command runs.
        broker_user: the user of RabbitMQ whose rights are used.
        source: the IP address from which a request came; behind a proxy, the proxy's.
    """

    means: Means = Means.NONE
    user: str = ""
    role: str = ""
    user_id: str = ""
    host: str = ""
    broker_user: str = ""
    source: str = ""

    @property
    def text(self) -> str:
        """The proof in words, without the proven name; that of a local shell names the account."""
        if self.means is not Means.SHELL:
            return f"{self.means} from {self.source}" if self.source else self.means.value
        broker = f", broker user {self.broker_user}" if self.broker_user else ""
        return f"{self.means} of {self.user} (uid {self.user_id}) on {self.host}{broker}"


UNPROVEN = Proof()
"""The default, for callers that give no proof: tests, and programs that use this package."""


def local_proof(settings: Settings | None = None) -> Proof:
    """Return the account that runs this process, by its uid: variables such as LOGNAME can be set to anything."""
    number = os.getuid()
    try:
        name = pwd.getpwuid(number).pw_name
    except KeyError:
        name = f"uid-{number}"
    return Proof(
        Means.SHELL, name, user_id=str(number), host=socket.gethostname(),
        broker_user=_broker_user(settings) if settings else "",
    )  # fmt: skip


def _broker_user(settings: Settings) -> str:
    """Return the user in the broker's URL; empty where a certificate logs in, or the broker is in this process."""
    url = urlsplit(settings.amqp_url.get_secret_value())
    return "" if "auth=external" in url.query else unquote(url.username or "")
