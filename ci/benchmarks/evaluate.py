"""Airlock's scoring against the `lm_eval` command, on the same server and the same items, compared item by item.

    ci/bench evaluate [--items 80] [--json FILE]
    ci/bench evaluate --endpoint http://127.0.0.1:8000 --served-name m --checkpoint DIR [--items 80] [--json FILE]

Without an endpoint, the demonstration's real model is served by vLLM on loopback for as long as this takes.

Four kinds of work: letters after five long examples, text answers after ten, text answers without examples, and written
answers.  Each is done by Airlock first, so that its prompts are not in the server's cache, then by `lm_eval`; the time
that `lm_eval` needs to start (the shorter of two runs of one item, before and after) is taken off.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from checks.datasets import Row, load_builtin  # noqa: E402
from checks.performance import answer, completion, knowledge  # noqa: E402
from checks.performance.harness import Result, Task, run_task  # noqa: E402
from pipeline.serving.client import Served, ServedModel  # noqa: E402
from pipeline.serving.description import ServingDescription  # noqa: E402
from pipeline.serving.transport import parse_endpoint  # noqa: E402
from tests.assets.lm_eval_command import run_lm_eval, write_task  # noqa: E402

GOALS = {"letters-5-shot": 15.0, "text-10-shot": 4.0, "text-0-shot": 0.95, "written": 0.95}
_SEED = 1
_CONTEXT_LENGTH = 2048  # tokens
_NOISE = 0.01  # of a log-probability; a server repeats itself within this
_ACCURACY = [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}]
# Some text before each question makes prompts as long as those of the benchmarks that are asked with examples.
_PADDING = "Read the question with care, think about each of the options in turn, and name the one that is right. " * 2


@dataclass(frozen=True)
class Kind:
    """One kind of work: lm-eval's configuration in plain YAML values, the rows and the examples."""

    name: str
    config: Mapping[str, Any]
    rows: Sequence[Row]
    shots: Sequence[Row]


@dataclass(frozen=True)
class Compared:
    """What one kind of work took, in seconds, and the largest difference of any log-probability or answer."""

    kind: str
    items: int
    airlock_seconds: float
    lm_eval_seconds: float
    speedup: float
    goal: float
    largest_difference: float
    different_answers: int


def kinds(items: int) -> list[Kind]:
    """The kinds of work, on the built-in data."""
    _, letters = load_builtin(knowledge.DATA.name, knowledge.DATA.digest)
    _, endings = load_builtin(completion.DATA.name, completion.DATA.digest)
    _, written = load_builtin(answer.DATA.name, answer.DATA.digest)
    lettered = {
        "output_type": "multiple_choice",
        "doc_to_text": _PADDING
        + "{{question}}\nA. {{choices[0]}}\nB. {{choices[1]}}\nC. {{choices[2]}}\nD. {{choices[3]}}\nAnswer:",
        "doc_to_choice": ["A", "B", "C", "D"],
        "doc_to_target": "answer",
        "metric_list": _ACCURACY,
    }
    text = {
        "output_type": "multiple_choice",
        "doc_to_text": "{{context}}",
        "doc_to_choice": "choices",
        "doc_to_target": "answer",
        "metric_list": _ACCURACY,
    }
    long_text = {**text, "doc_to_text": _PADDING + "{{context}}"}
    exact = [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}]
    open_answer = {
        "output_type": "generate_until",
        "doc_to_text": "Question: {{question}}\nAnswer:",
        "doc_to_target": "{{answers[0]}}",
        "generation_kwargs": {"until": ["\n"], "max_gen_toks": 16, "do_sample": False},
        "metric_list": exact,
    }
    return [
        Kind("letters-5-shot", lettered, letters[5 : 5 + items], letters[:5]),
        Kind("text-10-shot", long_text, endings[10 : 10 + items], endings[:10]),
        Kind("text-0-shot", text, endings[:items], ()),
        Kind("written", open_answer, written[4 : 4 + items], written[:4]),
    ]


def start_seconds(kind: Kind, model: ServedModel) -> float:
    """How long `lm_eval` takes to start: a run of one item."""
    with tempfile.TemporaryDirectory() as directory:
        write_task(Path(directory), "start", kind.config, kind.rows[:1], kind.shots)
        return _timed(Path(directory), "start", model)[0]


