"""Signatures: a candidate and the site's trust in, a verified candidate out.

The path of a candidate through this package:

    bundle      the supplier's bundle, parsed strictly
    signers     is the signature that of a signer whom the site trusts?
    statement   which files did the signer sign?
    tree        which files are there?  (regular files only, no links, no colliding names)
    ingest      one pass over the bytes: hash, and copy from the same read
    store       the read-only copy, named by its digest, from which alone models are served
    verify      all of these, in order
    sign        the way back: a bundle for a checkpoint of one's own
"""

from pipeline.signature.sign import manifest_of, sign_checkpoint, sign_with_certificate
from pipeline.signature.store import CheckpointStore
from pipeline.signature.verified import SignerIdentity, VerifiedCandidate
from pipeline.signature.verify import checkpoint_store, verify_candidate

__all__ = [
    "CheckpointStore",
    "SignerIdentity",
    "VerifiedCandidate",
    "checkpoint_store",
    "manifest_of",
    "sign_checkpoint",
    "sign_with_certificate",
    "verify_candidate",
]
