"""Renders the machine for docs/states.md: Markdown tables and a Mermaid diagram. Knows only the table."""

from statemachine.steps import CHAIN, State
from statemachine.transitions import MESSAGES, PROGRESS, SKIPPED, TRANSITIONS, Transition


def mermaid() -> str:
    """Return the machine as a Mermaid state diagram."""
    lines = ["stateDiagram-v2", "    [*] --> pending"]
    for transition in TRANSITIONS:
        if transition.target is None:
            lines.append("    state proven <<choice>>")
            lines.append(f"    failed --> proven: {transition.trigger}")
            lines.extend(f"    proven --> {state}" for state in CHAIN[:-1])
        else:
            lines.extend(f"    {source} --> {transition.target}: {transition.trigger}" for source in transition.sources)
    lines.append("    terminated --> [*]")
    return "\n".join(lines) + "\n"


def markdown() -> str:
    """Return the page docs/states.md: states, transitions, diagram."""
    return "\n".join(
        [
            "<!-- Generated from statemachine.TRANSITIONS by `make docs`; a test compares. -->",
            "# States and transitions",
            "",
            "| state | progress | status message |",
            "|---|---|---|",
            *(_state_row(state) for state in State),
            "",
            "| trigger | from | to | guard |",
            "|---|---|---|---|",
            *(_transition_row(transition) for transition in TRANSITIONS),
            "",
            "The *proven state* of a failed website: walk the chain from `pending`, stop before the first step whose",
            "guard does not hold on the data as it is now, and never go beyond the state it failed from.",
            "",
            "```mermaid",
            mermaid() + "```",
            "",
        ]
    )


def _state_row(state: State) -> str:
    if state == State.FAILED:
        return "| `failed` | that of its proven state | Setup failed: ‹error› |"
    message = MESSAGES[state]
    if state in SKIPPED:
        message += f" (when skipped, or where there are none: {SKIPPED[state]})"
    percent = PROGRESS[state]
    return f"| `{state}` | {'–' if percent is None else percent} | {message} |"


def _transition_row(transition: Transition) -> str:
    sources = ", ".join(f"`{source}`" for source in transition.sources)
    target = f"`{transition.target}`" if transition.target else "the proven state"
    guard = ", ".join(requirement.key for requirement in transition.guard) or "–"
    return f"| `{transition.trigger}` | {sources} | {target} | {guard} |"
