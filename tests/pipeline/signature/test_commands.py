"""`airlock keys generate`, `airlock sign` and `airlock verify`, as a user runs them."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import Encoding

from pipeline.cli.main import execute
from pipeline.cli.output import ExitCode, Output
from pipeline.digests import sha256
from pipeline.keys import load_signing_key
from pipeline.signature import manifest_of
from tests.pipeline.signature.authority import IDENTITY, root_authority
from tests.pipeline.signature.parts import write_files


def airlock(*arguments: str | Path) -> tuple[ExitCode, dict[str, Any], str]:
    """Run the command line under --json: its exit code, its document and its prose."""
    out, err = io.StringIO(), io.StringIO()
    code = execute([*map(str, arguments), "--json"], Output(json=True, stdout=out, stderr=err))
    return code, json.loads(out.getvalue() or "{}"), err.getvalue()


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A checkpoint, a key pair, a signature and a site, all made by the commands."""
    write_files(tmp_path / "checkpoint")
    assert airlock("keys", "generate", tmp_path / "release.pem")[0] == ExitCode.YES
    code, document, _ = airlock("sign", tmp_path / "checkpoint", "--key", tmp_path / "release.pem")
    assert code == ExitCode.YES
    assert document["digest"] == manifest_of(tmp_path / "checkpoint").digest
    assert document["bundle"] == str(tmp_path / "checkpoint.sig")
    (tmp_path / "airlock.toml").write_text(
        '[pipeline]\nkey = "pipeline.pem"\n[signers.team]\nmethod = "key"\npublic_key = "release.pub"\n'
    )
    return tmp_path


def verify(place: Path, signer: str = "team", name: str = "checkpoint") -> tuple[ExitCode, dict[str, Any], str]:
    """Run `airlock verify` on the checkpoint of `place`."""
    return airlock(
        *("verify", place / "checkpoint", "--bundle", place / "checkpoint.sig"),
        *("--signer", signer, "--name", name, "--site", place / "airlock.toml"),
    )


def test_an_intact_checkpoint_is_a_yes(place: Path) -> None:
    code, document, _ = verify(place)
    assert code == ExitCode.YES
    assert document["verified"] is True
    assert document["digest"] == manifest_of(place / "checkpoint").digest
    assert document["signer"]["name"] == "team"
    assert [file["path"] for file in document["files"]] == sorted(file["path"] for file in document["files"])
    assert document["problems"] == []


def test_an_ageing_trust_root_is_a_yes_with_a_warning(place: Path) -> None:
    root, key = root_authority(), load_signing_key(place / "release.pem")
    assert isinstance(key.private, EllipticCurvePrivateKey)
    chain = place / "chain.pem"
    chain.write_bytes(root.issue(key.private).public_bytes(Encoding.PEM))
    assert airlock(*("sign", place / "checkpoint", "--key", place / "release.pem", "--certificate", chain))[0] == 0
    root.write(place / "root.pem")
    record = {"version": 1, "issued": "2020-01-01T00:00:00Z", "digest": sha256(root.pem)}
    (place / "root.json").write_text(json.dumps(record))
    (place / "airlock.toml").write_text(
        '[pipeline]\nkey = "pipeline.pem"\n[signers.team]\nmethod = "certificate"\nroots = ["root.pem"]\n'
        f'identity = "{IDENTITY}"\nroot_record = "root.json"\nwarn_root_age_days = 30\n'
    )
    code, document, prose = verify(place)
    assert code == ExitCode.YES
    assert "Import a current one" in document["warnings"][0]
    assert "warning: The trust root of signer 'team'" in prose


def test_a_tampered_checkpoint_is_a_denial_that_says_what(place: Path) -> None:
    (place / "checkpoint/config.json").write_bytes(b"{}")
    code, document, _ = verify(place)
    assert code == ExitCode.DENIED
    assert document["verified"] is False
    assert document["digest"] == manifest_of(place / "checkpoint").digest
    assert document["problems"] == ["config.json: was changed after it was signed"]


def test_an_unknown_signer_is_a_bad_request(place: Path) -> None:
    code, document, prose = verify(place, signer="Nobody At All")
    assert code == ExitCode.BAD_REQUEST
    assert "unknown" in document["error"]["what"]
    assert "Traceback" not in prose


def test_the_candidates_name_counts_for_signers_who_may_sign_some_only(place: Path) -> None:
    with (place / "airlock.toml").open("a") as site:
        site.write('may_sign = ["tiny-*"]\n')
    assert verify(place)[0] == ExitCode.DENIED
    assert verify(place, name="tiny-1b")[0] == ExitCode.YES
    assert verify(place, name="Not A Name")[0] == ExitCode.BAD_REQUEST


def test_a_bundle_that_is_no_bundle_is_a_denial(place: Path) -> None:
    (place / "checkpoint.sig").write_bytes(b"\x00\xff")
    code, document, _ = verify(place)
    assert code == ExitCode.DENIED
    assert "not valid JSON" in document["problems"][0]


def test_text_output(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["verify", str(place / "checkpoint"), "--bundle", str(place / "checkpoint.sig"), "--signer", "team"]
    assert execute([*arguments, "--site", str(place / "airlock.toml")]) == ExitCode.YES
    assert "verified: 5 files" in capsys.readouterr().out
    (place / "checkpoint/config.json").unlink()
    assert execute([*arguments, "--site", str(place / "airlock.toml")]) == ExitCode.DENIED
    assert "- config.json: is signed but missing" in capsys.readouterr().out


def test_generating_over_a_key_is_refused(place: Path) -> None:
    before = (place / "release.pem").read_bytes()
    code, document, _ = airlock("keys", "generate", place / "release.pem")
    assert code == ExitCode.BAD_REQUEST
    assert "never overwritten" in document["error"]["why"]
    assert (place / "release.pem").read_bytes() == before


def test_signing_with_a_missing_key(place: Path) -> None:
    code, document, _ = airlock("sign", place / "checkpoint", "--key", place / "nowhere.pem")
    assert code == ExitCode.BAD_REQUEST
    assert document["error"]["kind"] == "KeyFileError"


def test_signing_nothing(place: Path) -> None:
    (place / "empty").mkdir()
    code, document, _ = airlock("sign", place / "empty", "--key", place / "release.pem")
    assert code == ExitCode.DENIED
    assert "no files" in document["error"]["why"]
    assert not (place / "empty.sig").exists()


def test_signing_a_link(place: Path) -> None:
    (place / "checkpoint/link").symlink_to("config.json")
    before = (place / "checkpoint.sig").read_bytes()
    code, document, _ = airlock("sign", place / "checkpoint", "--key", place / "release.pem")
    assert code == ExitCode.DENIED
    assert "symbolic link" in document["error"]["problems"][0]
    assert (place / "checkpoint.sig").read_bytes() == before
