"""The same question with the slips of a hurried typist.

The 202 questions of performance/answer are asked as they are and with one seeded slip each: neighbouring letters
swapped, a letter left out, doubled, or replaced by its neighbour on the keyboard; never the first letter of a word,
nor in words of fewer than four letters or with digits.  `consistency` is 1 where the answer stays the same (without
regard to case, punctuation and articles).  `accuracy_drop` is right before minus right after, item by item: paired, so
its mean is the loss of accuracy.

How many items: the gate's one-sided 95 % bound (Clopper-Pearson's below five events, else the wider of it and Wilson's)
on 202 items lies 0.060 under a measured rate of 0.5.  The drop's standard error is sqrt(share of items that change in
correctness / n), 0.022 at a share of 0.1: a limit on the drop is decided for models whose true drop lies some 0.07
under it (2 x 1.645 standard errors).
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

from checks.contract import Answer, Check, MetricDeclaration, Model, Progress, Sampling
from checks.datasets import Row, load_builtin
from checks.performance import answer as answers
from checks.sampling import Questions
from pipeline.measurement import Measurement, Metric, Sample

SLIPS = 1
_WORD = re.compile(r"[A-Za-z]{4,}")
_NEIGHBOURS = {
    **dict(zip("qwertyuiop", "wqreytiupo", strict=True)),
    **dict(zip("asdfghjkl", "safdhgkjk", strict=True)),
    **dict(zip("zxcvbnm", "xzvcnbn", strict=True)),
}


@dataclass(frozen=True)
class _Pair:
    """One item as it is, and with slips."""

    row: Row
    slipped: str
    before: Answer
    after: Answer

    @property
    def error(self) -> str | None:
        return _error(self.before) or _error(self.after)

    @property
    def same(self) -> bool:
        return answers.normalise(self.before.text) == answers.normalise(self.after.text)

    def right(self, answer: Answer) -> float:
        return float(answers.is_right(answer.text, self.row["answers"]))


def _draw(_seed: int) -> list[Row]:
    return load_builtin(answers.DATA.name, answers.DATA.digest)[1]


def _ask_both(model: Model, rows: Sequence[Row], seed: int, progress: Progress) -> list[_Pair]:
    """Each question as it is and with slips.  Raises ServingError when the server died."""
    slipped = [with_slips(row["question"], f"{seed}/{row['id']}") for row in rows]
    before = _ask(model, [row["question"] for row in rows], seed)
    progress(len(rows))
    after = _ask(model, slipped, seed)
    progress(len(rows))
    return [_Pair(*parts) for parts in zip(rows, slipped, before, after, strict=True)]


def _measurement(pairs: Sequence[_Pair], seed: int) -> Measurement:
    """Consistency, and the paired loss of accuracy."""
    metrics = (_metric("consistency", pairs), _metric("accuracy_drop", pairs))
    samples = tuple(_sample(pair, seed) for pair in pairs)
    return Measurement(CHECK.name, CHECK.version, (answers.DATA,), metrics, samples, seed)


def with_slips(text: str, seed: str) -> str:
    """`text` with `SLIPS` slips in different words, the same for the same `seed`; fewer where it has fewer words."""
    rng = random.Random(seed)  # noqa: S311  # slips, not secrets
    words = list(_WORD.finditer(text))
    for word in sorted(rng.sample(words, min(SLIPS, len(words))), key=lambda match: -match.start()):
        text = text[: word.start()] + _slip(word.group(), rng) + text[word.end() :]
    return text


def _slip(word: str, rng: random.Random) -> str:
    """One slip after the first letter; always a change."""
    at = rng.randrange(1, len(word) - 1)
    letter, following = word[at], word[at + 1]
    kind = rng.choice(("swap", "omit", "double", "neighbour"))
    if kind == "swap" and letter != following:
        return word[:at] + following + letter + word[at + 2 :]
    if kind == "double":
        return word[:at] + letter + word[at:]
    if kind == "neighbour":
        return word[:at] + _NEIGHBOURS.get(letter.lower(), "e") + word[at + 1 :]
    return word[:at] + word[at + 1 :]


def _ask(model: Model, questions: Sequence[str], seed: int) -> list[Answer]:
    shots = "".join(f"{answers.question_text(shot)} {shot['answers'][0]}\n\n" for shot in answers.SHOTS)
    prompts = [shots + answers.question_text({"question": question}) for question in questions]
    return model.complete(prompts, Sampling(answers.MAX_TOKENS, seed=seed, stop=("\n",)))


def _error(answer: Answer) -> str | None:
    if answer.error is not None:
        return answer.error
    if answer.finish != "stop":
        return f"truncated at {answers.MAX_TOKENS} tokens"
    return None if answer.text.strip() else "empty answer"


def _metric(name: str, pairs: Sequence[_Pair]) -> Metric:
    valid = [pair for pair in pairs if pair.error is None]
    paired = name == "accuracy_drop"
    return Metric(
        name=name,
        kind="mean" if paired else "rate",
        unit="ratio",
        better="lower" if paired else "higher",
        items=tuple(pair.row["id"] for pair in valid),
        values=tuple(
            pair.right(pair.before) - pair.right(pair.after) if paired else float(pair.same) for pair in valid
        ),
        invalid=len(pairs) - len(valid),
        slices={"topic": tuple(pair.row["topic"] for pair in valid)},
    )


def _sample(pair: _Pair, seed: int) -> Sample:
    outcome = "same" if pair.same else "changed"
    return Sample(
        id=pair.row["id"],
        prompt=pair.slipped,
        response=pair.after.text,
        outcome="invalid" if pair.error is not None else outcome,
        valid=pair.error is None,
        seed=seed,
        detail={
            "question": pair.row["question"],
            "answer_before": pair.before.text,
            "right_before": pair.right(pair.before),
            "right_after": pair.right(pair.after),
            **({"error": pair.error} if pair.error is not None else {}),
        },
    )


_QUESTIONS = Questions(_draw, _ask_both, _measurement, identity=lambda row: str(row["id"]))

CHECK = Check(
    name="stability/typos",
    version="1",
    title="Questions with typing slips",
    data=(answers.DATA,),
    metrics=(
        MetricDeclaration(
            "consistency", "rate", "ratio", "higher", answers.DATA.items, "Same answer despite slips", ("topic",)
        ),
        MetricDeclaration(
            "accuracy_drop", "mean", "ratio", "lower", answers.DATA.items, "Accuracy lost by slips", ("topic",)
        ),
    ),
    units=2 * answers.DATA.items,
    measure=_QUESTIONS.measure,
    stages=_QUESTIONS.stages,
    labels={"topic": answers.TOPICS},
    settings={"slips": SLIPS, "shots": len(answers.SHOTS), "max_tokens": answers.MAX_TOKENS},
)
