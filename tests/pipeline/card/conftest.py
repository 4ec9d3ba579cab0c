"""Cards of the three ends that a candidate can come to; their sources are frozen, so tests share them."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.card.sources import CardSources
from tests.pipeline.card import candidates
from tests.pipeline.card.candidates import Laboratory


@pytest.fixture
def lab(tmp_path: Path) -> Laboratory:
    return candidates.laboratory(tmp_path / "store")


@pytest.fixture(scope="session")
def shared_lab(tmp_path_factory: pytest.TempPathFactory) -> Laboratory:
    return candidates.laboratory(tmp_path_factory.mktemp("cards") / "store")


@pytest.fixture(scope="session")
def promoted(shared_lab: Laboratory) -> CardSources:
    return candidates.promoted(shared_lab)


@pytest.fixture(scope="session")
def denied(shared_lab: Laboratory) -> CardSources:
    return candidates.denied(shared_lab)


@pytest.fixture(scope="session")
def stopped(shared_lab: Laboratory) -> CardSources:
    return candidates.stopped(shared_lab)
