"""Worker processes on a terminal, and their answers to a pause or a resume."""

from collections.abc import Mapping
from typing import Any

from rich.text import Text

from ops.cli.tables.columns import cell, console, print_rows, time_cell


def print_workers(known: Mapping[str, Any]) -> None:
    """Print the worker processes."""
    if known["paused"]:
        console.print(Text("all workers are paused: ", style="yellow").append_text(_pause_text(known["paused"])))
    rows = [
        (
            cell(worker["id"][:8]),
            cell(worker["name"]),
            _state_text(worker),
            cell(worker["version"]),
            time_cell(worker["since"]),
            cell(worker["in_flight"]),
            time_cell(worker["last_delivery_at"]),
            _pause_text(worker["pause"]) if worker["pause"] else Text(""),
        )
        for worker in known["workers"]
    ]
    columns = ("id", "worker", "state", "version", "since", "in flight", "last delivery", "reason or error")
    print_rows(columns, rows, "no worker runs")


def print_answers(result: Mapping[str, Any]) -> None:
    """Print what workers answered to a pause or a resume."""
    for worker in result["workers"]:
        console.print(Text.assemble(cell(worker["name"]), ": ", _state_text(worker)))
    console.print(cell(result["outcome"]))
    if result["verb"] == "pause":
        console.print("messages wait at the broker until `provisioner resume`")


def _state_text(worker: Mapping[str, Any]) -> Text:
    if worker["stale"]:
        return Text(f"not seen for {worker['unseen_seconds']:.0f} s", style="red")
    if worker["paused"]:
        return Text("paused", style="yellow")
    if worker["pause"]:
        return Text("pausing", style="yellow")
    return Text("works", style="green")


def _pause_text(pause: Mapping[str, Any]) -> Text:
    return cell(f"{pause['actor']}: {pause['reason']} ({str(pause['since'])[:19].replace('T', ' ')})")
