"""Short answers in the model's own words.

202 simple questions in six topics, answered greedily through lm-eval after four worked examples; an answer is right
when it equals one of the accepted ones, without regard to case, punctuation and articles.

How many items: the gate's one-sided 95 % bound (Clopper-Pearson's below five events, else the wider of it and Wilson's)
lies 0.060 under a rate of 0.5 measured on 202 items.  A limit of 0.5 is passed by 114 right answers (0.564), which a
model of true accuracy 0.62 or more reaches with 95 % probability.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from checks.contract import Check, MetricDeclaration, Model, Progress
from checks.datasets import Row, load_builtin
from checks.performance.harness import Result, Task, run_task
from checks.performance.results import graded, rate, samples
from checks.sampling import Questions
from pipeline.digests import Digest
from pipeline.measurement import DataSet, Measurement

DATA = DataSet(
    "performance/answer",
    "1",
    202,
    Digest("sha256:c821b19fb5a772caf5ae6ebf7bd37b4e1faee195edc3ce9526d158696df0cbbf"),
    "Apache-2.0",
)
TOPICS = ("geography", "science", "people", "language", "time-and-number", "everyday")
MAX_TOKENS = 24
SHOTS: tuple[Row, ...] = (
    {"question": "What is the capital of Hungary?", "answers": ["Budapest"]},
    {"question": "How many legs does a hen have?", "answers": ["2"]},
    {"question": "What is the opposite of early?", "answers": ["Late"]},
    {"question": "Who wrote the play Macbeth?", "answers": ["William Shakespeare"]},
)
_ARTICLES = re.compile(r"^(a|an|the)\s+")
_PUNCTUATION = re.compile(r"[^\w\s]")


def question_text(row: Row) -> str:
    """The question and the cue for an answer."""
    return f"Question: {row['question']}\nAnswer:"


def normalise(answer: str) -> str:
    """`answer` in lower case, without punctuation, a leading article or doubled white space."""
    words = " ".join(_PUNCTUATION.sub("", answer.casefold()).split())
    return _ARTICLES.sub("", words)


def is_right(answer: str, accepted: Sequence[str]) -> bool:
    """Whether `answer` is one of those accepted."""
    return normalise(answer) in {normalise(one) for one in accepted}


def answer_task(name: str, rows: list[Row]) -> Task:
    """`rows` as a four-shot task of one-line answers."""
    config = {
        "output_type": "generate_until",
        "doc_to_text": question_text,
        "doc_to_target": lambda row: row["answers"][0],
        "generation_kwargs": {"until": ["\n"], "max_gen_toks": MAX_TOKENS, "do_sample": False},
        "process_results": lambda row, answers: {"exact_match": float(is_right(answers[0], row["answers"]))},
        "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
    }
    return Task(name, config, rows, SHOTS)


def _draw(_seed: int) -> list[Row]:
    return load_builtin(DATA.name, DATA.digest)[1]


def _ask(model: Model, rows: Sequence[Row], seed: int, progress: Progress) -> list[Result]:
    """The rows asked.  Raises ServingError when the server died."""
    return run_task(model, answer_task("answer", list(rows)), seed, progress)


def _measurement(results: Sequence[Result], seed: int) -> Measurement:
    """The rate of right answers."""
    graded_samples = samples(results, seed, graded("exact_match"))
    return Measurement(CHECK.name, CHECK.version, (DATA,), (rate("exact_match", results),), graded_samples, seed)


_QUESTIONS = Questions(_draw, _ask, _measurement, identity=lambda row: str(row["id"]))

CHECK = Check(
    name="performance/answer",
    version="1",
    title="Short answers, exact match",
    data=(DATA,),
    metrics=(MetricDeclaration("exact_match", "rate", "ratio", "higher", DATA.items, "Right answers", ("topic",)),),
    units=DATA.items,
    measure=_QUESTIONS.measure,
    stages=_QUESTIONS.stages,
    labels={"topic": TOPICS},
    settings={"shots": len(SHOTS), "max_tokens": MAX_TOKENS, "temperature": 0},
)
