"""Checks the settings: whether they are well spelt, and consistent with one another."""

from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

from consumer.config import Settings, misspelt_settings
from ops.doctor.findings import Area, Finding

AREA = Area("settings")
LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1", None, "")


def check_settings(settings: Settings, environment: Mapping[str, str]) -> list[Finding]:
    """Return findings about the settings, without any secret value."""
    wrong = misspelt_settings(environment)
    spelt = [name + (f" (is {meant} meant?)" if meant else "") for name, meant in wrong.items()]
    risks = list(_risks(settings))
    return [
        AREA.warn("spelling", ", ".join(spelt), "names of settings", "correct or unset them: they change nothing")
        if spelt
        else AREA.ok("spelling", "every PROVISIONER_ variable is a setting"),
        *(risks or [AREA.ok("risks", "none known")]),
    ]


def _risks(settings: Settings) -> Iterator[Finding]:
    if settings.failpoints:
        yield AREA.fail(
            "failpoints", "set", "empty", "unset PROVISIONER_FAILPOINTS: it is for tests, and kills workers"
        )
    for less, more, why in (
        ("lock_timeout_seconds", "statement_timeout_seconds", "a lock is never waited for as long as it may be"),
        ("statement_timeout_seconds", "command_timeout_seconds", "a slow statement is taken for a server that is away"),
        ("step_timeout_seconds", "stall_seconds", "websites are rescued while their step still runs"),
        ("retry_base_seconds", "retry_cap_seconds", "the backoff never grows"),
        ("idle_transaction_seconds", "stall_seconds", "a dead client keeps its locks past the rescue"),
    ):
        low, high = getattr(settings, less), getattr(settings, more)
        if low >= high:
            yield AREA.warn(
                less, f"{low:g} s", f"less than {more}, {high:g} s", f"{why}: set PROVISIONER_{less.upper()}"
            )
    step = settings.step_timeout_seconds
    if settings.drain_seconds < step:
        then = f"set PROVISIONER_DRAIN_SECONDS to {step:g} or more: a stop may cut a step short, to be done again"
        yield AREA.warn("drain_seconds", f"{settings.drain_seconds:g} s", f"step_timeout_seconds, {step:g} s", then)
    url = urlsplit(settings.amqp_url.get_secret_value())
    if url.hostname not in LOCAL_HOSTS and url.username in ("guest", None):
        yield AREA.warn("AMQP_URL", "user guest", "a user of its own", "add one with the rights it needs, delete guest")
    if url.hostname not in LOCAL_HOSTS and url.scheme == "amqp":
        then = "use amqps://, or keep both hosts on a network of their own"
        yield AREA.warn("AMQP_URL", "not encrypted", "amqps:// between hosts", then)
    if settings.dispatch_interval_seconds > settings.stall_seconds / 2:
        yield AREA.warn(
            "dispatch_interval_seconds", f"{settings.dispatch_interval_seconds:g} s", "well below stall_seconds",
            "what is due is sent that late: set PROVISIONER_DISPATCH_INTERVAL_SECONDS lower",
        )  # fmt: skip
