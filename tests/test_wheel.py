"""The built wheel, installed elsewhere with the source tree out of reach, carries everything that the commands need."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the wheel is installed; what it depends on comes from this environment."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder / "dist"), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True, timeout=300)
    (wheel,) = (folder / "dist").glob("airlock-*.whl")
    install = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--target", str(folder / "site")]
    subprocess.run([*install, str(wheel)], check=True, capture_output=True, timeout=300)
    return folder / "site"


def _run(installed: Path, code: str, cwd: Path) -> str:
    """Run `code` with the wheel's folder first and the source tree nowhere on the path."""
    packages = sysconfig.get_paths()["purelib"]
    setup = f"import sys; sys.path[:0] = [{str(installed)!r}, {packages!r}]; "
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    ended = subprocess.run(
        [sys.executable, "-I", "-S", "-c", setup + code],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_the_source_tree_is_out_of_reach(installed: Path, tmp_path: Path) -> None:
    assert str(ROOT) not in _run(
        installed, "import pipeline, checks; print(pipeline.__file__, checks.__file__)", tmp_path
    )


def test_policies_and_their_schema_are_inside(installed: Path, tmp_path: Path) -> None:
    code = (
        "from pathlib import Path; from pipeline.policy.document import built_in_names, load_policy; "
        "print([load_policy(Path(name)).name for name in built_in_names()])"
    )
    assert "demo" in _run(installed, code, tmp_path)


def test_built_in_suites_are_inside(installed: Path, tmp_path: Path) -> None:
    code = (
        "from checks import built_in_checks; from checks.datasets import load_builtin; "
        "print(sum(len(load_builtin(d.name, d.digest)[1]) for c in built_in_checks() for d in c.data))"
    )
    assert int(_run(installed, code, tmp_path)) > 1000


def test_card_templates_and_schema_are_inside(installed: Path, tmp_path: Path) -> None:
    code = (
        "from importlib.resources import files; root = files('model_cards'); "
        "print(len(list(root.joinpath('templates').iterdir())), root.joinpath('schema/card.schema.json').is_file())"
    )
    count, schema = _run(installed, code, tmp_path).split()
    assert int(count) >= 3
    assert schema == "True"


def test_the_command_starts(installed: Path, tmp_path: Path) -> None:
    code = "from pipeline.cli.main import execute; print(int(execute(['policy', 'show', 'demo', '--json'])))"
    assert _run(installed, code, tmp_path).rstrip().endswith("0")
