"""Settings of a worker: read once from the environment, prefix PROVISIONER_, checked before anything starts."""

import os
import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, get_origin

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from consumer.addresses.broker import parse_broker_url
from consumer.addresses.database import Pooler, parse_database_url
from consumer.domain.validation_texts import validation_text
from seeders.loading.pack_files import HEAD

PREFIX = "PROVISIONER_"
CONSOLE_PREFIX = "PROVISIONER_CONSOLE_"
"""The console has settings of its own, in ops/console/access/settings.py."""
SERVICE_LINK = re.compile(r"\w+(_SERVICE_HOST|_SERVICE_PORT(_\w+)?|_PORT_\d+_(TCP|UDP|SCTP)(_PROTO|_PORT|_ADDR)?)")
"""The names of the variables that Kubernetes makes for a Service. One more ends in _PORT and is known by its value."""
LINK_VALUE = re.compile(r"(tcp|udp|sctp)://")
Seconds = Annotated[float, Field(gt=0, le=86400, allow_inf_nan=False)]
FORMATS = {
    "namespace": "must be 1 to 64 of a-z, 0-9, _ and -, and begin with a letter or a number",
    "http_host": "must be a host name or an address to listen on",
    "images_url": "must be an address such as https://images.example.com/seeds, without ? and #",
    "base_domain": "must be a domain such as example.com, with a port if need be: a-z, 0-9, dots, hyphens",
}


