"""Settings: their names, their defaults, and one clear line for each that cannot be used. Never a value in it."""

import pytest

from consumer.config import Settings, WrongSettings, load_settings, misspelt_settings
from consumer.topology import Topology

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
    with pytest.raises(WrongSettings) as caught:
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
    assert (settings.http_host, settings.http_port, settings.answers) == ("127.0.0.1", None, False)
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
        ("DISPATCH_INTERVAL_SECONDS", "0.01"), ("STEP_TIMEOUT_SECONDS", "soon"), ("LOCK_TIMEOUT_SECONDS", ""),
        ("LOG_LEVEL", "loud"), ("LOG_FORMAT", "xml"),
        ("DATABASE_URL", f"mysql://u:{SECRET}@db/x"), ("DATABASE_URL", SECRET), ("DATABASE_URL", ""),
        ("DATABASE_URL", f"postgresql://u:{SECRET}@[db/x"), ("DATABASE_URL", f"postgresql://u:{SECRET}@db:abc/x"),
        ("DATABASE_URL", f"postgresql://u:{SECRET}@db:0/x"), ("AMQP_URL", f"amqp://u:{SECRET}@mq:99999/"),
        ("AMQP_URL", f"http://u:{SECRET}@mq/"), ("AMQP_URL", SECRET), ("AMQP_URL", f"amqp://u:{SECRET}@[mq"),
    ],
)  # fmt: skip
def test_a_wrong_setting_is_one_line_that_names_it(monkeypatch, name, value):
    """Which variable and why, so that whoever set it can mend it."""
    line = wrong(monkeypatch, **{name: value})
    assert line.startswith(f"PROVISIONER_{name}: ")
    assert len(line) > len(f"PROVISIONER_{name}: ") + 8


@pytest.mark.parametrize("name", ["DATABASE_URL", "AMQP_URL"])
def test_a_password_that_no_url_can_hold_is_not_quoted(monkeypatch, name):
    """The standard library's own complaint quotes the whole address, password included; ours does not."""
    wrong(monkeypatch, **{name: f"{name.partition('_')[0].lower()}://u:{SECRET}℀@host/x"})


def test_a_folder_of_packs_must_be_there(monkeypatch, tmp_path):
    """A typing error is found at the start, not when the first website wants its pack."""
    assert wrong(monkeypatch, PACKS_DIR=str(tmp_path / "absent")) == "PROVISIONER_PACKS_DIR: is not a folder"


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
