"""`airlock evidence`: what is known of a checkpoint, and only what is signed."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.cli.main import execute
from pipeline.cli.output import ExitCode, Output
from pipeline.evidence.statement import MeasurementEvidence
from pipeline.evidence.store import EvidenceStore
from pipeline.keys import generate_key, write_key_pair
from tests.pipeline.evidence.builders import FINISHED, STARTED, SUBJECT, blob_path, measurement


@pytest.fixture
def site(tmp_path: Path) -> Path:
    path = tmp_path / "airlock.toml"
    path.write_text('[store]\npath = "store"\n[pipeline]\nkey = "pipeline.pem"\n')
    return path


@pytest.fixture
def recorded(site: Path) -> MeasurementEvidence:
    key = generate_key()
    write_key_pair(key, site.parent / "pipeline.pem")
    store = EvidenceStore(site.parent / "store" / "evidence", [key.verifying_key])
    store.record_verification(SUBJECT, "tiny", {"verified": True}, key)
    samples = tuple(replace(sample, sensitive=sample.id == "item-0") for sample in measurement().samples)
    return store.record_measurement(
        SUBJECT,
        "tiny",
        replace(measurement(), samples=samples),
        serving={},
        environment={},
        started=STARTED,
        finished=FINISHED,
        key=key,
    )


def call(site: Path, *arguments: str) -> tuple[ExitCode, str]:
    stdout = io.StringIO()
    code = execute(["evidence", *arguments, "--site", str(site)], Output("--json" in arguments, stdout, io.StringIO()))
    return code, stdout.getvalue()


def test_list_names_every_statement(site: Path, recorded: MeasurementEvidence) -> None:
    code, text = call(site, "list", SUBJECT)
    assert code == ExitCode.YES
    assert recorded.statement.digest in text
    assert "performance/knowledge" in text
    assert len(text.splitlines()) == 2


def test_show_prints_a_measurement_and_hides_what_is_sensitive(site: Path, recorded: MeasurementEvidence) -> None:
    code, text = call(site, "show", recorded.statement.digest, "--samples", "2")
    assert code == ExitCode.YES
    assert "rate on 4 items, 0 invalid" in text
    assert "item-0: correct: (redacted" in text
    assert "item-1: correct: red" in text
    assert "item-2" not in text
    assert "item-0: correct: red\n" in call(site, "show", recorded.statement.digest, "--samples", "1", "--reveal")[1]


def test_show_prints_other_statements(site: Path, recorded: MeasurementEvidence) -> None:
    listed = json.loads(call(site, "list", recorded.statement.subject, "--json")[1])["statements"]
    code, text = call(site, "show", listed[0]["digest"])
    assert code == ExitCode.YES
    assert "verified   True" in text
    assert json.loads(call(site, "show", listed[0]["digest"], "--json")[1])["predicate"] == {"verified": True}


def test_attack_edited_statement_is_not_shown(site: Path, recorded: MeasurementEvidence) -> None:
    path = blob_path(site.parent / "store" / "evidence", recorded.statement.digest)
    path.chmod(0o644)
    path.write_bytes(path.read_bytes().replace(b"A", b"B", 1))
    code, text = call(site, "show", recorded.statement.digest)
    assert (code, text) == (ExitCode.DENIED, "")


def test_nothing_is_said_of_an_unknown_checkpoint(site: Path, recorded: MeasurementEvidence) -> None:
    assert "Nothing is known" in call(site, "list", recorded.samples)[1]
    assert call(site, "list", "sha256:xyz")[0] == ExitCode.BAD_REQUEST
