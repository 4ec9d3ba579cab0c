from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checks.contract import Sampling
from pipeline.errors import ServingError
from pipeline.serving.client import ServedModel
from pipeline.serving.metrics import Liveness, parse
from tests.fakes.brain import Faults
from tests.pipeline.serving.conftest import QUICK, StartFake, model_of

TEXT = """
# HELP vllm:num_requests_running Number of requests.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="a b}"} 2.0
vllm:num_requests_running{engine="1",model_name="a"} 3.0
vllm:iteration_tokens_total_count{engine="0"} 1.5e+01 1795327593
python_info 1
vllm:kv_cache_usage_perc{engine="0"} NaN
broken{ 3
half
"""


def test_values_are_summed_over_engines_and_what_is_no_number_is_left_out() -> None:
    assert parse(TEXT) == {
        "vllm:num_requests_running": 5.0,
        "vllm:iteration_tokens_total_count": 15.0,
        "python_info": 1.0,
    }


@given(st.text())
def test_no_text_is_an_error(text: str) -> None:
    assert isinstance(parse(text), dict)


def sample(steps: float, running: float = 1.0) -> dict[str, float]:
    return {"vllm:iteration_tokens_total_count": steps, "vllm:num_requests_running": running}


def test_an_engine_is_stuck_when_it_has_requests_and_makes_no_step() -> None:
    liveness = Liveness(stall=10.0)
    seen = [liveness.stuck(sample(5), now) for now in (0.0, 5.0, 9.9, 10.0)]
    assert seen == [False, False, False, True]


def test_an_engine_that_steps_or_rests_is_not_stuck() -> None:
    liveness = Liveness(stall=10.0)
    assert not any(liveness.stuck(sample(steps), 10.0 * steps) for steps in range(5))
    assert not any(liveness.stuck(sample(5, running=0.0), now) for now in (100.0, 200.0))
    assert not liveness.stuck(sample(5), 201.0)  # work has just begun
    assert not any(liveness.stuck({}, now) for now in (300.0, 400.0))


def test_a_stuck_engine_ends_the_batch_though_its_health_is_good(start_fake: StartFake, tiny: Path) -> None:
    patience = dataclasses.replace(QUICK, request=60.0, stall=0.2, look=0.05)
    model = model_of(start_fake(faults=Faults(hang=True)), tiny, patience=patience)
    with pytest.raises(ServingError, match="the model server is stuck"):
        model.complete(["x"] * 10, Sampling(1))


def test_the_servers_metrics_can_be_read(model: ServedModel) -> None:
    before = model.metrics()["vllm:iteration_tokens_total_count"]
    model.complete(["x"], Sampling(3))
    assert model.metrics()["vllm:iteration_tokens_total_count"] == before + 3
