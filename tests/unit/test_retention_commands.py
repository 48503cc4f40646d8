"""Wrong usage of `erase` and `prune` is one line with exit code 2, before any server is asked."""

import pytest
from click.testing import CliRunner

from ops.cli.main import main

SETTINGS = {
    "PROVISIONER_DATABASE_URL": "postgresql://u@127.0.0.1:1/d",
    "PROVISIONER_AMQP_URL": "amqp://u:p@127.0.0.1:1/",
}


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["erase", "7"], "--reason: say why; it is kept, so name the case and not the owner"),
        (["erase", "7", "--reason", " "], "--reason: say why; it is kept, so name the case and not the owner"),
        (
            ["erase", "7", "--reason", "ana@example.com asked"],
            "--reason: it has an e-mail address, which would be kept",
        ),
        (["prune"], "Missing option '--older'"),
        (["prune", "--older", "ninety"], "'ninety' is no duration"),
        (["prune", "--older", "2h", "--reason", "x"], "--older: at least 1d"),
        (["prune", "--older", "90d"], "--reason: say why; it is recorded among the actions"),
        (["prune", "--older", "90d", "--reason", " "], "--reason: say why; it is recorded among the actions"),
    ],
)
def test_wrong_usage(arguments: list[str], line: str) -> None:
    """What is missing, or would be kept, is named."""
    result = CliRunner().invoke(main, arguments, env=SETTINGS)
    assert result.exit_code == 2
    assert line in result.output
    assert result.output.count("\n") == 1
