"""Real servers for every test that asks: a PostgreSQL and a RabbitMQ of this run's own, started when first asked for.

Each test has a database of its own (`database_url`) and a namespace of its own at the broker (`namespace`), so tests
need not clean up after each other.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import aio_pika
import asyncpg
import pytest
import pytest_asyncio
import structlog

from consumer.broker.topology import Topology
from consumer.store import schema_lifecycle
from consumer.store.database import Store
from consumer.store.rules_template import Mode
from consumer.telemetry.logs import log
from ops.sandbox.child_process import LocalServerError
from ops.sandbox.postgres import PostgresServer, private_postgres
from ops.sandbox.rabbitmq import RabbitServer, private_rabbitmq
from tests.system_packages import PACKAGES, how_to_install, missing

Scaled = Callable[[float, float], float]

TEMPLATE = "template_of_tests"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let `make faults` ask for the catalogue's own durations."""
    parser.addoption("--full-faults", action="store_true", help="faults last as long as the catalogue says")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what cannot be shortened, unless all time is given; docs/faults.md lists it."""
    if config.getoption("--full-faults"):
        return
    left_out = [item for item in items if item.get_closest_marker("full_length")]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


def pytest_report_header() -> str | None:
    """Say at the top of the output what the tests need of the operating system and do not find."""
    return how_to_install(absent) if (absent := missing()) else None


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Function) -> None:
    """Fail a test, before its fixtures are made, where a package is missing that one of them needs."""
    needed = [package.name for package in PACKAGES if package.fixture in item.fixturenames]
    if needed and (absent := missing(needed)):
        pytest.fail(how_to_install(absent), pytrace=False)


@pytest.fixture
def scaled(request: pytest.FixtureRequest) -> Scaled:
    """`scaled(short, full)` is how long a fault lasts: the first in `make test`, the second in `make faults`."""
    return lambda short, full: full if request.config.getoption("--full-faults") else short


@pytest.fixture(autouse=True)
def logs_of_its_own() -> Iterator[None]:
    """No test logs into a standard error that an earlier one captured: structlog caches the one it first saw."""
    yield
    structlog.reset_defaults()
    vars(log).pop("bind", None)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """The PostgreSQL of this run. A test that stops it starts it again, or has a `private_postgres` of its own."""
    try:
        with private_postgres() as running:
            set_fsync(running, "off")
            yield running
    except LocalServerError as error:
        pytest.exit(f"The tests need a PostgreSQL: {error}", returncode=1)


@pytest.fixture(scope="session")
def rabbitmq() -> Iterator[RabbitServer]:
    """The RabbitMQ of this run. A test that stops it starts it again, or has a `private_rabbitmq` of its own."""
    try:
        with private_rabbitmq() as running:
            yield running
    except LocalServerError as error:
        pytest.exit(f"The tests need a RabbitMQ: {error}", returncode=1)


@pytest.fixture(scope="session")
def own_postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL for tests that stop it; it runs again when they are done."""
    with private_postgres() as server:
        set_fsync(server, "off")
        yield server


@pytest.fixture
def durable(postgres: PostgresServer) -> Iterator[None]:
    """Say that a test's PostgreSQL keeps what it commits through a loss of power, too, as the doctor wants it."""
    set_fsync(postgres, "on")
    yield
    set_fsync(postgres, "off")


@pytest.fixture(scope="session")
def own_rabbitmq(rabbitmq: RabbitServer) -> Iterator[RabbitServer]:
    """A RabbitMQ for tests that stop it, alarm it or change its users; the run's own stays as it is."""
    with private_rabbitmq() as server:
        yield server


@pytest.fixture(scope="session")
def pgbouncer() -> None:
    """Say that a test needs PgBouncer; it starts its own, in the pool mode that it tests."""


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def template_database(postgres: PostgresServer) -> str:
    """The name of a database that has the schema and no rows; copying it takes 30 ms."""
    await administer(postgres, f"CREATE DATABASE {TEMPLATE}")
    await make_schema(_url_of(postgres, TEMPLATE))
    return TEMPLATE


async def make_schema(url: str, mode: Mode | None = None) -> None:
    """Bring a database to the service's schema, as `provisioner init` does."""
    store = Store(url, size=3)
    try:
        await schema_lifecycle.apply(store, mode=mode)
    finally:
        await store.close()


@pytest_asyncio.fixture
async def database_url(postgres: PostgresServer, template_database: str) -> AsyncIterator[str]:
    """The URL of a fresh database with the schema in it, for one test."""
    name = f"t_{secrets.token_hex(4)}"
    await administer(postgres, f"CREATE DATABASE {name} TEMPLATE {template_database}")
    yield _url_of(postgres, name)
    await administer(postgres, f"DROP DATABASE {name} WITH (FORCE)")


@pytest_asyncio.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    """A store on a fresh database."""
    store = Store(database_url, size=3)
    yield store
    await store.close()


@pytest_asyncio.fixture
async def empty_database_url(postgres: PostgresServer) -> AsyncIterator[str]:
    """The URL of a fresh database with nothing in it, for tests that apply the schema themselves."""
    name = f"t_{secrets.token_hex(4)}"
    await administer(postgres, f"CREATE DATABASE {name}")
    yield _url_of(postgres, name)
    await administer(postgres, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def amqp_url(rabbitmq: RabbitServer) -> str:
    """The URL of the private node. It is one for all tests: what keeps them apart is the `namespace`."""
    return rabbitmq.url


@pytest_asyncio.fixture
async def namespace(amqp_url: str) -> AsyncIterator[str]:
    """A prefix for exchanges and queues that no other test has; what the service makes under it is removed."""
    name = f"t-{secrets.token_hex(4)}"
    yield name
    # Best effort: a test may have stopped the broker on purpose, and the node goes away with the run.
    try:
        async with await aio_pika.connect(amqp_url, timeout=60) as connection:
            channel = await connection.channel()
            for queue in Topology(name).queues:
                await channel.queue_delete(queue.name, timeout=60)
            for exchange in reversed(Topology(name).exchanges):
                await channel.exchange_delete(exchange.name, timeout=60)
    except (aio_pika.exceptions.AMQPError, OSError, TimeoutError):
        return


async def administer(postgres: PostgresServer, statement: str) -> None:
    """Run a statement on a server, outside of any test's database."""
    connection = await asyncpg.connect(postgres.url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


def set_fsync(postgres: PostgresServer, value: str) -> None:
    """Set it for a server, and wait until it holds. Off halves what the database of a test costs."""

    async def set_it() -> None:
        connection = await asyncpg.connect(postgres.url)
        try:
            await connection.execute(f"ALTER SYSTEM SET fsync = {value}")
            await connection.execute("SELECT pg_reload_conf()")
            while await connection.fetchval("SELECT current_setting('fsync')") != value:
                await asyncio.sleep(0.01)
        finally:
            await connection.close()

    with ThreadPoolExecutor(1) as other:  # the loop of the tests may be running in this one
        other.submit(asyncio.run, set_it()).result()


def _url_of(postgres: PostgresServer, database: str) -> str:
    return f"{postgres.url.rpartition('/')[0]}/{database}"
