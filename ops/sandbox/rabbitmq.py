"""A private RabbitMQ node, run by the rabbitmq-server that is installed on this machine.

Knows how a node is kept apart from any other on the machine: its ports, its name, its cookie, its epmd. Knows nothing
of exchanges and queues.
"""

import os
import secrets
import shutil
import signal
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from ops.sandbox.child_process import Child, LocalServerError, PrivateServer, free_port, run_program
from ops.sandbox.privilege_separation import private_folder
from ops.sandbox.reaper import Reaper

START_SECONDS = 60.0
"""A node takes 3 to 6 s on two idle cores."""

STOP_SECONDS = 30.0
"""A stop closes connections and writes its queues; after this it is killed."""
EPMD_SECONDS = 5.0
"""epmd listens within milliseconds."""

HOW_TO_INSTALL = "apt-get install -y rabbitmq-server"

# The scripts behind the ones in sbin, which refuse everybody but root, and change the user when root.
DEBIAN_SCRIPTS = Path("/usr/lib/rabbitmq/bin")

ON_LOOPBACK = "-kernel inet_dist_use_interface {127,0,0,1}"
"""Arguments of an Erlang VM that open its port for other nodes on loopback alone; nodes need the cookie as well."""

CONFIGURATION = """\
listeners.tcp.default = 127.0.0.1:{port}
log.console = true
log.console.level = info
log.file = false
default_user = guest
default_pass = {password}
"""


class RabbitServer(PrivateServer):
    """A RabbitMQ that is ours alone, on a port of 127.0.0.1; its user guest has a random password.

    It runs as the user of this process.
    """

    def __init__(self, scripts: Path, folder: Path, reaper: Reaper) -> None:
        super().__init__("the private RabbitMQ", folder, reaper)
        self.node = f"{folder.name}@localhost"
        self.log = folder / "rabbitmq.log"
        self._scripts = scripts
        self._epmd_port = free_port()
        self._epmd: Child | None = None
        cookie = folder / ".erlang.cookie"
        cookie.write_text(secrets.token_hex(16))
        cookie.chmod(0o400)
        self._password = secrets.token_hex(16)
        (folder / "rabbitmq.conf").write_text(CONFIGURATION.format(port=self.port, password=self._password))
        (folder / "enabled_plugins").write_text("[].\n")
        (folder / "environment").touch()
        self._environment = self._make_environment()

    @property
    def url(self) -> str:
        """The URL of the vhost `/`, with the password; for another vhost replace the path."""
        return f"amqp://guest:{self._password}@127.0.0.1:{self.port}/"

    def ctl(self, *arguments: str) -> str:
        """Return what `rabbitmqctl ARGUMENTS` prints. Each call takes about a second: it starts an Erlang of its own.

        Raises:
            LocalServerError: it did not succeed; with what it said.
        """
        command = [str(self._scripts / "rabbitmqctl"), "--quiet", *arguments]
        try:
            result = run_program(command, self._environment, within_seconds=START_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise LocalServerError(f"`{' '.join(command)}` did not end within {START_SECONDS:g} s") from error
        if result.returncode != 0:
            text = result.stdout.strip()
            raise LocalServerError(f"`{' '.join(command)}` ended with exit code {result.returncode}:\n{text}")
        return result.stdout

    def start(self) -> None:
        """Start it on its ports and data, and return when it takes connections.

        Raises:
            LocalServerError: it runs already, or it did not start; with the end of its log.
        """
        self._refuse_second_start()
        self._start_epmd()
        # The script execs the Erlang VM, so that is the process that we started.
        self._child = self._run(self.name, [str(self._scripts / "rabbitmq-server")], self.log)
        # Its listeners are the last thing that a booting node opens: who is answered there can work.
        self._child.wait_until(lambda: answers_amqp(self.url), within_seconds=START_SECONDS)

    def stop(self) -> None:
        """Stop it in good order. Stopped already is fine."""
        self._end(signal.SIGTERM, within_seconds=STOP_SECONDS)

    def kill(self) -> None:
        """End it as a power cut would."""
        self._end(signal.SIGKILL)

    def end(self) -> None:
        """End it and its epmd: its data go with it, so neither is stopped in order."""
        self.kill()
        if self._epmd is not None:
            self._epmd.end(signal.SIGKILL)

    def _start_epmd(self) -> None:
        # Erlang's name service. Left alone, a node starts one that outlives it, and would share the system's.
        if self._epmd is not None and self._epmd.is_running():
            return
        epmd = shutil.which("epmd")
        if epmd is None:
            raise LocalServerError(f"epmd is missing, which comes with Erlang; install it with: {HOW_TO_INSTALL}")
        command = [epmd, "-port", str(self._epmd_port), "-address", "127.0.0.1"]
        self._epmd = self._run("epmd", command, self._folder / "epmd.log")
        self._epmd.wait_until(lambda: _accepts(self._epmd_port), within_seconds=EPMD_SECONDS)

    def _run(self, name: str, command: list[str], log: Path) -> Child:
        environment, reaper = self._environment, self._reaper
        return Child(name, command, folder=self._folder, log=log, environment=environment, account=None, reaper=reaper)

    def _make_environment(self) -> dict[str, str]:
        folder = str(self._folder)
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "LANG": "C.UTF-8",
            "HOME": folder,
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": self.node,
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_BASE": folder,
            "RABBITMQ_MNESIA_BASE": f"{folder}/data",
            "RABBITMQ_LOG_BASE": f"{folder}/log",
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_CONFIG_FILE": f"{folder}/rabbitmq.conf",
            "RABBITMQ_ADVANCED_CONFIG_FILE": f"{folder}/advanced.config",
            "RABBITMQ_CONF_ENV_FILE": f"{folder}/environment",  # empty: not the machine's own
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{folder}/enabled_plugins",
            "RABBITMQ_GENERATED_CONFIG_DIR": f"{folder}/config",
            "RABBITMQ_PID_FILE": f"{folder}/rabbitmq.pid",
            # Makes the script exec the Erlang VM, instead of standing between it and our signals; the
            # input that it then allows is taken back below.
            "RABBITMQ_ALLOW_INPUT": "1",
            # The port between nodes on loopback too, and no spinning: two cores are shared with what is tested.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
                f"-noinput {ON_LOOPBACK} -start_epmd false +sbwt none +sbwtdcpu none +sbwtdio none"
            ),
            # rabbitmqctl is an Erlang node, too, and opens a port while it runs.
            "RABBITMQ_CTL_ERL_ARGS": ON_LOOPBACK,
        }


