"""Is an answer language at all?  Rules that hold for any language: repetition, symbols and echoes.

They find what broken weights write (loops, symbol noise, the request given back), not what is merely wrong.
"""

from __future__ import annotations

import re
import zlib
from collections import Counter

_MIN_UNITS = 12  # units; shorter texts repeat by chance
_MAX_LOOP_SHARE = 0.5  # of the text inside one repeated run of units
_MIN_DISTINCT_SHARE = 0.2  # of the units; plain English keeps above 0.4 at 60 words
_MIN_READABLE_SHARE = 0.5  # of the characters that are letters or digits, spaces aside
_LONG_WORD = 18  # letters; fewer than 1 in 20 letters of German or Turkish prose stand in longer words
_MAX_LONG_WORD_SHARE = 0.25  # of the letters
_MIN_LINES = 8
_MIN_DISTINCT_LINES = 0.5  # of the lines that are not blank; code repeats a closing bracket, not half of its lines
_WINDOW = 300  # bytes; the text is judged in pieces of this size, so that a loop after a sound start is found
_MIN_WINDOW = 100  # bytes; shorter pieces compress too unevenly to tell
_MIN_COMPRESSED_SHARE = 0.42  # of a window's bytes after zlib; prose keeps 0.5 or more
_WORD = re.compile(r"\w+", re.UNICODE)
_LETTERS = re.compile(r"[^\W\d_]+", re.UNICODE)
_LINK = re.compile(r"\b(?:https?://|www\.)\S+")
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
    if _long_word_share(text) > _MAX_LONG_WORD_SHARE:
        return "it runs words together without end"
    return _repeated_text(text) or (_repetition(units) if len(units) >= _MIN_UNITS else None)


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


def _long_word_share(text: str) -> float:
    words = [word for word in _LETTERS.findall(_LINK.sub(" ", text)) if not _UNSPACED.search(word)]
    letters = sum(map(len, words))
    return sum(len(word) for word in words if len(word) > _LONG_WORD) / max(letters, 2 * _LONG_WORD)


def _compressed_share(text: str) -> float:
    """The least share that zlib leaves of any window of `text`; 1 for a text too short to tell."""
    data = text.encode("utf-8", "replace")
    starts = range(0, max(1, len(data) - _WINDOW // 2 + 1), _WINDOW // 2)
    windows = (data[start : start + _WINDOW] for start in starts)
    return min((len(zlib.compress(w, 9)) / len(w) for w in windows if len(w) >= _MIN_WINDOW), default=1.0)


def _repeated_text(text: str) -> str | None:
    if _compressed_share(text) < _MIN_COMPRESSED_SHARE:
        return "it repeats the same text without end"
    return "it repeats the same lines without end" if _repeated_lines(text) else None


def _repeated_lines(text: str) -> bool:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return len(lines) >= _MIN_LINES and len(set(lines)) / len(lines) < _MIN_DISTINCT_LINES


def _repetition(units: list[str]) -> str | None:
    if len(set(units)) / len(units) < _MIN_DISTINCT_SHARE and len(units) < 400:
        return "it repeats a few words without end"
    for size in (1, 4, 8):
        runs = Counter(tuple(units[start : start + size]) for start in range(len(units) - size + 1))
        run, count = runs.most_common(1)[0]
        if count > 2 and count * len(run) / len(units) > _MAX_LOOP_SHARE:
            return "it repeats the same words without end"
    return None
