"""What other users of the machine can do with the servers of demo and tests: nothing. As root, the other user is one
that many programs run as; run by anybody else, what is tried is the same, and who may enter a folder is read off it."""

import json
import os
import pwd
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from ops.sandbox.child_process import run_program
from ops.sandbox.postgres import PostgresServer, private_postgres
from ops.sandbox.rabbitmq import RabbitServer, private_rabbitmq

SECONDS = 60
LOOPBACK = {"0100007F", "00000000000000000000000001000000"}
"""127.0.0.1 and ::1, as Linux writes them; Erlang's name service takes the second by itself."""
IS_ROOT = os.geteuid() == 0

ATTEMPTS = r"""
import encodings.idna, json, os, socket, struct, sys

user, group = map(int, sys.argv[1:])
if os.geteuid() == 0:  # only now: a Python below /root can be started by root alone
    os.setgroups([])
    os.setgid(group)
    os.setuid(user)

def postgres(port, user):
    "The kind of the server's first answer: 0 is 'you are in', 10 asks for proof of a password; or its error."
    with socket.create_connection(("127.0.0.1", port), timeout=60) as there:
        said = b"user\0" + user.encode() + b"\0database\0postgres\0\0"
        there.sendall(struct.pack("!II", 8 + len(said), 3 << 16) + said)
        head = there.recv(9, socket.MSG_WAITALL)
        return struct.unpack("!I", head[5:])[0] if head[:1] == b"R" else head[:1].decode()

def amqp(port, user, password):
    "The method that answers a login: 30 is connection.tune, 'you are in'; 50 is connection.close; None: it hangs up."
    with socket.create_connection(("127.0.0.1", port), timeout=60) as there, there.makefile("rb") as stream:
        there.sendall(b"AMQP\0\0\x09\x01")
        def method():
            try: head = stream.read(7)
            except ConnectionResetError: head = b""
            if len(head) < 7: return None
            body = stream.read(struct.unpack("!I", head[3:])[0] + 1)
            return struct.unpack("!H", body[2:4])[0]
        assert method() == 10
        login = b"\0" + user.encode() + b"\0" + password.encode()
        body = struct.pack("!HHI", 10, 11, 0) + b"\x05PLAIN" + struct.pack("!I", len(login)) + login + b"\x05en_US"
        there.sendall(struct.pack("!BHI", 1, 0, len(body)) + body + b"\xce")
        return method()

def opens(path):
    "Whether a file, a folder or a socket can be read or used."
    try:
        if path.startswith("@"):
            with socket.socket(socket.AF_UNIX) as there: there.connect(path[1:])
        elif os.path.isdir(path): os.listdir(path)
        else: open(path, "rb").close()
    except OSError as error: return type(error).__name__
    return "open"

tried = {"postgres": postgres, "amqp": amqp, "opens": opens}
print(json.dumps([tried[name](*arguments) for name, *arguments in json.loads(sys.stdin.read())]))
"""


