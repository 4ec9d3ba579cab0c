"""Which policies may decide: signed, pinned, and never an older version.  Every way around it is tried."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from pipeline.cli.main import execute
from pipeline.cli.output import ExitCode, Output
from pipeline.digests import sha256
from pipeline.errors import DeniedError
from pipeline.keys import generate_key, write_key_pair
from pipeline.policy.authority import authorised_policy, require_forward, require_pinned, require_signed, seal_policy
from pipeline.site import Site, load_site
from tests.pipeline.policy.builders import limit, policy

POLICY = "apiVersion: airlock/v1\nkind: Policy\nname: own\nversion: 2\nrules:\n" + limit("min: 0.5") + "\n"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    write_key_pair(generate_key(), tmp_path / "owner.pem")
    (tmp_path / "own.yaml").write_text(POLICY)
    path = tmp_path / "airlock.toml"
    path.write_text('[store]\npath = "store"\n[pipeline]\nkey = "p.pem"\n[policies]\nsigned_by = ["owner.pub"]\n')
    return load_site(path)


def sign(path: Path, key: Path) -> ExitCode:
    return execute(["policy", "sign", str(path), "--key", str(key)], Output(False, io.StringIO(), io.StringIO()))


def test_a_signed_policy_decides(site: Site, tmp_path: Path) -> None:
    assert sign(tmp_path / "own.yaml", tmp_path / "owner.pem") == ExitCode.YES
    assert authorised_policy(tmp_path / "own.yaml", site).name == "own"


def test_attack_unsigned_policy(site: Site, tmp_path: Path) -> None:
    with pytest.raises(DeniedError, match="may not decide") as denied:
        authorised_policy(tmp_path / "own.yaml", site)
    assert denied.value.why == "It is not signed."
    assert not (tmp_path / "store").exists()


def test_attack_policy_edited_after_signing(site: Site, tmp_path: Path) -> None:
    sign(tmp_path / "own.yaml", tmp_path / "owner.pem")
    (tmp_path / "own.yaml").write_text(POLICY.replace("min: 0.5", "min: 0.1"))
    with pytest.raises(DeniedError) as denied:
        authorised_policy(tmp_path / "own.yaml", site)
    assert "another policy" in denied.value.why


def test_attack_what_a_signed_policy_extends_is_edited(site: Site, tmp_path: Path) -> None:
    (tmp_path / "parent.yaml").write_text(POLICY.replace("name: own", "name: parent"))
    (tmp_path / "own.yaml").write_text("apiVersion: airlock/v1\nkind: Policy\nname: own\nextends: [parent]\n")
    sign(tmp_path / "own.yaml", tmp_path / "owner.pem")
    assert authorised_policy(tmp_path / "own.yaml", site).rules
    (tmp_path / "parent.yaml").write_text(POLICY.replace("name: own", "name: parent").replace("0.5", "0.1"))
    with pytest.raises(DeniedError):
        authorised_policy(tmp_path / "own.yaml", site)


def test_attack_policy_signed_by_a_stranger(site: Site, tmp_path: Path) -> None:
    write_key_pair(generate_key(), tmp_path / "stranger.pem")
    sign(tmp_path / "own.yaml", tmp_path / "stranger.pem")
    with pytest.raises(DeniedError) as denied:
        authorised_policy(tmp_path / "own.yaml", site)
    assert "0 of 1 required" in denied.value.why


def test_attack_signature_of_another_policy(tmp_path: Path) -> None:
    key = generate_key()
    strict, lax = policy(tmp_path, limit("min: 0.9")), policy(tmp_path, limit("min: 0.1"))
    require_signed(strict, seal_policy(strict, key), [key.verifying_key])
    with pytest.raises(DeniedError):
        require_signed(lax, seal_policy(strict, key), [key.verifying_key])


def test_attack_older_version(tmp_path: Path) -> None:
    folder = tmp_path / "seen"
    new = policy(tmp_path, limit("min: 0.5"), "version: 3")
    require_forward(new, folder)
    require_forward(new, folder)
    with pytest.raises(DeniedError, match="may not decide") as denied:
        require_forward(policy(tmp_path, limit("min: 0.5"), "version: 2"), folder)
    assert "version 3 has decided here before" in denied.value.why
    assert (folder / "test").read_text() == "3\n"


@pytest.mark.parametrize("content", ["", "latest", "-1", "²", "\x00"])
def test_attack_edited_memory_of_versions(tmp_path: Path, content: str) -> None:
    (tmp_path / "test").write_text(content)
    with pytest.raises(DeniedError, match="not known which version"):
        require_forward(policy(tmp_path, limit("min: 0.5")), tmp_path)


def test_attack_another_policy_for_a_pinned_stage() -> None:
    allowed, other = sha256(b"allowed"), sha256(b"other")
    pinned = {"production": (allowed,)}
    require_pinned("p", allowed, "production", pinned)
    require_pinned("p", other, "staging", pinned)
    with pytest.raises(DeniedError, match="may not decide for stage 'production'"):
        require_pinned("p", other, "production", pinned)
    with pytest.raises(DeniedError):
        require_pinned("p", other, "staging", {"staging": ()})
