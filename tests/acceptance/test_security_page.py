"""What docs/security.md says of encryption and secrets works as it stands there, and keeps out whoever lacks a part."""

import asyncio
import re
import ssl
import struct
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from ops.sandbox.child_process import free_port
from ops.sandbox.rabbitmq import RabbitServer, private_rabbitmq
from tests.acceptance.test_command_line import Answer, CommandLine
from tests.source_tree import ROOT

PAGE = (ROOT / "docs" / "security.md").read_text()
BLOCKS = re.findall(r"```(?:sh|ini|text)\n(.*?)```", PAGE, re.DOTALL)
HOST = "localhost"
SSL_REQUEST = struct.pack("!II", 8, 80877103)
"""By which a client of PostgreSQL asks for TLS; the answer is S or N."""
WORKER = "provisioner-worker"


def block(beginning: str) -> str:
    """Return the block of the page that begins so, with the host of this test."""
    (found,) = [text for text in BLOCKS if text.startswith(beginning)]
    return str(found).replace("HOST", HOST)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with what the page's commands make, and the same of another authority in `other`."""
    folder = tmp_path_factory.mktemp("certificates")
    (folder / "other").mkdir()
    for place in (folder, folder / "other"):
        subprocess.run(["bash", "-euc", block("openssl req")], cwd=place, check=True, capture_output=True, timeout=60)
        assert (place / f"{WORKER}.key").stat().st_mode & 0o077 == 0
    return folder


@pytest.fixture(scope="module")
def broker(certificate: Path) -> Iterator[tuple[RabbitServer, int]]:
    """A node with the page's settings; its port with TLS. The other port stays, by which it is seen to be up."""
    settings = block("listeners.tcp").replace("/etc/provisioner", str(certificate))
    with private_rabbitmq() as server:
        port = free_port()
        server.stop()
        settings = settings.replace("listeners.tcp = none\n", "").replace("= 5671", f"= 127.0.0.1:{port}")
        assert "5671" not in settings
        with (server.log.parent / "rabbitmq.conf").open("a") as file:
            file.write(settings)
        server.start()
        yield server, port


@asynccontextmanager
async def tls_in_front(port: int, certificate: Path) -> AsyncIterator[int]:
    """End TLS before a PostgreSQL that has none, as the page's settings have it: with certificates of both ends."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=certificate / "ca.pem")
    context.load_cert_chain(certificate / f"{HOST}.pem", certificate / f"{HOST}.key")
    context.verify_mode = ssl.CERT_REQUIRED

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while piece := await reader.read(65536):
                writer.write(piece)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if await reader.readexactly(len(SSL_REQUEST)) != SSL_REQUEST:
                return
            writer.write(b"S")
            await writer.start_tls(context)
            behind_reader, behind_writer = await asyncio.open_connection("127.0.0.1", port)
            await asyncio.gather(pump(reader, behind_writer), pump(behind_reader, writer))
        except (OSError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


class Addresses:
    """The page's two addresses, leading to the servers of this test."""

    def __init__(self, database: tuple[str, int], broker: tuple[RabbitServer, int], certificate: Path) -> None:
        database_url, database_port = database
        server, port = broker
        inside, ours = urlsplit(database_url), urlsplit(server.url)
        one, two = block("postgresql://").splitlines()
        self.database = (
            one.replace("provisioner_worker:PASSWORD", f"{inside.username}:{inside.password}")
            .replace(":5432/provisioner", f":{database_port}{inside.path}")
            .replace("/etc/provisioner", str(certificate))
        )
        self.amqp = (
            two.replace(f"{WORKER}:PASSWORD", f"{ours.username}:{ours.password}")
            .replace(":5671/provisioning", f":{port}/")
            .replace("/etc/provisioner", str(certificate))
        )


async def init(folder: Path, database: str, amqp: str, namespace: str) -> Answer:
    """Run `init` with addresses that are in files, as the page's commands put them there."""
    script = f"{block('umask')}\nenv | grep ^PROVISIONER_"
    ran = subprocess.run(
        ["bash", "-euc", script], env={"PATH": "/usr/bin:/bin", "DATABASE_URL": database, "AMQP_URL": amqp}, cwd=folder,
        check=True, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert all(file.stat().st_mode & 0o077 == 0 for file in (folder / "secrets", *(folder / "secrets").iterdir()))
    settings = dict(line.split("=", 1) for line in ran.stdout.splitlines())
    assert settings.keys() == {"PROVISIONER_DATABASE_URL_FILE", "PROVISIONER_AMQP_URL_FILE"}
    return await CommandLine(folder, settings | {"PROVISIONER_NAMESPACE": namespace})("init", "--own")


async def test_both_ends_show_certificates(
    empty_database_url: str, broker: tuple[RabbitServer, int], certificate: Path, tmp_path: Path
) -> None:
    """Schema and queues are made over TLS; no password, and no address, is in what is printed."""
    port = urlsplit(empty_database_url).port or 0
    async with tls_in_front(port, certificate) as front:
        addresses = Addresses((empty_database_url, front), broker, certificate)
        answer = await init(tmp_path, addresses.database, addresses.amqp, "t")
        assert answer.code == 0, answer
        assert str(urlsplit(empty_database_url).password) not in answer.out + answer.err
        assert "t.signups" in broker[0].ctl("list_queues", "name")


LACKING = {
    "no certificate of the client": (r"&(sslcert|sslkey|certfile|keyfile)=[^&]*", ""),
    "another authority's client": (r"(sslcert|sslkey|certfile|keyfile)=(\S*?)/(provisioner-worker)", r"\1=\2/other/\3"),
    "another authority's server": (r"(sslrootcert|cacertfile)=(\S*?)/ca.pem", r"\1=\2/other/ca.pem"),
    "another host": (f"@{HOST}:", "@127.0.0.1:"),
}


@pytest.mark.parametrize("server", ["database", "amqp"])
@pytest.mark.parametrize("lacking", LACKING)
async def test_who_lacks_a_part_is_refused(  # noqa: PLR0917 - fixtures
    empty_database_url: str, broker: tuple[RabbitServer, int], certificate: Path, tmp_path: Path, server: str,
    lacking: str,
) -> None:  # fmt: skip
    """The client whom the servers do not know, and the server whom the client does not: one line, and exit code 3."""
    async with tls_in_front(urlsplit(empty_database_url).port or 0, certificate) as front:
        addresses = Addresses((empty_database_url, front), broker, certificate)
        good = getattr(addresses, server)
        setattr(addresses, server, re.sub(*LACKING[lacking], good))
        assert getattr(addresses, server) != good
        answer = await init(tmp_path, addresses.database, addresses.amqp, "r")
        assert (answer.code, answer.err.count("\n")) == (3, 1), answer
