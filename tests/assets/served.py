"""Checkpoints and sites for tests that need one to stand on, without going through a signature."""

from __future__ import annotations

from pathlib import Path

from pipeline.checkpoint import inspect_directory
from pipeline.checkpoint.inspected import Checkpoint
from pipeline.digests import sha256
from pipeline.keys import generate_key, write_key_pair
from pipeline.release import Candidate, SignatureReference
from pipeline.signature import SignerIdentity, VerifiedCandidate, manifest_of
from pipeline.site import PipelineSettings, Site, StoreSettings


def checkpoint_of(directory: Path, name: str = "candidate") -> Checkpoint:
    """`directory` as if it had been verified and found safe to load."""
    candidate = Candidate(
        name=name, checkpoint=directory, signature=SignatureReference(bundle=directory, signer="nobody")
    )
    verified = VerifiedCandidate(
        candidate=candidate,
        manifest=manifest_of(directory),
        signer=SignerIdentity("nobody", "key", sha256(b"nobody")),
        bundle_digest=sha256(b""),
        root=directory,
    )
    return Checkpoint(verified, inspect_directory(directory))


def site_at(folder: Path) -> Site:
    """A site with a pipeline key of its own, whose store lies below `folder`."""
    key = folder / "pipeline.pem"
    if not key.exists():
        write_key_pair(generate_key(), key)
    return Site(
        path=folder / "airlock.toml", store=StoreSettings(path=folder / "store"), pipeline=PipelineSettings(key=key)
    )
