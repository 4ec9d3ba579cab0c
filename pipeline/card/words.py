"""Numbers, times and names as people read them; the same value always gives the same words."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

# C0 and C1 controls but tab and newline, invisible characters, and the marks that reorder text.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    "\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\ud800-\udfff\U000e0000-\U000e0fff]"
)
_RATIO_UNITS = frozenset({"", "ratio", "rate", "share", "fraction", "1"})
_SECOND_UNITS = frozenset({"s", "seconds"})

OUTCOMES = {
    "promoted": ("Promoted", "yes"),
    "accepted": ("Accepted by policy, not promoted", "yes"),
    "denied": ("Denied", "no"),
    "inconclusive": ("Inconclusive", "open"),
    "stopped-at-signature": ("Stopped at the signature", "no"),
    "stopped-at-inspection": ("Stopped at the inspection", "no"),
}
"""The heading of each outcome, and its tone: yes, no or open."""

RULE_TONES = {
    "pass": "yes",
    "waived": "open",
    "inconclusive": "open",
    "fail": "no",
    "missing": "no",
    "stale": "no",
}


SHORTFALLS = {
    "fail": "Not met",
    "missing": "Not shown",
    "stale": "Too old to count",
    "inconclusive": "Not settled",
}
"""How a rule that does not hold is introduced; its title says what should be."""


def visible(text: object) -> str:
    """`text` with each control, invisible or reordering character spelled out, such as ⟨U+202E⟩."""
    return _INVISIBLE.sub(lambda match: f"⟨U+{ord(match.group()):04X}⟩", str(text))


def when(text: str | None) -> str:
    """An ISO 8601 time as `2026-11-22 06:04 UTC`; text that is no such time is shown as it is."""
    if text is None:
        return "not recorded"
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return visible(text)
    return (moment.astimezone(UTC) if moment.tzinfo else moment).strftime("%Y-%m-%d %H:%M UTC")


def is_rate(kind: str | None, unit: str) -> bool:
    """Whether a metric is shown in per cent."""
    return kind == "rate" and unit in _RATIO_UNITS


def number(value: float | None, unit: str = "", *, rate: bool = False) -> str:
    """`value` with its unit: rates in per cent, seconds from milliseconds up, others to four digits."""
    if value is None:
        return "—"
    if rate:
        return percent(value)
    if unit in _SECOND_UNITS:
        return _seconds(value)
    text = _grouped(value)
    return text if unit in _RATIO_UNITS else f"{text} {visible(unit)}"


def percent(value: float, decimals: int | None = None) -> str:
    """A ratio in per cent, with two decimals where little is left to 0 or 100 %, and one elsewhere."""
    scaled = value * 100
    if scaled in (0, 100):
        return f"{scaled:.0f} %"
    return f"{scaled:.{_decimals(value) if decimals is None else decimals}f} %"


def _decimals(ratio: float) -> int:
    return 1 if 0.1 <= abs(ratio) <= 0.9 or ratio in (0, 1) else 2


def exact(value: float, unit: str = "", *, rate: bool = False) -> str:
    """A number that people chose, such as a limit, with as many digits as they gave it."""
    if not rate and unit in _SECOND_UNITS:
        return f"{value:g} s" if abs(value) >= 1 or value == 0 else f"{value * 1000:g} ms"
    return f"{value * 100:.6g} %" if rate else number(value, unit)


def interval(figure: Mapping[str, Any], unit: str, *, rate: bool) -> str:
    """The bounds of a figure, such as `51.2 % to 57.0 %`; a bound that does not exist is left out."""
    low, high = figure["low"], figure["high"]
    if low is None and high is None:
        return "no interval"
    if low is None:
        return f"up to {number(high, unit, rate=rate)}"
    if high is None:
        return f"from {number(low, unit, rate=rate)}"
    if rate:
        decimals = max(_decimals(low), _decimals(high))
        return f"{percent(low, decimals)} to {percent(high, decimals)}"
    first = number(low, "" if unit not in _SECOND_UNITS else unit)
    return f"{first} to {number(high, unit)}"


def grading(figure: Mapping[str, Any], unit: str, *, rate: bool) -> str:
    """Whose grades a figure is made of, how often that grader is right, and what the figure is without its errors."""
    corrected = figure.get("corrected")
    if corrected is None:
        return ""
    found, spared = (_right(*corrected[name]) for name in ("sensitivity", "specificity"))
    value, bounds = number(corrected["value"], unit, rate=rate), interval(corrected, unit, rate=rate)
    return (
        f"As graded by '{visible(corrected['grader'])}' (sensitivity {found}, specificity {spared} on labels by "
        f"people); corrected for its errors {value}, {bounds}. The interval holds for both readings."
    )


def _right(right: int, every: int) -> str:
    return f"{percent(right / every)} of {every}" if every else "unknown"


def size(value: int) -> str:
    """Bytes in the decimal units that vendors use."""
    amount = float(value)
    for unit in ("bytes", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "bytes" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.2f} TB"


def short_digest(digest: str) -> str:
    """The first twelve digits, for running text; the whole digest stands in the evidence table."""
    return f"{digest[:19]}…" if digest.startswith("sha256:") else visible(digest)


def flat(value: object, prefix: str = "") -> list[tuple[str, str]]:
    """Any JSON value as rows of name and text, nested names joined by dots."""
    if isinstance(value, Mapping):
        return [row for key, inner in sorted(value.items()) for row in flat(inner, _joined(prefix, str(key)))]
    if isinstance(value, Sequence) and not isinstance(value, str):
        if all(not isinstance(item, Mapping | list | tuple) for item in value):
            return [(prefix, ", ".join(_scalar(item) for item in value) or "none")]
        return [row for index, item in enumerate(value, 1) for row in flat(item, _joined(prefix, str(index)))]
    return [(prefix, _scalar(value))]


def _joined(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name


def _scalar(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}".replace(",", " ") if abs(value) >= 10_000 else str(value)
    return visible(f"{value:.6g}" if isinstance(value, float) else value)


def _seconds(value: float) -> str:
    return f"{value * 1000:.3g} ms" if abs(value) < 0.9995 else f"{value:.2f} s"


def _grouped(value: float) -> str:
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{int(value):,}".replace(",", " ")
    return f"{value:.4g}"
