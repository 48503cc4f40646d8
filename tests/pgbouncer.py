"""A private PgBouncer between a test and its PostgreSQL, in the pool mode of the test's choice."""

import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from ops.sandbox.child_process import Child, PrivateServer
from ops.sandbox.postgres import ENVIRONMENT
from ops.sandbox.privilege_separation import Account, private_folder, unprivileged_account
from ops.sandbox.reaper import Reaper
from tests.system_packages import program

START_SECONDS = 60.0
KEEPING_VERSION = (1, 21)
"""The first that keeps prepared statements for its clients in transaction mode."""
DROPPED = (
    "lock_timeout,statement_timeout,idle_in_transaction_session_timeout,plan_cache_mode,enable_seqscan,enable_hashjoin,"
    "enable_mergejoin,jit"
)
"""As ignore_startup_parameters: all that a session without a pooler begins with is taken and dropped."""


def version() -> tuple[int, ...]:
    """Return the version of the PgBouncer that is installed."""
    said = subprocess.run([_path(), "--version"], capture_output=True, text=True, check=True, timeout=60).stdout
    found = re.search(r"(\d+)\.(\d+)", said)
    assert found, said
    return int(found[1]), int(found[2])


def keeps_statements() -> bool:
    """Say whether it keeps prepared statements in transaction mode, as these tests configure it."""
    return version() >= KEEPING_VERSION


class PgBouncer(PrivateServer):
    """A PgBouncer on a port of 127.0.0.1, in front of one PostgreSQL, for every database and user of it."""

    def __init__(self, folder: Path, reaper: Reaper, account: Account | None, database_url: str) -> None:
        super().__init__("the private PgBouncer", folder, reaper)
        self._account = account
        self._server = urlsplit(database_url)

    def start(self, settings: dict[str, str]) -> None:
        """Start it, and return when it takes connections: those of whoever has the server's password."""
        users = self._folder / "users.txt"
        users.write_text(f'"{self._server.username}" "{self._server.password}"\n')
        values = {
            "listen_addr": "127.0.0.1", "listen_port": str(self.port), "auth_type": "scram-sha-256",
            "auth_file": str(users), "unix_socket_dir": "",
            **({"max_prepared_statements": "200"} if keeps_statements() else {}), **settings,
        }  # fmt: skip
        lines = "\n".join(f"{name} = {value}" for name, value in values.items())
        file = self._folder / "pgbouncer.ini"
        file.write_text(f"[databases]\n* = host=127.0.0.1 port={self._server.port}\n[pgbouncer]\n{lines}\n")
        self._child = Child(
            self.name, [_path(), str(file)], folder=self._folder, log=self._folder / "pgbouncer.log",
            environment=ENVIRONMENT, account=self._account, reaper=self._reaper,
        )  # fmt: skip
        self._child.wait_until(self._listens, within_seconds=START_SECONDS)

    def stop(self) -> None:
        """End it at once."""
        self._end(signal.SIGTERM)

    def url(self, database_url: str) -> str:
        """Return the address of a database by way of this PgBouncer."""
        return database_url.replace(f":{self._server.port}/", f":{self.port}/", 1)

    def _listens(self) -> bool:
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", self.port)) == 0


@contextmanager
def private_pgbouncer(database_url: str, pool_mode: str, **settings: str) -> Iterator[PgBouncer]:
    """Run a PgBouncer in front of the server of a database."""
    account = unprivileged_account()
    folder = private_folder("pgbouncer-", account)
    reaper = Reaper(folder)
    server = PgBouncer(folder, reaper, account, database_url)
    try:
        server.start({"pool_mode": pool_mode} | settings)
        yield server
    finally:
        server.stop()
        reaper.dismiss()


def _path() -> str:
    found = program("pgbouncer")
    assert found
    return found
