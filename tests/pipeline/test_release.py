"""release.yaml: what is read, and each way in which it can be wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.errors import AirlockError, FileFormatError, RequestError
from pipeline.release import load_release

GOOD = """
apiVersion: airlock/v1
kind: Release
name: demo
candidates:
  - name: small
    checkpoint: checkpoints/small
    signature: {bundle: small.sig, signer: publisher}
    claims: {parameters: 1.0e8, licence: Apache-2.0}
"""


def write(tmp_path: Path, text: str = GOOD) -> Path:
    (tmp_path / "checkpoints" / "small").mkdir(parents=True)
    (tmp_path / "small.sig").write_text("{}")
    path = tmp_path / "release.yaml"
    path.write_text(text)
    return path


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    release = load_release(write(tmp_path))
    (candidate,) = release.candidates
    assert candidate.checkpoint == tmp_path / "checkpoints" / "small"
    assert candidate.signature.bundle == tmp_path / "small.sig"
    assert candidate.claims.parameters == 1e8
    assert release.digest.startswith("sha256:")


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("kind: Release", "kind: Policy", "kind"),
        ("airlock/v1", "airlock/v2", "apiVersion"),
        ("name: small", "name: ../small", "name"),
        ("name: small", "name: Small", "name"),
        ("signer: publisher", "signer: publisher, trust: all", "'candidates.0.signature.trust' is not a known key"),
        ("parameters: 1.0e8", "parameters: -1", "greater than 0"),
        ("candidates:", "candidates: []\nold:", "candidates"),
    ],
)
def test_a_wrong_value_is_named(tmp_path: Path, old: str, new: str, reason: str) -> None:
    with pytest.raises(FileFormatError, match=reason):
        load_release(write(tmp_path, GOOD.replace(old, new, 1)))


def test_two_candidates_of_one_name_are_refused(tmp_path: Path) -> None:
    twice = GOOD + GOOD[GOOD.index("  - name") :]
    with pytest.raises(FileFormatError, match="same name"):
        load_release(write(tmp_path, twice))


@pytest.mark.parametrize(("missing", "what"), [("small.sig", "no signature bundle"), ("checkpoints", "no checkpoint")])
def test_a_missing_input_is_named(tmp_path: Path, missing: str, what: str) -> None:
    path = write(tmp_path)
    (tmp_path / missing).rename(tmp_path / "elsewhere")
    with pytest.raises(RequestError, match=what):
        load_release(path)


def test_another_file_has_another_digest(tmp_path: Path) -> None:
    path = write(tmp_path)
    before = load_release(path).digest
    path.write_text(GOOD + "# a comment\n")
    assert load_release(path).digest != before


def test_every_error_has_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(AirlockError) as caught:
        load_release(tmp_path / "absent.yaml")
    assert caught.value.remedy
