"""What isolates a server, as it is decided before any server starts: on every machine, whatever that machine allows."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.errors import ServingError
from pipeline.planning import ServingPlan
from pipeline.serving import describe, isolation, local
from pipeline.serving.isolation import SUPERVISOR, Possible, isolation_for, possible_isolation
from pipeline.serving.local import Start, private_directory, running
from pipeline.site import ServingSettings
from tests.pipeline.serving.test_local import start_of


def test_the_description_says_what_isolates_before_anything_starts() -> None:
    plan, possible = ServingPlan(1, 64, "bfloat16"), possible_isolation()
    assert describe(plan, ServingSettings()).isolation == possible.best("unix")
    assert describe(plan, ServingSettings(listen="tcp")).isolation == possible.best("tcp")
    assert describe(plan, ServingSettings(isolation="none")).isolation == "none"
    assert describe(plan).isolation == "none"  # nothing is claimed that a site could contradict


def test_a_site_that_requires_isolation_gets_it_or_an_error() -> None:
    required = ServingSettings(isolation="required")
    if possible_isolation().best("unix") == "network-namespace+landlock":
        assert isolation_for(required) == "network-namespace+landlock"
    else:
        with pytest.raises(ServingError, match="as the site requires"):
            isolation_for(required)
    with pytest.raises(ServingError, match="as the site requires") as failure:
        isolation_for(ServingSettings(isolation="required", listen="tcp"))
    assert "needs the machine's network" in failure.value.why


@pytest.mark.parametrize(
    ("network", "landlock", "unix", "tcp"),
    [
        (True, True, "network-namespace+landlock", "landlock"),
        (True, False, "network-namespace", "none"),
        (False, True, "landlock", "landlock"),
        (False, False, "none", "none"),
    ],
)
def test_a_port_needs_the_machines_network(network: bool, landlock: bool, unix: str, tcp: str) -> None:
    possible = Possible(network, landlock, "")
    assert (possible.best("unix"), possible.best("tcp")) == (unix, tcp)


def test_a_machine_that_allows_nothing_says_why_and_claims_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusing = tmp_path / "supervisor.py"
    refusing.write_text("raise SystemExit('unshare: Operation not permitted')", encoding="utf-8")
    monkeypatch.setattr(isolation, "SUPERVISOR", refusing)
    assert possible_isolation() == Possible(False, False, "unshare: Operation not permitted")
    assert isolation_for(ServingSettings()) == "none"
    with pytest.raises(ServingError, match="Operation not permitted"):
        isolation_for(ServingSettings(isolation="required"))
    monkeypatch.setattr("sys.executable", "/no/such/python")
    assert "the probe failed" in possible_isolation().reason


def test_the_probe_changes_nothing_here() -> None:
    before = {entry.name for entry in Path("/sys/class/net").iterdir()}
    subprocess.run([sys.executable, "-I", "-S", str(SUPERVISOR), "--probe"], capture_output=True, check=False)
    assert {entry.name for entry in Path("/sys/class/net").iterdir()} == before


def test_an_isolation_that_cannot_be_had_starts_nothing(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A supervisor on a kernel without namespaces: its call fails as it does there.
    old = tmp_path / "supervisor.py"
    text = SUPERVISOR.read_text(encoding="utf-8")
    old.write_text(text.replace('_libc("unshare", ', '_libc("unshare", -1 | '), encoding="utf-8")
    monkeypatch.setattr(local, "SUPERVISOR", old)
    private = private_directory()
    start, served = start_of(private, tiny)
    wanted = Start(start.command, start.environment, start.endpoint, private, "network-namespace")
    with (
        pytest.raises(ServingError, match="unshare: "),
        running(wanted, served, log=tmp_path / "log", timeout=60),
    ):
        pytest.fail("it must not start")
    assert "fake server listening" not in (tmp_path / "log").read_text()
