"""A private RabbitMQ node, from an installed rabbitmq-server, or in a container where only Docker is at hand.

Knows how a node is kept apart from any other on the machine: its ports, its name, its cookie, its epmd. Knows nothing
of exchanges and queues.
"""

import fcntl
import os
import secrets
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from ops.local_child import Child, LocalServerError, free_port
from ops.local_guard import Guard

START_SECONDS = 60.0
"""A node takes 3 to 6 s on two idle cores; a container is given the same, after its image is there."""

STOP_SECONDS = 30.0
"""A stop closes connections and writes its queues; after this it is killed."""

INSTALL_SECONDS = 600.0
"""apt fetches about 60 MB, most of it Erlang; docker pulls about 130 MB."""

IMAGE = "rabbitmq:4.2"
"""The same as in docker-compose.yml; a test compares."""

INSTALL_LOCK = Path(tempfile.gettempdir()) / "provisioner-installs.lock"
HOW_TO_INSTALL = "apt-get install -y rabbitmq-server"

# The scripts behind the ones in sbin, which refuse everybody but root, and change the user when root.
DEBIAN_SCRIPTS = Path("/usr/lib/rabbitmq/bin")

CONFIGURATION = """\
listeners.tcp.default = 127.0.0.1:{port}
log.console = true
log.console.level = info
log.file = false
"""


class RabbitServer(Protocol):
    """A RabbitMQ that is ours alone, on a port of 127.0.0.1, with the user guest."""

    @property
    def url(self) -> str:
        """Of the vhost `/`; another vhost is another path."""
        ...

    @property
    def port(self) -> int:
        """Where it takes AMQP connections."""
        ...

    @property
    def node(self) -> str:
        """The name of the Erlang node."""
        ...

    @property
    def pid(self) -> int:
        """Of the Erlang machine.

        Raises:
            LocalServerError: it is stopped.
        """
        ...

    def ctl(self, *arguments: str) -> str:
        """Return what `rabbitmqctl ARGUMENTS` prints. Each call takes about a second: it starts an Erlang of its own.

        Raises:
            LocalServerError: it did not succeed; with what it said.
        """
        ...

    def start(self) -> None:
        """Start it on its ports and data, and return when it takes connections.

        Raises:
            LocalServerError: it runs already, or it did not start; with the end of its log.
        """
        ...

    def stop(self) -> None:
        """Stop it in good order. Stopped already is fine."""
        ...

    def kill(self) -> None:
        """End it as a power cut would."""
        ...


class InstalledRabbit:
    """A node run by the rabbitmq-server that is installed here, as whoever we are. Stands for `RabbitServer`."""

    def __init__(self, scripts: Path, folder: Path, guard: Guard) -> None:
        self.port = free_port()
        self.node = f"{folder.name}@localhost"
        self.log = folder / "rabbitmq.log"
        self._scripts = scripts
        self._folder = folder
        self._guard = guard
        self._epmd_port = free_port()
        self._epmd: Child | None = None
        self._child: Child | None = None
        cookie = folder / ".erlang.cookie"
        cookie.write_text(secrets.token_hex(16))
        cookie.chmod(0o400)
        (folder / "rabbitmq.conf").write_text(CONFIGURATION.format(port=self.port))
        (folder / "enabled_plugins").write_text("[].\n")
        (folder / "environment").touch()
        self._environment = self._make_environment()

    @property
    def url(self) -> str:
        """Of the vhost `/`."""
        return f"amqp://guest:guest@127.0.0.1:{self.port}/"

    @property
    def pid(self) -> int:
        """Of the Erlang machine: the script gives way to it, so it is the process that we started."""
        if self._child is None or not self._child.is_running():
            raise LocalServerError("the private RabbitMQ is stopped; start() starts it")
        return self._child.pid

    def ctl(self, *arguments: str) -> str:
        """Return what `rabbitmqctl ARGUMENTS` prints."""
        command = [str(self._scripts / "rabbitmqctl"), "--quiet", *arguments]
        return _run(command, self._environment, within_seconds=START_SECONDS)

    def start(self) -> None:
        """Start it on its ports and data, and return when it takes connections."""
        if self._child is not None and self._child.is_running():
            raise LocalServerError(f"the private RabbitMQ runs already, as process {self._child.pid}")
        self._start_epmd()
        self._child = self._run("the private RabbitMQ", [str(self._scripts / "rabbitmq-server")], self.log)
        # Its listeners are the last thing that a booting node opens: who is answered there can work.
        self._child.wait_until(lambda: answers_amqp(self.url), within_seconds=START_SECONDS)

    def stop(self) -> None:
        """Stop it in good order."""
        if self._child is not None:
            self._child.end(signal.SIGTERM, within_seconds=STOP_SECONDS)

    def kill(self) -> None:
        """End it as a power cut would."""
        if self._child is not None:
            self._child.end(signal.SIGKILL)

    def end(self) -> None:
        """End it and its epmd: its data go with it, so there is no reason to be polite."""
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
        self._epmd.wait_until(lambda: _accepts(self._epmd_port), within_seconds=5)

    def _run(self, name: str, command: list[str], log: Path) -> Child:
        return Child(
            name,
            command,
            folder=self._folder,
            log=log,
            environment=self._environment,
            account=None,
            guard=self._guard,
        )

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
            # Makes the script give way to the Erlang machine, instead of standing between it and our signals; the
            # input that it then allows is taken back below.
            "RABBITMQ_ALLOW_INPUT": "1",
            # The port between nodes on loopback too, and no spinning: two cores are shared with what is tested.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
                "-noinput -kernel inet_dist_use_interface {127,0,0,1} -start_epmd false"
                " +sbwt none +sbwtdcpu none +sbwtdio none"
            ),
        }


