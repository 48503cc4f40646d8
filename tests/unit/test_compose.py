"""Dockerfile and docker-compose.yml have the shape that they need; no engine is asked, as none may be at hand."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from consumer.config import Settings
from deploy.rabbitmq.set_passwords import DEFINITIONS, variable_of
from ops.cli.main import main
from tests.roles import NAMESPACE, PASSWORDS_FILE, VHOST

ROOT = Path(__file__).parents[2]
OURS = ("init", "worker", "ops")
ROLE_OF = {"init": "migrate", "worker": "worker", "ops": "ops"}
ONCE = ("definitions", "roles", "grants")
SERVERS = ("postgres", "rabbitmq")


@pytest.fixture(scope="module")
def compose():
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text())


@pytest.fixture(scope="module")
def services(compose):
    return compose["services"]


@pytest.fixture(scope="module")
def dockerfile():
    """The instructions, as (word, rest), with continued lines joined and comments gone."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    return [tuple(line.split(None, 1)) for line in text.splitlines() if line.strip()]


@pytest.fixture(scope="module")
def final_stage(dockerfile):
    """The instructions that make the image that runs."""
    last = max(index for index, (word, _) in enumerate(dockerfile) if word == "FROM")
    return dockerfile[last + 1 :]


@pytest.mark.parametrize(("old", "new", "fits"), [("", "", True), ("read_only: true", "read_only: [true]", False),
                                                  ("restart: unless", "restarts: unless", False)])  # fmt: skip
def test_it_fits_the_public_schema(tmp_path, old, new, fits):
    """The schema of the Compose specification, as check-jsonschema brings it; what does not fit is noticed."""
    (tmp_path / "compose.yml").write_text((ROOT / "docker-compose.yml").read_text().replace(old, new))
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    ran = subprocess.run(
        [*command, str(tmp_path / "compose.yml")], capture_output=True, text=True, timeout=60, check=False
    )
    assert (ran.returncode == 0) is fits, ran.stdout + ran.stderr


def test_the_services_are_the_containers(services):
    """PostgreSQL, RabbitMQ, what makes users, roles, schema and rights once, two workers, commands on request."""
    assert set(services) == {*SERVERS, *OURS, *ONCE}
    assert services["worker"]["deploy"]["replicas"] == 2
    assert services["ops"]["profiles"] == ["ops"], "it would start by itself"


def test_the_servers_are_postgresql_18_and_rabbitmq_4(services):
    """Both are pinned to a release."""
    assert re.fullmatch(r"postgres:18(\.\d+)?", services["postgres"]["image"])
    assert re.fullmatch(r"rabbitmq:4\.\d+(\.\d+)?", services["rabbitmq"]["image"])


def test_the_data_outlive_the_containers(compose, services):
    """Named volumes, where the images keep their data: PostgreSQL 18 moved it up to /var/lib/postgresql."""
    assert services["postgres"]["volumes"] == ["postgres:/var/lib/postgresql"]
    assert services["rabbitmq"]["volumes"][0] == "rabbitmq:/var/lib/rabbitmq"
    assert services["rabbitmq"]["hostname"], "without a fixed name the node would not find its data again"
    assert set(compose["volumes"]) == {*SERVERS, "definitions"}


@pytest.mark.parametrize("name", [*SERVERS, "worker"])
def test_what_stays_up_is_watched_and_restarted(services, name):
    """A health check with a limit, and a restart."""
    check = services[name]["healthcheck"]
    assert check["test"][0] == "CMD"
    assert {"interval", "timeout", "retries"} <= set(check)
    assert services[name]["restart"] == "unless-stopped"


def test_each_waits_for_what_it_needs(services):
    """Roles before the tables, rights on them after, and workers last; the broker for the users that it loads."""
    done, healthy = {"condition": "service_completed_successfully"}, {"condition": "service_healthy"}
    assert services["rabbitmq"]["depends_on"] == {"definitions": done}
    assert services["roles"]["depends_on"] == {"postgres": healthy}
    assert services["init"]["depends_on"] == {"roles": done, "rabbitmq": healthy}
    assert services["grants"]["depends_on"] == {"init": done}
    assert services["worker"]["depends_on"] == {"grants": done, "postgres": healthy, "rabbitmq": healthy}
    for name in ("init", *ONCE):
        assert services[name]["restart"].startswith("on-failure"), "it ends, and must not be started again for that"


def test_a_worker_has_the_time_to_finish(services):
    """The grace period is longer than what a worker allows itself."""
    grace = int(services["worker"]["stop_grace_period"].removesuffix("s"))
    assert grace >= Settings.model_fields["drain_seconds"].default + 5


@pytest.mark.parametrize("name", OURS)
def test_the_settings_exist_and_name_the_servers(services, name, monkeypatch):
    """Each variable is a setting, and the addresses lead to the services beside it."""
    settings = services[name]["environment"]
    names = ("DATABASE_URL", "AMQP_URL", "NAMESPACE", "HTTP_HOST", "HTTP_PORT")
    assert set(settings) == {f"PROVISIONER_{name}" for name in names}
    for variable, value in settings.items():
        assert variable.removeprefix("PROVISIONER_").lower() in Settings.model_fields
        monkeypatch.setenv(variable, re.sub(r"\$\{(\w+)\}", r"\1", value))
    read, role = Settings(), ROLE_OF[name]
    user = f"{role}:{role.upper()}_PASSWORD"
    assert read.database_url.get_secret_value() == f"postgresql://provisioner_{user}@postgres:5432/provisioner"
    assert read.amqp_url.get_secret_value() == f"amqp://provisioner-{user}@rabbitmq:5672/{VHOST}"
    assert read.namespace == NAMESPACE, "the one that the permissions are about"


