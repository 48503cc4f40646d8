"""Settings: their names, their defaults, and one clear line for each that cannot be used. Never a value in it."""

import pytest

from consumer.broker.topology import Topology
from consumer.config import Settings, SettingsError, load_settings, misspelt_settings
from consumer.factories import make_store
from ops.console.access.settings import read_console_settings

SECRET = "hunter2-canary"


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch):
    import os

    for name in [name for name in os.environ if name.startswith("PROVISIONER_")]:
        monkeypatch.delenv(name)


def wrong(monkeypatch, **variables):
    """The line that a wrong environment is answered with."""
    for name, value in variables.items():
        monkeypatch.setenv(f"PROVISIONER_{name}", value)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    line = str(caught.value)
    assert "\n" not in line
    assert SECRET not in line
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__, "a traceback would show the values"
    return line


def test_an_empty_environment_is_enough():
    """Every setting has a default that works on one machine, and the names that others rely on are these."""
    settings = load_settings()
    assert settings.namespace == "provisioning"
    assert settings.packs_dir is None
    assert (settings.concurrency, settings.batch_size, settings.admission_limit) == (2, 96, 192)
    assert (settings.retry_budget, settings.retry_base_seconds, settings.retry_cap_seconds) == (8, 1, 300)
    assert (settings.stall_seconds, settings.drain_seconds) == (120, 30)
    assert (settings.http_host, settings.http_port, settings.serves_health) == ("127.0.0.1", None, False)
    assert settings.failpoints == ""


def test_settings_come_from_the_environment(monkeypatch, tmp_path):
    """With the prefix PROVISIONER_, each as its type."""
    monkeypatch.setenv("PROVISIONER_DATABASE_URL", "postgres://u:p@db/x")
    monkeypatch.setenv("PROVISIONER_AMQP_URL", "amqps://u:p@mq/x")
    monkeypatch.setenv("PROVISIONER_NAMESPACE", "tenant-7")
    monkeypatch.setenv("PROVISIONER_PACKS_DIR", str(tmp_path))
    monkeypatch.setenv("PROVISIONER_BATCH_SIZE", "1")
    monkeypatch.setenv("PROVISIONER_RETRY_BASE_SECONDS", "0.01")
    settings = load_settings()
    assert settings.database_url.get_secret_value() == "postgres://u:p@db/x"
    assert settings.amqp_url.get_secret_value() == "amqps://u:p@mq/x"
    assert settings.packs_dir == tmp_path
    assert (settings.batch_size, settings.retry_base_seconds) == (1, 0.01)
    assert Topology(settings.namespace).dead_letters == "tenant-7.dead-letters"


def test_other_variables_are_none_of_our_business(monkeypatch):
    """Neither those without the prefix nor unknown ones with it stop a start."""
    monkeypatch.setenv("NAMESPACE", "elsewhere")
    monkeypatch.setenv("PROVISIONER_OF_COFFEE", "yes")
    assert load_settings().namespace == "provisioning"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("NAMESPACE", ""), ("NAMESPACE", "Has Blanks"), ("NAMESPACE", "a.b"), ("NAMESPACE", "-a"),
        ("NAMESPACE", "a" * 65), ("NAMESPACE", f"{SECRET}!"),
        ("BASE_DOMAIN", "https://example.com"), ("BASE_DOMAIN", "UPPER.example"), ("BASE_DOMAIN", ""),
        ("CONCURRENCY", "0"), ("CONCURRENCY", "65"), ("CONCURRENCY", "four"), ("CONCURRENCY", "1.5"),
        ("BATCH_SIZE", "0"), ("BATCH_SIZE", "257"), ("ADMISSION_LIMIT", "0"),
        ("RETRY_BUDGET", "0"), ("RETRY_BUDGET", "101"), ("RETRY_BASE_SECONDS", "0"), ("RETRY_BASE_SECONDS", "-1"),
        ("RETRY_CAP_SECONDS", "nan"), ("STALL_SECONDS", "inf"), ("STALL_SECONDS", "86401"),
        ("DISPATCH_INTERVAL_SECONDS", "0.01"), ("STEP_TIMEOUT_SECONDS", "soon"), ("LOCK_TIMEOUT_SECONDS", "2 s"),
        ("LOG_LEVEL", "loud"), ("LOG_FORMAT", "xml"),
        ("DATABASE_URL", f"mysql://u:{SECRET}@db/x"), ("DATABASE_URL", SECRET), ("DATABASE_URL", ""),
        ("DATABASE_URL", f"postgresql://u:{SECRET}@[db/x"), ("DATABASE_URL", f"postgresql://u:{SECRET}@db:abc/x"),
        ("DATABASE_URL", f"postgresql://u:{SECRET}@db:0/x"), ("AMQP_URL", f"amqp://u:{SECRET}@mq:99999/"),
        ("POOLER", "statement"), ("POOLER", "pgbouncer"), ("AMQP_URL", ""),
        ("AMQP_URL", f"http://u:{SECRET}@mq/"), ("AMQP_URL", SECRET), ("AMQP_URL", f"amqp://u:{SECRET}@[mq"),
    ],
)  # fmt: skip
def test_a_wrong_setting_is_one_line_that_names_it(monkeypatch, name, value):
    """Which variable and why, so that whoever set it can mend it."""
    line = wrong(monkeypatch, **{name: value})
    assert line.startswith(f"PROVISIONER_{name}: ")
    assert len(line) > len(f"PROVISIONER_{name}: ") + 8