def compare(kind: Kind, model: ServedModel) -> Compared:
    """Both ways on one kind of work."""
    task = Task(kind.name.replace("-", "_"), kind.config, kind.rows, kind.shots)
    run_task(model, Task("warm_up", kind.config, [*kind.shots, *kind.rows][-1:]), _SEED, lambda _: None)
    begun = time.monotonic()
    ours = run_task(model, task, _SEED, lambda _: None)
    airlock = time.monotonic() - begun
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        write_task(folder, task.name, kind.config, kind.rows, kind.shots)
        before = start_seconds(kind, model)
        whole, theirs = _timed(folder, task.name, model)
    lm_eval = whole - min(before, start_seconds(kind, model))
    difference, answers = _differences(ours, theirs)
    return Compared(
        kind.name,
        len(ours),
        round(airlock, 2),
        round(lm_eval, 2),
        round(lm_eval / airlock, 2),
        GOALS[kind.name],
        difference,
        answers,
    )


def _timed(folder: Path, name: str, model: ServedModel) -> tuple[float, list[dict[str, Any]]]:
    begun = time.monotonic()
    endpoint = model.endpoint
    samples = run_lm_eval(folder, name, endpoint.url, model.served_name, model.tokenizer, key=endpoint.key)
    return time.monotonic() - begun, samples


def _differences(ours: Sequence[Result], theirs: Sequence[Mapping[str, Any]]) -> tuple[float, int]:
    """The largest difference of a log-probability, and the number of written answers that differ."""
    largest, answers = 0.0, 0
    for result, reference in zip(ours, theirs, strict=True):
        responses = [response[0] for response in reference["resps"]]
        if not result.logprobs:
            answers += result.answer.strip() != str(responses[0]).strip()
            continue
        pairs = zip(result.logprobs, responses, strict=True)
        largest = max(largest, *(abs(mine - float(other[0])) for mine, other in pairs))
    return largest, answers


@contextlib.contextmanager
def attached(given: argparse.Namespace) -> Iterator[ServedModel]:
    """The model of the server that was named."""
    description = ServingDescription("vllm", "unknown", {}, managed=False, endpoint=given.endpoint)
    endpoint = parse_endpoint(given.endpoint)
    yield ServedModel(
        Served(endpoint, given.served_name, given.served_name, given.checkpoint, _CONTEXT_LENGTH, description)
    )


@contextlib.contextmanager
def started() -> Iterator[ServedModel]:
    """The demonstration's real model under vLLM, on a free port of loopback, where `lm_eval` can reach it as well."""
    from pipeline.demo.checkpoints import make_checkpoints
    from pipeline.planning import plan_serving
    from pipeline.serving import serve
    from pipeline.site import ServingSettings
    from tests.assets.served import checkpoint_of, site_at
    from tests.conftest import WHEEL

    directory = ROOT / "var" / "test" / "checkpoints"
    make_checkpoints(WHEEL, directory)
    checkpoint = checkpoint_of(directory / "135m")
    with tempfile.TemporaryDirectory() as folder:
        site = site_at(Path(folder)).model_copy(update={"serving": ServingSettings(listen="tcp")})
        with serve(checkpoint, plan_serving(checkpoint), site, log=Path(folder) / "server.log") as model:
            yield model


def main(arguments: Sequence[str] | None = None) -> int:
    """Print one line a kind of work; 0 when every log-probability agrees and every goal is met."""
    parser = argparse.ArgumentParser(prog="ci/bench evaluate", description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--endpoint", help="a server that is up, by TCP; one is started otherwise")
    parser.add_argument("--served-name", help="what that server calls the model")
    parser.add_argument("--checkpoint", type=Path, help="the directory with its tokenizer")
    parser.add_argument("--items", type=int, default=80)
    parser.add_argument("--only", nargs="+", choices=sorted(GOALS), help="these kinds of work alone")
    parser.add_argument("--json", type=Path, help="write the figures there too")
    given = parser.parse_args(arguments)
    if given.endpoint and not (given.served_name and given.checkpoint):
        parser.error("--endpoint needs --served-name and --checkpoint")
    results = []
    work = [kind for kind in kinds(given.items) if given.only is None or kind.name in given.only]
    with attached(given) if given.endpoint else started() as model:
        for kind in work:
            results.append(compare(kind, model))
            sys.stdout.write(json.dumps(asdict(results[-1])) + "\n")
            sys.stdout.flush()
    if given.json is not None:
        given.json.write_text(json.dumps([asdict(one) for one in results], indent=2) + "\n", encoding="utf-8")
    return 0 if all(one.largest_difference < _NOISE and one.speedup >= one.goal for one in results) else 1


if __name__ == "__main__":
    sys.exit(main())
