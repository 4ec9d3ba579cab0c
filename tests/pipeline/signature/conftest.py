"""Fixtures of this package's tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.pipeline.signature.parts import Workplace, make_workplace


@pytest.fixture
def workplace(tmp_path: Path) -> Workplace:
    """A signed checkpoint and a site that trusts its signer."""
    return make_workplace(tmp_path)
