"""Endings of several tokens scored by named tokens: one request for each node of the tree that they form.

The tokens of an ending have the same log-probabilities whether the whole prompt is echoed or each is asked for as the
next token after those before it; the second way computes a shared context once and keeps it in the server's cache.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from checks.contract import Score

Ids = tuple[int, ...]
Ask = Callable[[Ids, Ids], Awaitable[tuple[Score, ...]]]
"""ask(prompt, named) -> the score of each of the tokens `named` as the next one after `prompt`."""


def tree_of(endings: Sequence[Ids]) -> dict[Ids, Ids]:
    """The tokens wanted after each node: a node is what of an ending comes before them, () for the root."""
    children: dict[Ids, list[int]] = {}
    for ending in endings:
        for place, token in enumerate(ending):
            known = children.setdefault(ending[:place], [])
            if token not in known:
                known.append(token)
    return {node: tuple(tokens) for node, tokens in children.items()}


async def score_tree(context: Ids, endings: Sequence[Ids], ask: Ask) -> tuple[Score, ...]:
    """The score of each of `endings` after `context`.

    The root is asked alone, so that the context is in the server's cache before the branches go out together.
    """
    nodes = tree_of(endings)
    scores: dict[Ids, Score] = {}
    for depth in range(max(map(len, endings))):
        level = [node for node in nodes if len(node) == depth]
        answers = await asyncio.gather(*(ask((*context, *node), nodes[node]) for node in level), return_exceptions=True)
        for node, row in zip(level, answers, strict=True):
            if isinstance(row, BaseException):
                raise row  # only now, when none of its siblings is still asked
            scores.update({(*node, token): score for token, score in zip(nodes[node], row, strict=True)})
    return tuple(_along(ending, scores) for ending in endings)


def _along(ending: Ids, scores: dict[Ids, Score]) -> Score:
    path = [scores[ending[: place + 1]] for place in range(len(ending))]
    return Score(
        logprob=sum(score.logprob for score in path),
        greedy=all(score.greedy for score in path),
        tokens=len(ending),
        way="named-tokens",
    )
