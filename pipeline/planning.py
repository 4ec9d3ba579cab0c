"""Checkpoint + accelerators -> ServingPlan: how a candidate is to be served on what the site has.

The memory that a server needs is its weights, its key-value cache, and a reserve:

- weights: the bytes of the tensors, spread over the devices;
- cache, bytes a token: 2 x layers x KV heads x head_dim x bytes a value, where only layers that attend to the whole
  context count (a layer with a window stops at the window; latent attention keeps `latent` values instead of
  2 x KV heads x head_dim).  KV heads are spread over the devices, replicated where devices outnumber them;
- reserve: a tenth of each device, for activations, kernels and fragmentation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from pipeline.checkpoint.inspected import Attention, Checkpoint, Inspection
from pipeline.errors import RequestError, SystemFailureError
from pipeline.release import ServingRequest
from pipeline.site import Accelerator

_DEFAULT_MAX_MODEL_LEN = 2048  # tokens; the built-in suites need no more, and the KV cache stays small
_USABLE = 0.9  # of a device's memory; vLLM's own default share
_VALUE_BYTES = {"bfloat16": 2, "float16": 2, "float32": 4}


@dataclass(frozen=True)
class ServingPlan:
    """How to start the server.  `max_model_len` is in tokens.

    `weight_bytes` are all of the model's; `cache_bytes_per_token` are those of one token on all devices together;
    `cache_tokens` is how many tokens the cache can hold with this plan, None where no accelerator is known.
    `obstacles` say why the plan cannot work; it can when there are none.
    """

    tensor_parallel: int
    max_model_len: int
    dtype: str
    accelerator: str | None = None
    nodes: int = 1
    weight_bytes: int | None = None
    cache_bytes_per_token: int | None = None
    cache_tokens: int | None = None
    obstacles: tuple[str, ...] = ()


def plan_serving(checkpoint: Checkpoint, *, accelerators: Sequence[Accelerator] = ()) -> ServingPlan:
    """The plan for `checkpoint`: what the submitter asked for, within what the checkpoint and the site allow.

    Raises:
        RequestError: the submitter asked for a longer context than the checkpoint has.
        SystemFailureError: the model does not fit on what the site has.
    """
    candidate = checkpoint.verified.candidate
    made = plan(checkpoint.inspection, candidate.serving, accelerators)
    context = checkpoint.inspection.context_length
    if context is not None and made.max_model_len > context:
        raise RequestError(
            f"candidate '{candidate.name}' cannot be served as asked",
            why=f"max_model_len is {made.max_model_len} tokens; the checkpoint has a context of {context}.",
            remedy="Lower serving.max_model_len in the release, or leave it 'auto'.",
        )
    if made.obstacles:
        raise SystemFailureError(
            f"candidate '{candidate.name}' cannot be served here",
            why=" ".join(made.obstacles),
            remedy="Name larger or more accelerators in airlock.toml, or ask for a shorter max_model_len.",
        )
    return made


def plan(inspection: Inspection, wanted: ServingRequest, accelerators: Sequence[Accelerator] = ()) -> ServingPlan:
    """The plan for a checkpoint with these facts; what stands against it is in `obstacles`.

    The kind of accelerator that holds the model with the fewest devices is taken.
    """
    context = inspection.context_length or _DEFAULT_MAX_MODEL_LEN
    length = min(context, _DEFAULT_MAX_MODEL_LEN) if wanted.max_model_len == "auto" else wanted.max_model_len
    dtype = "bfloat16" if wanted.dtype == "auto" else wanted.dtype
    start = ServingPlan(
        tensor_parallel=1 if wanted.tensor_parallel == "auto" else wanted.tensor_parallel,
        max_model_len=length,
        dtype=dtype,
        weight_bytes=inspection.weight_bytes,
        cache_bytes_per_token=cache_bytes_per_token(inspection.attention, dtype) if inspection.attention else None,
        obstacles=(f"It asks for {length} tokens; the checkpoint has {context}.",) if length > context else (),
    )
    if not accelerators:
        return start
    free = wanted.tensor_parallel == "auto"
    tried = [_on(start, device, inspection, free=free) for device in accelerators]
    return min(tried, key=lambda made: (len(made.obstacles), made.tensor_parallel))


def _on(start: ServingPlan, device: Accelerator, inspection: Inspection, *, free: bool) -> ServingPlan:
    """`start` on the fewest of these devices that hold weights and one whole context; else on the most there are."""
    choices = _parallelisms(inspection, device) if free else [start.tensor_parallel]
    made = [_with_devices(start, device, inspection, parallel) for parallel in choices]
    return next((each for each in made if not each.obstacles), made[-1])


def _parallelisms(inspection: Inspection, device: Accelerator) -> list[int]:
    """Numbers of devices that divide the attention heads, within a node or in whole nodes, ascending."""
    heads = inspection.attention.heads if inspection.attention else 1
    most = device.per_node * device.nodes
    fits = [n for n in range(1, most + 1) if n <= device.per_node or n % device.per_node == 0]
    return [n for n in fits if heads % n == 0] or [1]


def _with_devices(start: ServingPlan, device: Accelerator, inspection: Inspection, parallel: int) -> ServingPlan:
    attention = inspection.attention
    obstacles = [*start.obstacles, *_misfits(attention, device, parallel)]
    tokens = None
    if start.weight_bytes is not None and attention is not None:
        room = int(device.memory_gb * 1e9 * _USABLE) - -(-start.weight_bytes // parallel)
        tokens = _cache_tokens(attention, room, start, parallel)
        if tokens < start.max_model_len:
            obstacles.append(
                f"{parallel} x {device.name} has {_gb(max(room, 0))} a device left beside the weights, "
                f"too little for one request of {start.max_model_len} tokens."
            )
    return replace(
        start,
        tensor_parallel=parallel,
        accelerator=device.name,
        nodes=-(-parallel // device.per_node),
        cache_tokens=tokens,
        obstacles=tuple(obstacles),
    )


def _misfits(attention: Attention | None, device: Accelerator, parallel: int) -> list[str]:
    most = device.per_node * device.nodes
    problems = []
    if parallel > most:
        problems.append(f"It asks for {parallel} devices; the site has {most} of {device.name}.")
    if attention is not None and attention.heads % parallel:
        problems.append(f"{attention.heads} attention heads cannot be spread over {parallel} devices.")
    return problems


def _cache_tokens(attention: Attention, room: int, start: ServingPlan, parallel: int) -> int:
    """How many tokens fit into `room` bytes of each device, beside the windows of one request."""
    room -= _window_bytes(attention, start, parallel)
    grown = cache_bytes_per_token(attention, start.dtype, parallel=parallel)
    if room < 0:
        return 0
    return room // grown if grown else start.max_model_len


def cache_bytes_per_token(attention: Attention, dtype: str, *, parallel: int | None = None) -> int:
    """Bytes that one more token takes in the cache: on each of `parallel` devices, or in all where None."""
    return attention.full_layers * _layer_bytes(attention, dtype, parallel)


def _window_bytes(attention: Attention, start: ServingPlan, parallel: int) -> int:
    """Bytes that the layers with a window take on each device for one request of the greatest length."""
    kept = min(start.max_model_len, attention.window or start.max_model_len)
    return attention.window_layers * kept * _layer_bytes(attention, start.dtype, parallel)


def _layer_bytes(attention: Attention, dtype: str, parallel: int | None) -> int:
    if attention.latent is not None:  # every device keeps the whole latent
        return attention.latent * _VALUE_BYTES[dtype]
    heads = attention.kv_heads if parallel is None else -(-attention.kv_heads // parallel)
    return 2 * heads * attention.head_dim * _VALUE_BYTES[dtype]


def _gb(size: float) -> str:
    return f"{size / 1e9:.2f} GB"
