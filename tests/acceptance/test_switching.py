"""The Ruby code of docs/switching.md, as the Rails team runs it: on ActiveRecord and bunny, against workers."""

import asyncio
import os
import re
import socket
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aio_pika
import asyncpg
import pytest
import pytest_asyncio

from tests import existing_product
from tests.acceptance.test_command_line import SECONDS, CommandLine, command_line
from tests.console.conftest import FOLLOW, OPERATOR, SIGNUP
from tests.console.test_program import free_port, run
from tests.existing_product import CHAIN, IDS, LOCKED, ROLE, STATES
from tests.foreign_client import foreign_client
from tests.service import history_of
from tests.system_packages import program
from tests.worker_processes import listens, until, worker_processes

__all__ = ["command_line"]

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "switching.md").read_text()
FILES = dict(re.findall(r"```ruby\n# (\S+\.rb)\n(.*?)```", PAGE, re.DOTALL))
"""The code of the page, by the name of the file in which it belongs."""
PRODUCT = Path(__file__).with_name("rails_product.rb")
AS_PRODUCT = f"ActiveRecord::Base.connection.execute('SET ROLE {ROLE}'); "
SEEDED = ["seed_pages!", "seed_page_parts!", "seed_content!", "verification e-mail"]


@dataclass
class Rails:
    """The product: runs Ruby code after that of the page, as the role by which the product connects."""

    command_line: CommandLine
    connection: Any
    environment: dict[str, str]
    processes: list[asyncio.subprocess.Process] = field(default_factory=list)

    @property
    def queue(self) -> str:
        """The queue of its subscriber."""
        return f"{self.environment['PROVISIONER_NAMESPACE']}.product"

    async def start(self, code: str, **environment: str) -> asyncio.subprocess.Process:
        """Start Ruby."""
        process = await asyncio.create_subprocess_exec(
            program("ruby") or "ruby", "-r", str(PRODUCT), "-e", AS_PRODUCT + code,
            env=os.environ | self.environment | environment, cwd=self.command_line.folder,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        self.processes.append(process)
        return process

    async def __call__(self, code: str, expect: str = "", code_at_end: int = 0, **environment: str) -> str:
        """Run code to its end; return what it printed. `expect` is a pattern of what it logs, by default nothing."""
        process = await self.start(code, **environment)
        async with asyncio.timeout(SECONDS):
            out, err = await process.communicate()
        assert (process.returncode, bool(re.search(expect, err.decode()))) == (code_at_end, True), err.decode()
        assert expect or not err, err.decode()
        return out.decode().strip()

    async def sign_up(self, subdomain: str, **options: str) -> int:
        """Sign up as `configure_site` does; return the website's id."""
        seed_pack = f"'{options.pop('seed_pack')}'" if "seed_pack" in options else "nil"
        configure = f"Pwb::Website.configure(subdomain: '{subdomain}', seed_pack_name: {seed_pack})"
        return int(await self(f"puts {configure}.id", **options))

    async def state(self, website_id: int) -> str:
        """Return a website's state."""
        sql = "SELECT provisioning_state FROM pwb_websites WHERE id = $1"
        found: str = await self.connection.fetchval(sql, website_id)
        return found

    async def reaches(self, website_id: int, state: str) -> None:
        """Wait until a website is in a state."""

        async def there() -> bool:
            return await self.state(website_id) == state

        await until(there, SECONDS, f"website {website_id} {state}")

    async def notes(self, website_id: int) -> list[str]:
        """Return what the product did when an event came."""
        sql = "SELECT text FROM pwb_notes WHERE website_id = $1 ORDER BY id"
        return [record["text"] for record in await self.connection.fetch(sql, website_id)]


@pytest.fixture
def ruby(tmp_path: Path) -> Path:
    """A folder with the code of the page. Its name is that by which tests/system_packages.py knows who needs Ruby."""
    for name, text in FILES.items():
        (tmp_path / "rails" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "rails" / name).write_text(text)
    return tmp_path / "rails"


@pytest_asyncio.fixture
async def rails(
    ruby: Path, command_line: CommandLine, empty_database_url: str, amqp_url: str, namespace: str
) -> AsyncIterator[Rails]:
    """The product at its database after `init --guest` and the migrations of the page; it publishes from now on."""
    connection = await asyncpg.connect(empty_database_url)
    await existing_product.fill(connection)
    await connection.execute("CREATE TABLE pwb_notes (id serial PRIMARY KEY, website_id integer, text varchar)")
    await existing_product.make_role(connection, ROLE)
    command_line.environment["PROVISIONER_DATABASE_URL"] = empty_database_url
    await command_line.good("init", "--guest")
    since = (datetime.now(UTC) - timedelta(minutes=1)).isoformat()
    product = Rails(command_line, connection, {
        "APP": str(ruby), "PRODUCT_DATABASE_URL": empty_database_url, "PROVISIONER_AMQP_URL": amqp_url,
        "PROVISIONER_NAMESPACE": namespace, "PROVISIONING_FROM": since,
    })  # fmt: skip
    migrations = sorted(name for name in FILES if name.startswith("db/migrate/"))
    migrate = "; ".join(
        f"require '{ruby}/{name}'; {camel(name)}.new.exec_migration(ActiveRecord::Base.connection, :up)"
        for name in migrations
    )
    await product(f"ActiveRecord::Base.connection.execute('RESET ROLE'); {migrate}")
    await existing_product.make_role(connection, ROLE)
    yield product
    for process in product.processes:
        if process.returncode is None:
            process.kill()
            await process.wait()
    await connection.close()
    async with await aio_pika.connect(amqp_url) as broker:
        await (await broker.channel()).queue_delete(product.queue)


def camel(path: str) -> str:
    """Return the class of a migration, by its file's name."""
    words = Path(path).stem.split("_")[1:]
    return "".join(word.capitalize() for word in words)


async def start_subscriber(rails: Rails, amqp_url: str, before: str = "") -> asyncio.subprocess.Process:
    """Start the page's subscriber in a process of its own; return it once it consumes."""
    process = await rails.start(f"{before}; ProvisioningEvents.run")

    async def consuming() -> bool:
        assert process.returncode is None, await process.communicate()
        async with await aio_pika.connect(amqp_url) as connection:
            try:
                queue = await (await connection.channel()).declare_queue(rails.queue, passive=True)
            except aio_pika.exceptions.ChannelClosed:
                return False
            return bool(queue.declaration_result.consumer_count)

    await until(consuming, SECONDS, "the subscriber consumes")
    return process


@asynccontextmanager
async def console(rails: Rails) -> AsyncIterator[None]:
    """Run `provisioner console`, and give its address and tokens to the product."""
    port = free_port()
    settings = {
        "PORT": str(port), "OPERATOR_TOKENS": f"product={OPERATOR}", "SIGNUP_TOKENS": f"signup={SIGNUP}",
        "FOLLOW_SECRETS": FOLLOW,
    }  # fmt: skip
    environment = {f"PROVISIONER_CONSOLE_{name}": value for name, value in settings.items()}
    environment |= rails.command_line.environment
    process = await run(rails.command_line.folder, "console", **environment)
    rails.processes.append(process)
    rails.environment |= {
        "PROVISIONING_CONSOLE_URL": f"http://127.0.0.1:{port}", "PROVISIONING_OPERATOR_TOKEN": OPERATOR,
        "PROVISIONING_SIGNUP_TOKEN": SIGNUP,
    }  # fmt: skip

    async def listening() -> bool:
        assert process.returncode is None, await process.communicate()
        return await listens(port)

    await until(listening, SECONDS, "the console listens")
    yield


@pytest.mark.usefixtures("durable")
async def test_signups_of_the_product_and_what_it_does_on_their_events(
    rails: Rails, amqp_url: str, namespace: str
) -> None:
    """A signup is provisioned and held at ready; the product seeds pages, locks it and sends the e-mail, once, and
    takes it live. Where the subscriber raises, the event comes again; what fails is requeued by the console's API."""
    tools = rails.command_line
    packs, database = tools.environment["PROVISIONER_PACKS_DIR"], tools.environment["PROVISIONER_DATABASE_URL"]
    async with (
        worker_processes(tools.folder, database, amqp_url, namespace, PROVISIONER_PACKS_DIR=packs) as workers,
        console(rails),
    ):
        await workers.start()
        found = (await tools.good("doctor", "--json")).json["findings"]
        levels = {each["level"] for each in found if each["area"] == "schema"}
        assert levels == {"ok"}, "the default that the page changes is the product's to choose"
        broken = "Pwb::SeedPack.define_singleton_method(:find) { |_| raise 'no pack today' }"
        subscriber = await start_subscriber(rails, amqp_url, broken)
        website_id = await rails.sign_up("sunny-meadow")
        async with asyncio.timeout(SECONDS):
            _, err = await subscriber.communicate()
        assert (subscriber.returncode, b"no pack today" in err) == (1, True)
        assert (await rails.state(website_id), await rails.notes(website_id)) == ("ready", [])
        subscriber = await start_subscriber(rails, amqp_url)
        await rails.reaches(website_id, "locked_pending_email_verification")
        assert await rails.notes(website_id) == SEEDED
        history = await history_of(rails.connection, website_id)
        assert (history[0]["from_state"], history[0]["message_id"]) == ("owner_assigned", id_of(website_id))
        assert [(row["to_state"], row["actor"]) for row in history[-2:]] == [
            ("ready", None), ("locked_pending_email_verification", "product"),
        ]  # fmt: skip
        find = f"website = Pwb::Website.find({website_id}); "
        await rails(find + "website.verify_owner_email!; website.complete_owner_registration!")
        assert (await history_of(rails.connection, website_id))[-1]["trigger"] == "complete_owner_registration"

        doomed = await rails.sign_up("doomed", seed_pack="doomed")
        await rails.reaches(doomed, "failed")
        find = f"website = Pwb::Website.find({doomed}); "
        act = "ProvisionerConsole.act('{}', website, reason: 'pack changed')"
        answer = await rails(find + "website.update!(seed_pack_name: nil); puts " + act.format("requeue") + "['sent']")
        assert answer == "true"
        await rails.reaches(doomed, "locked_pending_email_verification")
        error = "Links creation failed - need at least 3, have 2"
        assert await rails.notes(doomed) == [f"provisioning_failed: {error}", *SEEDED]
        assert (await history_of(rails.connection, doomed))[2]["actor"] == "guest/console:product"
        refused = (
            f"begin; {act.format('requeue')}; rescue ProvisionerConsole::Refused => error; puts error.message; end"
        )
        assert "a state of the existing product's own" in await rails(find + refused)
        assert f"/api/websites/{doomed}/provisioning/events?token=" in await rails(
            find + "puts ProvisionerConsole.events_url(website)"
        )

        # All events once more, and then a new website's, which come after them.
        await tools.good("events", "replay", "--since", "1h")
        last = await rails.sign_up("last")
        await rails.reaches(last, "locked_pending_email_verification")
        assert await rails.notes(website_id) == SEEDED, "a copy does nothing"
        assert len(await rails.notes(doomed)) == 5
        assert subscriber.returncode is None


async def test_a_signup_whose_message_is_lost_is_published_again(rails: Rails, amqp_url: str, namespace: str) -> None:
    """Nothing is published before the COMMIT or without one. Where the broker is away, or the process dies after the
    COMMIT, the signup stands; its message comes later with the id that it would have had, and as often as one likes."""
    tools = rails.command_line
    async with foreign_client(amqp_url, namespace) as client:
        signups = f"{namespace}.signups"
        await rails("""Pwb::Website.transaction do
            Pwb::Website.configure(subdomain: 'rolled-back')
            raise ActiveRecord::Rollback
        end""")
        early, late = datetime.now(UTC) + timedelta(hours=1), datetime.now(UTC) - timedelta(seconds=30)
        await rails.sign_up("before", PROVISIONING_FROM=early.isoformat())
        await rails.sign_up("after", PROVISIONING_UNTIL=late.isoformat())
        assert await client.count(signups) == 0
        dies = "Provisioner.define_singleton_method(:website_created) { |_| exit!(9) }; "
        await rails(dies + "Pwb::Website.configure(subdomain: 'dies')", code_at_end=9)
        configure = "Pwb::Website.configure(subdomain: 'away')"
        await rails(configure, "may not have reached the broker", PROVISIONER_AMQP_URL="amqp://127.0.0.1:1")
        configure = "Pwb::Website.configure(subdomain: 'silent')"
        with socket.create_server(("127.0.0.1", 0)) as silent:
            url = f"amqp://127.0.0.1:{silent.getsockname()[1]}"
            # The page's own limit, which it names; bunny by itself waits for half a minute, and says something else.
            await rails(configure, "no confirm within 5 s", PROVISIONER_AMQP_URL=url)
        missing = "ERROR.*may not have reached the broker.*nowhere"
        await rails("Pwb::Website.configure(subdomain: 'nowhere')", missing, PROVISIONER_NAMESPACE="nowhere")
        assert await client.count(signups) == 0
        # However long all that took here: none is older than what may still be on its way.
        await rails.connection.execute("UPDATE pwb_websites SET updated_at = now() AT TIME ZONE 'utc'")
        assert await rails("puts Provisioner.publish_again.size") == "0", "they may still be on their way"
        names = ["dies", "away", "silent", "nowhere"]
        await rails.connection.execute(
            "UPDATE pwb_websites SET updated_at = updated_at - interval '2 minutes' WHERE subdomain = ANY ($1)", names
        )
        for _ in range(2):
            assert await rails("puts Provisioner.publish_again.size") == "4"
        assert await client.count(signups) == 8
        database = tools.environment["PROVISIONER_DATABASE_URL"]
        async with worker_processes(tools.folder, database, amqp_url, namespace) as workers:
            await workers.start()
            for name in names:
                website_id = await rails.connection.fetchval("SELECT id FROM pwb_websites WHERE subdomain = $1", name)
                await rails.reaches(website_id, "ready")
                history = await history_of(rails.connection, website_id)
                assert (len(history), history[0]["message_id"]) == (5, id_of(website_id))
            assert await rails("puts Provisioner.publish_again.size") == "0"
        assert await client.count(f"{namespace}.dead-letters") == 0


async def test_the_old_service_must_not_be_called_for_a_website_of_this_one(rails: Rails) -> None:
    """As the page warns: what it would write is refused, and its rescue fails the website."""
    website_id = await rails.connection.fetchval(
        """INSERT INTO pwb_websites (subdomain, provisioning_state, provisioning_seq, created_at, updated_at)
           VALUES ('ours', 'links_created', 3, now(), now()) RETURNING id"""
    )
    find = f"website = Pwb::Website.find({website_id}); "
    early = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    assert await rails(find + "puts Provisioner.provisions?(website)", PROVISIONING_FROM=early) == "true"
    refused = "begin; website.change_state('agency_created'); rescue => error; puts error.message.lines.first; end; "
    answer = await rails(
        find + refused + "website.change_state('failed', provisioning_error: 'Event cannot transition')"
    )
    assert answer.endswith(f"website {website_id} cannot go from links_created to agency_created")
    assert await rails.state(website_id) == "failed"


async def test_websites_under_way_in_each_state(rails: Rails, amqp_url: str, namespace: str) -> None:
    """What becomes of websites from before `init` is what the page's table says: those on the chain go on and are held
    at ready, the locked ones stay the product's, a failed one is requeued, the others are not touched."""
    tools, before = rails.command_line, len(STATES)
    sql = "SELECT * FROM pwb_websites WHERE provisioning_state = ANY ($1) ORDER BY id"
    at_rest = [*LOCKED, "live", "suspended", "terminated"]
    untouched = await rails.connection.fetch(sql, at_rest)
    database = tools.environment["PROVISIONER_DATABASE_URL"]
    async with worker_processes(tools.folder, database, amqp_url, namespace) as workers:
        worker = await workers.start()
        asked = await rails(f"puts (1..{before}).map {{ |id| Provisioner.website_created(id) }}")
        assert asked.splitlines() == [str(id_of(number)) for number in range(1, before + 1)]
        for state in CHAIN:
            await rails.reaches(IDS[state], "ready")
            steps = [row["from_state"] for row in await history_of(rails.connection, IDS[state])]
            assert steps == list(CHAIN[CHAIN.index(state) : -1]), "each goes on from where it was"
        async with foreign_client(amqp_url, namespace) as client:

            async def two_dead_letters() -> bool:
                return await client.count(f"{namespace}.dead-letters") == 2

            await until(two_dead_letters, SECONDS, "the messages of the two locked websites")
            letters = await client.drain(f"{namespace}.dead-letters")
        assert {letter["headers"]["x-reason"] for letter in letters} == {"illegal"}
        assert await rails.state(IDS["failed"]) == "failed"
        await tools.good("requeue", str(IDS["failed"]))
        await rails.reaches(IDS["failed"], "ready")
        assert (await history_of(rails.connection, IDS["failed"]))[0]["to_state"] == "pending"
        assert await workers.stop(worker) == 0
    ids = [record["id"] for record in untouched]
    assert await rails.connection.fetch("SELECT * FROM pwb_websites WHERE id = ANY ($1) ORDER BY id", ids) == untouched
    # And the way back: nothing is published, and the product moves a website that was this service's as it likes.
    await tools.good("init", "--remove", "--yes")
    old = f"""Pwb::Website.configure(subdomain: 'old')
        abort "not the old service's" if Pwb::Website.any? {{ |website| Provisioner.provisions?(website) }}
        Pwb::Website.find({IDS["pending"]}).change_state("agency_created")"""
    await rails(old, PROVISIONING_FROM="")
    assert await rails.state(IDS["pending"]) == "agency_created"


def test_every_block_of_ruby_names_its_file() -> None:
    """So that none is left out."""
    assert len(FILES) == PAGE.count("```ruby")


def id_of(website_id: int) -> uuid.UUID:
    """Return the id of a signup's message."""
    return uuid.uuid5(uuid.NAMESPACE_URL, f"website.created/{website_id}")
