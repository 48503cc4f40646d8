"""The contracts of all messages, as AsyncAPI and JSON Schema; and which changes of them would break somebody."""

import json
from pathlib import Path
from typing import Any

import click

from ops.cli.options import json_option
from ops.cli.output import print_result
from ops.errors import EXIT_FAILED, InvalidInputError

WRITTEN = "give a document that `provisioner contracts` has written"


@click.command()
@click.option(
    "--schemas", type=click.Path(file_okay=False, path_type=Path), metavar="DIR",
    help="Write the JSON Schema of each message's body into this folder instead, one file each.",
)  # fmt: skip
@click.option(
    "--check", "old", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="OLD.yaml",
    help="Compare with an older document instead: exit code 1 where a publisher or a subscriber would break.",
)  # fmt: skip
@json_option
def contracts(*, schemas: Path | None, old: Path | None, as_json: bool) -> None:
    """Print the AsyncAPI document of all messages in and out; needs neither database nor broker.

    Example: provisioner contracts --check docs/asyncapi.yaml
    """
    import yaml

    from consumer.messages import asyncapi
    from consumer.messages.contract_changes import NotAsyncApiError, breaking_changes

    if schemas:
        schemas.mkdir(parents=True, exist_ok=True)
        for name, schema in asyncapi.schemas().items():
            (schemas / f"{name}.json").write_text(json.dumps(schema, indent=2, ensure_ascii=False) + "\n")
        return
    document = asyncapi.document()
    if not old:
        print_result(document, as_json=as_json, table=lambda found: click.echo(asyncapi.as_yaml(found), nl=False))
        return
    try:
        before = yaml.safe_load(old.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InvalidInputError(f"{old}: is no YAML; {WRITTEN}") from error
    try:
        breaking = breaking_changes(before, document)
    except NotAsyncApiError as error:
        raise InvalidInputError(f"{old}: {error}; {WRITTEN}") from error
    print_result({"breaking": breaking}, as_json=as_json, table=_print_breaking)
    if breaking:
        raise SystemExit(EXIT_FAILED)


def _print_breaking(result: dict[str, Any]) -> None:
    for change in result["breaking"]:
        click.echo(change)
    if not result["breaking"]:
        click.echo("no change breaks a publisher or a subscriber")
