"""Who may use the console, and where it listens: environment variables with the prefix PROVISIONER_CONSOLE_."""

from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from consumer.config import WrongSettings

MIN_SECRET = 24
"""Characters. Long enough that guessing over the network is hopeless, so that nothing has to count failed logins."""


class ConsoleSettings(BaseSettings):
    """Tokens are `name=secret`, separated by commas; the name stands in the history as the actor."""

    model_config = SettingsConfigDict(env_prefix="PROVISIONER_CONSOLE_", extra="ignore", hide_input_in_errors=True)

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8480
    public_url: str | None = None
    """As browsers see it, https://ops.example.com: what forms may come from, and whether cookies are Secure."""
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

    @field_validator("operator_tokens", "reader_tokens", "signup_tokens")
    @classmethod
    def _pairs(cls, value: SecretStr) -> SecretStr:
        for word in words(value.get_secret_value()):
            name, _, secret = word.partition("=")
            if not name or len(secret) < MIN_SECRET:
                raise ValueError(f"must be name=secret, …, each secret of {MIN_SECRET} characters or more")
        return value

    @field_validator("follow_secrets")
    @classmethod
    def _secrets(cls, value: SecretStr) -> SecretStr:
        if any(len(word) < MIN_SECRET for word in words(value.get_secret_value())):
            raise ValueError(f"each secret must have {MIN_SECRET} characters or more")
        return value

    @field_validator("proxy_addresses")
    @classmethod
    def _networks(cls, value: str) -> str:
        for word in words(value):
            ip_network(word)
        return value

    @property
    def networks(self) -> list[IPv4Network | IPv6Network]:
        """Where trusted proxies are."""
        return [ip_network(word) for word in words(self.proxy_addresses)]


def words(value: str) -> list[str]:
    """Split a setting at its commas; empty words do not count."""
    return [word.strip() for word in value.split(",") if word.strip()]


def read_console_settings() -> ConsoleSettings:
    """Read the environment. Raises WrongSettings: one line that names the variable, and never its value."""
    try:
        return ConsoleSettings()
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        name = "PROVISIONER_CONSOLE_" + "_".join(str(part) for part in first["loc"]).upper()
        raise WrongSettings(f"{name}: {first['msg'].removeprefix('Value error, ')}") from None


def load_console_settings() -> ConsoleSettings:
    """Read the environment for serving.

    Raises:
        WrongSettings: a value cannot be used; or nobody at all could use the console.
    """
    settings = read_console_settings()
    tokens = (settings.operator_tokens, settings.reader_tokens, settings.signup_tokens)
    if not settings.networks and not any(token.get_secret_value() for token in tokens):
        raise WrongSettings(
            "nobody could use the console: set PROVISIONER_CONSOLE_OPERATOR_TOKENS=name=secret,… "
            "or PROVISIONER_CONSOLE_PROXY_ADDRESSES (docs/console.md)"
        )
    return settings
