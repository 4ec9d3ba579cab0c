"""A store in a fresh directory, and the key it trusts."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.evidence.store import EvidenceStore
from pipeline.keys import SigningKey, generate_key


@pytest.fixture
def key() -> SigningKey:
    return generate_key()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "evidence"


@pytest.fixture
def store(root: Path, key: SigningKey) -> EvidenceStore:
    return EvidenceStore(root, [key.verifying_key])
