"""The real vLLM with the real model: what the fake server only claims."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from checks.contract import ChoiceRequest, Sampling, ScoreRequest
from pipeline.serving.client import ServedModel
from pipeline.serving.isolation import possible_isolation
from pipeline.serving.local import log_tail
from tests.pipeline.serving.conftest import descendants_with, eventually

pytestmark = pytest.mark.vllm

ROOT = Path(__file__).parents[3]
CAPITAL = [{"role": "user", "content": "What is the capital of France?"}]
QUESTION = "Question: What is two plus two?\nA. three\nB. four\nAnswer:"


def test_the_real_model_answers(real_model: ServedModel) -> None:
    answer = real_model.chat([CAPITAL], Sampling(max_tokens=20))[0]
    assert (answer.error, answer.finish) == (None, "stop")
    assert "Paris" in answer.text
    assert answer.fingerprint is not None


def test_the_real_server_had_no_network_and_never_tried_to_reach_one(real_model: ServedModel) -> None:
    real_model.complete(["word"], Sampling(max_tokens=1))
    assert real_model.description.isolation == possible_isolation().best("unix")
    egress = real_model.egress()
    if "network-namespace" in real_model.description.isolation:
        assert egress is not None
        assert (egress.interfaces, egress.refused) == (("lo",), 0)
    else:
        assert egress is None


def test_echo_knows_the_capital(real_model: ServedModel) -> None:
    right, wrong = real_model.score([ScoreRequest("The capital of France is", city) for city in (" Paris", " Lima")])
    assert (right.error, wrong.error) == (None, None)
    assert right.greedy
    assert right.logprob > wrong.logprob + 1


def test_named_tokens_score_as_echo_does_on_plain_text_and_in_a_conversation(real_model: ServedModel) -> None:
    rendered = real_model.render(CAPITAL)
    for context, choices in ((QUESTION, (" A", " B")), (QUESTION + " ", ("A", "B")), (rendered, ("A", "B"))):
        (chosen,) = real_model.choose([ChoiceRequest(context, choices)])
        scored = real_model.score([ScoreRequest(context, choice) for choice in choices])
        assert all(score.error is None and score.tokens == 1 for score in (*chosen, *scored))
        assert [score.logprob for score in chosen] == pytest.approx([score.logprob for score in scored], abs=0.05)


def test_a_streamed_answer_is_the_answer_and_counts_its_tokens(real_model: ServedModel) -> None:
    async def read() -> list[tuple[str, int]]:
        return [(token.text, token.tokens) async for token in real_model.stream(CAPITAL, Sampling(max_tokens=20))]

    tokens = asyncio.run(read())
    answer = real_model.chat([CAPITAL], Sampling(max_tokens=20))[0]
    assert "".join(text for text, _ in tokens) == answer.text
    assert sum(count for _, count in tokens) == answer.completion_tokens


def test_a_prompt_beyond_the_context_is_an_error_of_its_own(real_model: ServedModel) -> None:
    long, short = real_model.complete(["word " * (real_model.context_length + 10), "word"], Sampling(max_tokens=1))
    assert "maximum context length" in (long.error or "")
    assert short.error is None


_PARENT = """
    import sys, time
    from pathlib import Path
    from pipeline.planning import plan_serving
    from pipeline.serving import serve
    from tests.assets.served import checkpoint_of, site_at
    folder = Path(sys.argv[1])
    checkpoint = checkpoint_of(folder / "tiny")
    with serve(checkpoint, plan_serving(checkpoint), site_at(folder), log=folder / "server.log"):
        print("serving", flush=True)
        time.sleep(600)
"""


@pytest.mark.slow
def test_a_killed_run_leaves_no_engine_behind(tiny: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny, tmp_path / "tiny")
    before = engines()
    command = [sys.executable, "-c", textwrap.dedent(_PARENT), str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True) as parent:
        try:
            assert parent.stdout is not None
            assert parent.stdout.readline() == "serving\n", log_tail(tmp_path / "server.log")
            assert engines() - before
            assert descendants_with(str(tmp_path / "tiny"))
        finally:
            os.kill(parent.pid, signal.SIGKILL)
    assert eventually(lambda: not engines() - before)
    assert eventually(lambda: not descendants_with(str(tmp_path)))


def engines() -> set[int]:
    """The processes of vLLM's engines: they rename themselves, so their command line shows no path."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if b"EngineCore" in (entry / "cmdline").read_bytes():
                    found.add(int(entry.name))
            except OSError:
                continue
    return found
