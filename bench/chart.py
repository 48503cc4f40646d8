"""One chart as SVG, by hand: throughput with its spread, and CPU by part. Readable on light and on dark pages."""

from html import escape

from bench.drain import Drain
from bench.figures import by_name, spread
from bench.page import cpu_of

WIDTH, LEFT, RIGHT, BAR, GAP = 760, 150, 110, 26, 14
PARTS = (("workers", "#3b82c4"), ("postgres", "#e0a030"), ("rabbitmq", "#c05a4a"))
GREY, INK = "#8a8f98", "#7a7f88"


def chart(drains: list[Drain]) -> str:
    """Return the chart of the drained queues."""
    named = by_name(drains, lambda run: run.contestant)
    height = 2 * (len(named) * (BAR + GAP) + 60) + 10
    body = [*_rates(named, 40), *_cpu(named, 40 + len(named) * (BAR + GAP) + 60)]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
        f'viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="13">\n'
        "<title>Transitions a second, and CPU of a transition, naive consumer and service</title>\n"
        + "\n".join(body)
        + "\n</svg>\n"
    )


def _rates(named: dict[str, list[Drain]], top: int) -> list[str]:
    largest = max(run.rate for runs in named.values() for run in runs)
    scale = (WIDTH - LEFT - RIGHT) / largest
    drawn = [
        _text(LEFT, top - 16, "transitions a second, one worker process (line: smallest to largest run)", bold=True)
    ]
    for place, (name, runs) in enumerate(named.items()):
        y, rate = top + place * (BAR + GAP), spread(run.rate for run in runs)
        middle = y + BAR / 2
        drawn += [
            _text(LEFT - 10, middle + 4, name, anchor="end"),
            _bar(LEFT, y, rate.median * scale, PARTS[0][1] if place else GREY),
            (
                f'<path d="M{LEFT + rate.low * scale:.1f} {middle}H{LEFT + rate.high * scale:.1f}" '
                f'stroke="{INK}" stroke-width="2"/>'
            ),
            _text(LEFT + rate.high * scale + 8, middle + 4, f"{rate.median:,.0f}"),
        ]
    return drawn


def _cpu(named: dict[str, list[Drain]], top: int) -> list[str]:
    total = {name: spread(map(cpu_of("total"), runs)).median for name, runs in named.items()}
    scale = (WIDTH - LEFT - RIGHT) / max(total.values()) * 0.95
    drawn = [_text(LEFT, top - 16, "CPU milliseconds of a transition:", bold=True)]
    for place, (part, colour) in enumerate(PARTS):
        left = LEFT + 235 + place * 100
        drawn += [_bar(left, top - 27, 12, colour, 12), _text(left + 18, top - 16, part)]
    for place, (name, runs) in enumerate(named.items()):
        y, x = top + place * (BAR + GAP), float(LEFT)
        drawn.append(_text(LEFT - 10, y + BAR / 2 + 4, name, anchor="end"))
        for part, colour in PARTS:
            width = spread(map(cpu_of(part), runs)).median * scale
            drawn.append(_bar(x, y, width, colour))
            x += width
        drawn.append(_text(x + 8, y + BAR / 2 + 4, f"{total[name]:.2f}"))
    return drawn


def _bar(x: float, y: float, width: float, colour: str, height: float = BAR) -> str:
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height}" fill="{colour}"/>'


def _text(x: float, y: float, text: str, *, anchor: str = "start", bold: bool = False) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{INK}"{weight}>{escape(text)}</text>'
