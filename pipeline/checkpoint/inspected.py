"""What inspection yields: findings, and the facts of a checkpoint that is safe to load."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

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
class Inspection:
    """The facts of a checkpoint directory, as far as they could be read, and the findings."""

    architecture: str | None
    model_type: str | None
    parameters: Parameters | None
    layers: int | None
    context_length: int | None
    vocabulary: int | None
    chat_template: bool
    licence: str | None
    findings: tuple[Finding, ...]

    @property
    def denied(self) -> tuple[Finding, ...]:
        """The findings for which the checkpoint is unsafe to load."""
        return tuple(finding for finding in self.findings if finding.severity == "deny")


@dataclass(frozen=True)
class Checkpoint:
    """A verified candidate that is safe to load."""

    verified: VerifiedCandidate
    inspection: Inspection
