"""The members of a JSON object in a large file, found without parsing what is in them."""

from __future__ import annotations

import json
import re

from pipeline.checkpoint.strict_json import malformed

_MOST_MEMBERS = 1000  # tokenizers have about ten
_LEVELS = 12  # of brackets inside a value; tokenizers have up to six

# Possessive quantifiers keep nothing to go back to: a value of any length takes no memory, and time in proportion.
_SPACE = rb"[ \t\r\n]*+"
_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'


def _inside(levels: int) -> bytes:
    """A pattern for what stands inside brackets, `levels` deep."""
    plain = _STRING + rb'|[^\[\]{}"]++'
    return plain if levels == 0 else plain + rb"|[\[{](?:" + _inside(levels - 1) + rb")*+[\]}]"


_MEMBER = re.compile(
    _SPACE
    + rb"(?P<key>"
    + _STRING
    + rb")"
    + _SPACE
    + rb":"
    + _SPACE
    + rb"(?P<value>"
    + _STRING
    + rb'|[^\[\]{}",:\s]++|[\[{](?:'
    + _inside(_LEVELS)
    + rb")*+[\]}])"
    + _SPACE
    + rb"(?P<next>[,}])",
    re.DOTALL,
)
_START = re.compile(_SPACE + rb"\{")
_EMPTY = re.compile(_SPACE + rb"\}")
_REST = re.compile(_SPACE)


def members(data: bytes, name: str, start: int = 0, end: int | None = None) -> dict[str, tuple[int, int]]:
    """The members of the object that `data[start:end]` holds: each key with where its value starts and ends.

    Raises:
        FileFormatError: it holds no object, is cut off, goes on after its end, or a key repeats.
    """
    end = len(data) if end is None else end
    opening = _START.match(data, start, end)
    if opening is None:
        raise malformed(name, "It holds no JSON object.")
    found: dict[str, tuple[int, int]] = {}
    place = opening.end()
    closing = _EMPTY.match(data, place, end)
    while closing is None:
        member = _MEMBER.match(data, place, end)
        if member is None:
            raise malformed(name, f"It is no JSON from byte {place} on.")
        key = _key(member.group("key"), name)
        if len(found) >= _MOST_MEMBERS:
            raise malformed(name, f"An object in it has more than {_MOST_MEMBERS} members.")
        if key in found:
            raise malformed(name, f"Key {key[:80]!r} appears twice.")
        found[key] = member.span("value")
        place = member.end()
        closing = member if member.group("next") == b"}" else None
    rest = _REST.match(data, closing.end(), end)
    if rest is None or rest.end() != end:
        raise malformed(name, "It goes on after its end.")
    return found


def _key(text: bytes, name: str) -> str:
    try:
        return str(json.loads(text))
    except ValueError as error:
        raise malformed(name, "A key is no text.") from error
