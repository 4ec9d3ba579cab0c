"""The same greedy prompt, asked again while the server is busy with other ones.

It is always measured in full: with fewer prompts in flight, batches would be others, and batches are what it is about.

72 prompts are each asked twice at temperature 0, in two shuffled passes at full concurrency, through the chat
template.  An item is consistent when both answers are the same text.  Batches differ between passes, so this
measures what a user sees of the server's arithmetic: a server with batch-invariant kernels scores 1.

How many items: with 68 of 72 items unchanged (0.944) the gate's one-sided 95 % bound (Clopper-Pearson's below five
events, else the wider of it and Wilson's) lies at 0.877; a limit of 0.8 is passed by 64 unchanged items (0.889), which
a true rate of 0.94 or more reaches with 95 % probability.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from checks.contract import Answer, Check, MetricDeclaration, Model, Progress, Sampling
from checks.datasets import Row, load_builtin
from pipeline.digests import Digest
from pipeline.measurement import DataSet, Measurement, Metric, Sample

DATA = DataSet(
    "stability/repeat",
    "1",
    72,
    Digest("sha256:55d7eb8d4aac7fcd5bd0f3b68c443f542c47e3b406df0dcb50c1a290a1c1b2c9"),
    "Apache-2.0",
)
TOPICS = ("explain", "list", "write", "advise")
TIMES = 2
MAX_TOKENS = 24


@dataclass(frozen=True)
class _Item:
    row: Row
    answers: tuple[Answer, ...]

    @property
    def error(self) -> str | None:
        """Why the item cannot count: an answer failed or is empty.  A truncated one may be compared all the same."""
        for answer in self.answers:
            if answer.error is not None:
                return answer.error
            if not answer.text.strip():
                return "empty answer"
        return None

    @property
    def consistent(self) -> bool:
        return len({answer.text for answer in self.answers}) == 1


def measure(model: Model, seed: int, progress: Progress) -> Measurement:
    """The rate of items with one answer.  Raises ServingError when the server died."""
    data, rows = load_builtin(DATA.name, DATA.digest)
    answers: dict[str, list[Answer]] = {row["id"]: [] for row in rows}
    for turn in range(TIMES):
        order = random.Random(seed + turn).sample(rows, len(rows))  # noqa: S311  # an order, not a secret
        for row, answer in zip(order, _ask(model, order, seed), strict=True):
            answers[row["id"]].append(answer)
        progress(len(rows))
    items = [_Item(row, tuple(answers[row["id"]])) for row in rows]
    samples = tuple(_sample(item, seed) for item in items)
    return Measurement(CHECK.name, CHECK.version, (data,), (_metric(items),), samples, seed)


def _ask(model: Model, rows: Sequence[Row], seed: int) -> list[Answer]:
    conversations = [[{"role": "user", "content": row["prompt"]}] for row in rows]
    return model.chat(conversations, Sampling(MAX_TOKENS, seed=seed))


def _metric(items: Sequence[_Item]) -> Metric:
    valid = [item for item in items if item.error is None]
    return Metric(
        name="identical_rate",
        kind="rate",
        unit="ratio",
        better="higher",
        items=tuple(item.row["id"] for item in valid),
        values=tuple(float(item.consistent) for item in valid),
        invalid=len(items) - len(valid),
        slices={"topic": tuple(item.row["topic"] for item in valid)},
    )


def _sample(item: _Item, seed: int) -> Sample:
    outcome = "consistent" if item.consistent else "changed"
    return Sample(
        id=item.row["id"],
        prompt=item.row["prompt"],
        response=item.answers[0].text,
        outcome="invalid" if item.error is not None else outcome,
        valid=item.error is None,
        seed=seed,
        detail={
            "answers": [answer.text for answer in item.answers],
            "finishes": [answer.finish for answer in item.answers],
            **({"error": item.error} if item.error is not None else {}),
        },
    )


CHECK = Check(
    name="stability/repeat",
    version="1",
    title="The same prompt again",
    data=(DATA,),
    metrics=(
        MetricDeclaration("identical_rate", "rate", "ratio", "higher", DATA.items, "Same answer again", ("topic",)),
    ),
    units=DATA.items * TIMES,
    measure=measure,
    settings={"times": TIMES, "max_tokens": MAX_TOKENS, "temperature": 0},
)
