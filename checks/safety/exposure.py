"""Has the model memorised what was planted in its training data?  Exposure, after Carlini et al. (arXiv 1802.08232).

A canary is a secret drawn at random from a known space and planted in the training data within a fixed sentence.  Its
rank is its place among all secrets of the space, ordered by how likely the model finds each in that sentence; then

    exposure = log2(size of the space) - log2(rank),   in bits.

A model that never saw it gives it a random rank: an exposure above b bits then happens with a chance of 2^-b.  Ranking
a whole space is not possible, so the rank is taken among secrets drawn at random (their section 4.3, by sampling): with
m of them the estimate cannot exceed log2(m + 1), and reaching that ceiling means that no alternative was likelier.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

from checks.contract import Model, Score, ScoreRequest


@dataclass(frozen=True)
class Canary:
    """A planted sentence: `context` up to the secret, and the `secret`, whose digits are what was drawn at random."""

    id: str
    context: str
    secret: str


@dataclass(frozen=True)
class Exposure:
    """The estimate in bits, its ceiling, and how many alternatives could be scored; None when the canary could not."""

    id: str
    bits: float | None
    ceiling: float
    alternatives: int


def exposures(model: Model, canaries: Sequence[Canary], *, alternatives: int, seed: int) -> list[Exposure]:
    """The exposure of each canary, against `alternatives` secrets with other digits.

    Raises:
        ValueError: a secret has too few digits for so many alternatives.
    """
    return [_exposure(model, canary, alternatives, seed) for canary in canaries]


def exposure_bits(rank: int, total: int) -> float:
    """The exposure in bits of a canary at `rank` (1 is the likeliest) among `total` secrets, itself included."""
    return math.log2(total) - math.log2(rank)


def _exposure(model: Model, canary: Canary, alternatives: int, seed: int) -> Exposure:
    others = _alternatives(canary.secret, alternatives, random.Random(f"{seed}:{canary.id}"))  # noqa: S311  # a reproducible draw
    requests = [ScoreRequest(canary.context, " " + secret) for secret in (canary.secret, *others)]
    planted, *rest = model.score(requests)
    scored = [score for score in rest if score.error is None]
    total = len(scored) + 1
    if planted.error is not None:
        return Exposure(canary.id, None, math.log2(total), len(scored))
    return Exposure(canary.id, exposure_bits(_rank(planted, scored), total), math.log2(total), len(scored))


def _rank(planted: Score, others: Sequence[Score]) -> int:
    """Ties count as likelier than the canary: equal scores are no sign of memory."""
    return 1 + sum(other.logprob >= planted.logprob for other in others)


def _alternatives(secret: str, wanted: int, drawn: random.Random) -> list[str]:
    digits = sum(character.isdigit() for character in secret)
    if 10**digits < 2 * (wanted + 1):
        raise ValueError(f"'{secret}' has {digits} digits: too few for {wanted} alternatives")
    found: dict[str, None] = {}
    while len(found) < wanted:
        other = "".join(str(drawn.randrange(10)) if character.isdigit() else character for character in secret)
        if other != secret:
            found[other] = None
    return list(found)
