"""lm-eval: `results_TIME.json` with `samples_TASK_TIME.jsonl` for each task, as `lm_eval --log_samples` writes them.

The results alone hold means and standard errors, from which no interval that a rule could use can be made again; so
without its samples a report is refused.  With them the report must agree with itself: as many items as it says, the
hash over them that it gives, and the means that it states.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pipeline.digests import Digest
from pipeline.imported.reading import (
    Fields,
    SourceFile,
    finite,
    parse_lines,
    parse_object,
    plain,
    read_source,
    unusable,
)
from pipeline.imported.report import (
    UNSTATED,
    Column,
    Report,
    Result,
    content_of,
    identifier,
    measurement_of,
    moment,
    require_distinct,
    slices_of,
)
from pipeline.measurement import Better, Metric, Sample

TOOL = "lm_eval"
_TIME = r"\d{4}-\d{2}-\d{2}T\d{2}-\d{2}-\d{2}[^/]*"
_RESULTS = re.compile(rf".*_(?P<time>{_TIME})\.json")
_TASK = re.compile(r"[\w .,:+@=-]{1,100}", re.ASCII)
_SAMPLES = re.compile(rf"samples_(?P<task>.+)_{_TIME}\.jsonl")
_LOG_SAMPLES = "Run lm_eval with --log_samples, and import its results file with the samples files beside it."
_JUDGED = "Import tasks with a metric that is the mean of a number for each item, such as 'acc' or 'exact_match'."
_TOLERANCE = 1e-6  # of a mean that was taken over the same numbers
_UNFILTERED = "none"


def recognises(document: Fields) -> bool:
    """Whether a JSON document is lm-eval's results."""
    return "results" in document and ("lm_eval_version" in document or "n-samples" in document)


def read(path: Path, companions: Sequence[Path] = ()) -> Report:
    """Read the results file `path` and its samples: `companions`, or the files beside it that bear its time.

    Raises:
        FileFormatError: the report is malformed, lacks its samples, or contradicts itself.
        RequestError: a file cannot be read.
    """
    source = read_source(path)
    document = parse_object(source.data, source.name)
    tasks = _tasks(document)
    samples = {task: read_source(file) for task, file in _sample_files(path, companions, tasks, document).items()}
    results = _results([_result(task, samples[task], document) for task in tasks], document)
    return Report(
        TOOL,
        document.text("lm_eval_version") if document.has("lm_eval_version") else None,
        _model(document),
        (source, *samples.values()),
        results,
    )


def _results(read: Sequence[Result | tuple[str, ...]], document: Fields) -> tuple[Result, ...]:
    """The tasks that can be judged; what is said of the others goes to the first."""
    results = [one for one in read if isinstance(one, Result)]
    notes = tuple(note for one in read if not isinstance(one, Result) for note in one)
    if not results:
        document.refuse(f"No task has a metric that can be judged: {' '.join(notes)[:500]}", _JUDGED)
    first = replace(results[0], notes=(*results[0].notes, *notes))
    return (first, *results[1:])


def _tasks(document: Fields) -> tuple[str, ...]:
    """The tasks that were run: groups are sums of them, and have no samples of their own."""
    tasks = tuple(document.part("n-samples").value)
    if not tasks:
        document.refuse("It holds the results of no task")
    for task in tasks:
        if not _TASK.fullmatch(task):
            document.refuse(f"{task!r:.150} is no name of a task that a file could be called by")
    require_distinct([identifier(task, document.place) for task in tasks], document.place, "tasks")
    return tasks


def _sample_files(path: Path, companions: Sequence[Path], tasks: Sequence[str], document: Fields) -> Mapping[str, Path]:
    if companions:
        found = {}
        for file in companions:
            match = _SAMPLES.fullmatch(file.name)
            if match is None or match["task"] not in tasks or match["task"] in found:
                document.refuse(f"'{file.name}' is not the only samples file of one of its tasks: {', '.join(tasks)}")
            found[match["task"]] = file
    else:
        match = _RESULTS.fullmatch(path.name)
        found = {task: path.with_name(f"samples_{task}_{match['time']}.jsonl") for task in tasks} if match else {}
    missing = [task for task in tasks if task not in found or not found[task].exists()]
    if missing:
        document.refuse(
            f"There are no samples of {', '.join(missing)}: a mean alone gives no interval that a rule could use",
            _LOG_SAMPLES,
        )
    return {task: found[task] for task in tasks}


