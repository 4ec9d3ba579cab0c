"""Signed statements by people and by the pipeline, other than evidence: approvals, waivers, promotions, revocations.

Each is an in-toto Statement v1 about one checkpoint in a DSSE envelope.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.digests import Digest, canonical_json, hex_of, parse_digest, sha256
from pipeline.errors import EvidenceError, FileFormatError
from pipeline.evidence.envelope import IN_TOTO_PAYLOAD, open_envelope, seal
from pipeline.evidence.statement import STATEMENT_TYPE
from pipeline.keys import MessageSigner, VerifyingKey


@dataclass(frozen=True)
class Attestation:
    """One statement as read back.

    `digest` is that of the envelope's bytes, `subject` that of the checkpoint, `signers` those of the trusted keys that
    signed it, sorted.
    """

    digest: Digest
    predicate_type: str
    subject: Digest
    subject_name: str
    predicate: Mapping[str, Any]
    signers: tuple[Digest, ...]


def unsigned_statement(predicate_type: str, *, subject: Digest, name: str, predicate: Mapping[str, Any]) -> bytes:
    """The in-toto statement of `predicate_type` about the checkpoint `subject`, called `name`, for somebody to sign.

    Raises:
        FileFormatError: the predicate has no canonical JSON form.
    """
    return canonical_json(
        {
            "_type": STATEMENT_TYPE,
            "subject": [{"name": name, "digest": {"sha256": hex_of(subject)}}],
            "predicateType": predicate_type,
            "predicate": dict(predicate),
        }
    )


def attest(
    predicate_type: str, *, subject: Digest, name: str, predicate: Mapping[str, Any], keys: Sequence[MessageSigner]
) -> bytes:
    """The envelope of a statement of `predicate_type` about the checkpoint `subject`, called `name`.

    Raises:
        FileFormatError: the predicate has no canonical JSON form.
    """
    statement = unsigned_statement(predicate_type, subject=subject, name=name, predicate=predicate)
    return seal(statement, IN_TOTO_PAYLOAD, keys)


def read_attestation(data: bytes, predicate_type: str, trusted: Sequence[VerifyingKey]) -> Attestation:
    """The statement of `predicate_type` in the envelope `data`.

    Raises:
        EvidenceError: the envelope is malformed, no trusted key signed it, or it states something of another type.
    """
    opened = open_envelope(data, IN_TOTO_PAYLOAD, trusted)
    return parse_attestation(opened.payload, predicate_type, digest=sha256(data), signers=opened.signers)


def parse_attestation(
    payload: bytes, predicate_type: str, *, digest: Digest, signers: tuple[Digest, ...]
) -> Attestation:
    """The statement in `payload`, whose signature by `signers` was checked, as it came in the file with this `digest`.

    Raises:
        EvidenceError: it is malformed, or states something of another type.
    """
    try:
        statement = json.loads(payload)
        (subject,) = statement["subject"]
        attestation = Attestation(
            digest=digest,
            predicate_type=str(statement["predicateType"]),
            subject=parse_digest("sha256:" + subject["digest"]["sha256"]),
            subject_name=str(subject["name"]),
            predicate=dict(statement["predicate"]),
            signers=signers,
        )
        known = statement["_type"] == STATEMENT_TYPE
    except (ValueError, TypeError, KeyError, RecursionError, FileFormatError) as error:
        raise EvidenceError(
            "a signed statement cannot be read",
            why=f"It is no in-toto statement about one checkpoint ({error!r:.200}).",
            remedy="Ask its author for a new one, made with this version of Airlock.",
        ) from error
    if not known or attestation.predicate_type != predicate_type:
        raise EvidenceError(
            "a signed statement is of another kind",
            why=f"It states '{attestation.predicate_type:.100}' where '{predicate_type}' is needed.",
            remedy="Give the file that was asked for.",
            subject=attestation.subject,
        )
    return attestation
