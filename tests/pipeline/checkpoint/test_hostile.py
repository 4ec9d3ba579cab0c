"""Every hostile checkpoint is denied for the right reason, and inspecting it runs nothing and stays small."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.checkpoint import inspect_directory
from tests.assets.hostile import HOSTILE


@pytest.mark.parametrize("name", sorted(HOSTILE))
def test_it_is_denied_by_name(name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    hostile = HOSTILE[name]
    inspection = inspect_directory(hostile.make(tmp_path / "model"))
    assert hostile.identifier in {found.id for found in inspection.denied}, inspection.findings
    assert "a pickle ran" not in "".join(capfd.readouterr())


def test_there_are_many() -> None:
    assert len(HOSTILE) >= 80
