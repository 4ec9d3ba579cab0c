"""Running lm-eval tasks on local rows: no hub, no network, no default task index.

lm_eval is imported when the first task runs, never before.
"""

from __future__ import annotations

import contextlib
import io
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from checks.contract import Model, Progress
from checks.datasets import Row
from checks.performance.ledger import Ledger
from checks.performance.tokens import Tokens


@dataclass(frozen=True)
class Task:
    """One task: lm-eval's own configuration keys, the rows to ask, and the rows shown as examples before each."""

    name: str
    config: Mapping[str, Any]
    rows: Sequence[Row]
    shots: Sequence[Row] = ()
    chat: bool = False


@dataclass(frozen=True)
class Result:
    """What lm-eval made of one row.

    `prompt` is the whole context as sent.  `continuations` and `logprobs` run in parallel for multiple choice;
    `answer` is a generated text.  `values` are lm-eval's metrics.  `error` says why the item is invalid.
    """

    row: Row
    prompt: str
    values: Mapping[str, float]
    continuations: tuple[str, ...] = ()
    logprobs: tuple[float, ...] = ()
    answer: str = ""
    way: str = ""
    error: str | None = None
    difference: float | None = None


def run_task(model: Model, task: Task, seed: int, progress: Progress) -> list[Result]:
    """Every row of `task` asked and graded by lm-eval, in the order of the rows.

    Raises:
        ServingError: the server died, or named tokens and echo disagree on the items scored both ways.
        RequestError: the tokenizer cannot be read, or the task wants something that is not offered.
    """
    with _quiet_logging():
        from lm_eval.evaluator import evaluate

        from checks.performance.served_lm import ServedLM

        lm = ServedLM(model, Tokens.load(model.tokenizer), seed, progress)
        tasks = {"tasks": {task.name: _build(task)}, "groups": {}, "group_map": {}}
        outcome = evaluate(lm=lm, task_dict=tasks, bootstrap_iters=0, log_samples=True, apply_chat_template=task.chat)
    samples = sorted(outcome["samples"][task.name], key=lambda sample: int(sample["doc_id"]))
    return [_result(task, sample, lm.ledger) for sample in samples]


def _build(task: Task) -> Any:
    from lm_eval.api.task import ConfigurableTask

    class LocalTask(ConfigurableTask):  # type: ignore[misc]  # lm_eval ships no types
        """lm-eval's task without its progress bar, which would write over ours."""

        def build_all_requests(self, **arguments: Any) -> None:
            with contextlib.redirect_stderr(io.StringIO()):
                super().build_all_requests(**arguments)

    config = {
        **task.config,
        "task": task.name,
        "custom_dataset": lambda **_: _splits(task),
        "test_split": "test",
        "num_fewshot": len(task.shots),
        "fewshot_config": {"sampler": "first_n", "samples": [dict(shot) for shot in task.shots]},
    }
    return LocalTask(config=config)


def _splits(task: Task) -> Any:
    from datasets import Dataset, DatasetDict

    return DatasetDict({"test": Dataset.from_list([dict(row) for row in task.rows])})


def _result(task: Task, sample: Mapping[str, Any], ledger: Ledger) -> Result:
    key = (task.name, int(sample["doc_id"]))
    arguments = sample["arguments"]
    choices = [(pair[1], response[0]) for pair, response in zip(arguments, sample["resps"], strict=True)]
    multiple = task.config["output_type"] == "multiple_choice"
    values = {name: float(sample[name]) for name in sample["metrics"]}
    return Result(
        row=task.rows[key[1]],
        prompt=arguments[0][0],
        values={name: value for name, value in values.items() if math.isfinite(value)},
        continuations=tuple(text for text, _ in choices) if multiple else (),
        logprobs=tuple(float(response[0]) for _, response in choices) if multiple else (),
        answer="" if multiple else str(choices[0][1]),
        way=ledger.ways.get(key, ""),
        error=ledger.invalid.get(key),
        difference=ledger.differences.get(key),
    )


@contextlib.contextmanager
def _quiet_logging() -> Iterator[None]:
    """lm-eval's warnings are about files and indexes that are not used here."""
    logger = logging.getLogger("lm_eval")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
