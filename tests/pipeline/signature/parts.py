"""What the tests of this package are made of: a small checkpoint, a site that trusts a key, a signed candidate."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.digests import Digest, hex_of
from pipeline.keys import SigningKey, generate_key, write_key_pair
from pipeline.release import Candidate, SignatureReference
from pipeline.signature import sign_checkpoint
from pipeline.site import KeySigner, PipelineSettings, Signer, Site, StoreSettings

FILES = {
    "config.json": b'{"model_type": "llama"}',
    "model-00001-of-00002.safetensors": bytes(range(256)) * 4096,
    "model-00002-of-00002.safetensors": b"weights" * 1000,
    "tokenizer/tokenizer.json": b"{}",
    "README.md": b"---\nlicense: apache-2.0\n---\n",
}


def write_files(directory: Path, files: dict[str, bytes] | None = None) -> Path:
    """Write `files` (a small checkpoint, unless given) below `directory`."""
    for name, data in (FILES if files is None else files).items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_bytes(data)
    return directory


@dataclass(frozen=True)
class Workplace:
    """A directory with a signed checkpoint, its bundle, its signer's keys and a site."""

    root: Path
    key: SigningKey

    @property
    def checkpoint(self) -> Path:
        """The submitted directory."""
        return self.root / "checkpoint"

    @property
    def bundle(self) -> Path:
        """The signature bundle."""
        return self.root / "checkpoint.sig"

    @property
    def store(self) -> Path:
        """Where verified checkpoints are kept."""
        return self.root / "store" / "checkpoints"

    def site(self, signer: Signer | None = None) -> Site:
        """A site that knows `signer` (the key's owner, unless given) as `publisher`."""
        known = signer or KeySigner(method="key", public_key=self.root / "publisher.pub")
        return Site(
            path=self.root / "airlock.toml",
            store=StoreSettings(path=self.root / "store"),
            signers={"publisher": known},
            pipeline=PipelineSettings(key=self.root / "pipeline.pem"),
        )

    def candidate(self, bundle: Path | None = None) -> Candidate:
        """The checkpoint as a release proposes it."""
        reference = SignatureReference(bundle=bundle or self.bundle, signer="publisher")
        return Candidate(name="tiny", checkpoint=self.checkpoint, signature=reference)

    def stored(self) -> list[str]:
        """What the store holds: names of directories and records, hidden ones included."""
        return sorted(path.name for path in self.store.iterdir()) if self.store.is_dir() else []

    def record_names(self, digest: Digest) -> list[str]:
        """What the store holds when it has exactly the checkpoint `digest`."""
        return [hex_of(digest), f"{hex_of(digest)}.json"]


def make_workplace(root: Path, files: dict[str, bytes] | None = None) -> Workplace:
    """A signed checkpoint of `files` below `root`, and who signed it."""
    key = generate_key()
    write_key_pair(key, root / "publisher.pem")
    workplace = Workplace(root, key)
    write_files(workplace.checkpoint, files)
    sign_checkpoint(workplace.checkpoint, key, workplace.bundle)
    return workplace


@contextlib.contextmanager
def unprivileged() -> Iterator[None]:
    """As a user whom file permissions bind, even where the tests run as root."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
