"""What inspection yields: findings, and the facts of a checkpoint that is safe to load."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pipeline.signature.verified import VerifiedCandidate

Severity = Literal["deny", "block", "warn", "info"]
"""`deny`: unsafe to load, nothing is served.  `block`, `warn`, `info`: for the gate and the reader."""


@dataclass(frozen=True)
class Finding:
    """One thing that inspection saw.  `id` is of words, such as `checkpoint.remote-code`; `file` is relative."""

    id: str
    severity: Severity
    file: str | None
    message: str
    remedy: str


@dataclass(frozen=True)
class Parameters:
    """Parameter counts from tensor headers.  `active` are those one token uses (all of them in a dense model)."""

    total: int
    active: int
    embedding: int
    by_dtype: Mapping[str, int]


@dataclass(frozen=True)
class Attention:
    """What the key-value cache of a model depends on.

    `full_layers` attend to the whole context, `window_layers` to the last `window` tokens; layers of other kinds
    (linear attention, state spaces) hold no cache that grows.  `latent` is the number of values that a layer with
    latent attention keeps a token instead of keys and values (DeepSeek-V2, arXiv 2405.04434).
    """

    full_layers: int
    window_layers: int
    window: int | None
    heads: int
    kv_heads: int
    head_dim: int
    latent: int | None = None


@dataclass(frozen=True)
class Inspection:
    """The facts of a checkpoint directory, as far as they could be read, and the findings.

    `weight_bytes` are the bytes of all tensors that are loaded.  `quantisation` is the method that config.json names.
    `provenance` is what the supplier says of publisher, base model and data: recorded, and checked by nobody.
    """

    architecture: str | None
    model_type: str | None
    parameters: Parameters | None
    layers: int | None
    context_length: int | None
    vocabulary: int | None
    chat_template: bool
    licence: str | None
    findings: tuple[Finding, ...]
    weight_bytes: int | None = None
    attention: Attention | None = None
    quantisation: str | None = None
    template_digest: str | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def denied(self) -> tuple[Finding, ...]:
        """The findings for which the checkpoint is unsafe to load."""
        return tuple(finding for finding in self.findings if finding.severity == "deny")


@dataclass(frozen=True)
class Predecessor:
    """The model that a candidate is to replace: the digest of its chat template, and its copy, if that is at hand."""

    template_digest: str | None
    root: Path | None = None


@dataclass(frozen=True)
class Checkpoint:
    """A verified candidate that is safe to load."""

    verified: VerifiedCandidate
    inspection: Inspection