class EnvironmentSettings(BaseSettings):
    """Settings as shells, env files and mounted files give them."""

    @model_validator(mode="before")
    @classmethod
    def _as_they_are_given(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Take away space around a value, as the carriage return of an env file from Windows, and capitals in words.

        What is empty counts as unset, as Compose hands on a variable that nobody has set; but for texts, such as the
        two addresses: the default would be another server.
        """
        taken = {}
        for name, value in values.items():
            kind = cls.model_fields[name].annotation if name in cls.model_fields else None
            given = value.strip() if isinstance(value, str) else value
            if given == "" and kind not in (str, SecretStr):
                continue
            taken[name] = given.lower() if isinstance(given, str) and get_origin(kind) is Literal else given
        return taken


class Settings(EnvironmentSettings):
    """Everything that can be set. Units stand in the names."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore", hide_input_in_errors=True)

    database_url: SecretStr = SecretStr("postgresql://postgres@127.0.0.1:5432/provisioner")
    pooler: Pooler | None = None
    """What stands between this service and PostgreSQL: none, or the pool_mode of a pooler like PgBouncer. Unset, it is
    transaction where the address has pgbouncer=true, else none."""
    amqp_url: SecretStr = SecretStr("amqp://guest:guest@127.0.0.1:5672/")
    namespace: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")] = "provisioning"
    packs_dir: Path | None = None
    """Searched before the packs that are shipped."""
    images_url: Annotated[str, Field(pattern=r"^https?://[^\s/?#]+[^\s?#]*$")] | None = None
    """Where the pictures are that seed packs name; unset, sample properties have none."""
    base_domain: Annotated[str, Field(pattern=r"^[a-z0-9.:-]+$")] = "propertywebbuilder.com"
    """A live website's URL is https://SUBDOMAIN.BASE_DOMAIN."""
    owner_by_id: Literal["any", "without_website"] = "any"
    """Which users a signup may name as its owner by `user_id`: any, or only those who belong to no other website."""

    concurrency: Annotated[int, Field(ge=1, le=64)] = 2
    """Workers a process: one waits for the database while the other computes. More make batches smaller, and each
    costs its statements (measured: docs/decisions/0019)."""
    batch_size: Annotated[int, Field(ge=1, le=256)] = 96
    """Deliveries that one transaction carries at most; only what already waits is taken."""
    admission_limit: Annotated[int, Field(ge=1, le=100_000)] = 192
    """Websites that a process has under way at most: what was started is finished before more signups are taken."""

    retry_budget: Annotated[int, Field(ge=1, le=100)] = 8
    """Attempts at a step before the website fails."""
    retry_base_seconds: Seconds = 1
    retry_cap_seconds: Seconds = 300
    stall_seconds: Seconds = 120
    """How long a website may be without its next transition before the dispatcher sends the command again."""
    dispatch_interval_seconds: Annotated[float, Field(ge=0.05, le=3600)] = 1
    """How often the dispatcher claims due websites; an idle system asks no faster than this."""
    presence_seconds: Annotated[float, Field(ge=0.05, le=5)] = 3
    """How often a worker process writes its heartbeat row and reads whether it is paused: one small write each time."""

    step_timeout_seconds: Seconds = 30
    """One transaction, from BEGIN to COMMIT."""
    lock_timeout_seconds: Seconds = 2
    statement_timeout_seconds: Seconds = 10
    """One statement, on the server's side: a slow one is a transient error."""
    command_timeout_seconds: Seconds = 15
    """One statement, on our side: past the server's limit, so that only a server that does not answer reaches it."""
    idle_transaction_seconds: Seconds = 15
    """The server ends a transaction after so long without a statement: a half-open client would keep its row locks."""
    broker_timeout_seconds: Seconds = 10
    """The longest wait for one answer of the broker."""
    heartbeat_seconds: Annotated[int, Field(ge=1, le=600)] = 10
    """AMQP's heartbeat: a broker that sends nothing is given up after three of these; it gives us up after two."""
    watchdog_seconds: Seconds = 5
    """How often the consuming channel is asked whether the broker still knows it. Where messages are ready and none
    has come for twice as long, the consumer is dead."""
    drain_seconds: Seconds = 30
    """How long a stop waits for what was started."""
    reconnect_base_seconds: Seconds = 0.2
    reconnect_cap_seconds: Seconds = 10

    http_host: Annotated[str, Field(pattern=r"^[A-Za-z0-9.:_-]+$")] = "127.0.0.1"
    http_port: Annotated[int, Field(ge=0, le=65535)] | None = None
    """Where /livez, /readyz and /metrics are served, one port a process group; 0 is a free one, which the log names.
    Unset, nothing is served, and the cluster's metrics are not collected."""
    http_socket: Path | None = None
    """Set by `worker --processes` for its children, which it asks: the same three routes on a Unix socket."""
    parent_pipe: Annotated[int, Field(ge=3)] | None = None
    """Set by `worker --processes` for its children: a file descriptor at whose end of file the parent is gone."""
    census_seconds: Annotated[float, Field(ge=0.05, le=3600)] = 15
    """How often one process of all collects the cluster's metrics from database and broker (the census)."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["auto", "json", "console"] = "auto"
    audit_log: str = ""
    """Where the lines about what people do are written: a file, or `stderr`. Unset, the console writes them to standard
    error, and commands do not write them; both keep rows in the database."""
    failpoints: str = ""
    """For tests alone: places where this process dies, raises or waits. See consumer.failpoints."""

    @field_validator("database_url")
    @classmethod
    def _postgres(cls, url: SecretStr) -> SecretStr:
        parse_database_url(url.get_secret_value())
        return url

    @field_validator("pooler", mode="before")
    @classmethod
    def _pool_mode(cls, pooler: Any) -> Any:
        pooler = pooler.lower() if isinstance(pooler, str) else pooler
        if pooler == "statement":
            raise ValueError("statement mode has no transactions: set pool_mode=transaction in the pooler and here")
        return pooler

    @field_validator("pooler")
    @classmethod
    def _one_pooler(cls, pooler: Pooler | None, info: ValidationInfo) -> Pooler | None:
        url = info.data.get("database_url")  # missing where it is wrong itself
        if url and pooler is Pooler.NONE and parse_database_url(url.get_secret_value()).pooler is not Pooler.NONE:
            raise ValueError("is none, and PROVISIONER_DATABASE_URL has pgbouncer=true; unset one of the two")
        return pooler

    @field_validator("amqp_url")
    @classmethod
    def _amqp(cls, url: SecretStr) -> SecretStr:
        parse_broker_url(url.get_secret_value())
        return url

    @field_validator("http_port", mode="before")
    @classmethod
    def _no_service_link(cls, port: Any) -> Any:
        return None if is_service_link(f"{PREFIX}HTTP_PORT", port) else port

    @field_validator("packs_dir")
    @classmethod
    def _folder(cls, folder: Path | None) -> Path | None:
        try:
            if folder is not None and not folder.is_dir():
                raise ValueError("is not a folder")
            if folder is not None and (folder / HEAD).is_file():
                raise ValueError(f"is a seed pack itself, it has a {HEAD}: name the folder that it is in")
        except OSError as error:
            raise ValueError(f"cannot be looked at: {error.strerror}") from None
        return folder

    @field_validator("images_url")
    @classmethod
    def _no_slash_at_the_end(cls, url: str | None) -> str | None:
        return url and url.rstrip("/")

    @property
    def pools_transactions(self) -> bool:
        """Whether a pooler lends us connections for a transaction at a time."""
        pooler = self.pooler or parse_database_url(self.database_url.get_secret_value()).pooler
        return pooler is Pooler.TRANSACTION

    @property
    def serves_health(self) -> bool:
        """Whether this process serves /livez, /readyz and /metrics."""
        return self.http_port is not None or self.http_socket is not None

    @property
    def pool_size(self) -> int:
        """Database connections of a process: one a worker, one each for dispatcher, admission, probe and the
        refresher of the view, and one for the cluster metrics with their lock; heartbeat and readiness borrow for a
        moment."""
        return self.concurrency + 4 + self.serves_health

    @property
    def prefetch(self) -> int:
        """Deliveries that a process holds unsettled, a queue: enough to fill every worker's batch."""
        return self.concurrency * self.batch_size