def _model(document: Fields) -> str | None:
    if document.has("model_name"):
        return document.text("model_name")
    arguments = document.value.get("config", {})
    arguments = arguments.get("model_args") if isinstance(arguments, dict) else None
    named = arguments.get("model") or arguments.get("pretrained") if isinstance(arguments, dict) else None
    return named if isinstance(named, str) else None


@dataclass
class _Task:
    """The lines of one task: `answers` by item; `scores` by filter, then item."""

    answers: dict[str, Fields] = field(default_factory=dict)
    scores: dict[str, dict[str, Fields]] = field(default_factory=dict)


def _result(task: str, source: SourceFile, document: Fields) -> Result | tuple[str, ...]:
    """The task's measurement, or why it has no metric that could be judged."""
    lines = list(parse_lines(source))
    _require_hash(task, source, lines, document)
    found = _collect(lines)
    effective = document.part("n-samples").part(task).count("effective")
    for name, scores in found.scores.items() or {"": {}}.items():
        if len(scores) != effective:
            problem = f"It has {len(scores)} items (filter '{name:.100}'), and the results speak of {effective}"
            raise unusable(source.name, problem)
    metrics, notes = _metrics(task, found, document, source.name)
    if found.answers and not metrics:
        return notes
    measurement = measurement_of(
        TOOL,
        task,
        metrics,
        [_sample(item, found) for item in found.answers],
        place=source.name,
        version=_version(task, document),
        content=_content(found),
        seed=_seed(document),
    )
    return Result(task, measurement, moment(document.number("date"), document.place), notes)


def _collect(lines: Sequence[Fields]) -> _Task:
    found = _Task()
    for line in lines:
        item, name = str(line.count("doc_id")), line.text("filter")
        scores = found.scores.setdefault(name, {})
        if item in scores:
            line.refuse(f"The item {item} appears twice for the filter '{name:.100}'")
        scores[item] = line
        first = found.answers.setdefault(item, line)
        if first.text("doc_hash") != line.text("doc_hash"):
            line.refuse(f"The item {item} has two different contents")
    return found


def _require_hash(task: str, source: SourceFile, lines: Sequence[Fields], document: Fields) -> None:
    """That these are the samples of these results: lm-eval's hash over what was asked.  Older versions give none."""
    stated = document.part("task_hashes").value.get(task) if document.has("task_hashes") else None
    if stated is None:
        return
    text = "".join(line.text("doc_hash") + line.text("prompt_hash") + line.text("target_hash") for line in lines)
    if hashlib.sha256(text.encode("utf-8", "replace")).hexdigest() != stated:
        raise unusable(
            source.name, f"Its items are not those of '{document.place}', which gives the hash {stated!r:.80}"
        )


def _metrics(task: str, found: _Task, document: Fields, place: str) -> tuple[list[Metric], tuple[str, ...]]:
    metrics, notes = [], []
    for name, scores in found.scores.items():
        for metric in _names(scores, place):
            label = metric if name == _UNFILTERED else f"{metric}_{name}"
            problem = _not_a_mean(task, metric, name, scores, document)
            if problem is not None:
                notes.append(f"{task}: '{label}' was left out: {problem}.")
                continue
            column = Column(identifier(label, place), _better(task, metric, document))
            slices = slices_of([line.value.get("doc") for line in scores.values()])
            for (item, line), kinds in zip(scores.items(), slices, strict=True):
                column.add(item, finite(line.value[metric]) if _answered(found.answers[item]) else None, slices=kinds)
            metrics.append(column.metric(place))
    return metrics, tuple(notes)


def _names(scores: Mapping[str, Fields], place: str) -> list[str]:
    """The metrics of a filter; every item must have the same."""
    names: list[str] | None = None
    for line in scores.values():
        own = line.array("metrics")
        if names is None:
            names = own
        if own != names or not all(isinstance(name, str) and name in line for name in own):
            line.refuse("Its metrics are not those of the other items")
    require_distinct(names or [], place, "metrics")
    return names or []


