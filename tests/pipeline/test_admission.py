"""What is recorded of a candidate before anything is measured, of one that is refused as well."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from checks import built_in_checks
from pipeline.admission import Admission, admit
from pipeline.baseline import predecessor_of
from pipeline.errors import StorageError
from pipeline.evaluation import Laboratory, evaluate, schedule
from pipeline.keys import load_signing_key
from pipeline.progress import Progress
from pipeline.release import load_release
from pipeline.signature import sign_checkpoint
from pipeline.workplace import open_workplace
from tests.assets.checkpoints import CHAT_TEMPLATE, SafetensorsEntry, make_tiny_checkpoint, write_safetensors
from tests.fakes.openai_server import FakeServer
from tests.runs import Organisation, found_organisation

NOT_FINITE = SafetensorsEntry("extra.weight", "BF16", (2, 1024), b"\x80\x7f" * 2048)


@pytest.fixture
def founded(tmp_path: Path) -> Organisation:
    """An organisation with a release that nothing was done with yet."""
    return found_organisation(tmp_path / "site")


def sign_again(site: Organisation) -> None:
    """The publisher signs the checkpoint as it is now."""
    (site.root / "checkpoint.sig").unlink()
    sign_checkpoint(site.root / "checkpoint", load_signing_key(site.key("publisher")), site.root / "checkpoint.sig")


def admitted(site: Organisation) -> tuple[Admission, Mapping[str, Any], list[int]]:
    """How admission ended, what its last statement says, and how many bytes were read at a time."""
    workplace, release = open_workplace(site.root / "airlock.toml"), load_release(site.root / "release.yaml")
    read: list[int] = []
    predecessor = predecessor_of("good", release, workplace)
    admission = admit(release.candidates[0], workplace, read.append, predecessor=predecessor)
    return admission, workplace.store.statement(admission.statements[-1]).predicate, read


def findings(inspected: Mapping[str, Any]) -> set[str]:
    """The ids of what inspection found."""
    return {found["id"] for found in inspected["findings"]}


def test_the_deep_scan_takes_no_second_look_at_the_bytes(founded: Organisation) -> None:
    checkpoint = founded.root / "checkpoint"
    write_safetensors(checkpoint / "extra.safetensors", [NOT_FINITE])
    sign_again(founded)
    file = founded.root / "airlock.toml"
    file.write_text(file.read_text() + "[inspection]\ndeep = true\n")
    admission, inspected, read = admitted(founded)
    assert "checkpoint.tensor-not-finite" in findings(inspected)
    assert sum(read) == sum(path.stat().st_size for path in checkpoint.rglob("*") if path.is_file())
    again, also_inspected, _ = admitted(founded)
    assert (again.statements, also_inspected) == (admission.statements, inspected)


def test_without_the_deep_scan_values_are_not_looked_at(founded: Organisation) -> None:
    write_safetensors(founded.root / "checkpoint" / "extra.safetensors", [NOT_FINITE])
    sign_again(founded)
    assert "checkpoint.tensor-not-finite" not in findings(admitted(founded)[1])


def test_a_refused_candidate_keeps_all_that_was_found_its_false_claims_too(founded: Organisation) -> None:
    release = founded.root / "release.yaml"
    release.write_text(release.read_text().replace("licence: Apache-2.0", "licence: Apache-2.0, parameters: 9e9"))
    config = founded.root / "checkpoint" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "auto_map": {"AutoModel": "evil.Model"}}))
    sign_again(founded)
    admission, inspected, _ = admitted(founded)
    assert admission.checkpoint is None
    assert admission.denial is not None
    assert {"checkpoint.remote-code", "checkpoint.claim-parameters"} <= findings(inspected)


def test_a_changed_chat_template_is_shown_against_the_baselines(site: Organisation) -> None:
    site.promote_with_everyone()
    make_tiny_checkpoint(
        site.root / "checkpoint", seed=1, chat_template=CHAT_TEMPLATE.replace("assistant", "helpful assistant")
    )
    sign_again(site)
    release = site.root / "release.yaml"
    release.write_text(release.read_text() + "baseline: {name: tiny, stage: staging}\n")
    (found,) = [f for f in admitted(site)[1]["findings"] if f["id"] == "checkpoint.template-changed"]
    assert "helpful assistant" in found["message"]
    assert "-{{ '<|im_start|>assistant" in found["message"]


def test_attack_the_stored_copy_is_edited_between_admission_and_serving(
    founded: Organisation, server: FakeServer
) -> None:
    """Other candidates may be measured for hours in between; a write is noticed before the server is asked."""
    checkpoint = admitted(founded)[0].checkpoint
    assert checkpoint is not None
    workplace = open_workplace(founded.root / "airlock.toml")
    laboratory = Laboratory(workplace, built_in_checks(), Progress(io.StringIO()), endpoint=server.url)
    plan = schedule(checkpoint, laboratory)
    weights = checkpoint.verified.root / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.chmod(0o644)
    weights.write_bytes(data)
    weights.chmod(0o444)
    asked = len(server.received)
    with pytest.raises(StorageError, match=r"model\.safetensors differs"):
        evaluate(plan, laboratory, log=founded.root / "server.log")
    assert len(server.received) == asked