class SettingsError(Exception):
    """A setting cannot be used; the text is one line that names the variable and the reason, never the value."""


def load_settings() -> Settings:
    """Read the environment.

    Raises:
        SettingsError: a setting cannot be used; one line for the person who set it.
    """
    from_files = values_from_files(PREFIX, Settings.model_fields, os.environ)
    try:
        return Settings(**from_files)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        field = "_".join(str(part) for part in first["loc"])
        reason = FORMATS.get(field) if first["type"] == "string_pattern_mismatch" else None
        variable = PREFIX + field.upper() + ("_FILE" if field in from_files else "")
        raise SettingsError(f"{variable}: {reason or validation_text(first)}") from None


def values_from_files(prefix: str, fields: Iterable[str], environment: Mapping[str, str]) -> dict[str, Any]:
    """Return the settings whose values are in files: NAME_FILE has the path of the value of NAME.

    Raises:
        SettingsError: a file cannot be read, or NAME is set, too.
    """
    values = {}
    given = {name.upper(): (name, value) for name, value in environment.items()}
    for field in fields:
        variable = prefix + field.upper()
        name, path = given.get(f"{variable}_FILE", ("", ""))
        if not path:
            continue
        value = given.get(variable, ("", ""))[1]
        if value and not is_service_link(variable, value):
            raise SettingsError(f"{name}: {variable} is set, too; unset one of the two") from None
        try:
            values[field] = Path(path).read_text(
                encoding="utf-8-sig"
            )  # without the mark that editors of Windows begin a file with
        except OSError as error:
            raise SettingsError(f"{name}: cannot read {path}: {error.strerror or error}") from None
        except ValueError:
            raise SettingsError(f"{name}: cannot read {path}: it is not UTF-8 text") from None
    return values


def is_service_link(name: str, value: Any) -> bool:
    """Return whether a variable is one that Kubernetes puts into a pod for a Service, as Docker does for a link.

    A Service called `provisioner-http` makes PROVISIONER_HTTP_PORT=tcp://10.96.0.12:9100, which is no port.
    """
    name = name.upper()
    return bool(SERVICE_LINK.fullmatch(name) or (name.endswith("_PORT") and LINK_VALUE.match(str(value))))


def misspelt_settings(environment: Mapping[str, str]) -> dict[str, str | None]:
    """Return the variables with our prefix that are no settings, each with the setting that may have been meant."""
    known = [PREFIX + name.upper() + end for name in Settings.model_fields for end in ("", "_FILE")]
    return {
        name: next(iter(get_close_matches(name, known, n=1, cutoff=0.8)), None)
        for name, value in sorted(environment.items())
        if name.upper().startswith(PREFIX)
        and not name.upper().startswith(CONSOLE_PREFIX)
        and name.upper() not in known
        and not is_service_link(name, value)
    }
