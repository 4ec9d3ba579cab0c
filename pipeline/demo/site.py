"""The demonstration's organisation: keys for everyone, airlock.toml, signatures and release.yaml."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipeline.demo.checkpoints import CANDIDATES
from pipeline.files import write_atomic
from pipeline.keys import generate_key, load_signing_key, write_key_pair

APPROVERS = {"ana": "compliance", "ben": "security"}
SUBMITTER = "sam"

_SITE = """# The demonstration's organisation. Paths are relative to this file.
[store]
path = "store"

[registry]
url = "layout:registry"
stages = ["candidate", "staging", "production", "retired"]

[pipeline]
key = "keys/pipeline.pem"

[signers.publisher]
method = "key"
public_key = "keys/publisher.pub"

[people.ana]
public_key = "keys/ana.pub"
roles = ["compliance"]

[people.ben]
public_key = "keys/ben.pub"
roles = ["security"]

[people.sam]
public_key = "keys/sam.pub"
roles = ["engineering"]
"""

_RELEASE = """# The release that the demonstration proposes: three candidates of one real model.
apiVersion: airlock/v1
kind: Release
name: smollm2
submitter: sam
candidates:
  - name: 135m
    checkpoint: checkpoints/135m
    signature: {bundle: signatures/135m.sig, signer: publisher}
    claims: {parameters: 1.345e8, context_length: 8192, licence: Apache-2.0, languages: [en]}
  # A third of the layers is gone; signed properly, so only its measured quality can stop it.
  - name: 135m-pruned
    checkpoint: checkpoints/135m-pruned
    signature: {bundle: signatures/135m-pruned.sig, signer: publisher}
    claims: {licence: Apache-2.0, languages: [en]}
  # One bit of a weight was changed after signing.
  - name: 135m-tampered
    checkpoint: checkpoints/135m-tampered
    signature: {bundle: signatures/135m.sig, signer: publisher}
    claims: {parameters: 1.345e8, context_length: 8192, licence: Apache-2.0, languages: [en]}
"""


@dataclass(frozen=True)
class DemoFiles:
    """Where the demonstration's files lie, all below `root`."""

    root: Path

    @property
    def site(self) -> Path:
        """The site file."""
        return self.root / "airlock.toml"

    @property
    def release(self) -> Path:
        """The release file."""
        return self.root / "release.yaml"

    @property
    def run(self) -> Path:
        """The run's folder."""
        return self.root / "run"

    def checkpoint(self, name: str) -> Path:
        """The directory of a candidate's checkpoint."""
        return self.root / "checkpoints" / name

    def bundle(self, name: str) -> Path:
        """The signature bundle of a checkpoint."""
        return self.root / "signatures" / f"{name}.sig"

    def key(self, owner: str) -> Path:
        """The private key of `publisher`, `pipeline` or an approver."""
        return self.root / "keys" / f"{owner}.pem"


def write_site(files: DemoFiles) -> None:
    """Write airlock.toml, release.yaml and every key that is not there yet."""
    for owner in ("publisher", "pipeline", SUBMITTER, *APPROVERS):
        if not files.key(owner).exists():
            write_key_pair(generate_key(), files.key(owner))
    write_atomic(files.site, _SITE.encode())
    write_atomic(files.release, _RELEASE.encode())


def sign_checkpoints(files: DemoFiles) -> None:
    """Sign the intact and the pruned checkpoint as their publisher would, unless that was done."""
    from pipeline.signature import sign_checkpoint

    key = load_signing_key(files.key("publisher"))
    for name in CANDIDATES[:2]:
        if not files.bundle(name).exists():
            sign_checkpoint(files.checkpoint(name), key, files.bundle(name))
