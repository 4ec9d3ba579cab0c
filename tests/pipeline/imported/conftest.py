"""A run whose one candidate was verified and inspected, and not measured by anything."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipeline.admission import admit
from pipeline.policy.document import load_policy
from pipeline.release import load_release
from pipeline.run_directory import CandidateState, RunDirectory, RunFile
from pipeline.workplace import open_workplace
from tests.runs import Organisation, found_organisation


@pytest.fixture
def site(tmp_path: Path) -> Organisation:
    """An organisation with such a run, and a policy that demands one imported result."""
    organisation = found_organisation(tmp_path / "site")
    workplace = open_workplace(organisation.root / "airlock.toml")
    release = load_release(organisation.root / "release.yaml")
    write_policy(organisation, "strict", "")
    policy = load_policy(write_policy(organisation, "counting", "evidence: {imported: true, max_age: 52w}"))
    run = RunDirectory(organisation.run)
    run.begin(
        RunFile(
            release=release.name,
            release_path=release.path,
            release_digest=release.digest,
            policy=policy.name,
            policy_digest=policy.digest,
            created=datetime.now(UTC),
        )
    )
    admission = admit(release.candidates[0], workplace, lambda _bytes: None)
    run.save("good", CandidateState(subject=admission.subject, statements=admission.statements))
    return organisation


def write_policy(
    organisation: Organisation,
    name: str,
    settings: str,
    metric: str = "imported/lm_eval_toy/acc",
    limit: str = "min: 0.5",
) -> Path:
    """A policy with one rule."""
    rule = f"{{id: quality.imported, title: Quality, reason: Users need it., metric: {metric}, {limit}}}"
    path = organisation.root / f"{name}.yaml"
    path.write_text(f"apiVersion: airlock/v1\nkind: Policy\nname: {name}\n{settings}\nrules:\n  - {rule}\n")
    return path


def import_into(organisation: Organisation, report: Path, *words: str | Path) -> tuple[int, str]:
    """`airlock evidence import` of `report`; returns the exit code and all that it printed."""
    ran = organisation.airlock("evidence", "import", organisation.run, report, "--candidate", "good", *words)
    return ran.code, ran.stdout + ran.stderr


def imported(organisation: Organisation) -> tuple[str, ...]:
    """What the run has imported."""
    return RunDirectory(organisation.run).candidate("good").imported
