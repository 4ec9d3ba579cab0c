"""`airlock card`: a run's cards written and verified, and what is said of a card that was edited."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pipeline.cli.main import execute
from pipeline.cli.output import ExitCode, Output
from pipeline.evidence.store import EvidenceStore
from pipeline.keys import generate_key, write_key_pair
from pipeline.run_directory import CandidateState, RunDirectory, RunFile
from tests.pipeline.card import candidates
from tests.pipeline.card.candidates import RELEASE, START, Laboratory


@dataclass(frozen=True)
class Answer:
    """What a command said."""

    code: ExitCode
    stdout: str
    stderr: str

    @property
    def document(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads(self.stdout)
        return value


@dataclass(frozen=True)
class Desk:
    """A site with a run of two candidates, one denied on what was measured, one stopped at its signature."""

    root: Path

    @property
    def run(self) -> Path:
        return self.root / "run"

    def airlock(self, *words: str) -> Answer:
        stdout, stderr = io.StringIO(), io.StringIO()
        arguments = ["card", *words, "--site", str(self.root / "airlock.toml"), "--json"]
        code = execute(arguments, Output(True, stdout, stderr))
        return Answer(code, stdout.getvalue(), stderr.getvalue())


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    key = generate_key()
    write_key_pair(key, tmp_path / "pipeline.pem")
    (tmp_path / "airlock.toml").write_text('[pipeline]\nkey = "pipeline.pem"\n')
    root = tmp_path / "var" / "store" / "evidence"
    lab = Laboratory(EvidenceStore(root, [key.verifying_key]), key, root)
    run = RunDirectory(tmp_path / "run")
    decided = [candidates.denied(lab), candidates.stopped(lab)]
    policy = decided[0].decision.policy_digest
    run.begin(
        RunFile(
            release="demo",
            release_path=tmp_path / "release.yaml",
            release_digest=RELEASE,
            policy="demo",
            policy_digest=policy,
            created=START,
        )
    )
    for sources in decided:
        name, statements = sources.decision.candidate, sources.evidence.digests
        state = CandidateState(
            subject=sources.decision.subject, statements=statements, decision=sources.decision_digest
        )
        run.save(name, state)
    return Desk(tmp_path)


def test_a_run_gets_every_form_of_each_card_and_one_of_the_release(desk: Desk) -> None:
    answer = desk.airlock("render", str(desk.run))
    assert answer.code == ExitCode.YES, answer.stderr
    written = {str(Path(path).relative_to(desk.run)) for path in answer.document["written"]}
    forms = {"card.json", "card.md", "card.html", "card.cdx.json", "card.spdx.json"}
    expected = {f"{name}/{form}" for name in ("135m-pruned", "135m-tampered") for form in forms}
    assert written == expected | {"release.json", "release.md", "release.html"}
    assert b'href="135m-pruned/card.html"' in (desk.run / "release.html").read_bytes()


def test_cards_as_written_verify(desk: Desk) -> None:
    desk.airlock("render", str(desk.run))
    answer = desk.airlock("verify", str(desk.run))
    assert answer.code == ExitCode.YES, answer.stderr
    assert [card["candidate"] for card in answer.document["cards"]] == ["135m-pruned", "135m-tampered"]


def test_rendering_again_changes_no_byte(desk: Desk) -> None:
    desk.airlock("render", str(desk.run))
    before = {path: path.read_bytes() for path in desk.run.rglob("card.*")}
    desk.airlock("render", str(desk.run), "--candidate", "135m-pruned")
    assert {path: path.read_bytes() for path in desk.run.rglob("card.*")} == before


def test_an_edited_card_is_denied_and_left_as_it_is(desk: Desk) -> None:
    desk.airlock("render", str(desk.run))
    card = desk.run / "135m-pruned" / "card.json"
    edited = card.read_bytes().replace(b'"verdict":"NO-GO"', b'"verdict":"GO"')
    card.write_bytes(edited)
    answer = desk.airlock("verify", str(desk.run), "--candidate", "135m-pruned")
    assert answer.code == ExitCode.DENIED
    assert answer.document["cards"][0]["problems"] == ['verdict says "GO" on the card, and the evidence gives "NO-GO".']
    assert card.read_bytes() == edited


def test_an_edited_page_is_denied(desk: Desk) -> None:
    desk.airlock("render", str(desk.run))
    page = desk.run / "135m-pruned" / "card.html"
    page.write_bytes(page.read_bytes().replace(b"Denied", b"Passed"))
    answer = desk.airlock("verify", str(desk.run))
    assert answer.code == ExitCode.DENIED
    assert "card.html is not what the card renders to" in answer.stdout


def test_edited_evidence_denies_the_card(desk: Desk) -> None:
    desk.airlock("render", str(desk.run))
    state = RunDirectory(desk.run).candidate("135m-pruned")
    digits = state.statements[0].removeprefix("sha256:")
    blob = desk.root / "var" / "store" / "evidence" / "blobs" / digits[:2] / digits
    blob.chmod(0o644)
    blob.write_bytes(blob.read_bytes() + b" ")
    answer = desk.airlock("verify", str(desk.run), "--candidate", "135m-pruned")
    assert answer.code == ExitCode.DENIED
    assert "edited" in answer.stderr


def test_a_card_file_alone_is_rendered_without_a_site(desk: Desk) -> None:
    desk.airlock("render", str(desk.run))
    card = desk.run / "135m-pruned" / "card.json"
    stdout = io.StringIO()
    arguments = ["card", "render", "--card", str(card), "--to", str(desk.root / "copy"), "--json"]
    assert execute(arguments, Output(True, stdout, io.StringIO())) == ExitCode.YES
    for form in ("card.json", "card.md", "card.html"):
        assert (desk.root / "copy" / form).read_bytes() == card.with_name(form).read_bytes()


def test_a_copy_of_a_card_is_verified_for_the_candidate_it_names(desk: Desk) -> None:
    desk.airlock("render", str(desk.run))
    copy = desk.root / "mailed.json"
    copy.write_bytes((desk.run / "135m-tampered" / "card.json").read_bytes())
    right = desk.airlock("verify", str(desk.run), "--candidate", "135m-tampered", "--card", str(copy))
    assert right.code == ExitCode.YES
    wrong = desk.airlock("verify", str(desk.run), "--candidate", "135m-pruned", "--card", str(copy))
    assert wrong.code == ExitCode.DENIED
    neither = desk.airlock("verify", str(desk.run), "--card", str(copy))
    assert neither.code == ExitCode.BAD_REQUEST


@pytest.mark.parametrize("data", [b"", b'{"type": "x"}', b"[]", b'{"a": NaN}'])
def test_what_is_no_card_is_refused_and_nothing_is_written(desk: Desk, data: bytes) -> None:
    file = desk.root / "odd.json"
    file.write_bytes(data)
    answer = desk.airlock("render", "--card", str(file), "--to", str(desk.root / "out"))
    assert answer.code == ExitCode.BAD_REQUEST
    assert "is not a model card" in answer.stderr
    assert not (desk.root / "out").exists()


def test_a_folder_without_a_run_is_refused(desk: Desk) -> None:
    assert desk.airlock("render", str(desk.root / "nowhere")).code == ExitCode.BAD_REQUEST
    for name in ("135m-pruned", "135m-tampered"):
        (desk.run / name / "state.json").unlink()
    answer = desk.airlock("verify", str(desk.run))
    assert answer.code == ExitCode.BAD_REQUEST
    assert "no candidate" in answer.stderr


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from pipeline.cli.main import execute; execute(['card', 'render', '--help']);"
        "print(sorted({'jinja2', 'jsonschema', 'numpy', 'cryptography', 'pydantic'} & sys.modules.keys()))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.rstrip().endswith("[]")
