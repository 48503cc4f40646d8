"""Tables of websites: status, lists, explanations, what a start would do, commands that were sent."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.text import Text

from ops.cli.tables.columns import cell, console, print_rows, print_table, state_text, time_cell
from ops.websites.verb_registry import asleep_text


def print_status(status: Mapping[str, Any]) -> None:
    """Print one website."""
    percent = "" if status["progress"] is None else f"  {status['progress']} %"
    console.print(_head(status).append(percent))
    console.print(cell(status["message"]))
    if status["erased_at"]:
        console.print(cell(f"the data of its owner was erased at {status['erased_at']}"))
    if status["error"]:
        console.print(Text("error: ", style="red").append_text(cell(status["error"])))
    if status["asleep"]:
        console.print(cell(asleep_text(status)))
    if status["attempts"]:
        attempt = f"attempt {status['attempts']} did not succeed ({status['attempt_error']})"
        console.print(cell(attempt if status["asleep"] else f"{attempt}; next {status['next_attempt_at']}"))
    console.print()
    requirements = []
    for key, entry in status["checklist"].items():
        have = entry.get("value", entry.get("count", ""))
        complete = "yes" if entry["complete"] else "no" + ("" if entry["required"] else " (not needed)")
        requirements.append((key, complete, cell(have)))
    print_table(("requirement", "complete", "have"), requirements)
    if status["missing"]:
        console.print(cell(f"missing: {', '.join(status['missing'])}"))
    console.print()
    if pruned := status["pruned"]:
        before = str(pruned["last_at"])[:10]
        console.print(f"seq 1 to {pruned['through_seq']} were pruned: the last of them was of {before}")
    rows = []
    for row in status["history"]:
        fallback = row["fallback"]
        notes = [row["reason"], row["error"], fallback and f"pack {fallback['pack']}: {fallback['reason']}"]
        remark = cell("; ".join(note for note in notes if note))
        rows.append(
            (
                str(row["seq"]),
                time_cell(row["occurred_at"]),
                row["trigger"],
                state_text(row["to_state"]),
                cell(row["actor"]),
                remark,
            )
        )
    print_rows(("seq", "when", "trigger", "to", "actor", "reason or error"), rows, "no transitions yet")


def print_websites(result: Mapping[str, Any]) -> None:
    """Print a list of websites, and how many are in each state."""
    rows = [
        (
            str(status["website_id"]),
            cell(status["subdomain"]),
            time_cell(status["created_at"]),
            state_text(status["state"]),
            cell(status["progress"]),
            str(status["attempts"] or ""),
            cell(status["error"] or status["attempt_error"] or ""),
        )
        for status in result["websites"]
    ]
    print_rows(("id", "subdomain", "created", "state", "progress", "attempts", "error"), rows)
    line = Text()
    for state, count in result["states"].items():
        if count:
            line.append_text(state_text(state)).append(f" {count}   ")
    console.print(line or "no websites")


def print_sent(verb: str, results: Sequence[Mapping[str, Any]], none: str = "no failed website is selected") -> None:
    """Print to which websites a command was sent, and why not to the others; `none` is said where there are none."""
    sent = [result for result in results if result["sent"]]
    for result in results:
        if not result["sent"]:
            console.print(cell(f"website {result['website_id']}: not sent, {result['why']}"))
    if not results:
        console.print(f"{none}; nothing was sent")
    elif len(sent) == 1:
        console.print(f"{verb} sent to website {sent[0]['website_id']}; see `provisioner status`")
    elif sent:
        console.print(f"{verb} sent to {len(sent)} websites; see `provisioner list`")


def print_explanation(explanation: Mapping[str, Any]) -> None:
    """Print why a website is in its state."""
    console.print(_head(explanation["status"]).append(f"  seq {explanation['status']['seq']}"))
    if waits := explanation["waits_for"]:
        console.print(Text.assemble(("waits for  ", "bold"), waits["kind"], ": ", cell(waits["why"])))
        if "statement" in waits:
            console.print(Text.assemble("  its statement: ", cell(waits["statement"])))
    if error := explanation["last_error"]:
        tries = f"{error['attempts']} attempts, the last " if error["attempts"] else ""
        tries = f" ({tries}{str(error['at'])[:19].replace('T', ' ')})"
        console.print(Text.assemble(("last error  ", "bold"), cell(error["error"]), tries))
    if guard := explanation["guard"]:
        step = Text.assemble(("next step  ", "bold"), guard["trigger"], " from ", guard["from"], ", which needs ")
        console.print(step.append(", ".join(need["key"] for need in guard["needs"]) or "nothing"))
    _print_requirements(explanation["requirements"])
    for verb in explanation["may"]:
        line = Text.assemble(
            "  ", (f"{verb['verb']:<11}", "bold" if verb["works"] else "dim"), "would ", cell(verb["would"])
        )
        console.print(line)
    if not explanation["may"]:
        console.print("there is nothing that an operator may do with it now")
    if explanation["dead_letters"] is None:
        console.print(
            "RabbitMQ does not answer, or another tool has them: its dead letters are not known", style="yellow"
        )
    for action in explanation["actions"]:
        console.print(_action_text(action))
    for each in explanation["dead_letters"] or ():
        console.print(cell(f"dead letter {each['message_id']}: {each['reason']}: {each['error']}"))


def _print_requirements(requirements: Sequence[Mapping[str, Any]]) -> None:
    for need in requirements:
        have = need.get("value", need.get("count", "yes" if need["met"] else "none"))
        minimum = f", need {need['minimum']}" if "minimum" in need else "" if need["required"] else ", not needed"
        met = ("yes", "green") if need["met"] else ("no ", "red" if need["required"] else "dim")
        console.print(Text.assemble("  ", met, f"  {need['key']}: have ", cell(have), minimum))


def _action_text(action: Mapping[str, Any]) -> Text:
    outcome = "; ".join(filter(None, (action["reason"], action["outcome"] or "outcome not known")))
    return cell(f"{action['verb']} by {action['actor']}, {str(action['occurred_at'])[:19]}: {outcome}")


def _head(status: Mapping[str, Any]) -> Text:
    head = cell(f"website {status['website_id']}  {status['subdomain'] or '(no subdomain)'}  ")
    return head.append_text(state_text(status["state"]))


MAX_PLANNED = 100


def print_start_plan(plan: Sequence[Mapping[str, Any]]) -> None:
    """Print what a start would do to each website, or why it would not be sent."""
    sent = [each for each in plan if each["would"]]
    works = sum(1 for each in sent if each["works"])
    console.print(f"{len(plan)} selected: {works} would go on, {len(sent) - works} would wait or fail, "
                  f"{len(plan) - len(sent)} would not be sent")  # fmt: skip
    for each in plan[:MAX_PLANNED]:
        would = f"would {each['would']}" if each["would"] else f"not sent, {each['why']}"
        remark = f" ({each['remark']})" if each["remark"] else ""
        console.print(cell(f"website {each['website_id']}: {would}{remark}"))
    if len(plan) > MAX_PLANNED:
        console.print(f"… and {len(plan) - MAX_PLANNED} more; --json has all")
    console.print("nothing was sent: this was a dry run")
