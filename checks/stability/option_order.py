"""The same lettered question with its options in every cyclic order.

72 of the questions of performance/knowledge, 12 a topic, are each asked four times; the options move on by one place
each time, so that every option stands at every letter once.  `consistency` is 1 for an item whose chosen option (its
text, not its letter) is the same in all four orders.  `accuracy` has one value for each order of each item, clustered
by item.  A model that always names one letter has consistency 0 and accuracy 0.25.

How many items: the gate's one-sided 95 % bound (Clopper-Pearson's below five events, else the wider of it and Wilson's)
on 72 items lies 0.09 under a measured rate of 0.3 and 0.10 under one of 0.4, so a limit is decided for models whose
true consistency lies some 0.2 above it (twice that bound).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from checks.contract import Check, ChoiceRequest, MetricDeclaration, Model, Progress, Score
from checks.datasets import Row, load_builtin
from checks.performance import knowledge
from checks.sampling import Questions
from pipeline.measurement import Measurement, Metric, Sample

PER_TOPIC = 12
ITEMS = PER_TOPIC * len(knowledge.TOPICS)
ORDERS = len(knowledge.LETTERS)
_LETTERS = tuple(f" {letter}" for letter in knowledge.LETTERS)


@dataclass(frozen=True)
class _Asked:
    """One order of one item: the option chosen (its place in the original row), or why there is none."""

    row: Row
    order: int
    prompt: str
    scores: tuple[Score, ...]

    @property
    def error(self) -> str | None:
        return next((score.error for score in self.scores if score.error is not None), None)

    @property
    def chosen(self) -> int:
        logprobs = [score.logprob for score in self.scores]
        return (logprobs.index(max(logprobs)) + self.order) % ORDERS


def _draw(_seed: int) -> list[Row]:
    return spread(load_builtin(knowledge.DATA.name, knowledge.DATA.digest)[1])


def _ask(model: Model, rows: Sequence[Row], _seed: int, progress: Progress) -> list[_Asked]:
    """Every order of each row.  Raises ServingError when the server died."""
    prompts = [(row, order, prompt_of(row, order)) for row in rows for order in range(ORDERS)]
    scores = model.choose([ChoiceRequest(prompt, _LETTERS) for _, _, prompt in prompts])
    progress(len(prompts))
    return [_Asked(row, order, prompt, score) for (row, order, prompt), score in zip(prompts, scores, strict=True)]


def _measurement(asked: Sequence[_Asked], seed: int) -> Measurement:
    """Consistency over orders, and accuracy in each."""
    metrics = (_consistency(asked), _accuracy(asked))
    samples = tuple(_sample(one, seed) for one in asked)
    return Measurement(CHECK.name, CHECK.version, (knowledge.DATA,), metrics, samples, seed)


def spread(rows: Sequence[Row]) -> list[Row]:
    """The first `PER_TOPIC` rows of each topic; the file's order within a topic carries no meaning."""
    return [row for topic in knowledge.TOPICS for row in [one for one in rows if one["topic"] == topic][:PER_TOPIC]]


def prompt_of(row: Row, order: int) -> str:
    """The question with its options moved on by `order` places, after the worked examples."""
    choices = row["choices"][order:] + row["choices"][:order]
    shots = "".join(
        f"{knowledge.question_text(shot)} {knowledge.LETTERS[shot['answer']]}\n\n" for shot in knowledge.SHOTS
    )
    return knowledge.INTRODUCTION + shots + knowledge.question_text({**row, "choices": choices})


def _consistency(asked: Sequence[_Asked]) -> Metric:
    items: dict[str, list[_Asked]] = {}
    for one in asked:
        items.setdefault(one.row["id"], []).append(one)
    valid = {name: orders for name, orders in items.items() if all(one.error is None for one in orders)}
    return Metric(
        name="consistency",
        kind="rate",
        unit="ratio",
        better="higher",
        items=tuple(valid),
        values=tuple(float(len({one.chosen for one in orders}) == 1) for orders in valid.values()),
        invalid=len(items) - len(valid),
        slices={"topic": tuple(orders[0].row["topic"] for orders in valid.values())},
    )


def _accuracy(asked: Sequence[_Asked]) -> Metric:
    valid = [one for one in asked if one.error is None]
    return Metric(
        name="accuracy",
        kind="rate",
        unit="ratio",
        better="higher",
        items=tuple(_identity(one) for one in valid),
        values=tuple(float(one.chosen == one.row["answer"]) for one in valid),
        invalid=len(asked) - len(valid),
        clusters=tuple(one.row["id"] for one in valid),
        slices={
            "topic": tuple(one.row["topic"] for one in valid),
            "letter": tuple(knowledge.LETTERS[(one.row["answer"] - one.order) % ORDERS] for one in valid),
        },
        chance=1 / ORDERS,
    )


def _identity(one: _Asked) -> str:
    return f"{one.row['id']}#order-{one.order}"


def _sample(one: _Asked, seed: int) -> Sample:
    valid = one.error is None
    right = "correct" if one.chosen == one.row["answer"] else "wrong"
    return Sample(
        id=_identity(one),
        prompt=one.prompt,
        response=one.row["choices"][one.chosen] if valid else "",
        outcome=right if valid else "invalid",
        valid=valid,
        seed=seed,
        detail={"logprobs": [score.logprob for score in one.scores]} if valid else {"error": one.error},
    )


_QUESTIONS = Questions(_draw, _ask, _measurement, identity=lambda row: str(row["id"]))

CHECK = Check(
    name="stability/option_order",
    version="1",
    title="Options in another order",
    data=(knowledge.DATA,),
    metrics=(
        MetricDeclaration("consistency", "rate", "ratio", "higher", ITEMS, "Same option chosen", ("topic",)),
        MetricDeclaration(
            "accuracy", "rate", "ratio", "higher", ITEMS * ORDERS, "Right option, all orders", ("topic", "letter")
        ),
    ),
    units=ITEMS * ORDERS,
    measure=_QUESTIONS.measure,
    stages=_QUESTIONS.stages,
    labels={"topic": knowledge.TOPICS, "letter": knowledge.LETTERS},
    needs=frozenset({"named-tokens"}),
    settings={"shots": len(knowledge.SHOTS), "orders": ORDERS, "per_topic": PER_TOPIC},
)
