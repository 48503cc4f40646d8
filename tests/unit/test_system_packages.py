"""What the tests need of the operating system is installed once, or named with the command that installs it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import system_packages
from tests.system_packages import PACKAGES, Package, main

ROOT = Path(__file__).parents[2]
APT_GET = """\
#!/bin/sh
# Stands in for apt-get: notes what it is asked, and whether services are kept from starting; then "installs".
echo "$@; policy: $(sh {folder}/policy-rc.d; echo $?)" >> {folder}/asked
case "$*" in *" install "*|install*) touch {folder}/installed;; esac
"""
SAID = "missing on this machine: teapot; install as root with: apt-get install -y --no-install-recommends teapot\n"


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine that lacks one package, with an apt-get of its own."""
    (tmp_path / "apt-get").write_text(APT_GET.format(folder=tmp_path))
    (tmp_path / "apt-get").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(system_packages, "POLICY", tmp_path / "policy-rc.d")
    monkeypatch.setattr(system_packages.os, "geteuid", lambda: 0)
    here = Package("kettle", "tea", lambda: True)
    monkeypatch.setattr(system_packages, "PACKAGES", (here, Package("teapot", "tea", (tmp_path / "installed").exists)))
    return tmp_path


def test_root_installs_what_is_missing_once_and_no_service_starts(folder: Path) -> None:
    """Only what is missing, under a policy that is gone afterwards; what is there is not asked for again."""
    assert main([]) == 0
    assert main([]) == 0
    update, install = (folder / "asked").read_text().splitlines()
    assert update.endswith("update; policy: 101")
    assert install.startswith("install -y --no-install-recommends teapot ")
    assert install.endswith("; policy: 101")
    assert not (folder / "policy-rc.d").exists()


def test_a_policy_of_the_machine_stays(folder: Path) -> None:
    """It is neither replaced nor removed."""
    (folder / "policy-rc.d").write_text("exit 104")
    assert main([]) == 0
    assert "policy: 104" in (folder / "asked").read_text()
    assert (folder / "policy-rc.d").read_text() == "exit 104"


def test_who_is_not_root_is_told_the_command(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In one line, with exit code 1; nothing is run. What is not missing is not asked for."""
    monkeypatch.setattr(system_packages.os, "geteuid", lambda: 1000)
    assert main(["kettle"]) == 0
    assert main(["teapot"]) == 1
    assert capsys.readouterr().err == SAID
    assert not (folder / "asked").exists()


def test_an_apt_get_that_fails_is_told_with_its_own_words(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its exit code, the end of what it wrote, and the command for a second try."""
    (folder / "apt-get").write_text("#!/bin/sh\necho no space left\nexit 100\n")
    assert main([]) == 1
    assert capsys.readouterr().err == f"apt-get ended with exit code 100:\nno space left\n\n{SAID}"


def test_a_test_without_its_package_fails_and_names_the_command() -> None:
    """It is not skipped, and nothing is installed by it. Where PATH leads nowhere, promtool is missing."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "tests/unit/test_alerts.py"]
    ran = subprocess.run(
        [*command, "-k", "promtool"], cwd=ROOT, env=os.environ | {"PATH": "/nowhere"}, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    assert ran.returncode == 1
    assert "5 deselected, 1 error in" in ran.stdout
    assert ran.stdout.count("\nmissing on this machine: prometheus; install as root with: apt-get install ") == 1


def test_every_package_is_needed_by_a_fixture_that_exists() -> None:
    """By a name that no fixture has, no test would ever be told that the package is missing."""
    sources = "".join(path.read_text() for path in (ROOT / "tests").rglob("*.py"))
    fixtures = {package.fixture for package in PACKAGES if package.fixture}
    assert not [name for name in fixtures if f"def {name}(" not in sources]
