"""The demonstration, for real: the real model, the real vLLM, and what each of the three readers does afterwards."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT, WHEEL, CommandResult, airlock

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(1500)]


@dataclass(frozen=True)
class Demo:
    """A finished demonstration: where it lies, and what it printed."""

    directory: Path
    result: CommandResult

    def candidate(self, name: str) -> Any:
        """What it printed of one candidate."""
        return next(entry for entry in self.result.json["candidates"] if entry["candidate"] == name)

    def card(self, name: str) -> Any:
        """A candidate's card."""
        return json.loads((self.directory / "run" / name / "card.json").read_text())


def _tell(directory: Path) -> CommandResult:
    return airlock("demo", "--wheel", WHEEL, "--directory", directory, "--json", cwd=ROOT, timeout=1400)


@pytest.fixture(scope="session")
def demo(real_checkpoints: Path, tmp_path_factory: pytest.TempPathFactory) -> Demo:
    directory = tmp_path_factory.mktemp("demo") / "demo"
    shutil.copytree(real_checkpoints, directory / "checkpoints")
    result = _tell(directory)
    assert result.code == 0, result.stdout + result.stderr
    return Demo(directory, result)


def test_three_candidates_come_to_three_ends(demo: Demo) -> None:
    intact, pruned, tampered = (demo.candidate(name) for name in ("135m", "135m-pruned", "135m-tampered"))
    assert (intact["verdict"], intact["stage"]) == ("GO", "staging")
    assert (pruned["verdict"], pruned["stage"]) == ("NO-GO", None)
    assert (tampered["verdict"], tampered["stage"]) == ("NO-GO", None)
    assert [demo.card(entry["candidate"])["outcome"] for entry in (intact, pruned, tampered)] == [
        "promoted",
        "denied",
        "stopped-at-signature",
    ]


def test_the_pruned_model_is_denied_on_measured_quality_alone(demo: Demo) -> None:
    rules = {rule["rule"]: rule["outcome"] for rule in demo.candidate("135m-pruned")["rules"]}
    assert rules["signature.verified"] == rules["checkpoint.safe-to-load"] == "pass"
    assert rules["capability.completion"] == "fail"


def test_no_server_was_started_for_the_tampered_model(demo: Demo) -> None:
    assert not (demo.directory / "run" / "135m-tampered" / "server.log").exists()
    assert demo.card("135m-tampered")["measurements"] == []
    assert "model.safetensors" in json.dumps(demo.card("135m-tampered")["problems"])


def test_nothing_is_left_running(demo: Demo) -> None:
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert not [line for line in listed.splitlines() if str(demo.directory) in line]


def test_every_form_of_the_card_is_there_and_self_contained(demo: Demo) -> None:
    for name in ("135m", "135m-pruned", "135m-tampered"):
        folder = demo.directory / "run" / name
        page = (folder / "card.html").read_text()
        assert "<script" not in page
        assert "http-equiv" in page
        assert (folder / "card.md").read_text().startswith("---\n")


def test_a_second_telling_measures_nothing_and_changes_nothing(demo: Demo) -> None:
    def state() -> dict[str, bytes]:
        return {str(path): path.read_bytes() for path in sorted((demo.directory / "run").rglob("state.json"))}

    before = state()
    again = _tell(demo.directory)
    assert again.code == 0, again.stderr
    assert "starting the server" not in again.stderr
    assert state() == before


@pytest.mark.parametrize(
    "command",
    [
        ("audit", "verify"),
        ("registry", "verify"),
        ("registry", "resolve", "smollm2/135m", "--stage", "staging"),
        ("card", "verify", "run"),
    ],
    ids=" ".join,
)
def test_the_auditor_finds_everything_proved(demo: Demo, command: tuple[str, ...]) -> None:
    result = airlock(*command, cwd=demo.directory)
    assert result.code == 0, result.stdout + result.stderr


@pytest.mark.parametrize("name", ["135m", "135m-pruned", "135m-tampered"])
def test_the_auditor_recomputes_each_decision(demo: Demo, name: str) -> None:
    replayed = airlock("audit", "replay", demo.candidate(name)["decision"], cwd=demo.directory)
    assert replayed.code == 0, replayed.stdout + replayed.stderr


def test_consumers_pull_the_very_files_that_were_judged(demo: Demo, tmp_path: Path) -> None:
    pulled = airlock(
        "registry", "pull", "smollm2/135m", "--stage", "staging", "--to", tmp_path / "pulled", cwd=demo.directory
    )
    assert pulled.code == 0, pulled.stderr
    for path in (demo.directory / "checkpoints" / "135m").iterdir():
        assert (tmp_path / "pulled" / path.name).read_bytes() == path.read_bytes()
