"""What people see of workers, of what people did, and of the doctor's findings on a terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.text import Text

from ops.tables import cell, console, rows_shown


def _moment(value: object) -> Text:
    return cell(value and str(value)[:19].replace("T", " "))


def _standing(worker: Mapping[str, Any]) -> Text:
    """Return in one word how a worker is."""
    if worker["stale"]:
        return Text(f"not seen for {worker['unseen_seconds']:.0f} s", style="red")
    if worker["paused"]:
        return Text("paused", style="yellow")
    if worker["pause"]:
        return Text("pausing", style="yellow")
    return Text("works", style="green")


def workers(found: Mapping[str, Any]) -> None:
    """Show the worker processes."""
    if found["paused"]:
        console.print(Text("all workers are paused: ", style="yellow").append_text(_why(found["paused"])))
    if not found["workers"]:
        console.print("no worker runs")
        return
    rows = [
        (
            cell(worker["id"][:8]),
            cell(worker["name"]),
            _standing(worker),
            cell(worker["version"]),
            _moment(worker["since"]),
            cell(worker["in_flight"]),
            _moment(worker["last_delivery_at"]),
            _why(worker["pause"]) if worker["pause"] else Text(""),
        )
        for worker in found["workers"]
    ]
    rows_shown(("id", "worker", "standing", "version", "since", "in flight", "last delivery", "reason or error"), rows)


def _why(pause: Mapping[str, Any]) -> Text:
    return cell(f"{pause['actor']}: {pause['reason']} ({str(pause['since'])[:19].replace('T', ' ')})")


def answers(result: Mapping[str, Any]) -> None:
    """Show what workers answered to a pause or a resume."""
    for worker in result["workers"]:
        console.print(Text.assemble(cell(worker["name"]), ": ", _standing(worker)))
    console.print(cell(result["outcome"]))
    if result["verb"] == "pause":
        console.print("messages wait at the broker until `provisioner resume`")


def actions(found: Sequence[Mapping[str, Any]]) -> None:
    """Show what people did that is no transition."""
    if not found:
        console.print("no actions")
        return
    rows = [
        (
            cell(action["id"]),
            _moment(action["occurred_at"]),
            cell(action["actor"]),
            cell(action["verb"]),
            cell(action["message_id"] or action["website_id"] or action["detail"].get("name")
                  or action["detail"].get("worker")),
            cell("; ".join(filter(None, (action["reason"], action["outcome"] or "outcome not known")))),
        )
        for action in found
    ]  # fmt: skip
    rows_shown(("id", "when", "actor", "verb", "about", "reason or error"), rows)


def replayed(told: Mapping[str, Any]) -> None:
    """Show how many events were published again."""
    if told["dry_run"]:
        console.print(f"{told['events']} events; nothing was published: this was a dry run")
        return
    refused = f"; a full queue refused {told['refused']}" if told["refused"] else ""
    console.print(f"{told['events']} events published again{refused}")


LEVELS = {"ok": ("ok", "green"), "unknown": ("?", "cyan"), "warn": ("warn", "yellow"), "fail": ("FAIL", "red")}


def doctor(report: Mapping[str, Any]) -> None:
    """Show the doctor's findings, one line each; under those that are not well, what is needed and what to do."""
    for finding in report["findings"]:
        word, colour = LEVELS[finding["level"]]
        line = Text(f"{word:<5}", style=colour).append(f"{finding['area']}: {finding['what']}: ", style="bold")
        console.print(line.append_text(cell(finding["have"])))
        if finding["level"] != "ok":
            if finding["need"]:
                console.print(Text("        need: ", style="dim").append_text(cell(finding["need"])))
            console.print(Text("        next: ", style="dim").append_text(cell(finding["next"])))
    counts = ", ".join(f"{count} {level}" for level, count in report["counts"].items() if count)
    console.print(f"{counts}; looked for {report['seconds']} s")
