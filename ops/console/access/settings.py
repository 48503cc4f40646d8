"""The console's settings: who may use it and where it listens. Environment variables, prefix PROVISIONER_CONSOLE_."""

import os
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated, Any

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from consumer.config import CONSOLE_PREFIX, EnvironmentSettings, SettingsError, is_service_link, values_from_files
from consumer.domain.validation_texts import validation_text
from ops.console.access.tokens import Role, Token, digest_of, read_tokens, refuse_shared, refuse_weak


class ConsoleSettings(EnvironmentSettings):
    """Tokens are `name=secret` or `name=sha256:digest`, separated by commas; the history has the name as the actor."""

    model_config = SettingsConfigDict(env_prefix=CONSOLE_PREFIX, extra="ignore", hide_input_in_errors=True)

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8480
    public_url: str | None = None
    """As browsers see it, https://ops.example.com: whose pages may send changes, and whether cookies are Secure."""
    operator_tokens: SecretStr = SecretStr("")
    reader_tokens: SecretStr = SecretStr("")
    signup_tokens: SecretStr = SecretStr("")
    """For the signup system: progress of any website, and tokens for its customers; nothing else."""
    follow_secrets: SecretStr = SecretStr("")
    """Sign the tokens of customers: the first signs, all are accepted, so that a secret can be changed."""
    follow_origins: str = ""
    """Web origins whose pages may read a website's progress, separated by commas."""
    proxy_addresses: str = ""
    """Addresses or networks of proxies whose headers are believed, separated by commas."""
    proxy_user_header: str = "x-forwarded-user"
    proxy_groups_header: str = "x-forwarded-groups"
    proxy_operator_group: str = "provisioner-operators"
    session_hours: Annotated[float, Field(gt=0, le=168)] = 12
    streams_limit: Annotated[int, Field(ge=1, le=10_000)] = 500
    """Event streams that one console process serves at once."""

    @field_validator("port", mode="before")
    @classmethod
    def _no_service_link(cls, port: Any) -> Any:
        return cls.model_fields["port"].default if is_service_link(f"{CONSOLE_PREFIX}PORT", port) else port

    @field_validator("operator_tokens", "reader_tokens", "signup_tokens")
    @classmethod
    def _readable(cls, value: SecretStr) -> SecretStr:
        read_tokens(comma_separated(value.get_secret_value()), Role.READER)
        return value

    @field_validator("follow_secrets")
    @classmethod
    def _strong(cls, value: SecretStr) -> SecretStr:
        for number, word in enumerate(comma_separated(value.get_secret_value()), 1):
            refuse_weak(word, f"key {number}")
        return value

    @model_validator(mode="after")
    def _each_its_own(self) -> "ConsoleSettings":
        named: dict[str, list[bytes]] = {}
        for token in self.tokens:
            named.setdefault(f"{token.role} {token.name}", []).append(token.digest)
        for number, word in enumerate(comma_separated(self.follow_secrets.get_secret_value()), 1):
            named[f"key {number} of the follow tokens"] = [digest_of(word)]
        refuse_shared(named)
        return self

    @field_validator("proxy_addresses")
    @classmethod
    def _networks(cls, value: str) -> str:
        for word in comma_separated(value):
            ip_network(word)
        return value

    @property
    def tokens(self) -> list[Token]:
        """Everybody who is known by a token."""
        return [
            token
            for role, setting in (
                (Role.OPERATOR, self.operator_tokens), (Role.READER, self.reader_tokens),
                (Role.SIGNUP, self.signup_tokens),
            )
            for token in read_tokens(comma_separated(setting.get_secret_value()), role)
        ]  # fmt: skip

    @property
    def networks(self) -> list[IPv4Network | IPv6Network]:
        """Where trusted proxies are."""
        return [ip_network(word) for word in comma_separated(self.proxy_addresses)]


def comma_separated(value: str) -> list[str]:
    """Split a setting at its commas; empty words do not count."""
    return [word.strip() for word in value.split(",") if word.strip()]


def read_console_settings() -> ConsoleSettings:
    """Read the environment. Raises SettingsError: one line that names the variable, and never its value."""
    from_files = values_from_files(CONSOLE_PREFIX, ConsoleSettings.model_fields, os.environ)
    try:
        return ConsoleSettings(**from_files)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        field = "_".join(str(part) for part in first["loc"])
        name = (CONSOLE_PREFIX + field.upper()).rstrip("_") + ("_FILE" if field in from_files else "")
        raise SettingsError(f"{name}: {validation_text(first)}") from None


def load_console_settings() -> ConsoleSettings:
    """Read the environment for serving.

    Raises:
        SettingsError: a value cannot be used; or nobody at all could use the console.
    """
    settings = read_console_settings()
    tokens = (settings.operator_tokens, settings.reader_tokens, settings.signup_tokens)
    if not settings.networks and not any(token.get_secret_value() for token in tokens):
        raise SettingsError(
            "nobody could use the console: set PROVISIONER_CONSOLE_OPERATOR_TOKENS=name=secret,… "
            "or PROVISIONER_CONSOLE_PROXY_ADDRESSES (docs/console.md)"
        )
    return settings
