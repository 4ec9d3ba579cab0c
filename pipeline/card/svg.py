"""Plots as inline SVG: no library, no script, the same bytes each time; colours come from the page's style."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from pipeline.card import words
from pipeline.card.view import FigureRow

_BAR_WIDTH, _BAR_HEIGHT = 260, 40  # user units of one bar plot
_INSET = 8  # room left and right of an axis
_MIDDLE = 13  # height of the bar's middle line
_PLOT_WIDTH, _PLOT_HEIGHT = 640, 230  # of a histogram
_LEFT, _RIGHT, _TOP, _BOTTOM = 20, 20, 50, 44  # its margins
_MARKED = {"p50": 14, "p95": 28, "p99": 42}  # quantile -> height of its label; p90 stands too close to p95 to be read


class _Axis:
    """A linear axis: values of `low` to `high` onto `start` to `end` (user units), clamped to both."""

    def __init__(self, low: float, high: float, start: float, end: float) -> None:
        self.low, self.high, self._start, self._end = low, high, start, end

    def at(self, value: float) -> float:
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return round(self._start + share * (self._end - self._start), 2)


def bar(row: FigureRow, others: Sequence[FigureRow] = ()) -> Markup:
    """A bar from zero to the estimate with its interval, and the policy's limit with what lies beyond it shaded.

    The axis has room for `others` too, so that several bars can be compared.
    """
    if row.figure is None or row.figure["value"] is None:
        return Markup()
    axis = _bar_axis([row, *others])
    parts = [_zones(row, axis), _estimate(row.figure, axis), _limits(row, axis), _ends(row, axis)]
    return _svg(_BAR_WIDTH, _BAR_HEIGHT, _bar_text(row), "".join(parts), "bar-plot")


def _bar_axis(rows: Sequence[FigureRow]) -> _Axis:
    bounds = [row.figure[key] for row in rows if row.figure for key in ("value", "low", "high")]
    shown = [*bounds, *(value for row in rows for value in (*row.limits, row.chance))]
    values = [value for value in shown if value is not None]
    high = nice_ceiling(max(0.0, *values) * 1.08)
    if rows[0].rate:
        high = min(1.0, high)
    low = 0.0 - nice_ceiling(-min(0.0, *values) * 1.08)
    return _Axis(low, high if high > low else low + 1.0, _INSET, _BAR_WIDTH - _INSET)


def nice_ceiling(value: float) -> float:
    """The least of 1, 2, 2.5, 5, 7.5 and 10 times a power of ten that is not below `value`; 0 for 0."""
    if value <= 0:
        return 0.0
    power = 10.0 ** math.floor(math.log10(value))
    step = next(step for step in (1, 2, 2.5, 5, 7.5, 10, 20) if step * power >= value)
    return float(f"{step * power:.6g}")


def _zones(row: FigureRow, axis: _Axis) -> str:
    """What the policy does not allow."""
    low, high = row.limits
    zones = []
    if low is not None:
        zones.append(_rectangle("zone", axis.at(axis.low), 2, axis.at(low) - axis.at(axis.low), 22))
    if high is not None:
        zones.append(_rectangle("zone", axis.at(high), 2, axis.at(axis.high) - axis.at(high), 22))
    return "".join(zones)


def _estimate(figure: Mapping[str, Any], axis: _Axis) -> str:
    zero, value = axis.at(0), axis.at(figure["value"])
    parts = [
        _line("axis", axis.at(axis.low), 25, axis.at(axis.high), 25),
        _rectangle("bar", min(zero, value), _MIDDLE - 6, abs(value - zero), 12),
    ]
    if figure["low"] is not None or figure["high"] is not None:
        low, high = _bound(figure["low"], axis, axis.low), _bound(figure["high"], axis, axis.high)
        parts += [_line("whisker", low[0], _MIDDLE, high[0], _MIDDLE), low[1], high[1]]
    parts.append(f'<circle class="estimate" cx="{value}" cy="{_MIDDLE}" r="3"/>')
    return "".join(parts)


def _bound(value: float | None, axis: _Axis, edge: float) -> tuple[float, str]:
    """Where an interval ends, and its mark: a cap, or an arrow where it goes on beyond the picture."""
    x = axis.at(edge if value is None else value)
    if value is not None:
        return x, _line("whisker", x, _MIDDLE - 4, x, _MIDDLE + 4)
    back = -5 if edge == axis.high else 5
    points = f"{x:g},{_MIDDLE} {x + back:g},{_MIDDLE - 4} {x + back:g},{_MIDDLE + 4}"
    return x, f'<polygon class="estimate" points="{points}"/>'


def _limits(row: FigureRow, axis: _Axis) -> str:
    lines = [_line("limit", axis.at(limit), 1, axis.at(limit), 25) for limit in row.limits if limit is not None]
    if row.chance is not None:
        lines.append(_line("chance", axis.at(row.chance), 3, axis.at(row.chance), 25))
    return "".join(lines)


def _ends(row: FigureRow, axis: _Axis) -> str:
    low, high = (words.exact(value, row.unit, rate=row.rate) for value in (axis.low, axis.high))
    return _text("tick", axis.at(axis.low), 37, low, "start") + _text("tick", axis.at(axis.high), 37, high, "end")


def _bar_text(row: FigureRow) -> str:
    parts = [f"{row.name}: {row.value.text if row.value else 'no value'}", f"interval {row.interval}"]
    if row.limit_text:
        parts.append(f"the policy demands {row.limit_text}")
    if row.chance is not None:
        parts.append(f"a guesser gets {words.number(row.chance, row.unit, rate=row.rate)}")
    return ", ".join(parts)


def histogram(distribution: Mapping[str, Any]) -> Markup:
    """How often each value occurred, with the median and the upper quantiles marked."""
    counts, unit = distribution["counts"], distribution["unit"]
    low, high = distribution["low"], distribution["high"]
    axis = _Axis(low, high if high > low else low + 1.0, _LEFT, _PLOT_WIDTH - _RIGHT)
    base, width = _PLOT_HEIGHT - _BOTTOM, (_PLOT_WIDTH - _LEFT - _RIGHT) / len(counts)
    tallest = max(counts)
    bars = []
    for index, count in enumerate(counts):
        height = round((base - _TOP) * count / tallest, 2)
        bars.append(
            _rectangle("bar", round(_LEFT + index * width + 0.75, 2), base - height, round(width - 1.5, 2), height)
        )
    parts = [*bars, _line("axis", _LEFT, base, _PLOT_WIDTH - _RIGHT, base), _ticks(axis, base, unit)]
    marked = [(name, value) for name, value in sorted(distribution["quantiles"].items()) if name in _MARKED]
    parts += [_quantile_line(name, axis.at(value)) for name, value in marked]
    parts += [_quantile_text(name, value, axis, unit) for name, value in marked]
    return _svg(_PLOT_WIDTH, _PLOT_HEIGHT, histogram_text(distribution), "".join(parts), "histogram")


def histogram_text(distribution: Mapping[str, Any]) -> str:
    """The histogram in words, for those who do not see it."""
    unit = distribution["unit"]
    marks = ", ".join(
        f"{name} {words.number(value, unit)}" for name, value in sorted(distribution["quantiles"].items())
    )
    low, high = (words.number(distribution[end], unit) for end in ("low", "high"))
    return f"Distribution of {distribution['n']} values from {low} to {high}: {marks}"


def _ticks(axis: _Axis, base: float, unit: str) -> str:
    values = [axis.low + (axis.high - axis.low) * part / 4 for part in range(5)]
    anchors = ("start", "middle", "middle", "middle", "end")
    texts = zip(values, anchors, strict=True)
    return "".join(
        _text("tick", axis.at(value), base + 18, words.number(value, unit), anchor) for value, anchor in texts
    )


def _quantile_line(name: str, x: float) -> str:
    return _line("quantile", x, _MARKED[name] - 9, x, _PLOT_HEIGHT - _BOTTOM)


def _quantile_text(name: str, value: float, axis: _Axis, unit: str) -> str:
    x = axis.at(value)
    text = f"{name} {words.number(value, unit)}"
    place = (x - 4, "end") if x > _PLOT_WIDTH / 2 else (x + 4, "start")
    return _text("mark", place[0], _MARKED[name], text, place[1])


def _svg(width: int, height: int, text: str, body: str, css: str) -> Markup:
    label = html.escape(words.visible(text))
    return Markup(  # noqa: S704  # every text in `body` went through html.escape
        f'<svg class="{css}" viewBox="0 0 {width} {height}" role="img" aria-label="{label}">{body}</svg>'
    )


def _rectangle(css: str, x: float, y: float, width: float, height: float) -> str:
    shape = f'x="{x:g}" y="{round(y, 2):g}" width="{max(0.0, round(width, 2)):g}" height="{height:g}"'
    return f'<rect class="{css}" {shape}/>'


def _line(css: str, x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line class="{css}" x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}"/>'


def _text(css: str, x: float, y: float, text: str, anchor: str) -> str:
    return f'<text class="{css}" x="{x:g}" y="{y:g}" text-anchor="{anchor}">{html.escape(text)}</text>'
