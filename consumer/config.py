"""Settings: read once from the environment, prefix PROVISIONER_, checked before anything starts."""

from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

PREFIX = "PROVISIONER_"
CONSOLE_PREFIX = "PROVISIONER_CONSOLE_"
"""The console has settings of its own, in ops/console/settings.py."""
Seconds = Annotated[float, Field(gt=0, le=86400, allow_inf_nan=False)]
RULES = {
    "namespace": "must be 1 to 64 of a-z, 0-9, _ and -, and begin with a letter or a number",
    "http_host": "must be a host name or an address to listen on",
    "base_domain": "must be a domain such as example.com, with a port if need be: a-z, 0-9, dots, hyphens",
}


class Settings(BaseSettings):
    """Everything that can be set. Units stand in the names."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore", hide_input_in_errors=True)

    database_url: SecretStr = SecretStr("postgresql://postgres@127.0.0.1:5432/provisioner")
    amqp_url: SecretStr = SecretStr("amqp://guest:guest@127.0.0.1:5672/")
    namespace: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")] = "provisioning"
    packs_dir: Path | None = None
    """Searched before the packs that ship."""
    base_domain: Annotated[str, Field(pattern=r"^[a-z0-9.:-]+$")] = "propertywebbuilder.com"
    """A live website's URL is https://SUBDOMAIN.BASE_DOMAIN."""

    concurrency: Annotated[int, Field(ge=1, le=64)] = 2
    """Workers a process: one waits for the database while the other computes. More make batches smaller, and each
    costs its statements: 4 workers with batches of 16 used 1.25 times the CPU (measured: docs/decisions)."""
    batch_size: Annotated[int, Field(ge=1, le=256)] = 96
    """Deliveries that one transaction carries at most; only what already waits is taken."""
    admission_limit: Annotated[int, Field(ge=1, le=100_000)] = 192
    """Websites that a process has under way before it takes more signups: finish what was started."""

    retry_budget: Annotated[int, Field(ge=1, le=100)] = 8
    """Attempts at a step before the website fails."""
    retry_base_seconds: Seconds = 1
    retry_cap_seconds: Seconds = 300
    stall_seconds: Seconds = 120
    """How long a website may owe its next transition before the dispatcher sends it again."""
    dispatch_interval_seconds: Annotated[float, Field(ge=0.05, le=3600)] = 1
    """How often due websites are looked for; an idle system asks no faster than this."""
    presence_seconds: Annotated[float, Field(ge=0.05, le=5)] = 3
    """How often a worker says that it is there, and hears whether it is paused: one small write each time."""

    step_timeout_seconds: Seconds = 30
    """One transaction, from BEGIN to COMMIT."""
    lock_timeout_seconds: Seconds = 2
    statement_timeout_seconds: Seconds = 10
    """One statement, on the server's side: a slow one is a transient error."""
    command_timeout_seconds: Seconds = 15
    """One statement, on our side: past the server's limit, so that only a server that does not answer reaches it."""
    idle_transaction_seconds: Seconds = 15
    """A half-open client keeps its row locks until the server gives up on it, after so long without a statement."""
    broker_timeout_seconds: Seconds = 10
    """One answer of the broker."""
    heartbeat_seconds: Annotated[int, Field(ge=1, le=600)] = 10
    """A broker that says nothing is given up after three of these, and gives us up after two."""
    watchdog_seconds: Seconds = 5
    """How often the consuming channel is asked whether the broker still knows it. Where messages are ready and none
    has come for twice as long, the consumer is dead."""
    drain_seconds: Seconds = 30
    """How long a stop waits for what was started."""
    reconnect_base_seconds: Seconds = 0.2
    reconnect_cap_seconds: Seconds = 10

    http_host: Annotated[str, Field(pattern=r"^[A-Za-z0-9.:_-]+$")] = "127.0.0.1"
    http_port: Annotated[int, Field(ge=0, le=65535)] | None = None
    """Where /livez, /readyz and /metrics are answered, one port a process group; 0 is a free one, which the log names.
    Unset, nobody listens and no census is taken."""
    http_socket: Path | None = None
    """Set by `worker --processes` for its children, which it answers for: the same three routes on a Unix socket."""
    census_seconds: Annotated[float, Field(ge=0.05, le=3600)] = 15
    """How often one process of all asks database and broker for what /metrics says of all websites."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["auto", "json", "console"] = "auto"
    failpoints: str = ""
    """For tests alone: places where this process dies, raises or waits. See consumer.failpoints."""

    @field_validator("database_url")
    @classmethod
    def _postgres(cls, url: SecretStr) -> SecretStr:
        if _scheme(url) not in ("postgresql", "postgres"):
            raise ValueError("must start with postgresql://")
        return url

    @field_validator("amqp_url")
    @classmethod
    def _amqp(cls, url: SecretStr) -> SecretStr:
        if _scheme(url) not in ("amqp", "amqps", "inprocess"):
            raise ValueError("must start with amqp:// or amqps://")
        return url

    @field_validator("packs_dir")
    @classmethod
    def _folder(cls, folder: Path | None) -> Path | None:
        if folder is not None and not folder.is_dir():
            raise ValueError("is not a folder")
        return folder

    @property
    def answers(self) -> bool:
        """Whether this process answers for its health."""
        return self.http_port is not None or self.http_socket is not None

    @property
    def prefetch(self) -> int:
        """Deliveries that a process holds unsettled, a queue: enough to fill every worker's batch."""
        return self.concurrency * self.batch_size


def _scheme(url: SecretStr) -> str:
    try:
        parts = urlsplit(url.get_secret_value())
        port = parts.port  # read lazily: raises on what is no number
    except ValueError:
        # Its text quotes the password.
        raise ValueError("cannot be read as a URL") from None
    if port == 0:
        raise ValueError("has no port 0 to connect to")
    return parts.scheme


class WrongSettings(Exception):  # noqa: N818
    """A setting cannot be used; the text is one line that names the variable and the reason, never the value."""


def load_settings() -> Settings:
    """Read the environment.

    Raises:
        WrongSettings: with one line for the person who set it.
    """
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        field = "_".join(str(part) for part in first["loc"])
        said = RULES.get(field) if first["type"] == "string_pattern_mismatch" else None
        said = said or ("must be a number" if first["type"] == "finite_number" else first["msg"])
        raise WrongSettings(f"{PREFIX}{field.upper()}: {said.removeprefix('Value error, ')}") from None


def misspelt_settings(environment: Mapping[str, str]) -> dict[str, str | None]:
    """Return the variables with our prefix that are no settings, each with the setting that may have been meant."""
    known = [PREFIX + name.upper() for name in Settings.model_fields]
    return {
        name: next(iter(get_close_matches(name, known, n=1, cutoff=0.8)), None)
        for name in sorted(environment)
        if name.upper().startswith(PREFIX) and not name.upper().startswith(CONSOLE_PREFIX) and name.upper() not in known
    }
