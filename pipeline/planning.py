"""Checkpoint -> ServingPlan: how a candidate is to be served on what the site has."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.checkpoint.inspected import Checkpoint

_DEFAULT_MAX_MODEL_LEN = 2048  # tokens; the built-in suites need no more, and the KV cache stays small


@dataclass(frozen=True)
class ServingPlan:
    """How to start the server.  `max_model_len` is in tokens."""

    tensor_parallel: int
    max_model_len: int
    dtype: str


def plan_serving(checkpoint: Checkpoint) -> ServingPlan:
    """The plan for `checkpoint`: what the submitter asked for, within what the checkpoint allows."""
    wanted = checkpoint.verified.candidate.serving
    context = checkpoint.inspection.context_length or _DEFAULT_MAX_MODEL_LEN
    length = min(context, _DEFAULT_MAX_MODEL_LEN) if wanted.max_model_len == "auto" else wanted.max_model_len
    parallel = 1 if wanted.tensor_parallel == "auto" else wanted.tensor_parallel
    return ServingPlan(parallel, length, "bfloat16" if wanted.dtype == "auto" else wanted.dtype)
