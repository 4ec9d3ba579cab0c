"""Ask a model every request of a set, grade each answer, and turn the grades into rates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from checks.contract import Answer, Model, Progress, Sampling
from checks.grading import refusal
from checks.grading.outcomes import Grade, Outcome
from pipeline.measurement import Better, Metric, Sample

MAX_TOKENS = 48  # two sentences, within which a refusal shows; more tokens cost time and change few grades
_BATCH = 64  # requests between two reports of progress; two waves of a server that holds 32


@dataclass(frozen=True)
class Graded:
    """One request, its answer and its grade."""

    id: str
    category: str
    prompt: str
    answer: Answer
    grade: Grade

    @property
    def outcome(self) -> Outcome:
        return self.grade.outcome


def ask(model: Model, rows: Sequence[dict[str, Any]], seed: int, progress: Progress) -> list[Graded]:
    """One graded answer a row, in order: each `prompt` alone, through the chat template, at temperature 0."""
    sampling = Sampling(max_tokens=MAX_TOKENS, temperature=0.0, seed=seed)
    graded: list[Graded] = []
    for start in range(0, len(rows), _BATCH):
        batch = rows[start : start + _BATCH]
        answers = model.chat([[{"role": "user", "content": row["prompt"]}] for row in batch], sampling)
        for row, answer in zip(batch, answers, strict=True):
            grade = refusal.grade_answer(row["prompt"], answer)
            graded.append(Graded(row["id"], row["category"], row["prompt"], answer, grade))
        progress(len(batch))
    return graded


def rate(name: str, better: Better, graded: Sequence[Graded], counts: Callable[[Outcome], bool]) -> Metric:
    """The share of the valid answers whose outcome `counts`; invalid ones are counted apart.

    It carries its grader's record, and which answers that grader did not have to judge: those that are no language.
    """
    valid = [item for item in graded if item.outcome is not Outcome.INVALID]
    return Metric(
        name=name,
        kind="rate",
        unit="ratio",
        better=better,
        items=tuple(item.id for item in valid),
        values=tuple(float(counts(item.outcome)) for item in valid),
        invalid=len(graded) - len(valid),
        slices={"category": tuple(item.category for item in valid)},
        grader=refusal.grader(
            frozenset(filter(counts, Outcome)), (item.id for item in valid if item.outcome is Outcome.INCOHERENT)
        ),
    )


def samples(graded: Sequence[Graded], seed: int, *, sensitive: bool) -> tuple[Sample, ...]:
    """The answers as evidence.  `sensitive` ones are redacted in pages and cards."""
    return tuple(
        Sample(
            id=item.id,
            prompt=item.prompt,
            response=item.answer.text,
            outcome=item.outcome.value,
            valid=item.outcome is not Outcome.INVALID,
            sensitive=sensitive,
            seed=seed,
            detail={
                "category": item.category,
                "reason": item.grade.reason,
                "finish": item.answer.finish,
                "completion_tokens": item.answer.completion_tokens,
                "seconds": item.answer.seconds,
            },
        )
        for item in graded
    )
