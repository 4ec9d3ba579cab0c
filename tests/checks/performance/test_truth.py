"""The real model under the real vLLM: our numbers are the published ones, and lm-eval's own, item for item."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import lm_eval.tasks
import pytest
import yaml

from checks.catalogue.site_checks import site_checks
from checks.preflight import preflight
from pipeline.measurement import Measurement
from pipeline.serving.client import ServedModel
from tests.assets.lm_eval_command import run_lm_eval, write_task
from tests.checks.catalogue.conftest import SHARED
from tests.fakes.forward import forwarded

PUBLISHED = 0.5412  # SmolLM2-135M-Instruct, ARC-easy, lm-eval, no examples, before quantisation
ITEMS = 400
COMPARED = 100
SEED = 20261122

pytestmark = pytest.mark.vllm


@pytest.fixture(scope="module")
def arc_easy(real_model: ServedModel, tmp_path_factory: pytest.TempPathFactory) -> Measurement:
    """ARC-easy as a site has it, measured on a seeded sample."""
    root = tmp_path_factory.mktemp("benchmarks")
    data = (SHARED / "llm_foundry" / "arc_easy.jsonl").read_bytes()
    (root / "arc_easy.jsonl").write_bytes(data)
    described = {
        "apiVersion": "airlock/v1",
        "kind": "DataSet",
        "name": "arc_easy",
        "version": "2018",
        "licence": "CC-BY-SA-4.0",
        "source": "Clark et al. 2018",
        "benchmark": "arc_easy",
        "sample": ITEMS,
        "files": [{"path": "arc_easy.jsonl", "sha256": hashlib.sha256(data).hexdigest()}],
    }
    (root / "arc_easy.dataset.yaml").write_text(yaml.safe_dump(described), encoding="utf-8")
    (check,) = site_checks([root])
    return check.measure(real_model, SEED, lambda _: None)


def test_real_server_passes_the_preflight(real_model: ServedModel) -> None:
    report = preflight(real_model)
    assert report.known_right >= 20
    assert report.named_token_difference < 0.01


def test_arc_easy_is_within_the_interval_of_the_published_value(arc_easy: Measurement) -> None:
    accuracy = arc_easy.metrics[0]
    assert (accuracy.name, len(accuracy.values), accuracy.invalid) == ("acc", ITEMS, 0)
    measured = sum(accuracy.values) / ITEMS
    assert abs(measured - PUBLISHED) < 1.96 * math.sqrt(PUBLISHED * (1 - PUBLISHED) / ITEMS)


def test_every_item_equals_lm_evals_own(real_model: ServedModel, arc_easy: Measurement, tmp_path: Path) -> None:
    ours = arc_easy.samples[:COMPARED]
    rows = [
        {
            "question": sample.prompt.removeprefix("Question: ").removesuffix("\nAnswer:"),
            "choices": {
                "text": [text.removeprefix(" ") for text in sample.detail["continuations"]],
                "label": list("ABCDE"[: len(sample.detail["continuations"])]),
            },
            "answerKey": "A",
        }
        for sample in ours
    ]
    upstream = Path(lm_eval.tasks.__file__).parent / "arc" / "arc_easy.yaml"
    write_task(tmp_path, "arc_same_items", {"include": str(upstream), "tag": None}, rows)
    socket = real_model.endpoint.socket
    assert socket is not None
    with forwarded(socket) as url:
        theirs = run_lm_eval(tmp_path, "arc_same_items", url, real_model.served_name, real_model.tokenizer)
    assert len(theirs) == COMPARED
    for sample, reference in zip(ours, theirs, strict=True):
        assert reference["arguments"]["gen_args_0"]["arg_0"] == sample.prompt
        logprobs = [float(response[0][0]) for response in reference["resps"]]
        assert sample.detail["logprobs"] == pytest.approx(logprobs, abs=1e-4)
