"""The signed statement: an in-toto statement whose predicate lists every file of the model with its digest.

Format: OpenSSF Model Signing v1.0, method `files`, hash `sha256` - the one combination that its command, its API and
its schemas share.  The statement's own subject digest covers no file names and is never used as an identity; it is only
checked for consistency.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipeline.digests import Digest
from pipeline.errors import ManifestError, SignatureError
from pipeline.manifest import Manifest
from pipeline.signature.bundle import strict_json
from pipeline.signature.paths import collisions, path_problem

PREDICATE_TYPE = "https://model_signing/signature/v1.0"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"


@dataclass(frozen=True)
class SignedFiles:
    """What the signer signed: the digest of each path, and the paths that the signer chose to leave out."""

    digests: Mapping[str, Digest]
    left_out: tuple[str, ...]


def parse_statement(payload: bytes) -> SignedFiles:
    """The files that the statement in `payload` covers.

    Raises:
        SignatureError: it is no statement of this format, or is inconsistent in itself.
        ManifestError: it lists no files, a path twice, or a path that is not acceptable.
    """
    try:
        statement = _Statement.model_validate(strict_json(payload, "The signed statement"))
    except ValidationError as error:
        raise _unsupported(error) from error
    predicate = statement.predicate
    _require_consistent(statement)
    problems = _path_problems([resource.name for resource in predicate.resources])
    if not predicate.resources:
        problems = ("the list is empty",)
    if problems:
        raise ManifestError(
            "the signed list of files is not acceptable",
            why=f"{problems[0]}.",
            remedy="Ask the supplier to sign a checkpoint with plain file names.",
            problems=problems,
        )
    digests = {resource.name: Digest(f"sha256:{resource.digest}") for resource in predicate.resources}
    return SignedFiles(digests, tuple(predicate.serialization.ignore_paths))


def encode_statement(manifest: Manifest, *, name: str, left_out: tuple[str, ...]) -> bytes:
    """The statement over `manifest`, with `name` as the model's name; inverse of `parse_statement`."""
    files = sorted(manifest.files, key=lambda entry: PurePosixPath(entry.path))
    root = _root_digest([entry.digest[7:] for entry in files])
    statement = {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": name, "digest": {"sha256": root}}],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "serialization": {
                "method": "files",
                "hash_type": "sha256",
                "allow_symlinks": False,
                "ignore_paths": list(left_out),
            },
            "resources": [{"name": entry.path, "algorithm": "sha256", "digest": entry.digest[7:]} for entry in files],
        },
    }
    return json.dumps(statement, indent=2, ensure_ascii=False).encode("utf-8")


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


_Hex = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Resource(_Part):
    name: str
    digest: _Hex
    algorithm: Literal["sha256"]


class _Serialization(_Part):
    method: Literal["files"]
    hash_type: Literal["sha256"]
    allow_symlinks: bool
    ignore_paths: list[str] = Field(default_factory=list)


class _Predicate(_Part):
    resources: list[_Resource]
    serialization: _Serialization


class _SubjectDigest(_Part):
    sha256: _Hex


class _Subject(_Part):
    name: str
    digest: _SubjectDigest
    annotations: dict[str, Any] | None = None


class _Statement(_Part):
    type: Annotated[Literal["https://in-toto.io/Statement/v1"], Field(alias="_type")]
    subject: Annotated[list[_Subject], Field(min_length=1, max_length=1)]
    predicate_type: Annotated[Literal["https://model_signing/signature/v1.0"], Field(alias="predicateType")]
    predicate: _Predicate


def _root_digest(hexadecimal: list[str]) -> str:
    return hashlib.sha256(b"".join(bytes.fromhex(digits) for digits in hexadecimal)).hexdigest()


def _require_consistent(statement: _Statement) -> None:
    listed = _root_digest([resource.digest for resource in statement.predicate.resources])
    if listed != statement.subject[0].digest.sha256:
        raise SignatureError(
            "the signed statement is inconsistent",
            why="The digest of its subject is not that of the files it lists.",
            remedy="Ask the supplier to sign the checkpoint again.",
        )


def _path_problems(paths: list[str]) -> tuple[str, ...]:
    bad = [f"{path!r} {problem}" for path in paths if (problem := path_problem(path))]
    repeated = [f"{path!r} is listed {count} times" for path, count in Counter(paths).items() if count > 1]
    return (*bad, *repeated, *collisions(set(paths)))


def _unsupported(error: ValidationError) -> SignatureError:
    item = error.errors(include_url=False, include_context=False, include_input=False)[0]
    place = ".".join(str(part) for part in item["loc"]) or "the statement"
    return SignatureError(
        "the signed statement is not of a supported format",
        why=f"'{place}' is wrong: {item['msg']}.",
        remedy="Sign again as OpenSSF Model Signing v1.0, over whole files with SHA-256.",
    )