def attempts(*asked: tuple[Any, ...]) -> list[Any]:
    """Let another user try something, each in its turn; return what came of it."""
    nobody = pwd.getpwnam("nobody")
    ran = subprocess.run(
        [sys.executable, "-I", "-c", ATTEMPTS, str(nobody.pw_uid), str(nobody.pw_gid)], input=json.dumps(asked),
        capture_output=True, text=True, cwd="/", env={}, timeout=SECONDS, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    found: list[Any] = json.loads(ran.stdout)
    return found


def assert_closed(folder: Path, *more: str) -> None:
    """No file below a folder, and no socket, can be opened by another user."""
    files = [str(path) for path in folder.rglob("*")]
    assert len(files) > 3, "nothing was looked at"
    if IS_ROOT:
        asked = [str(folder), *files, *more, *(f"@{path}" for path in files if ".s.PGSQL" in path)]
        answers = attempts(*(("opens", path) for path in asked))
        assert [path for path, answer in zip(asked, answers, strict=True) if answer == "open"] == []
    assert stat.S_IMODE(folder.stat().st_mode) & 0o067 == 0, "others can enter it"


@pytest.fixture(scope="module")
def postgres_of_somebody() -> Iterator[PostgresServer]:
    """A server that another user of the machine tries to use."""
    with private_postgres() as server:
        yield server


@pytest.fixture(scope="module")
def rabbitmq_of_somebody() -> Iterator[RabbitServer]:
    """A node that another user of the machine tries to use."""
    with private_rabbitmq() as server:
        yield server


def test_postgres_takes_nobody_without_the_password(postgres_of_somebody: PostgresServer) -> None:
    """PostgreSQL asks everybody for the password: its superuser can run programs as the server's account."""
    answers = attempts(*(("postgres", postgres_of_somebody.port, user) for user in ("postgres", "root", "nobody")))
    assert answers == [10, 10, 10]


def test_nobody_else_reads_what_postgres_keeps(postgres_of_somebody: PostgresServer) -> None:
    """Not its data, its log or its socket, nor the memory and environment of its process: also not another program
    that runs as `nobody`, as it does where root has started it."""
    server = postgres_of_somebody
    process = f"/proc/{server.pid}"
    assert_closed(server.log.parent, *(f"{process}/{name}" for name in ("environ", "mem", "maps", "fd/1", "cwd")))


def test_every_password_is_another(postgres_of_somebody: PostgresServer) -> None:
    """Each server has a password of its own, and none is in the arguments of a process, which everybody can read."""
    password = urlsplit(postgres_of_somebody.url).password
    with private_postgres() as other:
        assert urlsplit(other.url).password != password
        assert password
        assert len(password) == 32
        assert not any(password.encode() in line for line in command_lines())


def test_the_broker_takes_nobody_without_the_password(rabbitmq_of_somebody: RabbitServer) -> None:
    """RabbitMQ refuses its default password and an empty one, and accepts the random one."""
    port = rabbitmq_of_somebody.port
    good = urlsplit(rabbitmq_of_somebody.url)
    asked = [("amqp", port, "guest", password) for password in ("guest", "", good.password)]
    guest, empty, ours = attempts(*asked)
    assert (ours, guest in (None, 50), empty in (None, 50)) == (30, True, True)


def test_nobody_else_reads_what_the_broker_keeps(rabbitmq_of_somebody: RabbitServer) -> None:
    """Another user cannot read RabbitMQ's password, its node's cookie, or its messages."""
    server = rabbitmq_of_somebody
    assert_closed(server.log.parent, f"/proc/{server.pid}/environ")
    for word in ((server.log.parent / ".erlang.cookie").read_text(), urlsplit(server.url).password or ""):
        assert len(word) == 32
        assert not any(word.encode() in line for line in command_lines())


def test_nobody_else_commands_the_node(rabbitmq_of_somebody: RabbitServer, tmp_path: Path) -> None:
    """A node does whatever another one says that knows its cookie; whoever does not is refused, by name and port."""
    server = rabbitmq_of_somebody
    assert server.ctl("eval", "1 + 1.").strip() == "2"
    command = [str(server._scripts / "rabbitmqctl"), "--quiet", "eval", "1 + 1."]
    stranger = server._environment | {"HOME": "/tmp", "RABBITMQ_ERLANG_COOKIE": "A" * 32}
    ran = run_program(command, stranger, within_seconds=SECONDS)
    assert ran.returncode != 0
    assert "TCP connection succeeded but Erlang distribution failed" in ran.stdout, ran.stdout


def test_no_port_is_open_to_other_machines(
    postgres_of_somebody: PostgresServer, rabbitmq_of_somebody: RabbitServer
) -> None:
    """All ports listen on loopback alone: the servers', the one between Erlang nodes, that of their name service."""
    environment = rabbitmq_of_somebody._environment
    wanted = {
        postgres_of_somebody.port, rabbitmq_of_somebody.port, int(environment["RABBITMQ_DIST_PORT"]),
        int(environment["ERL_EPMD_PORT"]),
    }  # fmt: skip
    of_interest = [(address, port) for address, port in listeners() if port in wanted]
    assert {port for _, port in of_interest} == wanted
    assert {address for address, _ in of_interest} <= LOOPBACK


def command_lines() -> list[bytes]:
    """Return the arguments of every process of the machine."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(path.read_bytes())
        except OSError:  # it has ended
            continue
    assert len(lines) > 1
    return lines


def listeners() -> list[tuple[str, int]]:
    """Return address and port of all that listens by TCP, as Linux writes them."""
    rows = [line.split() for file in ("tcp", "tcp6") for line in Path(f"/proc/net/{file}").read_text().splitlines()]
    places = [row[1].split(":") for row in rows if len(row) > 3 and row[3] == "0A"]
    return [(address, int(port, 16)) for address, port in places]