@pytest.mark.parametrize(
    ("name", "given", "meant"),
    [
        ("NAMESPACE", "blue\r", "blue"), ("BASE_DOMAIN", " example.com", "example.com"), ("BATCH_SIZE", " 7\r", 7),
        ("LOG_LEVEL", "INFO", "info"), ("LOG_LEVEL", "Debug\r", "debug"), ("OWNER_BY_ID", "Any", "any"),
        ("POOLER", "Session ", "session"),
    ],
)  # fmt: skip
def test_a_value_is_read_as_it_is_meant(monkeypatch, name, given, meant):
    """An env file from Windows ends its lines with a carriage return, and many programs write INFO in capitals."""
    monkeypatch.setenv(f"PROVISIONER_{name}", given)
    assert getattr(load_settings(), name.lower()) == meant


@pytest.mark.parametrize(
    "name",
    ["PACKS_DIR", "HTTP_PORT", "POOLER", "LOG_LEVEL", "LOCK_TIMEOUT_SECONDS", "IMAGES_URL", "DATABASE_URL_FILE"],
)  # fmt: skip
def test_an_empty_value_is_none(monkeypatch, name):
    """Compose hands on a variable that nobody has set as an empty one: the default applies, not the folder ``""``."""
    monkeypatch.setenv(f"PROVISIONER_{name}", "")
    assert load_settings() == Settings()
    assert load_settings().packs_dir is None


def test_the_console_reads_values_alike(monkeypatch):
    """Its settings come from the same env files."""
    monkeypatch.setenv("PROVISIONER_CONSOLE_PORT", "")
    monkeypatch.setenv("PROVISIONER_CONSOLE_SESSION_HOURS", "2\r")
    monkeypatch.setenv("PROVISIONER_CONSOLE_HOST", "localhost\r")
    settings = read_console_settings()
    assert (settings.port, settings.session_hours, settings.host) == (8480, 2, "localhost")


def test_a_password_that_no_url_can_hold_is_not_quoted(monkeypatch):
    """The standard library's own complaint quotes the whole address, password included; ours does not."""
    wrong(monkeypatch, AMQP_URL=f"amqp://u:{SECRET}℀@host/x")


@pytest.mark.parametrize(
    ("setting", "parameter", "transactions"),
    [
        (None, "", False), (None, "?pgbouncer=true", True), ("transaction", "", True), ("session", "", False),
        ("session", "?pgbouncer=true", False), ("none", "?pgbouncer=false", False),
    ],
)  # fmt: skip
def test_the_pooler_is_the_settings_or_else_the_addresss(monkeypatch, setting, parameter, transactions):
    """One concept with two spellings; what is set is more exact than what a provider writes."""
    monkeypatch.setenv("PROVISIONER_DATABASE_URL", f"postgresql://u@db/x{parameter}")
    if setting:
        monkeypatch.setenv("PROVISIONER_POOLER", setting)
    settings = load_settings()
    assert settings.pools_transactions == transactions
    assert make_store(settings, size=1).keeps_sessions != transactions


def test_a_setting_and_an_address_that_contradict_are_refused(monkeypatch):
    """Which of the two is meant is for a person to say."""
    line = wrong(monkeypatch, POOLER="none", DATABASE_URL=f"postgresql://u:{SECRET}@db/x?pgbouncer=true")
    assert line.startswith("PROVISIONER_POOLER: is none, and PROVISIONER_DATABASE_URL has pgbouncer=true")


def test_a_value_may_be_in_a_file(monkeypatch, tmp_path):
    """NAME_FILE has its path, as for secrets that are mounted; the line end of the file is no part of it."""
    (tmp_path / "url").write_text(f"postgresql://u:{SECRET}@db/x\n")
    monkeypatch.setenv("PROVISIONER_DATABASE_URL_FILE", str(tmp_path / "url"))
    assert load_settings().database_url.get_secret_value() == f"postgresql://u:{SECRET}@db/x"
    assert misspelt_settings({"PROVISIONER_DATABASE_URL_FILE": "x"}) == {}
    monkeypatch.setenv("PROVISIONER_DATABASE_URL", "")
    assert load_settings().database_url.get_secret_value() == f"postgresql://u:{SECRET}@db/x"
    assert "DATABASE_URL is set, too" in wrong(monkeypatch, DATABASE_URL="postgresql://u@db/x")


