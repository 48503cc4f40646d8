"""DBOS: one durable workflow a website, whose steps are transactions of a datasource. PostgreSQL is its broker.

A step's checkpoint is written in the step's own transaction, as its pages have it for steps that write to a database:
a worker that died goes on after the last one that was committed. The isolation is READ COMMITTED, as everybody's here,
instead of its default, SERIALIZABLE. Workflows come through a queue with a limit a worker, asked more often than its
default of once a second; each worker keeps its executor id when it is started again, so that it recovers what it had
left. System tables and ours share a database. The statements run on psycopg's connection beneath SQLAlchemy's session.
"""

import os
import signal
import threading
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from dbos import DBOS, DBOSClient, SQLAlchemyDatasource

from bench.naive import STEPS
from bench.peers.producer import SignUp
from bench.peers.run import READY
from bench.peers.sync_stepping import SyncStepping
from consumer.config import load_settings

URL = load_settings().database_url.get_secret_value()
QUEUE = "signups"
WORKFLOWS = int(os.environ.get("PROVISIONER_PEER_WORKFLOWS", "16"))
POLLING_SECONDS = float(os.environ.get("PROVISIONER_PEER_POLLING", "0.05"))

datasource = SQLAlchemyDatasource.create(URL, engine_kwargs={"pool_size": WORKFLOWS})
stepping: SyncStepping


@datasource.transaction(isolation_level="READ COMMITTED")
def advance(trigger: str, body: dict[str, Any], message_id: str) -> None:
    """Carry one step out."""
    connection = datasource.sql_session().connection().connection.driver_connection
    stepping.step(connection, trigger, body, message_id)


@DBOS.workflow()
def provision(body: dict[str, Any]) -> None:
    """Take a website from signup to live."""
    for trigger in STEPS:
        advance(trigger, body, str(uuid.uuid5(uuid.UUID(DBOS.workflow_id), trigger)))


@asynccontextmanager
async def producer() -> AsyncIterator[SignUp]:
    """Lend what signs a website up."""
    client = DBOSClient(system_database_url=URL)

    async def sign_up(body: dict[str, Any]) -> None:
        client.enqueue({"workflow_name": provision.__qualname__, "queue_name": QUEUE}, body)

    yield sign_up
    client.destroy()


def main() -> None:
    """Work until SIGTERM."""
    global stepping  # noqa: PLW0603 - only a worker has one
    stepping = SyncStepping(connections=0)
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    place = os.environ["PROVISIONER_PEER_PLACE"]
    DBOS(
        config={
            "name": "provisioning",
            "system_database_url": URL,
            "executor_id": f"worker-{place}",
            "application_version": "1",
            "sys_db_pool_size": WORKFLOWS,
            "log_level": "WARNING",
        }
    )
    DBOS.launch()
    DBOS.register_queue(QUEUE, worker_concurrency=WORKFLOWS, polling_interval_sec=POLLING_SECONDS)
    print(READY, flush=True)
    stopping.wait()
    DBOS.destroy()


if __name__ == "__main__":
    main()