class DockerRabbit:
    """A node in a container, where no rabbitmq-server is installed. Stands for `RabbitServer`."""

    def __init__(self, name: str) -> None:
        self.port = free_port()
        self.node = f"rabbit@{name}"
        self._name = name

    @property
    def url(self) -> str:
        """Of the vhost `/`."""
        return f"amqp://guest:guest@127.0.0.1:{self.port}/"

    @property
    def pid(self) -> int:
        """Of the container's first process, as this machine counts."""
        pid = int(self._docker("inspect", "--format", "{{.State.Pid}}", self._name))
        if pid == 0:
            raise LocalServerError("the private RabbitMQ is stopped; start() starts it")
        return pid

    def create(self) -> None:
        """Make the container; its image is pulled if it is not here."""
        address = f"127.0.0.1:{self.port}:5672"
        self._docker("create", "--name", self._name, "--hostname", self._name, "--publish", address, IMAGE)

    def ctl(self, *arguments: str) -> str:
        """Return what `rabbitmqctl ARGUMENTS` prints."""
        return self._docker("exec", self._name, "rabbitmqctl", "--quiet", *arguments)

    def start(self) -> None:
        """Start it on its port and data, and return when it takes connections."""
        self._docker("start", self._name)
        # Docker's own proxy accepts before the node does, so an open port would say nothing.
        self.ctl("await_startup", "--timeout", f"{START_SECONDS:g}")
        if not answers_amqp(self.url):
            raise LocalServerError(f"the container {self._name} has started, but its port {self.port} does not answer")

    def stop(self) -> None:
        """Stop it in good order."""
        self._docker("stop", "--time", f"{STOP_SECONDS:g}", self._name)

    def kill(self) -> None:
        """End it as a power cut would."""
        self._docker("kill", self._name)

    def end(self) -> None:
        """Remove it with its data."""
        self._docker("rm", "--force", "--volumes", self._name)

    @staticmethod
    def _docker(*arguments: str) -> str:
        return _run(["docker", *arguments], dict(os.environ), within_seconds=INSTALL_SECONDS)


@contextmanager
def private_rabbitmq() -> Iterator[RabbitServer]:
    """Run a RabbitMQ of our own, as root or not; its data go with it.

    Raises:
        LocalServerError: there is neither a rabbitmq-server nor a Docker to run one, or it did not start.
    """
    scripts = _installed_scripts()
    if scripts is None:
        with _docker_rabbitmq() as container:
            yield container
        return
    folder = Path(tempfile.mkdtemp(prefix="rabbit-"))
    guard = Guard(folder)
    server = None
    try:
        server = InstalledRabbit(scripts, folder, guard)
        server.start()
        yield server
    finally:
        if server is not None:
            server.end()
        guard.dismiss()


def ensure_rabbitmq_installed(*, may_install: bool) -> None:
    """Return when `private_rabbitmq` has something to run; install it with apt when we may, and are root.

    The package's own service is not started: whoever wanted one would not have asked us.

    Raises:
        LocalServerError: it is missing and cannot be had; the text names the command that installs it.
    """
    if _installed_scripts() is not None:
        return
    if may_install and os.geteuid() == 0 and shutil.which("apt-get"):
        with INSTALL_LOCK.open("w") as lock:  # one of several test processes installs, the others wait for it
            fcntl.flock(lock, fcntl.LOCK_EX)
            if _installed_scripts() is None:
                _install_with_apt()
        if _installed_scripts() is not None:
            return
    if not _docker_works():
        raise LocalServerError(_missing())


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


def _install_with_apt() -> None:
    print(f"RabbitMQ is not installed; installing it with: {HOW_TO_INSTALL}", flush=True)  # noqa: T201 - takes a while
    environment = dict(os.environ) | {"DEBIAN_FRONTEND": "noninteractive"}
    apt = ["apt-get", "-qq", "-o", "DPkg::Lock::Timeout=120"]
    with _services_left_alone():
        _run([*apt, "update"], environment, within_seconds=INSTALL_SECONDS)
        command = [*apt, "install", "-y", "--no-install-recommends", "rabbitmq-server"]
        _run(command, environment, within_seconds=INSTALL_SECONDS)


@contextmanager
def _services_left_alone() -> Iterator[None]:
    """Have Debian's packages not start what they install: 101 is the policy's word for `not allowed`."""
    policy = Path("/usr/sbin/policy-rc.d")
    if policy.exists():
        yield
        return
    policy.write_text("#!/bin/sh\nexit 101\n")
    policy.chmod(0o755)
    try:
        yield
    finally:
        policy.unlink()


@contextmanager
def _docker_rabbitmq() -> Iterator[RabbitServer]:
    if not _docker_works():
        raise LocalServerError(_missing())
    server = DockerRabbit(f"provisioner-rabbit-{secrets.token_hex(4)}")
    server.create()
    try:
        server.start()
        yield server
    finally:
        server.end()


def _docker_works() -> bool:
    if shutil.which("docker") is None:
        return False
    try:
        _run(["docker", "info"], dict(os.environ), within_seconds=20)
    except LocalServerError:
        return False
    return True


def _missing() -> str:
    as_root = "" if os.geteuid() == 0 else " (as root)"
    return f"RabbitMQ is missing, and no Docker runs here; install it with: {HOW_TO_INSTALL}{as_root}"


def _run(command: list[str], environment: dict[str, str], *, within_seconds: float) -> str:
    try:
        result = subprocess.run(  # noqa: S603 - this project's own commands
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=within_seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise LocalServerError(f"`{' '.join(command)}` did not end within {within_seconds:g} s") from error
    if result.returncode != 0:
        said = result.stdout.strip()
        raise LocalServerError(f"`{' '.join(command)}` ended with exit code {result.returncode}:\n{said}")
    return result.stdout
