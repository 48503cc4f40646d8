"""Isolates private servers from other users: folders that nobody else enters, an account for servers not run by root.

When we are root, a server runs as `nobody`, and other programs may run as `nobody`, too. It therefore gets a group that
no other process has: only that group may enter the folder, and the kernel refuses access to the memory and environment
of a process in another group.
"""

import grp
import os
import pwd
import secrets
import stat
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

GROUPS = range(61_184, 65_520)
"""Ids that distributions reserve for services with temporary users: no account has such a group."""


@dataclass(frozen=True, slots=True)
class Account:
    """The user and group that a program runs as, where it refuses to be run by root."""

    uid: int
    gid: int


def unprivileged_account() -> Account | None:
    """Return `nobody` in a group of its own when we are root, and None when we are an ordinary user anyway."""
    if os.geteuid() != 0:
        return None
    taken = {group.gr_gid for group in grp.getgrall()}
    gid = secrets.choice([number for number in GROUPS if number not in taken])
    try:
        return Account(pwd.getpwnam("nobody").pw_uid, gid)
    except KeyError:
        return Account(65534, gid)  # the kernel's overflow id, which belongs to no user


def run_as(account: Account | None) -> dict[str, Any]:
    """Return the arguments by which subprocess runs a program as an account; None is the user of this process."""
    return {"user": account.uid, "group": account.gid, "extra_groups": []} if account else {}


def private_folder(prefix: str, account: Account | None = None) -> Path:
    """Make a folder among the temporary files that only this user and the group of the account can enter."""
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=_reachable_temporary_folder(account)))
    if account is not None:
        # Root stays the owner: the group may enter the folder, but neither write to it nor list it.
        os.chown(folder, os.geteuid(), account.gid)
        folder.chmod(0o710)
    return folder


def give(path: Path, account: Account | None) -> None:
    """Make the account the owner of a file or folder; of a link itself, never of its target."""
    if account is not None:
        os.chown(path, account.uid, account.gid, follow_symlinks=False)


def _reachable_temporary_folder(account: Account | None) -> str:
    """Return the folder for temporary files, or /tmp when that one cannot be reached (TMPDIR in /root)."""
    folder = Path(tempfile.gettempdir()).resolve()
    if account is not None:
        with suppress(PermissionError):
            if not all(parent.stat().st_mode & stat.S_IXOTH for parent in (folder, *folder.parents)):
                return "/tmp"  # noqa: S108 - only as the place to make a folder with an unguessable name in
    return str(folder)
