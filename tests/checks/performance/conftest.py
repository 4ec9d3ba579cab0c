"""The tokenizer that the planted models share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.checks.performance.planted import make_tokenizer


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a tokenizer.json."""
    return make_tokenizer(tmp_path_factory.mktemp("tokenizer"))
