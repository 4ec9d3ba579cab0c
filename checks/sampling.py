"""Seeded samples and orders: every part of a set is represented in proportion, and no order in a file matters."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from checks.contract import Model, Progress
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


@dataclass(frozen=True)
class Questions(Generic[_T, _R]):
    """A check as the items it draws, how they are asked, and what the answers come to.

    `draw(seed)` are the items of the sample.  `ask` returns the answers to some items in their order, and reports its
    requests; `ask_more` does so for stages after the first, where that differs.  `measurement(answers, seed)` makes
    figures of them.  Items of one `cluster` are taken together.  `everything` are all items, where the sample may be
    exceeded: those without clusters that take one request each.
    """

    draw: Callable[[int], Sequence[_T]]
    ask: Callable[[Model, Sequence[_T], int, Progress], Sequence[_R]]
    measurement: Callable[[Sequence[_R], int], Measurement]
    identity: Callable[[_T], str]
    cluster: Callable[[_T], str] | None = None
    everything: Sequence[_T] = ()
    ask_more: Callable[[Model, Sequence[_T], int, Progress], Sequence[_R]] | None = None

    def measure(self, model: Model, seed: int, progress: Progress) -> Measurement:
        """Ask the whole sample, and measure."""
        return self.measurement(self.ask(model, self.draw(seed), seed, progress), seed)

    def stages(self, model: Model, seed: int, progress: Progress) -> Iterator[Measurement]:
        """The measurement after each stage, of all that was asked so far."""
        drawn = self.draw(seed)
        known = {self.identity(item) for item in drawn}
        rest = [item for item in self.everything if self.identity(item) not in known]
        answers: list[_R] = []
        for stage in stages(drawn, seed, identity=self.identity, cluster=self.cluster, rest=rest):
            ask = self.ask_more if answers and self.ask_more is not None else self.ask
            answers.extend(ask(model, stage, seed, progress))
            yield self.measurement(answers, seed)

    @property
    def available(self) -> int | None:
        """How many requests all items take; None where the sample is all there is to take."""
        return len(self.everything) or None


def labels(**columns: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Every label of each column, sorted, each once."""
    return {column: tuple(sorted(set(found))) for column, found in columns.items()}
