"""Small panels of lines or bars as one SVG, without a library: what ``growth.py`` draws."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT, COLUMNS = 460, 340, 2
LEFT, RIGHT, TOP, TICK_LINE = 52, 20, 34, 15
LEGEND_LINE = 15
COLOURS = ("#2563eb", "#d97706", "#059669", "#9333ea", "#475569")
INK, PALE = "#1f2937", "#d1d5db"


@dataclass(frozen=True)
class Series:
    """A line: one value for each tick of its panel."""

    name: str
    values: tuple[float, ...]


@dataclass(frozen=True)
class Panel:
    """``ticks``: the lines of text under each place on the x axis, evenly spaced. ``is_log``: the y axis, which begins
    at 0 where it is not."""

    title: str
    ticks: tuple[tuple[str, ...], ...]
    series: tuple[Series, ...]
    is_log: bool = False
    is_bars: bool = False


def draw(panels: Sequence[Panel]) -> str:
    """The whole picture."""
    rows = math.ceil(len(panels) / COLUMNS)
    width, height = COLUMNS * WIDTH, rows * HEIGHT
    inner = [
        f'<g transform="translate({number % COLUMNS * WIDTH} {number // COLUMNS * HEIGHT})">{_panel(panel)}</g>'
        for number, panel in enumerate(panels)
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'font-family="system-ui, sans-serif" font-size="12" fill="{INK}">\n'
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>\n' + "\n".join(inner) + "\n</svg>\n"
    )


class _Axis:
    """y of a value."""

    def __init__(self, panel: Panel, top: float, bottom: float) -> None:
        values = [value for one in panel.series for value in one.values]
        self._is_log, self._top, self._bottom = panel.is_log, top, bottom
        if panel.is_log:
            self.least, self.most = 10 ** math.floor(math.log10(min(values))), 10 ** math.ceil(math.log10(max(values)))
            self.marks = [self.least * 10**power for power in range(round(math.log10(self.most / self.least)) + 1)]
        else:
            step = 10 ** math.floor(math.log10(max(values)))
            step = next(step * part for part in (0.2, 0.5, 1, 2) if max(values) / (step * part) <= 6)
            self.least, self.most = 0.0, step * math.ceil(max(values) * 1.05 / step)
            self.marks = [step * number for number in range(round(self.most / step) + 1)]

    def __call__(self, value: float) -> float:
        if self._is_log:
            share = math.log(value / self.least) / math.log(self.most / self.least)
        else:
            share = value / self.most
        return self._bottom - share * (self._bottom - self._top)


def _panel(panel: Panel) -> str:
    has_legend = len(panel.series) > 1
    top = TOP + (LEGEND_LINE * math.ceil(len(panel.series) / 2) if has_legend else 0) + 14
    bottom = HEIGHT - 16 - TICK_LINE * max(len(tick) for tick in panel.ticks)
    axis, space = _Axis(panel, top, bottom), (WIDTH - LEFT - RIGHT) / len(panel.ticks)
    places = [LEFT + space * (number + 0.5) for number in range(len(panel.ticks))]
    parts = [f'<text x="{LEFT}" y="20" font-weight="600" font-size="13">{escape(panel.title)}</text>']
    for value in axis.marks:
        y = axis(value)
        parts.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="{PALE}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>')
    for x, tick in zip(places, panel.ticks, strict=True):
        for number, line in enumerate(tick):
            y = bottom + 16 + TICK_LINE * number
            shade = "" if number == 0 else ' fill-opacity="0.7"'
            parts.append(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="middle"{shade}>{escape(line)}</text>')
    for number, one in enumerate(panel.series):
        colour = COLOURS[number % len(COLOURS)]
        parts += _bars(one, places, axis, colour, bottom) if panel.is_bars else _line(one, places, axis, colour)
        if has_legend:
            x, y = LEFT + number % 2 * (WIDTH - LEFT) / 2, TOP + LEGEND_LINE * (number // 2) + 4
            parts.append(f'<path d="M{x:.1f} {y - 4}h16" stroke="{colour}" stroke-width="2.5"/>')
            parts.append(f'<text x="{x + 22:.1f}" y="{y}">{escape(one.name)}</text>')
    if not has_legend:
        parts += [_label(x, axis(value), value) for x, value in zip(places, panel.series[0].values, strict=True)]
    return "".join(parts)


def _line(one: Series, places: Sequence[float], axis: _Axis, colour: str) -> list[str]:
    points = [(x, axis(value)) for x, value in zip(places, one.values, strict=True)]
    path = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    dots = [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>' for x, y in points]
    return [f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2"/>', *dots]


def _bars(one: Series, places: Sequence[float], axis: _Axis, colour: str, bottom: float) -> list[str]:
    return [
        f'<rect x="{x - 28:.1f}" y="{axis(value):.1f}" width="56" height="{bottom - axis(value):.1f}" fill="{colour}"/>'
        for x, value in zip(places, one.values, strict=True)
    ]


def _label(x: float, y: float, value: float) -> str:
    return f'<text x="{x:.1f}" y="{y - 8:.1f}" text-anchor="middle">{value:.3g}</text>'
