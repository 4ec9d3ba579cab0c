"""The page's colours can be read: WCAG 2.1 contrast of text on its background, in each of the three schemes."""

from __future__ import annotations

import re

import pytest

from pipeline.card.templates import read_template

_TEXT = [
    ("ink", "sheet"),
    ("ink", "page"),
    ("muted", "sheet"),
    ("muted", "page"),
    ("muted", "faint"),
    ("link", "sheet"),
]
_TONES = [(tone, f"{tone}-bg") for tone in ("yes", "no", "open")] + [("ink", f"{t}-bg") for t in ("yes", "no", "open")]


def schemes() -> dict[str, dict[str, str]]:
    """Light, dark and printed: each scheme's colours, those it does not set taken from the light one."""
    css = read_template("card.css")
    blocks = re.findall(r":root \{(.*?)\}", css, re.DOTALL)
    found = [dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{3,6})", block)) for block in blocks]
    light, dark, printed = found
    return {"light": light, "dark": light | dark, "print": light | printed}


def luminance(colour: str) -> float:
    """Relative luminance, WCAG 2.1."""
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    channels = [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """The contrast ratio of two colours, from 1 to 21."""
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark", "print"])
@pytest.mark.parametrize(("text", "ground"), [*_TEXT, *_TONES])
def test_text_stands_out_from_its_ground(scheme: str, text: str, ground: str) -> None:
    colours = schemes()[scheme]
    assert contrast(colours[text], colours[ground]) >= 4.5


def test_the_ratio_is_that_of_the_standard() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#fff") == pytest.approx(4.48, abs=0.01)


def test_the_style_loads_nothing() -> None:
    css = read_template("card.css")
    assert not re.search(r"url\(|@import|@font-face|expression", css)
    assert "prefers-color-scheme: dark" in css and "@media print" in css