def test_a_file_from_windows_is_read(monkeypatch, tmp_path):
    """Its byte order mark and its line end are no part of the value."""
    (tmp_path / "namespace").write_bytes("\ufeffblue\r\n".encode())
    monkeypatch.setenv("PROVISIONER_NAMESPACE_FILE", str(tmp_path / "namespace"))
    assert load_settings().namespace == "blue"


def test_a_file_that_is_no_value_is_named(monkeypatch, tmp_path):
    """The variable, the path and why; of a wrong value the variable that was set."""
    line = wrong(monkeypatch, AMQP_URL_FILE=str(tmp_path / "absent"))
    assert line == f"PROVISIONER_AMQP_URL_FILE: cannot read {tmp_path}/absent: No such file or directory"
    (tmp_path / "url").write_text(f"http://u:{SECRET}@mq/")
    assert wrong(monkeypatch, AMQP_URL_FILE=str(tmp_path / "url")).startswith("PROVISIONER_AMQP_URL_FILE: is the")
    (tmp_path / "url").write_bytes(b"\xff\xfe")
    assert "UTF-8" in wrong(monkeypatch, AMQP_URL_FILE=str(tmp_path / "url"))


def service_links(service, port):
    """The variables that Kubernetes puts into every pod of a namespace for one of its Services."""
    name, url = service.upper().replace("-", "_"), f"tcp://10.96.0.12:{port}"
    return {
        f"{name}_SERVICE_HOST": "10.96.0.12", f"{name}_SERVICE_PORT": str(port), f"{name}_SERVICE_PORT_HTTP": str(port),
        f"{name}_PORT": url, f"{name}_PORT_{port}_TCP": url, f"{name}_PORT_{port}_TCP_PROTO": "tcp",
        f"{name}_PORT_{port}_TCP_PORT": str(port), f"{name}_PORT_{port}_TCP_ADDR": "10.96.0.12",
    }  # fmt: skip


@pytest.mark.parametrize("service", ["provisioner", "provisioner-http", "provisioner-console", "provisioner-x"])
def test_service_links_of_kubernetes_are_no_settings(monkeypatch, service):
    """A Service whose name begins like our settings stops nothing, and is not taken for a misspelling."""
    links = service_links(service, 9100)
    assert misspelt_settings(links) == {}
    for name, value in links.items():
        monkeypatch.setenv(name, value)
    assert load_settings() == Settings()
    assert load_settings().http_port is None


def test_a_port_of_ours_is_no_service_link(monkeypatch):
    """A number is the setting, and a misspelt name that ends in PORT is still noticed."""
    monkeypatch.setenv("PROVISIONER_HTTP_PORT", "9100")
    assert load_settings().http_port == 9100
    assert misspelt_settings({"PROVISIONER_HTP_PORT": "9100"}) == {"PROVISIONER_HTP_PORT": "PROVISIONER_HTTP_PORT"}


def test_a_folder_of_packs_must_be_there(monkeypatch, tmp_path):
    """A typing error is found at the start, not when the first website wants its pack."""
    assert wrong(monkeypatch, PACKS_DIR=str(tmp_path / "absent")) == "PROVISIONER_PACKS_DIR: is not a folder"
    (tmp_path / "pack.yml").touch()
    assert "name the folder that it is in" in wrong(monkeypatch, PACKS_DIR=str(tmp_path))


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("NAMESPACE", "a.b", "a-z, 0-9, _ and -"),
        ("BASE_DOMAIN", "https://example.com", "a domain such as example.com"),
        ("RETRY_CAP_SECONDS", "nan", "must be a number"),
    ],
)
def test_a_rule_is_told_in_words(monkeypatch, name, value, said):
    """Nobody has to read a regular expression."""
    assert said in wrong(monkeypatch, **{name: value})


def test_a_misspelt_setting_is_noticed():
    """With the setting that was probably meant; other programs' variables are none of our business."""
    environment = {"PROVISIONER_CONCURENCY": "8", "PROVISIONER_NAMESPACE": "x", "PATH": "/bin", "PROVISIONER_QQQ": "1"}
    assert misspelt_settings(environment) == {
        "PROVISIONER_CONCURENCY": "PROVISIONER_CONCURRENCY",
        "PROVISIONER_QQQ": None,
    }


def test_the_schemes_are_named(monkeypatch):
    """The reason says what would be right."""
    assert "postgresql://" in wrong(monkeypatch, DATABASE_URL="sqlite://x")


def test_secrets_are_never_printed(monkeypatch):
    """Neither repr, nor str, nor a dump shows an address."""
    monkeypatch.setenv("PROVISIONER_DATABASE_URL", f"postgresql://u:{SECRET}@db/x")
    monkeypatch.setenv("PROVISIONER_AMQP_URL", f"amqp://u:{SECRET}@mq/")
    settings = load_settings()
    shown = f"{settings} {settings!r} {settings.model_dump()} {settings.model_dump_json()} {vars(settings)}"
    assert SECRET not in shown


def test_the_window_fills_every_worker():
    """Prefetch is workers times batch."""
    assert Settings(concurrency=3, batch_size=7).prefetch == 21
