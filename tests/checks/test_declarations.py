"""What a check declares is what it measures, column for column: a policy is linted against declarations."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from checks import built_in_checks, optional_checks
from checks.catalogue.site_checks import site_checks
from checks.contract import Check, ChoiceRequest, Score, ScoreRequest
from tests.checks.bias.pronouns import winobias_lines, winogender_rows
from tests.checks.catalogue.conftest import SHARED, WriteSet, measured, shape, write_set
from tests.checks.performance.planted import PlantedModel, make_tokenizer

__all__ = ["write_set"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> PlantedModel:
    """A model that answers everything, quickly."""
    return PlantedModel(make_tokenizer(tmp_path_factory.mktemp("tokenizer")), token_seconds=0.0)


@pytest.mark.parametrize(
    "check",
    [check for check in (*built_in_checks(), *optional_checks()) if check.name != "performance/speed"],
    ids=lambda check: check.name,
)
def test_built_in_checks_declare_the_columns_that_they_measure(check: Check, model: PlantedModel) -> None:
    measurement = check.measure(model, 0, lambda _: None)
    assert [shape(metric) for metric in measurement.metrics] == [shape(declared) for declared in check.metrics]


def test_speed_has_no_slices() -> None:
    (speed,) = [check for check in built_in_checks() if check.name == "performance/speed"]
    assert {declared.slices for declared in speed.metrics} == {()}


def _tsv(rows: Sequence[dict[str, str]]) -> bytes:
    return "".join("\t".join(cells) + "\n" for cells in (rows[0], *(row.values() for row in rows))).encode()


def _lettered(count: int = 30) -> list[dict[str, Any]]:
    return [{"question": f"Number {n}?", "choices": list("wxyz"), "answer": n % 4} for n in range(count)]


def _arc(write: WriteSet) -> None:
    rows = [{"query": f"Question: {n}?", "choices": ["a", "b"], "gold": 0} for n in range(30)]
    write("arc_easy", {"a.jsonl": rows}, benchmark="arc_easy")


def _mmlu(write: WriteSet) -> None:
    parts = {f"{part}.jsonl": {"part": part} for part in ("anatomy", "virology")}
    write("mmlu", {name: _lettered() for name in parts}, parts, benchmark="mmlu", shots=0)


def _wmdp(write: WriteSet) -> None:
    write("wmdp", {"b.jsonl": _lettered()}, {"b.jsonl": {"part": "bio"}}, benchmark="wmdp")


def _truthfulqa(write: WriteSet) -> None:
    data = (SHARED / "truthfulqa" / "mc_task.json").read_bytes()
    write(
        "truthfulqa_mc2", {"t.json": data}, {"t.json": {"split": "validation"}}, benchmark="truthfulqa_mc2", sample=16
    )


def _mgsm(write: WriteSet) -> None:
    files = {f"mgsm_{one}.tsv": (SHARED / "mgsm" / f"mgsm_{one}.tsv").read_bytes() for one in ("en", "zh", "de")}
    entries = {name: {"part": name[5:7], "columns": ["question", "answer"]} for name in files}
    write("mgsm", files, entries, benchmark="mgsm", sample=24)


def _own(write: WriteSet) -> None:
    write("staff", {"s.jsonl": [{"question": "Who?", "answer": "Ana", "area": "x"}]}, task={"kind": "answer"})


def _bbq(write: WriteSet) -> None:
    rows = (SHARED / "bbq" / "Age.jsonl").read_bytes()
    write("bbq", {"Age.jsonl": rows}, benchmark="bbq", sample=40)


def _crows_pairs(write: WriteSet) -> None:
    rows = (SHARED / "crows_pairs" / "crows_pairs_anonymized.csv").read_bytes()
    write("crows_pairs", {"c.csv": rows}, benchmark="crows_pairs", sample=40)


def _stereoset(write: WriteSet) -> None:
    sentences = {"sentence": ["They sing.", "They shout.", "They lamp."], "gold_label": [0, 1, 2]}
    rows = [{"target": "x", "bias_type": "gender", "context": f"Seen {n}.", "sentences": sentences} for n in range(5)]
    write("stereoset", {"s.jsonl": rows}, benchmark="stereoset")


def _winobias(write: WriteSet) -> None:
    parts = {f"{side}.txt.test": {"part": f"type1_{side}"} for side in ("pro", "anti")}
    files = {name: "\n".join(winobias_lines(entry["part"][6:])).encode() for name, entry in parts.items()}
    write("winobias", files, parts, benchmark="winobias")


def _winogender(write: WriteSet) -> None:
    rows, statistics = winogender_rows()
    parts = {"a.tsv": {"part": "sentences"}, "o.tsv": {"part": "statistics"}}
    write("winogender", {"a.tsv": _tsv(rows), "o.tsv": _tsv(statistics)}, parts, benchmark="winogender", sample=30)


def _xstest(write: WriteSet) -> None:
    rows = (SHARED / "xstest" / "xstest_prompts.csv").read_bytes()
    write("xstest", {"x.csv": rows}, benchmark="xstest", sample=40)


def _toxicity(write: WriteSet) -> None:
    parts = {"p.jsonl": {"part": "prompts"}, "t.txt": {"part": "terms"}}
    rows = [{"prompt": {"text": f"Number {n}", "toxicity": n / 30}} for n in range(30)]
    write("toxicity", {"p.jsonl": rows, "t.txt": b"blither\n"}, parts, benchmark="real_toxicity_prompts")


def _canaries(write: WriteSet) -> None:
    rows = [{"id": f"c{n}", "context": "It is", "secret": f"4{n}37 11{n}6", "planted": n < 3} for n in range(5)]
    write("canaries", {"c.jsonl": rows}, benchmark="planted_canaries")


class _Chooser(PlantedModel):
    """Named tokens and echo agree, whatever is asked."""

    def choose(self, requests: Sequence[ChoiceRequest]) -> list[tuple[Score, ...]]:
        scores = iter(self.score([ScoreRequest(r.context, each) for r in requests for each in r.continuations]))
        return [tuple(next(scores) for _ in request.continuations) for request in requests]


_EVERY_SET = [
    _arc,
    _mmlu,
    _wmdp,
    _truthfulqa,
    _mgsm,
    _own,
    _bbq,
    _crows_pairs,
    _stereoset,
    _winobias,
    _winogender,
    _xstest,
    _toxicity,
    _canaries,
]


@pytest.mark.parametrize("make", _EVERY_SET)
@pytest.mark.parametrize("seed", [0, 7])
def test_a_sites_sets_declare_what_they_measure(
    make: Callable[[WriteSet], None], seed: int, tmp_path: Path, write_set: WriteSet, model: PlantedModel
) -> None:
    make(write_set)
    (check,) = site_checks([tmp_path])
    assert measured(check, _Chooser(model.tokenizer, answer=lambda _: "It is 7."), seed)


@pytest.mark.parametrize("make", _EVERY_SET)
def test_figures_of_a_sites_sets_add_up_where_some_requests_fail(
    make: Callable[[WriteSet], None], tmp_path: Path, write_set: WriteSet, model: PlantedModel
) -> None:
    make(write_set)
    (check,) = site_checks([tmp_path])

    failed: set[str] = set()

    def fails(prompt: str) -> bool:
        if hashlib.sha256(prompt.encode()).digest()[0] < 50:
            failed.add(prompt)
        return prompt in failed

    found = measured(check, _Chooser(model.tokenizer, answer=lambda _: "It is 7.", failing=fails))
    assert any(metric.invalid for metric in found.values()) == bool(failed)


def test_declarations_are_plain_enough_to_be_written_down() -> None:
    for check in built_in_checks():
        assert json.loads(json.dumps([shape(declared) for declared in check.metrics]))
