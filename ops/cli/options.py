"""Options that several commands share, and the values that they parse."""

import getpass
import os
import re
from typing import Any

import click

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")


def default_actor() -> str:
    """Return who acts, by the name of this process's user; in a pod it may have none but its number."""
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):
        return f"cli:uid-{os.getuid()}"


reason_option = click.option("--reason", help="Why; is recorded in the website's history.")
actor_option = click.option("--actor", default=default_actor, help="Who; is recorded in the history.")
yes_option = click.option("--yes", is_flag=True, help="Do not ask.")
website_id_type = click.IntRange(1, 2**63 - 1)
"""A number that a `bigint` can hold."""
site_type_choice = click.Choice(["residential", "commercial", "vacation_rental"])

SECONDS_BY_UNIT = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def parse_duration(_context: click.Context, _parameter: click.Parameter, value: str | None) -> float | None:
    """Return 90s, 30m, 2h or 7d as seconds; a callback of options."""
    if value is None:
        return None
    match = re.fullmatch(r"(\d{1,6})([smhd])", value)
    if match is None:
        raise click.BadParameter(f"{value!r} is no duration; 90s, 30m, 2h and 7d are")
    return float(match[1]) * SECONDS_BY_UNIT[match[2]]


class Rate(click.FloatRange):
    """A number a second: 5, 0.5 or 5/s."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number, or fail with the forms that are accepted."""
        try:
            return super().convert(str(value).removesuffix("/s"), param, ctx)  # type: ignore[arg-type]
        except click.BadParameter:
            limits = f"from {self.min:g} to {self.max:g}"
            self.fail(f"{value!r} is no rate {limits} a second; 5, 0.5 and 5/s are", param, ctx)


def _log_json(_context: click.Context, _parameter: click.Parameter, value: bool) -> None:  # noqa: FBT001 - click's
    """Set the setting, where this command and the processes that it starts read it."""
    if value:
        os.environ["PROVISIONER_LOG_FORMAT"] = "json"


logs_as_json = click.option(
    "--json", is_flag=True, callback=_log_json, expose_value=False, help="Log JSON even on a terminal."
)
