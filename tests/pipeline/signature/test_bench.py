"""The benchmark does the same work both ways, on files small enough for a test."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[3] / "ci/benchmarks/verify.py"


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    """The benchmark as a module; it is a script, in no package."""
    specification = importlib.util.spec_from_file_location("verify_bench", SCRIPT)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = module
    specification.loader.exec_module(module)
    return module


def test_each_way_is_measured(bench: ModuleType, tmp_path: Path) -> None:
    place = tmp_path / "place"
    bench.make_checkpoint(place, 3_000_000, 3)
    for way in ("airlock", "airlock", "model_signing", "three"):
        measured = bench.measure_here(way, place)
        assert measured.seconds > 0
        assert measured.peak_mb > 0
    stored = [path for path in (place / "store/checkpoints").iterdir() if path.is_dir()]
    assert len(stored) == 1
    originals = {path.name: path.read_bytes() for path in (place / "checkpoint").iterdir()}
    for copy in (stored[0], place / "copy"):
        assert {path.name: path.read_bytes() for path in copy.iterdir()} == originals


def test_the_table_has_a_line_for_each_comparison(bench: ModuleType) -> None:
    lines = [bench.Compared("verify", 3, 2.0, 2.0, 1.0, 1.0, 0.95, 70), bench.Compared("whole", 8, 3, 1, 3, 2, 2.5, 70)]
    assert [line.split()[:2] for line in bench.table(lines).splitlines()] == [
        ["work", "files"],
        ["verify", "3"],
        ["whole", "8"],
    ]