def _not_a_mean(task: str, metric: str, name: str, scores: Mapping[str, Fields], document: Fields) -> str | None:
    """Why the metric is not the mean of a number for each item; None when it is.

    Raises:
        FileFormatError: the report says that it is the mean, and states another one.
    """
    values = [line.value[metric] for line in scores.values()]
    stated = document.part("results").part(task)
    key = f"{metric},{name}"
    numbers = [number for value in values if (number := finite(value)) is not None]
    if not any(isinstance(value, int | float) for value in values):
        return "its items have no numbers"
    if len(numbers) != len(values):
        document.refuse(f"'{metric:.100}' of '{task:.100}' has no finite number for some items")
    mean, claimed = math.fsum(numbers) / len(numbers), finite(stated.value.get(key))
    if claimed is not None and math.isclose(mean, claimed, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE):
        return None
    if _aggregation(task, metric, document) == "mean":
        stated.refuse(
            f"'{key:.100}' is stated as {stated.value.get(key)!r:.50}, but its items have the mean {mean:.6g}"
        )
    return "lm-eval sums its items up otherwise than by their mean"


def _aggregation(task: str, metric: str, document: Fields) -> str | None:
    configs = document.value.get("configs")
    config = configs.get(task) if isinstance(configs, dict) else None
    listed = config.get("metric_list") if isinstance(config, dict) else None
    for entry in listed if isinstance(listed, list) else ():
        if isinstance(entry, dict) and entry.get("metric") == metric:
            return str(entry.get("aggregation", "mean"))
    return None


def _better(task: str, metric: str, document: Fields) -> Better:
    directions = document.value.get("higher_is_better")
    own = directions.get(task) if isinstance(directions, dict) else None
    higher = own.get(metric) if isinstance(own, dict) else None
    return "neither" if not isinstance(higher, bool) else "higher" if higher else "lower"


def _answered(line: Fields) -> bool:
    """Whether the model said anything.  lm-eval writes every answer as text, and an absent one as 'None'."""
    leaves = list(_leaves(line.array("resps")))
    return any(text.strip() not in ("", "None", "nan", "inf", "-inf") for text in leaves)


def _leaves(value: Any) -> Iterator[str]:
    pending = [value]
    while pending:
        one = pending.pop()
        if isinstance(one, list):
            pending.extend(one)
        else:
            yield plain(one)


def _sample(item: str, found: _Task) -> Sample:
    line = found.answers[item]
    lines = {name: scores[item] for name, scores in found.scores.items() if item in scores}
    graded = {
        metric if name == _UNFILTERED else f"{metric},{name}": number
        for name, one in lines.items()
        for metric in one.array("metrics")
        if (number := finite(one.value[metric])) is not None
    }
    valid = _answered(line)
    outcome = ", ".join(f"{metric} {value:g}" for metric, value in graded.items()) if valid else "invalid"
    return Sample(
        id=item,
        prompt=_prompt(line),
        response=plain(_single(line.array("resps"))),
        outcome=plain(outcome),
        valid=valid,
        sensitive=True,
        detail={
            "metrics": {plain(metric): value for metric, value in graded.items()},
            "filtered": {plain(name): plain(_single(one.value.get("filtered_resps"))) for name, one in lines.items()},
            "target": plain(line.value.get("target")),
            "doc_hash": plain(line.text("doc_hash")),
        },
    )


def _prompt(line: Fields) -> str:
    arguments = line.value.get("arguments")
    first = arguments.get("gen_args_0") if isinstance(arguments, dict) else None
    return plain(first.get("arg_0")) if isinstance(first, dict) else plain(arguments)


def _single(value: Any) -> Any:
    """The one answer within lists of one."""
    while isinstance(value, list) and len(value) == 1:
        value = value[0]
    return value


def _content(found: _Task) -> Digest:
    return content_of((item, plain(line.text("doc_hash"))) for item, line in found.answers.items())


def _version(task: str, document: Fields) -> str:
    versions = document.value.get("versions")
    version = versions.get(task) if isinstance(versions, dict) else None
    return UNSTATED if version is None else plain(version)[:100]


def _seed(document: Fields) -> int:
    config = document.value.get("config")
    seed = config.get("random_seed") if isinstance(config, dict) else None
    return seed if isinstance(seed, int) and not isinstance(seed, bool) and 0 <= seed < 2**53 else 0
