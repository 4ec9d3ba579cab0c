"""The members of a JSON object in a large file, found without parsing what is in them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from pipeline.checkpoint.strict_json import malformed

_MOST_TOKENS = 6_000_000  # strings, brackets, colons and commas; the largest tokenizer published has 4 million

# The possessive quantifiers keep no state to go back to, so that a string of any length takes no memory.
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[\[\]{}:,]', re.DOTALL)


def members(data: bytes, name: str, start: int = 0, end: int | None = None) -> dict[str, tuple[int, int]]:
    """The members of the object that `data[start:end]` holds: each key with where its value starts and ends.

    Raises:
        FileFormatError: it holds no object, brackets do not match, a key repeats, or there is too much of it.
    """
    end = len(data) if end is None else end
    found: dict[str, tuple[int, int]] = {}
    for key, value_start, value_end in _walk(data, name, start, end):
        if key in found:
            raise malformed(name, f"Key {key[:80]!r} appears twice.")
        found[key] = (value_start, value_end)
    return found


def _walk(data: bytes, name: str, start: int, end: int) -> Iterator[tuple[str, int, int]]:
    depth, key, value_start, closed = 0, None, None, False
    if not data[start:end][:64].lstrip().startswith(b"{"):
        raise malformed(name, "It holds no JSON object.")
    for number, token in enumerate(_TOKEN.finditer(data, start, end)):
        text = token.group()
        if closed or number > _MOST_TOKENS:
            raise malformed(name, "It goes on after its end." if closed else f"It has more than {_MOST_TOKENS} parts.")
        if text in (b"{", b"["):
            depth += 1
        elif text in (b"}", b"]"):
            depth -= 1
        if depth == 0 or (depth == 1 and text == b","):
            if key is not None and value_start is not None:
                yield key, value_start, token.start()
            key, value_start, closed = None, None, depth == 0
        elif depth == 1 and text == b":":
            value_start = token.end()
        elif depth == 1 and key is None and text.startswith(b'"'):
            key = _key(text, name)
    if not closed:
        raise malformed(name, "Its brackets do not match.")


def _key(text: bytes, name: str) -> str:
    try:
        return str(json.loads(text))
    except ValueError as error:
        raise malformed(name, "A key is no text.") from error
