"""Is an answer language at all?  Rules that hold for any language: repetition, symbols and echoes.

They find what broken weights write (loops, symbol noise, the request given back), not what is merely wrong.
"""

from __future__ import annotations

import re
from collections import Counter

_MIN_UNITS = 12  # units; shorter texts repeat by chance
_MAX_LOOP_SHARE = 0.5  # of the text inside one repeated run of units
_MIN_DISTINCT_SHARE = 0.2  # of the units; plain English keeps above 0.4 at 60 words
_MIN_READABLE_SHARE = 0.5  # of the characters that are letters or digits, spaces aside
_LONGEST_WORD = 60  # characters; longer ones in scripts with spaces are noise, unless they are links
_WORD = re.compile(r"\w+", re.UNICODE)
_UNSPACED = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")


def incoherence(prompt: str, response: str) -> str | None:
    """Why `response` is no coherent text, or None when it is; an empty one is not judged here."""
    text = response.strip()
    units = units_of(text)
    if text and not units:
        return "it holds no word"
    if _readable_share(text) < _MIN_READABLE_SHARE:
        return "most of it is symbols"
    if _echoes(prompt, units):
        return "it only gives the request back"
    if len(units) >= _MIN_UNITS:
        return _repetition(units)
    return None


def units_of(text: str) -> list[str]:
    """The words of `text` in lower case; in scripts written without spaces every character is one."""
    words: list[str] = []
    for word in _WORD.findall(text.lower()):
        words.extend(word if _UNSPACED.search(word) else [word])
    return words


def _readable_share(text: str) -> float:
    solid = [character for character in text if not character.isspace()]
    readable = sum(character.isalnum() or _is_mark(character) for character in solid)
    return readable / len(solid) if solid else 1.0


def _is_mark(character: str) -> bool:
    # Vowel signs of Indic and Thai scripts are marks, not letters, and belong to words all the same.
    return ord(character) > 0x02FF and _WORD.match(character) is not None


def _echoes(prompt: str, units: list[str]) -> bool:
    return bool(units) and units == units_of(prompt)


def _repetition(units: list[str]) -> str | None:
    if max(len(unit) for unit in units) > _LONGEST_WORD:
        return "it holds a word without end"
    if len(set(units)) / len(units) < _MIN_DISTINCT_SHARE and len(units) < 400:
        return "it repeats a few words without end"
    for size in (1, 4, 8):
        runs = Counter(tuple(units[start : start + size]) for start in range(len(units) - size + 1))
        run, count = runs.most_common(1)[0]
        if count > 2 and count * len(run) / len(units) > _MAX_LOOP_SHARE:
            return "it repeats the same words without end"
    return None
