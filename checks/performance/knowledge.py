"""General knowledge as questions with lettered options.

214 questions in six topics, each with four options; the letters A to D are scored by named tokens through lm-eval after
four worked examples, one for each letter.  Right answers are spread evenly over the letters, so that always choosing
one letter scores 25 %.

How many items: the gate's one-sided 95 % bound (Clopper-Pearson's below five events, else the wider of it and Wilson's)
lies 0.048 under a rate of 0.25 measured on 214 items and 0.058 under one of 0.5.  A limit of 0.25 is passed by 65 right
answers (0.304) and one of 0.5 by 120 (0.561), which models of true accuracy 0.36 and 0.62 reach with 95 % probability.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from checks.contract import Check, MetricDeclaration, Model, Progress
from checks.datasets import Row, load_builtin
from checks.performance.harness import Result, Task, run_task
from checks.performance.ledger import CROSS_CHECKED
from checks.performance.results import graded, rate, samples, scoring_difference
from checks.sampling import Questions
from pipeline.digests import Digest
from pipeline.measurement import DataSet, Measurement

DATA = DataSet(
    "performance/knowledge",
    "1",
    214,
    Digest("sha256:90903172b24532adc4df915de4f2d817c8b8e1c0ec8a766ec6e50e58ab0d9b95"),
    "Apache-2.0",
)
LETTERS = ("A", "B", "C", "D")
TOPICS = ("geography", "science", "history", "arts", "language", "everyday")
INTRODUCTION = "The following are questions with one right answer each.\n\n"
SHOTS: tuple[Row, ...] = (
    {"question": "Which animal is the symbol of peace?", "choices": ["Dove", "Crow", "Shark", "Wolf"], "answer": 0},
    {"question": "What is seven minus two?", "choices": ["Three", "Nine", "Five", "Six"], "answer": 2},
    {"question": "What is the capital of Hungary?", "choices": ["Sofia", "Zagreb", "Minsk", "Budapest"], "answer": 3},
    {"question": "What do you use to eat soup?", "choices": ["A fork", "A spoon", "A comb", "A rake"], "answer": 1},
)


def question_text(row: Row) -> str:
    """The question, its lettered options and the cue for an answer."""
    options = "\n".join(f"{letter}. {choice}" for letter, choice in zip(LETTERS, row["choices"], strict=True))
    return f"{row['question']}\n{options}\nAnswer:"


def letter_task(name: str, rows: list[Row]) -> Task:
    """`rows` as a task of one-letter answers in the manner of MMLU, after the worked examples."""
    config = {
        "output_type": "multiple_choice",
        "description": INTRODUCTION,
        "doc_to_text": question_text,
        "doc_to_choice": list(LETTERS),
        "doc_to_target": lambda row: row["answer"],
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
    }
    return Task(name, config, rows, SHOTS)


def _draw(_seed: int) -> list[Row]:
    return load_builtin(DATA.name, DATA.digest)[1]


def _ask(model: Model, rows: Sequence[Row], seed: int, progress: Progress, *, cross_check: bool = True) -> list[Result]:
    """The rows asked.  Raises ServingError when named tokens and echo disagree, or the server died."""
    return run_task(model, letter_task("knowledge", list(rows)), seed, progress, cross_check=cross_check)


def _measurement(results: Sequence[Result], seed: int) -> Measurement:
    """Accuracy on the letters."""
    metrics = (rate("acc", results, chance=1 / len(LETTERS)), scoring_difference(results))
    return Measurement(CHECK.name, CHECK.version, (DATA,), metrics, samples(results, seed, graded("acc")), seed)


_QUESTIONS = Questions(
    _draw, _ask, _measurement, identity=lambda row: str(row["id"]), ask_more=partial(_ask, cross_check=False)
)

CHECK = Check(
    name="performance/knowledge",
    version="1",
    title="General knowledge, lettered options",
    data=(DATA,),
    metrics=(
        MetricDeclaration("acc", "rate", "ratio", "higher", DATA.items, "Right letters", ("topic",)),
        MetricDeclaration(
            "scoring_difference",
            "mean",
            "nats",
            "lower",
            CROSS_CHECKED,
            "Named tokens against echo, largest difference",
        ),
    ),
    units=DATA.items,
    measure=_QUESTIONS.measure,
    stages=_QUESTIONS.stages,
    labels={"topic": TOPICS},
    needs=frozenset({"echo", "named-tokens"}),
    settings={"shots": len(SHOTS), "letters": "".join(LETTERS), "cross_checked": CROSS_CHECKED},
)