def test_health_is_asked_where_it_is_answered(services, dockerfile):
    """The checks ask whether the worker is ready, on a port that nobody outside reaches."""
    assert services["worker"]["healthcheck"]["test"] == ["CMD", "provisioner", "ready"]
    assert 'CMD ["provisioner", "ready"]' in dict(dockerfile)["HEALTHCHECK"]
    port = services["worker"]["environment"]["PROVISIONER_HTTP_PORT"]
    assert ("ENV", f"PROVISIONER_HTTP_PORT={port}") in dockerfile
    assert "ports" not in services["worker"]


def test_no_password_has_a_default(services):
    """Each is required of the environment; servers and programs are given the same ones."""
    text = (ROOT / "docker-compose.yml").read_text()
    assert ":-" not in "".join(line for line in text.splitlines() if "PASSWORD" in line)
    assert set(re.findall(r"\$\{(\w+_PASSWORD):\?", text)) == {
        f"{name}_PASSWORD" for name in ("POSTGRES", "MIGRATE", "WORKER", "OPS", "SIGNUP", "READER")
    }
    named = json.loads(DEFINITIONS.read_text())["users"]
    assert {variable_of(user["name"]) for user in named} <= set(services["definitions"]["environment"])
    read = set(re.findall(r"\\getenv \w+ (\w+)", PASSWORDS_FILE.read_text()))
    assert read <= set(services["roles"]["environment"])


def test_what_is_mounted_is_there(services):
    """Each file and folder of deploy/ that a container is given, and what it runs in it."""
    sources = [volume.split(":")[0] for service in services.values() for volume in service.get("volumes", [])]
    mounted = [source for source in sources if source.startswith("./")]
    assert len(mounted) == 4
    assert all((ROOT / source).exists() for source in mounted)
    for name in ("roles", "grants"):
        files = [word.removeprefix("--file=/deploy/") for word in services[name]["command"] if "--file" in word]
        assert files
        assert all((ROOT / "deploy/postgresql" / file).exists() for file in files)
    (script,) = re.findall(r"/deploy/(\S+)", services["definitions"]["entrypoint"][-1])
    assert (ROOT / "deploy/rabbitmq" / script).exists()
    conf = (ROOT / "deploy/rabbitmq/rabbitmq.conf").read_text()
    (path,) = re.findall(r"^load_definitions = (\S+)$", conf, flags=re.MULTILINE)
    assert f"> {path}" in services["definitions"]["entrypoint"][-1]


def test_ports_are_published_on_loopback_only(services):
    """Nobody outside the machine reaches the servers."""
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


@pytest.mark.parametrize("name", OURS)
def test_our_containers_can_do_little(services, name):
    """No capabilities, nothing to write to but /tmp."""
    service = services[name]
    assert (service["read_only"], service["tmpfs"], service["cap_drop"]) == (True, ["/tmp"], ["ALL"])


def test_every_command_is_one_that_provisioner_has(services, dockerfile):
    """In compose, in the health checks, and in the image's own default; with the options that they are given."""
    instructions = dict(dockerfile)
    assert json.loads(instructions["ENTRYPOINT"]) == ["provisioner"]
    health = instructions["HEALTHCHECK"].partition("CMD ")[2]
    used = [
        json.loads(instructions["CMD"]),
        json.loads(health)[1:],
        *(services[name]["command"] for name in OURS),
        services["worker"]["healthcheck"]["test"][2:],
    ]
    for command, *arguments in used:
        assert command in main.commands
        main.commands[command].make_context(command, list(arguments))


def test_the_image_does_not_run_as_root(final_stage):
    """A user by number, that is made in the image and is not 0."""
    users = [rest for word, rest in final_stage if word == "USER"]
    assert users
    assert users[-1].isdigit()
    assert int(users[-1]) > 0
    assert any(word == "RUN" and "useradd" in rest and f"--uid {users[-1]} " in rest for word, rest in final_stage)


def test_the_image_is_slim_and_has_a_health_check(dockerfile, final_stage):
    """Built in one stage, run in another that is slim."""
    bases = [rest.split()[0] for word, rest in dockerfile if word == "FROM"]
    assert len(bases) == 2
    assert all(re.fullmatch(r"python:3\.\d+-slim-\w+", base) for base in bases)
    assert "HEALTHCHECK" in dict(final_stage)


def test_everything_that_is_installed_is_pinned_by_hash(dockerfile):
    """Each pip install takes a lock with hashes, or only the wheel that was built here."""
    runs = [rest for word, rest in dockerfile if word == "RUN" and "pip install" in rest]
    installs = [command for run in runs for command in run.split("&&") if "pip install" in command]
    assert len(installs) == 3
    assert all("--require-hashes" in command or "--no-deps dist/" in command for command in installs)


def test_what_is_copied_exists_and_is_let_through(dockerfile):
    """Every source of a COPY is in the tree, and .dockerignore does not keep it out."""
    let_through = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    sources = set()
    for word, rest in dockerfile:
        if word == "COPY" and "--from=" not in rest:
            sources |= set(shlex.split(rest)[:-1])
    assert sources == let_through
    missing = [source for source in sources if not (ROOT / source).exists()]
    assert not missing
