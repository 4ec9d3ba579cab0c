"""Seeded samples by stratum: every part of a set is represented in proportion, and no order in a file matters."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import TypeVar

_T = TypeVar("_T")


def stratified(
    items: Sequence[_T], size: int, seed: int, *, identity: Callable[[_T], str], stratum: Callable[[_T], str]
) -> list[_T]:
    """`size` of the `items`, spread over the strata in proportion to their sizes; all of them where there are fewer.

    Places are shared out by largest remainders, so each stratum's share differs from the exact one by less than an
    item.  Within a stratum the items with the lowest SHA-256 of seed and identity are taken, which makes the choice
    independent of the order of the items and nested: a larger sample of one stratum contains the smaller one.  The
    result keeps the order of `items`.

    Raises:
        ValueError: `size` is not positive.
    """
    if size <= 0:
        raise ValueError("a sample needs a positive size")
    if size >= len(items):
        return list(items)
    groups: dict[str, list[int]] = {}
    for place, item in enumerate(items):
        groups.setdefault(stratum(item), []).append(place)
    shares = _shares({name: len(places) for name, places in groups.items()}, size)
    taken: set[int] = set()
    for name, places in groups.items():
        ranked = sorted(places, key=lambda place: _rank(seed, identity(items[place])))
        taken.update(ranked[: shares[name]])
    return [items[place] for place in sorted(taken)]


def _shares(sizes: dict[str, int], total: int) -> dict[str, int]:
    """`total` places over strata of these sizes, by largest remainders; ties go to the first name in the alphabet."""
    whole = sum(sizes.values())
    shares = {name: total * size // whole for name, size in sizes.items()}
    by_remainder = sorted(sizes, key=lambda name: (-(total * sizes[name] % whole), name))
    for name in by_remainder[: total - sum(shares.values())]:
        shares[name] += 1
    return shares


def _rank(seed: int, identity: str) -> bytes:
    return hashlib.sha256(f"{seed}\x00{identity}".encode()).digest()
