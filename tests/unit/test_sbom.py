"""The SBOM that `make sbom` writes names every package that is installed with the service, and no other."""

import json
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = re.compile(r"^([a-z0-9-]+)==(\S+) \\\n((?: +--hash=\S+(?: \\)?\n)+)", re.MULTILINE)


def test_it_lists_what_requirements_has(tmp_path):
    """Each package has its version and hashes; the main component is this project."""
    (recipe,) = re.findall(r"^\t@\$\(BIN\)/(cyclonedx-py .*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    program, *arguments = shlex.split(recipe.replace("dist/sbom.json", str(tmp_path / "sbom.json")))
    command = [str(Path(sys.executable).parent / program), *arguments]
    subprocess.run(command, cwd=ROOT, capture_output=True, timeout=60, check=True)
    found = json.loads((tmp_path / "sbom.json").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    root = found["metadata"]["component"]
    assert (found["bomFormat"], root["name"], root["version"]) == ("CycloneDX", project["name"], project["version"])
    wanted = {
        (name, version): set(re.findall(r"sha256:([0-9a-f]{64})", hashes))
        for name, version, hashes in PACKAGE.findall((ROOT / "requirements.txt").read_text())
    }
    assert len(wanted) > 20
    assert {(each["name"], each["version"]): _hashes(each) for each in found["components"]} == wanted


def _hashes(component):
    return {each["content"] for reference in component["externalReferences"] for each in reference["hashes"]}
