"""Short word sequences of an answer, with the topic taken out.

Any word of the answer that the prompt holds too is written `_`, so that a phrase says how something is put and not what
it is about: "i cannot provide _" is the same for every request.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from checks.grading.cues import sentences_of
from checks.grading.features import STEM, stems

LONGEST = 3  # words in a phrase
TOPIC = "_"
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")


def phrases(prompt: str, response: str) -> dict[str, frozenset[str]]:
    """The phrases of up to three words in `response`: in its first two sentences (`opening`), and in `all` of it."""
    topic = stems(prompt)
    return {
        "opening": _sequences(" ".join(sentences_of(response)[:2]), topic),
        "all": _sequences(response, topic),
    }


def phrase_values(found: Mapping[str, frozenset[str]], vocabulary: Mapping[str, frozenset[str]]) -> dict[str, float]:
    """The known phrases among `found` as features `PLACE:PHRASE`; those of one place have length 1 together.

    Each of the n known phrases in a place counts 1 / sqrt(n), so that a long answer weighs no more than a short one.
    """
    values: dict[str, float] = {}
    for place, known in vocabulary.items():
        present = sorted(known & found[place])
        values.update({f"{place}:{phrase}": len(present) ** -0.5 for phrase in present})
    return values


def _sequences(text: str, topic: set[str]) -> frozenset[str]:
    words = [_masked(word.lower().replace("’", "'"), topic) for word in _WORD.findall(text)]
    starts = range(len(words))
    return frozenset(
        " ".join(words[start : start + size])
        for size in range(1, LONGEST + 1)
        for start in starts
        if start + size <= len(words) and words[start : start + size] != [TOPIC] * size
    )


def _masked(word: str, topic: set[str]) -> str:
    return TOPIC if word[:STEM] in topic and len(word) > 2 else word
