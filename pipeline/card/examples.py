"""A few stored samples for the reader of a card.  Sensitive text is never copied into it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from pipeline.digests import Digest
from pipeline.measurement import Sample

_PER_CHECK = 2
_LONGEST = 600  # characters of a prompt or a response


def examples(check: str, samples: Sequence[Sample], stored: Digest) -> Iterator[dict[str, Any]]:
    """At most two samples of `check`, of different outcomes where there are; `stored` is the digest of all."""
    for sample in _choose(samples):
        yield {
            "check": check,
            "id": sample.id,
            "outcome": sample.outcome,
            "valid": sample.valid,
            "redacted": sample.sensitive,
            "prompt": None if sample.sensitive else _shorten(sample.prompt),
            "response": None if sample.sensitive else _shorten(sample.response),
            "evidence": stored,
        }


def _choose(samples: Sequence[Sample]) -> list[Sample]:
    """The first of each outcome, then the first of the rest, by id: the same samples each time."""
    ordered = sorted(samples, key=lambda sample: (sample.id, sample.seed or 0))
    first: dict[str, Sample] = {}
    for sample in ordered:
        first.setdefault(sample.outcome, sample)
    chosen = list(first.values())[:_PER_CHECK]
    rest = [sample for sample in ordered if sample not in chosen]
    return [*chosen, *rest[: _PER_CHECK - len(chosen)]]


def _shorten(text: str) -> str:
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"