@contextmanager
def private_rabbitmq() -> Iterator[RabbitServer]:
    """Run a RabbitMQ of our own, as root or not; its data go with it.

    Raises:
        LocalServerError: there is no rabbitmq-server, with the command that installs it; or it did not start.
    """
    scripts = _installed_scripts()
    if scripts is None:
        as_root = "" if os.geteuid() == 0 else " (as root)"
        raise LocalServerError(f"RabbitMQ is missing; install it with: {HOW_TO_INSTALL}{as_root}")
    folder = private_folder("rabbit-")
    reaper = Reaper(folder)
    server = None
    try:
        server = RabbitServer(scripts, folder, reaper)
        server.start()
        yield server
    finally:
        if server is not None:
            server.end()
        reaper.dismiss()


def answers_amqp(url: str, *, within_seconds: float = 2) -> bool:
    """Say whether an AMQP 0-9-1 server answers there: we send the protocol header, it opens with Connection.Start.

    Logs nobody in: credentials are not looked at.
    """
    parts = urlsplit(url)
    secure = parts.scheme == "amqps"
    address = (parts.hostname or "localhost", parts.port or (5671 if secure else 5672))
    try:
        with socket.create_connection(address, timeout=within_seconds) as connection:
            if not secure:
                return _greets(connection)
            with ssl.create_default_context().wrap_socket(connection, server_hostname=address[0]) as wrapped:
                return _greets(wrapped)
    except OSError:
        return False


def _greets(connection: socket.socket) -> bool:
    connection.sendall(b"AMQP\x00\x00\x09\x01")
    with connection.makefile("rb") as stream:
        head, method = stream.read(7), stream.read(4)  # type, channel, size; class, method
    return head[:3] == b"\x01\x00\x00" and method == b"\x00\x0a\x00\x0a"


def _accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def _installed_scripts() -> Path | None:
    """Return the folder of rabbitmq-server and rabbitmqctl, if they are installed."""
    if (DEBIAN_SCRIPTS / "rabbitmq-server").exists():
        return DEBIAN_SCRIPTS
    found = shutil.which("rabbitmq-server")
    return Path(found).resolve().parent if found else None
