"""The real model under the real vLLM: whom it takes a pronoun to mean is what lm-eval's own Winogender task says."""

from __future__ import annotations

import math
from pathlib import Path

import lm_eval.tasks
import pytest

from checks.bias.referents import ask, metrics, samples
from checks.bias.winogender import parse_set
from pipeline.serving.client import ServedModel
from tests.assets.lm_eval_command import run_lm_eval, write_task
from tests.checks.bias.pronouns import winogender_rows
from tests.fakes.forward import forwarded

pytestmark = pytest.mark.vllm


def test_every_sentence_scores_as_lm_eval_scores_it(real_model: ServedModel, tmp_path: Path) -> None:
    items = parse_set(*winogender_rows())[:8]
    answered = ask(real_model, items, lambda _: None)
    ours = list(samples(answered, 0))
    sentences = [sentence for item in items for sentence in item.versions.values()]
    rows = [
        {
            "sentence": sentence.text,
            "pronoun": sentence.pronoun,
            "occupation": sentence.referent,
            "participant": sentence.other,
            "gender": sentence.gender,
            "label": 0,
        }
        for sentence in sentences
    ]
    upstream = Path(lm_eval.tasks.__file__).parent / "winogender" / "winogender.yaml"
    write_task(tmp_path, "winogender_same_items", {"include": str(upstream), "tag": None}, rows)
    socket = real_model.endpoint.socket
    assert socket is not None
    with forwarded(socket) as url:
        theirs = run_lm_eval(tmp_path, "winogender_same_items", url, real_model.served_name, real_model.tokenizer)
    assert len(theirs) == len(ours) == 24
    for sample, reference in zip(ours, theirs, strict=True):
        assert reference["arguments"]["gen_args_0"]["arg_0"] == sample.prompt
        assert reference["acc"] == (sample.outcome == "correct")
        logprobs = [float(response[0][0]) for response in reference["resps"]]
        assert sample.detail["logprobs"] == pytest.approx(logprobs, abs=1e-4)
    gap = next(metric for metric in metrics(answered) if metric.name == "logprob_gap")
    assert all(map(math.isfinite, gap.values))
