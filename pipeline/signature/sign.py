"""Signing a checkpoint: the bundle that OpenSSF Model Signing's own tools verify."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from pipeline.errors import KeyFileError, ManifestError
from pipeline.files import write_atomic
from pipeline.keys import MessageSigner
from pipeline.manifest import Manifest
from pipeline.signature.bundle import MEDIA_TYPE, PAYLOAD_TYPE, pre_authentication_encoding
from pipeline.signature.ingest import Pass
from pipeline.signature.signers import key_hint, require_ec
from pipeline.signature.statement import encode_statement
from pipeline.signature.tree import Listing, list_tree, opened_directory


def sign_checkpoint(directory: Path, key: MessageSigner, bundle: Path) -> Manifest:
    """Sign every file below `directory`, `.git` and hidden ones included, and write the bundle.

    A bundle inside the directory is recorded as left out, because it cannot sign itself.  Returns the manifest, whose
    digest is the checkpoint's identity.

    Raises:
        ManifestError: the directory has something that no verifier should accept (links, devices, colliding names),
            is empty, or changed meanwhile.
        RequestError: it cannot be read.
        KeyFileError: the key is no EC key.
        StorageError: the bundle could not be written.
    """
    require_ec(key.verifying_key, "this key")
    material = {"publicKey": {"hint": key_hint(key.verifying_key)}, "tlogEntries": []}
    return sign_with(directory, key, material, bundle)


def sign_with_certificate(
    directory: Path, key: MessageSigner, certificates: Sequence[x509.Certificate], bundle: Path
) -> Manifest:
    """As `sign_checkpoint`, with a certificate for the key: `certificates` are the leaf, then those above it.

    Raises:
        KeyFileError: the first certificate is not for this key.
        ManifestError, RequestError, StorageError: as `sign_checkpoint`.
    """
    public = require_ec(key.verifying_key, "this key").public
    if not certificates or certificates[0].public_key() != public:
        raise KeyFileError(
            "cannot sign with this certificate",
            why="The first certificate is not for the signing key.",
            remedy="Give the certificate that was issued for this key first, then those above it.",
        )
    encoded = [base64.b64encode(item.public_bytes(Encoding.DER)).decode() for item in certificates]
    chain = {"certificates": [{"rawBytes": text} for text in encoded]}
    return sign_with(directory, key, {"x509CertificateChain": chain, "tlogEntries": []}, bundle)


def sign_with(directory: Path, signer: MessageSigner, material: dict[str, Any], bundle: Path) -> Manifest:
    """As `sign_checkpoint`, by any signer, with the verification material that goes with it."""
    left_out = _inside(bundle, directory)
    manifest = manifest_of(directory, left_out=left_out)
    name = directory.resolve().name or "model"
    payload = encode_statement(manifest, name=name, left_out=(left_out,) if left_out else ())
    signature = signer.sign(pre_authentication_encoding(payload))
    document = {
        "mediaType": MEDIA_TYPE,
        "verificationMaterial": material,
        "dsseEnvelope": {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [{"sig": base64.b64encode(signature).decode(), "keyid": ""}],
        },
    }
    write_atomic(bundle, json.dumps(document, indent=2).encode())
    return manifest


def manifest_of(directory: Path, *, left_out: str | None = None) -> Manifest:
    """The manifest of the files below `directory`, but for the file `left_out`.

    Raises:
        ManifestError: something there is not acceptable in a checkpoint, or could not be read, or there is nothing.
        RequestError: the directory cannot be read.
    """
    with opened_directory(directory) as root:
        listing = list_tree(root)
        files = tuple(file for file in listing.files if file.path != left_out)
        observed = Pass(root).run(files)
    problems = (*Listing(files, listing.problems).problems, *observed.problems)
    if not files:
        problems = (*problems, "the directory has no files")
    if problems:
        raise ManifestError(
            f"{directory} cannot be signed",
            why=f"{problems[0]}.",
            remedy="Leave only the regular files of the checkpoint there; copy linked files to where the links are.",
            problems=problems,
        )
    return Manifest(observed.files)


def _inside(bundle: Path, directory: Path) -> str | None:
    place, top = bundle.parent.resolve() / bundle.name, directory.resolve()
    return place.relative_to(top).as_posix() if place.is_relative_to(top) else None
