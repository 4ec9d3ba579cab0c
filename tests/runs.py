"""A whole release on a fake server: made once, then copied by each test that wants to attack it."""

from __future__ import annotations

import io
import shutil
from dataclasses import dataclass
from pathlib import Path

from pipeline.cli.main import execute
from pipeline.cli.output import ExitCode, Output
from pipeline.keys import generate_key, load_signing_key, write_key_pair
from pipeline.signature import sign_checkpoint
from tests.assets.checkpoints import make_tiny_checkpoint

OWNERS = ("publisher", "pipeline", "ana", "ben", "sam", "mallory")

_SITE = """
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
roles = ["engineering", "compliance"]
"""

_RELEASE = """
apiVersion: airlock/v1
kind: Release
name: tiny
submitter: sam
candidates:
  - name: good
    checkpoint: checkpoint
    signature: {bundle: checkpoint.sig, signer: publisher}
    claims: {licence: Apache-2.0}
"""

_POLICY = """
apiVersion: airlock/v1
kind: Policy
name: attached
extends: [demo]
evidence: {endpoint: true}
"""


@dataclass(frozen=True)
class Ran:
    """A finished command."""

    code: ExitCode
    stdout: str
    stderr: str


@dataclass(frozen=True)
class Organisation:
    """A site with a signed release, below `root`; every command is run in this process."""

    root: Path

    @property
    def run(self) -> Path:
        """The run's folder."""
        return self.root / "run"

    def key(self, owner: str) -> Path:
        """Somebody's private key."""
        return self.root / "keys" / f"{owner}.pem"

    def airlock(self, *arguments: str | Path, json: bool = False) -> Ran:
        """Run `airlock` with the site's file."""
        stdout, stderr = io.StringIO(), io.StringIO()
        site = ("--site", str(self.root / "airlock.toml"), *(["--json"] if json else []))
        code = execute([*map(str, arguments), *site], Output(json, stdout, stderr))
        return Ran(code, stdout.getvalue(), stderr.getvalue())

    def release(self, endpoint: str, policy: str | None = None) -> Ran:
        """Run the release against a server that is up, by a policy that lets such measurements count."""
        file = self.root / "release.yaml"
        return self.airlock(
            "run", file, "--policy", policy or self.root / "attached.yaml", "--run", self.run, "--endpoint", endpoint
        )

    def approve(self, person: str, role: str) -> Ran:
        """Have somebody sign the decision on the candidate."""
        who = ("--role", role, "--key", self.key(person))
        return self.airlock("approve", self.run, "--candidate", "good", *who)

    def promote(self, stage: str = "staging") -> Ran:
        """Promote the candidate."""
        return self.airlock("promote", self.run, "--candidate", "good", "--stage", stage)

    def promote_with_everyone(self) -> None:
        """Have both approvers sign, and promote."""
        for person, role in (("ana", "compliance"), ("ben", "security")):
            assert self.approve(person, role).code == ExitCode.YES
        promoted = self.promote()
        assert promoted.code == ExitCode.YES, promoted.stderr

    def copied(self, root: Path) -> Organisation:
        """The same organisation at `root`, with everything at the same relative place."""
        shutil.copytree(self.root, root)
        copy = Organisation(root)
        file = copy.run / "run.json"
        file.write_text(file.read_text().replace(str(self.root), str(root)))
        return copy

    def policy(self, name: str, text: str) -> Path:
        """A policy of this name, with the rest of its file as `text`."""
        path = self.root / f"{name}.yaml"
        path.write_text(f"apiVersion: airlock/v1\nkind: Policy\nname: {name}\n{text}")
        return path

    def replace_checkpoint(self, *, seed: int) -> None:
        """Put other weights, signed by the publisher, in the place of the checkpoint."""
        shutil.rmtree(self.root / "checkpoint")
        (self.root / "checkpoint.sig").unlink()
        make_tiny_checkpoint(self.root / "checkpoint", seed=seed)
        key = load_signing_key(self.key("publisher"))
        sign_checkpoint(self.root / "checkpoint", key, self.root / "checkpoint.sig")


def found_organisation(root: Path) -> Organisation:
    """Make keys, a site file, and a release of one tiny checkpoint that its publisher signed."""
    organisation = Organisation(root)
    for owner in OWNERS:
        write_key_pair(generate_key(), organisation.key(owner))
    (root / "airlock.toml").write_text(_SITE)
    (root / "release.yaml").write_text(_RELEASE)
    (root / "attached.yaml").write_text(_POLICY)
    make_tiny_checkpoint(root / "checkpoint")
    sign_checkpoint(root / "checkpoint", load_signing_key(organisation.key("publisher")), root / "checkpoint.sig")
    return organisation
