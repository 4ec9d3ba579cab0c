"""Sentences to be completed: general knowledge, common sense and simple language.

210 sentences, 70 a topic, each with one right and three wrong endings.  lm-eval compares the log-probabilities of the
endings: `acc` as they are, `acc_norm` divided by the ending's length in characters.  No examples are shown.

How many items: the gate's one-sided 95 % bound (Clopper-Pearson's below five events, else the wider of it and Wilson's)
lies 0.047 under a rate of 0.85 measured on 210 items.  A limit of 0.7 is passed by 159 right endings (0.757), which a
model of true accuracy 0.81 or more reaches with 95 % probability, and one of 0.6 in one run of 800,000.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from checks.contract import Check, MetricDeclaration, Model, Progress
from checks.datasets import Row, load_builtin
from checks.performance.harness import Result, Task, run_task
from checks.performance.results import graded, rate, samples
from checks.sampling import Questions
from pipeline.digests import Digest
from pipeline.measurement import DataSet, Measurement

DATA = DataSet(
    "performance/completion",
    "1",
    210,
    Digest("sha256:7531010c5b6125fdb55dbf94bf6dbb6c9b4bea878f93e7b1f8bf6a6ca6255d83"),
    "Apache-2.0",
)
TOPICS = ("knowledge", "commonsense", "language")
_CONFIG = {
    "output_type": "multiple_choice",
    "doc_to_text": lambda row: row["context"],
    "doc_to_choice": lambda row: row["choices"],
    "doc_to_target": lambda row: row["answer"],
    "metric_list": [
        {"metric": "acc", "aggregation": "mean", "higher_is_better": True},
        {"metric": "acc_norm", "aggregation": "mean", "higher_is_better": True},
    ],
}


def _draw(_seed: int) -> list[Row]:
    return load_builtin(DATA.name, DATA.digest)[1]


def _ask(model: Model, rows: Sequence[Row], seed: int, progress: Progress, *, cross_check: bool = True) -> list[Result]:
    """The rows asked.  Raises ServingError when the server died or scores inconsistently."""
    return run_task(model, Task("completion", _CONFIG, rows), seed, progress, cross_check=cross_check)


def _measurement(results: Sequence[Result], seed: int) -> Measurement:
    """Accuracy by log-probability."""
    metrics = (rate("acc", results, chance=0.25), rate("acc_norm", results, chance=0.25))
    return Measurement(CHECK.name, CHECK.version, (DATA,), metrics, samples(results, seed, graded("acc")), seed)


_QUESTIONS = Questions(
    _draw, _ask, _measurement, identity=lambda row: str(row["id"]), ask_more=partial(_ask, cross_check=False)
)

CHECK = Check(
    name="performance/completion",
    version="1",
    title="Sentence completion by log-probability",
    data=(DATA,),
    metrics=(
        MetricDeclaration("acc", "rate", "ratio", "higher", DATA.items, "Right endings", ("topic",)),
        MetricDeclaration("acc_norm", "rate", "ratio", "higher", DATA.items, "Right endings, by length", ("topic",)),
    ),
    units=DATA.items,
    measure=_QUESTIONS.measure,
    stages=_QUESTIONS.stages,
    labels={"topic": TOPICS},
    needs=frozenset({"echo"}),
    settings={"shots": 0},
)
