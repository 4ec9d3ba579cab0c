"""Whose statement it is: signed by a person's key (in a file or on a token), or keyless, by an identity.

A key's statement is a DSSE envelope.  A keyless one is a Sigstore bundle over the same statement, made by any client of
the instance that the site's `[keyless]` names; its certificate chain, identity, issuer and log entries are verified
offline against the one trust file that the site pins.
"""

from __future__ import annotations

import json
from datetime import datetime

from pipeline.approvals.people import Identity, Member, People
from pipeline.attestations import Attestation, parse_attestation, read_attestation
from pipeline.digests import Digest, sha256
from pipeline.errors import EvidenceError, SignatureError
from pipeline.site import KeylessSettings, KeylessSigner


def read_signed(data: bytes, predicate_type: str, people: People, *, at: datetime) -> Attestation:
    """The statement of `predicate_type` in `data`, signed by one of `people` or several.

    Its `signers` are digests of keys, or of the identity.

    Raises:
        EvidenceError: it is malformed, forged, signed by a stranger, or by a key that the site revoked.
        KeyFileError, RequestError: the site's keyless trust file cannot be used.
    """
    if not _is_bundle(data):
        attestation = read_attestation(data, predicate_type, people.keys)
    else:
        payload, signer = _open_bundle(data, people, at)
        attestation = parse_attestation(payload, predicate_type, digest=sha256(data), signers=(signer,))
    if people.any_revoked(attestation.signers):
        raise _refused("The key that signed it was revoked by the site.", "Sign with a key that was not revoked.")
    return attestation


def _is_bundle(data: bytes) -> bool:
    """Whether it means to be a Sigstore bundle; whether it is a good one is for the strict parser to say."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) and "mediaType" in value


def _open_bundle(data: bytes, people: People, at: datetime) -> tuple[bytes, Digest]:
    """The payload of the bundle, and the digest of the identity that signed it."""
    from pipeline.signature.bundle import KeylessMaterial, parse_bundle
    from pipeline.signature.keyless import load_trust_root, verify_keyless
    from pipeline.signature.trust import Trust, require_fresh_root

    if people.keyless is None:
        raise _refused("The site has no [keyless] instance.", "Sign with a key, or have the site's owner name one.")
    try:
        bundle = parse_bundle(data)
        if not isinstance(bundle.material, KeylessMaterial):
            raise _refused("The bundle is signed by a bare key or a long-lived certificate.", "Sign keyless.")
        member, identity = _claimed(bundle.material.certificate, people)
        signer = _as_signer(people.keyless, identity)
        trust = Trust(member.name, signer, people.revoked, at)
        root, raw = load_trust_root(signer, trust)
        require_fresh_root(signer, raw, trust)
        verify_keyless(bundle, bundle.material, signer, root, trust)
    except SignatureError as error:
        raise _refused(error.why, error.remedy) from error
    return bundle.payload, identity.digest


def _claimed(certificate: bytes, people: People) -> tuple[Member, Identity]:
    """Whose certificate it says it is; nothing of it is believed before `verify_keyless` has said so."""
    from cryptography import x509

    from pipeline.signature.certificate import parse_certificate

    try:
        names = parse_certificate(certificate).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        claimed = {str(name.value) for name in names}
    except (x509.ExtensionNotFound, ValueError) as error:
        raise _refused("Its certificate names nobody.", "Sign with a certificate of the site's instance.") from error
    for member in people.members:
        if member.identity is not None and member.identity.subject in claimed:
            return member, member.identity
    raise _refused(
        f"Its certificate is for {', '.join(sorted(claimed))[:200]}, who is nobody of this site.",
        "Sign with the identity that the site's owner entered for you.",
    )


def _as_signer(keyless: KeylessSettings, identity: Identity) -> KeylessSigner:
    demands = {name: getattr(keyless, name) for name in KeylessSettings.model_fields}
    return KeylessSigner(method="keyless", identity=identity.subject, issuer=identity.issuer, **demands)


def _refused(why: str, remedy: str) -> EvidenceError:
    return EvidenceError("a statement is not signed by someone of this site", why=why, remedy=remedy)
