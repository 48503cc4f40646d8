"""The wheel is whole: installed elsewhere, without this checkout in sight, it makes schema and queues."""

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import aio_pika
import asyncpg
import pytest

from consumer.broker.topology import Topology
from tests.source_tree import PACKAGES, ROOT

SHIPPED = ("base", "commercial", "residential", "vacation_rental")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The project's wheel, built from this checkout with the backend of the lock: nothing is fetched."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet", "--no-deps"]
    _run([*command, "--no-index", "--no-build-isolation", "--wheel-dir", str(folder), str(ROOT)], folder)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """A clean virtual environment with the wheel in it, and with what it depends on lent by this one.

    Lent by a .pth file, so that nothing is fetched. Only the folder itself is lent: .pth files in it are not read, so
    the editable install of this checkout does not come along. A test below makes sure.
    """
    folder = tmp_path_factory.mktemp("elsewhere")
    venv.create(folder / "venv", with_pip=False)
    site_packages = Path(sysconfig.get_path("purelib", vars={"base": str(folder / "venv")}))
    (site_packages / "lent.pth").write_text(sysconfig.get_path("purelib") + "\n")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(folder / "venv/bin/python")]
    _run([*pip, "install", "--quiet", "--no-index", "--no-deps", "--ignore-installed", str(wheel)], folder)
    return folder / "venv/bin"


def test_every_file_that_is_read_at_run_time_is_in_the_wheel(wheel):
    """Each .sql, the expected catalogue and each file of the packs; and nothing but our packages."""
    names = set(zipfile.ZipFile(wheel).namelist())
    needed = {
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for pattern in ("*.sql", "*.yml", "*.json", "*.py", "*.html", "*.css", "*.js", "*.svg")
        for path in (ROOT / package).rglob(pattern)
    }
    assert not needed - names
    assert "consumer/store/expected_schema.json" in names
    for kind in (
        "consumer/store/sql/",
        "consumer/store/migrations/",
        "consumer/store/sql/unprepared/",
        "seeders/sql/",
        "ops/doctor/sql/",
        "ops/websites/sql/",
    ):
        assert [name for name in names if name.startswith(kind)], f"no {kind}*.sql"
    for pack in SHIPPED:
        assert f"seeders/packs/{pack}/pack.yml" in names
    assert {name.partition("/")[0] for name in names} - set(PACKAGES) == {
        name.partition("/")[0] for name in names if ".dist-info/" in name
    }


def test_what_runs_is_the_wheel_and_not_this_checkout(installed, tmp_path):
    """The proof of the test below: every package comes from the clean environment."""
    program = f"import importlib; [print(importlib.import_module(name).__file__) for name in {PACKAGES}]"
    files = _run([str(installed / "python"), "-c", program], tmp_path).split()
    assert len(files) == len(PACKAGES)
    assert all(Path(file).is_relative_to(installed.parent) for file in files), files


async def test_init_from_another_folder_makes_schema_and_queues_and_again_changes_nothing(
    installed, tmp_path, amqp_url, namespace, empty_database_url
):
    """`provisioner init` finds its schema in the wheel, wherever it is run; twice is the same as once."""
    settings = {
        "PROVISIONER_DATABASE_URL": empty_database_url,
        "PROVISIONER_AMQP_URL": amqp_url,
        "PROVISIONER_NAMESPACE": namespace,
    }
    for _ in range(2):
        _run([str(installed / "provisioner"), "init"], tmp_path, settings)

    connection = await asyncpg.connect(empty_database_url)
    assert await connection.fetchval("SELECT count(*) FROM pwb_websites") == 0
    assert await connection.fetchval("SELECT count(*) FROM provisioning_transitions") == 0
    await connection.close()
    async with await aio_pika.connect(amqp_url) as broker:
        channel = await broker.channel()
        for queue in Topology(namespace).queues:
            await channel.declare_queue(queue.name, passive=True)
        for exchange in Topology(namespace).exchanges:
            await channel.get_exchange(exchange.name, ensure=True)


def test_the_packs_in_the_wheel_are_found(installed, tmp_path):
    """The packs that ship are where the worker looks for them."""
    names = "*(pack.parent.name for pack in SHIPPED_PACKS.glob('*/pack.yml'))"
    program = f"from consumer.factories import SHIPPED_PACKS; print({names})"
    assert sorted(_run([str(installed / "python"), "-c", program], tmp_path).split()) == list(SHIPPED)


def _run(command: list[str], folder: Path, settings: dict[str, str] | None = None) -> str:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PROVISIONER_"))}
    result = subprocess.run(
        command, cwd=folder, env=kept | (settings or {}), capture_output=True, text=True, timeout=120, check=False
    )
    assert result.returncode == 0, f"{command} ended with {result.returncode}:\n{result.stdout}\n{result.stderr}"
    return result.stdout
