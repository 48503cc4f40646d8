"""The audit log: one line of JSON for each action of a person, allowed or denied, with the field names of ECS.

Where a line cannot be written to its file, it is written to standard error, and an error says so. It holds who, how
they proved it, what, to what and the outcome; no body of a message, and no filter, which may name a customer.
"""

import errno
import json
import os
import stat
import sys
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Literal

from consumer.broker.protocol import AccessRefusedError, BrokerDownError
from consumer.config import SettingsError
from consumer.telemetry.logs import NonBlockingStream, log
from ops.audit.identity_proof import Proof

STDERR = "stderr"
ECS_VERSION = "8.17.0"
MAX_TEXT = 500
"""Characters of a text that a line keeps: as many as a reason may have."""
FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
REFUSED_LOGINS = ("ACCESS_REFUSED", "AuthenticationError")
"""Parts of the client's error where RabbitMQ refuses a login."""
Outcome = Literal["success", "failure", "unknown"]


class AuditLog:
    """Writes the audit lines of this process: nowhere, until `configure` names a file or standard error."""

    def __init__(self) -> None:
        """Write nowhere."""
        self._path: str | None = None
        self._stream: NonBlockingStream | None = None
        self.written = 0

    def configure(self, where: str) -> None:
        """Write to standard error (`stderr`), to the end of a file by its path, or with an empty text nowhere.

        Raises:
            SettingsError: the file cannot be written.
        """
        self._path = where if where not in ("", STDERR) else None
        self._stream = NonBlockingStream(sys.stderr) if where else None
        if self._path is None:
            return
        try:
            os.close(_opened(self._path))
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise SettingsError(f"PROVISIONER_AUDIT_LOG: cannot write to it: {reason}") from None

    def write(
        self, action: str, outcome: Outcome, *, actor: str, proof: Proof, denied: bool = False,
        category: str = "api", kinds: Sequence[str] = ("change",), target: str = "", why: str | None = None,
        **fields: Any,
    ) -> None:  # fmt: skip
        """Write the line of an action.

        Args:
            action: what was done, or asked for.
            outcome: whether it took effect.
            actor: the name in history; empty for unknown senders.
            proof: how they proved who they are.
            denied: whether it was refused for want of proof, role, right or room.
            category: ECS's `event.category`.
            kinds: ECS's `event.type`, without `allowed` or `denied`, which `denied` adds.
            target: what it acted on.
            why: the outcome in words.
            fields: further fields, with two underscores for a dot.
        """
        self.written += 1
        line = {
            "@timestamp": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "ecs.version": ECS_VERSION,
            "log.level": "warn" if denied else "info",
            "message": f"{actor or 'an unknown sender'}: {action} {target}".strip(),
            "event.kind": "event",
            "event.category": [category],
            "event.type": [*kinds, "denied" if denied else "allowed"],
            "event.action": action,
            "event.outcome": outcome,
            "event.reason": why,
            "user.name": proof.user,
            "user.id": proof.user_id,
            "user.roles": [proof.role] if proof.role else None,
            "host.name": proof.host,
            "source.ip": proof.source,
            "service.name": "website-provisioner",
            "process.pid": os.getpid(),
            "provisioner.actor": actor,
            "provisioner.proof": proof.means.value,
            "provisioner.broker_user": proof.broker_user,
            "provisioner.target": target,
            **{name.replace("__", "."): value for name, value in fields.items()},
        }
        fields_present = {name: _cut(value) for name, value in line.items() if value not in (None, "", [])}
        # Whatever is not ASCII is escaped: a line is printable, whoever chose a text in it.
        self._write(json.dumps(fields_present) + "\n")

    def _write(self, line: str) -> None:
        if self._path is not None:
            try:
                # Opened for each line, so that a file may be moved away (logrotate) while we run.
                _append(self._path, line.encode())
            except (OSError, ValueError) as error:
                log.error("audit line not written", error=getattr(error, "strerror", None) or str(error))
            else:
                return
        if self._stream is not None:
            self._stream.write(line)


audit_log = AuditLog()
"""The audit log of this process."""


def _opened(path: str) -> int:
    """Open the file of the lines. Raises OSError; ValueError for one that somebody else could have put there.

    Whoever owns it could read, shorten and write it; and a second name may be that of any file of its owner.
    """
    file = os.open(path, FLAGS, 0o600)
    found = os.fstat(file)
    wrong = None
    if found.st_uid not in (0, os.geteuid()):
        wrong = f"it belongs to the user {found.st_uid}; let it belong to root or to who runs this"
    elif stat.S_ISREG(found.st_mode) and found.st_nlink > 1:
        wrong = "it has a second name (a hard link)"
    elif stat.S_ISREG(found.st_mode) and found.st_mode & stat.S_IWOTH:
        wrong = "every user may write to it; chmod o-w"
    if wrong:
        os.close(file)
        raise ValueError(wrong)
    return file


def _append(path: str, line: bytes) -> None:
    """Add a line. Raises OSError, also where the file has taken a part of it alone; ValueError as `_opened`."""
    file = _opened(path)
    try:
        written = os.write(file, line)
        if 0 < written < len(line):
            # The next line begins on its own, if there is room for it again.
            with suppress(OSError):
                os.write(file, b"\n")
            raise OSError(errno.ENOSPC, "a part of it was written; the disk is full")
    finally:
        os.close(file)


def is_denial(error: BaseException) -> bool:
    """Return whether PostgreSQL or RabbitMQ refused a user: a failed login, or a right that is missing."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    state = str(getattr(error, "sqlstate", None) or "")
    if state == "42501" or state.startswith("28") or isinstance(error, AccessRefusedError):
        return True
    return isinstance(error, BrokerDownError) and any(text in str(error) for text in REFUSED_LOGINS)


def _cut(value: Any) -> Any:
    return value[:MAX_TEXT] if isinstance(value, str) else value
