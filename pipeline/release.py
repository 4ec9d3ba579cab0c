"""`release.yaml` -> Release: what is proposed for promotion, as its submitter describes it.

Nothing here is believed yet: claims are claims, paths are paths.  `pipeline.signature` turns a candidate into a
verified one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from pipeline.digests import Digest, sha256
from pipeline.documents import Document, parse_yaml, validate
from pipeline.errors import RequestError
from pipeline.files import read_bounded

Name = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?$")]
"""A label that is safe in paths, tags and tables: lower-case letters, digits and ._- inside."""


class SignatureReference(Document):
    """Which bundle signs the checkpoint, and which of the site's signers must have made it."""

    bundle: Path
    signer: Name


class SpeculativeClaim(Document):
    """A claimed speed-up by speculative decoding."""

    method: str
    speedup: Annotated[float, Field(gt=0)]


class Claims(Document):
    """What the supplier says of the checkpoint; checked, never assumed.

    `labels` say what it is meant for, such as `edge`; policies may have rules for a label.
    """

    parameters: Annotated[float, Field(gt=0)] | None = None
    active_parameters: Annotated[float, Field(gt=0)] | None = None
    context_length: Annotated[int, Field(gt=0)] | None = None
    licence: str | None = None
    languages: tuple[str, ...] = ()
    labels: tuple[Name, ...] = ()
    base_model: str | None = None
    speculative: SpeculativeClaim | None = None


class ServingRequest(Document):
    """How the submitter wants the candidate served; `auto` leaves it to the planner."""

    tensor_parallel: Annotated[int, Field(gt=0)] | Literal["auto"] = "auto"
    max_model_len: Annotated[int, Field(gt=0)] | Literal["auto"] = "auto"
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = "auto"


class Candidate(Document):
    """One checkpoint of the release.  `checkpoint` is a directory; paths are absolute after loading."""

    name: Name
    checkpoint: Path
    signature: SignatureReference
    claims: Claims = Claims()
    serving: ServingRequest = ServingRequest()


class Baseline(Document):
    """The registered model that regressions are measured against."""

    name: Name
    stage: Name


class ReleaseFile(Document):
    """The schema of release.yaml.

    `submitter` is who proposes it, a person of the site; policies that keep submitters from approving demand one.
    """

    api_version: Annotated[Literal["airlock/v1"], Field(alias="apiVersion")]
    kind: Literal["Release"]
    name: Name
    submitter: Name | None = None
    candidates: Annotated[tuple[Candidate, ...], Field(min_length=1)]
    baseline: Baseline | None = None

    @model_validator(mode="after")
    def _names_are_unique(self) -> ReleaseFile:
        names = [candidate.name for candidate in self.candidates]
        if len(set(names)) != len(names):
            raise ValueError("two candidates have the same name")
        return self


class Release(Document):
    """A release as read: its candidates with absolute paths, and the digest of the file that proposed them."""

    name: Name
    submitter: Name | None
    candidates: tuple[Candidate, ...]
    baseline: Baseline | None
    path: Path
    digest: Digest


def load_release(path: Path) -> Release:
    """Read `release.yaml`; relative paths in it are relative to its directory.

    Raises:
        FileFormatError: the file is malformed.
        RequestError: it cannot be read, or a checkpoint directory or bundle it names is not there.
    """
    data = read_bounded(path)
    file = validate(ReleaseFile, parse_yaml(data, path), path)
    base = path.absolute().parent
    candidates = tuple(_absolute(candidate, base) for candidate in file.candidates)
    for candidate in candidates:
        _require_inputs(candidate, path)
    return Release(
        name=file.name,
        submitter=file.submitter,
        candidates=candidates,
        baseline=file.baseline,
        path=path.absolute(),
        digest=sha256(data),
    )


def submitter_of(data: bytes) -> str | None:
    """Who proposes the release whose file has the bytes `data`, as far as it says so.  Raises FileFormatError."""
    path = Path("the stored release")
    return validate(ReleaseFile, parse_yaml(data, path), path).submitter


def _absolute(candidate: Candidate, base: Path) -> Candidate:
    signature = candidate.signature.model_copy(update={"bundle": base / candidate.signature.bundle})
    return candidate.model_copy(update={"checkpoint": base / candidate.checkpoint, "signature": signature})


def _require_inputs(candidate: Candidate, release: Path) -> None:
    if not candidate.checkpoint.is_dir():
        raise RequestError(
            f"candidate '{candidate.name}' has no checkpoint",
            why=f"{candidate.checkpoint} is not a directory.",
            remedy=f"Correct 'checkpoint' in {release}, or put the files there.",
        )
    if not candidate.signature.bundle.is_file():
        raise RequestError(
            f"candidate '{candidate.name}' has no signature bundle",
            why=f"{candidate.signature.bundle} is not a file.",
            remedy=f"Correct 'signature.bundle' in {release}; an unsigned checkpoint cannot be released.",
        )
