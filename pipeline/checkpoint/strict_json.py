"""JSON as RFC 8259 means it, within bounds: no repeated key, no NaN, no lone surrogate, no endless nesting.

The parsers that load a model disagree on all of these, so a file that has one could mean one thing to whoever inspects
it and another to whoever loads it.
"""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

from pipeline.errors import FileFormatError

SIZE_LIMIT = 16 * 1024 * 1024  # bytes; configuration files and safetensors headers are far below it
VALUE_LIMIT = 600_000  # of which half may be objects and arrays; a header of 100,000 tensors has as many
DEPTH_LIMIT = 64


def parse_json(data: bytes, name: str, *, size_limit: int = SIZE_LIMIT, values: int = VALUE_LIMIT) -> Any:
    """The value in `data`; `name` is for the messages.

    Raises:
        FileFormatError: it is no such JSON; `why` says in what way.
    """
    if len(data) > size_limit:
        raise malformed(name, f"It is larger than {size_limit} bytes.")
    if data.count(b"[") + data.count(b"{") > values // 2 or data.count(b",") > values:
        raise malformed(name, f"It has more than {values} values, or more than half as many objects and arrays.")
    try:
        value = json.loads(
            data.decode("utf-8"), object_pairs_hook=_object, parse_constant=_no_constant, parse_float=_finite
        )
        _refuse_deep(value, name)
        if b"\\u" in data:
            json.dumps(value, ensure_ascii=False).encode("utf-8")  # a lone surrogate cannot be encoded
    except UnicodeError as error:
        raise malformed(
            name, f"It is no valid UTF-8: {error.reason if hasattr(error, 'reason') else error}."
        ) from error
    except RecursionError as error:
        raise malformed(name, f"It is nested deeper than {DEPTH_LIMIT} levels.") from error
    except ValueError as error:
        raise malformed(name, f"{str(error)[:200]}.") from error
    return value


def parse_object(data: bytes, name: str, **limits: int) -> dict[str, Any]:
    """The JSON object in `data`.  Raises FileFormatError."""
    value = parse_json(data, name, **limits)
    if not isinstance(value, dict):
        raise malformed(name, "It holds no JSON object.")
    return value


def malformed(name: str, why: str) -> FileFormatError:
    """The error for a file called `name` that is malformed."""
    return FileFormatError(f"cannot read {name}", why=why, remedy="Get the file again from the publisher.")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"Key {twice[:80]!r} appears twice")
    return made


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:40]} is beyond the range of numbers")
    return value


def _refuse_deep(value: Any, name: str) -> None:
    level = [value]
    for _ in range(DEPTH_LIMIT):
        level = [inner for outer in level if isinstance(outer, dict | list) for inner in _inside(outer)]
        if not level:
            return
    raise malformed(name, f"It is nested deeper than {DEPTH_LIMIT} levels.")


def _inside(value: dict[str, Any] | list[Any]) -> list[Any]:
    inner = value.values() if isinstance(value, dict) else value
    return [item for item in inner if isinstance(item, dict | list)]
