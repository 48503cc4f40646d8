"""The doctor's report on a terminal."""

from collections.abc import Mapping
from typing import Any

from rich.text import Text

from ops.cli.tables.columns import cell, console

LEVELS = {"ok": ("ok", "green"), "unknown": ("?", "cyan"), "warn": ("warn", "yellow"), "fail": ("FAIL", "red")}


def print_doctor_report(report: Mapping[str, Any]) -> None:
    """Print findings, a line each; under those that are not ok, what is needed and what to do."""
    for finding in report["findings"]:
        word, colour = LEVELS[finding["level"]]
        line = Text(f"{word:<5}", style=colour).append(f"{finding['area']}: {finding['what']}: ", style="bold")
        console.print(line.append_text(cell(finding["have"])))
        if finding["level"] != "ok":
            if finding["need"]:
                console.print(Text("        need: ", style="dim").append_text(cell(finding["need"])))
            console.print(Text("        next: ", style="dim").append_text(cell(finding["next"])))
    counts = ", ".join(f"{count} {level}" for level, count in report["counts"].items() if count)
    console.print(f"{counts}; checked in {report['seconds']} s")
