"""Paths inside a checkpoint: which are acceptable, and which collide.

A path is relative, with '/' between its parts, and means the same file on every system: no '..', no control or
invisible characters, and no two paths that differ only in case or in Unicode form.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from itertools import accumulate

_LENGTH_LIMIT = 1024  # characters
DEPTH_LIMIT = 32  # directories
_INVISIBLE = ("Cc", "Cf", "Cs", "Zl", "Zp")  # Unicode categories: controls, formats, lone surrogates, separators


def path_problem(path: str) -> str | None:
    """What is wrong with `path` as a path inside a checkpoint, or None."""
    parts = path.split("/")
    rules = {
        "is not a relative path": not path or path.startswith("/"),
        "leads out of the checkpoint": ".." in parts,
        "is not in its shortest form": "" in parts or "." in parts,
        "has a backslash, which separates directories on some systems": "\\" in path,
        "has control or invisible characters": any(unicodedata.category(letter) in _INVISIBLE for letter in path),
        f"is longer than {_LENGTH_LIMIT} characters": len(path) > _LENGTH_LIMIT,
        f"is deeper than {DEPTH_LIMIT} directories": len(parts) > DEPTH_LIMIT,
    }
    return next((problem for problem, broken in rules.items() if broken), None)


def collisions(paths: Iterable[str]) -> tuple[str, ...]:
    """One line for each path that some systems would take for another one of `paths`, directories included."""
    first: dict[str, str] = {}
    problems = []
    for path in sorted(paths):
        for place in accumulate(path.split("/"), lambda parent, name: f"{parent}/{name}"):
            other = first.setdefault(_folded(place), place)
            if other != place:
                problems.append(f"{path}: collides with {other} where case or Unicode form does not count")
                break
    return tuple(problems)


def is_at_or_below(path: str, ancestor: str) -> bool:
    """Whether `path` is `ancestor` or lies below it; an ancestor that is no acceptable path has nothing below it."""
    ancestor = ancestor.removesuffix("/")
    return path_problem(ancestor) is None and (path == ancestor or path.startswith(ancestor + "/"))


def _folded(path: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFKC", path).casefold())
