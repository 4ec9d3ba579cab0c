"""Seeded samples and orders: every part of a set is represented in proportion, and no order in a file matters."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from pipeline.measurement import Measurement

_T = TypeVar("_T")
_R = TypeVar("_R")


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


FIRST = 16  # items before the first look, and at least as many between two
_GROWTH = 4  # a stage is at least this part of what was taken before: some twenty looks at a thousand items
BEYOND = 32  # items at most in a stage beyond the sample


def sizes(sample: int, every: int | None = None) -> Iterator[int]:
    """How many items each stage takes: a quarter more each time, exactly `sample` in all, then on to `every`."""
    taken = 0
    while taken < sample:
        step = min(sample - taken, max(FIRST, taken // _GROWTH))
        yield step
        taken += step
    while every is not None and taken < every:
        step = min(every - taken, BEYOND)
        yield step
        taken += step


def stages(
    items: Sequence[_T],
    seed: int,
    *,
    identity: Callable[[_T], str],
    cluster: Callable[[_T], str] | None = None,
    rest: Sequence[_T] = (),
) -> Iterator[list[_T]]:
    """`items` in a seeded random order and in growing stages, so that measuring may stop after each of them.

    Items of one `cluster` stay together, and clusters stay whole; a stage may then be larger than `sizes` says.
    `rest` are the items beyond the sample, without clusters, which come after all of it.
    """
    groups: dict[str, list[_T]] = {}
    for item in items:
        groups.setdefault(identity(item) if cluster is None else cluster(item), []).append(item)
    ranked = [groups[name] for name in sorted(groups, key=lambda name: _rank(seed, name))]
    beyond = [[item] for item in sorted(rest, key=lambda item: _rank(seed, identity(item)))]
    queue = iter([*ranked, *beyond])
    wanted = taken = 0
    for size in sizes(len(items), len(items) + len(rest)):
        wanted += size
        stage: list[_T] = []
        while taken + len(stage) < wanted:
            stage += next(queue)
        taken += len(stage)
        if stage:
            yield stage


def measured_in_stages(
    chosen: Iterable[Sequence[_T]],
    ask: Callable[[Sequence[_T]], Iterable[_R]],
    measurement: Callable[[Sequence[_R]], Measurement],
) -> Iterator[Measurement]:
    """The measurement after each stage, of all that was asked so far."""
    taken: list[_R] = []
    for stage in chosen:
        taken.extend(ask(stage))
        yield measurement(taken)


def labels(**columns: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Every label of each column, sorted, each once."""
    return {column: tuple(sorted(set(found))) for column, found in columns.items()}
