"""Factories of the broker, the store and the seed packs that the settings name: all that a tool needs of the service.

They import no part of the worker, the client of RabbitMQ only where a broker is made, and the readers of seed packs
only where packs are: a tool that only reads the database starts faster, and weighs less, without them.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from consumer.addresses.broker import parse_broker_url
from consumer.broker.protocol import Broker
from consumer.config import Settings
from consumer.store.database import Store
from consumer.telemetry.logs import log
from seeders.pack_problems import PackProblem

if TYPE_CHECKING:
    from seeders.loading.pack_library import PackLibrary

SHIPPED_PACKS = Path(__file__).parents[1] / "seeders" / "packs"
MAX_PACK_WARNINGS = 20
"""A pack of thousands of properties may warn of each; who mends it needs the first."""
MAX_WARNINGS_KEPT = 100_000
"""Texts that are remembered as logged: more than any pack has, and a limit all the same."""


def make_broker(settings: Settings) -> Broker:
    """Return the broker that the settings name."""
    from consumer.broker.rabbitmq.adapter import RabbitBroker  # noqa: PLC0415

    return RabbitBroker(
        parse_broker_url(settings.amqp_url.get_secret_value()),
        timeout_seconds=settings.broker_timeout_seconds,
        heartbeat_seconds=settings.heartbeat_seconds,
    )


def make_store(settings: Settings, *, size: int, on_connection: Callable[[float], None] | None = None) -> Store:
    """Return the store that the settings name, with up to `size` connections."""
    return Store(
        settings.database_url.get_secret_value(),
        size=size,
        lock_timeout_seconds=settings.lock_timeout_seconds,
        statement_timeout_seconds=settings.statement_timeout_seconds,
        command_timeout_seconds=settings.command_timeout_seconds,
        idle_transaction_seconds=settings.idle_transaction_seconds,
        pooler=settings.pooler,
        on_connection=on_connection,
    )


def make_packs(settings: Settings) -> "PackLibrary":
    """Return the seed packs: the settings' own folder before those that ship."""
    from seeders.loading.pack_library import PackLibrary  # noqa: PLC0415

    return PackLibrary(pack_folders(settings), images_url=settings.images_url, warn=PackWarnings().log)


def pack_folders(settings: Settings) -> list[Path]:
    """Return the folders of seed packs, in the order in which they are searched."""
    return [*([settings.packs_dir] if settings.packs_dir else []), SHIPPED_PACKS]


class PackWarnings:
    """Logs each warning of a seed pack once in the life of a process, whichever packs inherit it."""

    def __init__(self) -> None:
        self._logged: set[str] = set()

    def log(self, pack: str, warnings: tuple[PackProblem, ...]) -> None:
        """Log those that are new, the first of very many."""
        new = [text for warning in warnings if (text := str(warning)) not in self._logged]
        if len(self._logged) > MAX_WARNINGS_KEPT:
            self._logged.clear()
        self._logged.update(new)
        for text in new[:MAX_PACK_WARNINGS]:
            log.warning("pack warning", pack=pack, reason=text)
        if (more := len(new) - MAX_PACK_WARNINGS) > 0:
            log.warning("pack warning", pack=pack, reason=f"and {more} more")
