"""What it ran on: processor, memory, versions. No host names, no paths."""

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

import aiormq

from bench.arena import Servers

LIBRARIES = ("aio-pika", "aiormq", "asyncpg", "pydantic", "structlog")
KIB_A_GIB = 1024 * 1024


async def describe(servers: Servers) -> dict[str, str]:
    """Return what stands at the top of the page."""
    postgres = subprocess.run(
        [servers.postgres.bin_dir / "postgres", "--version"], capture_output=True, text=True, check=True
    ).stdout.split()[-1]
    connection = await aiormq.connect(servers.rabbitmq.url)
    properties = connection.server_properties
    await connection.close()
    return {
        "processor": f"{os.cpu_count()} × {_processor()}",
        "memory": f"{_memory_gib():.0f} GiB",
        "system": f"{platform.system()} {platform.release().partition('-')[0]}",
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "PostgreSQL": f"{postgres}, fsync on, otherwise at its defaults",
        "RabbitMQ": _text(properties["version"]),
        **{name: version(name) for name in LIBRARIES},
    }


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes | bytearray) else str(value)


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _memory_gib() -> float:
    return int(Path("/proc/meminfo").read_text().split()[1]) / KIB_A_GIB
