"""A run that is killed in the middle of a check goes on where it stopped: no answered request is asked again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from checks import built_in_checks
from checks.contract import Check, Model, Progress, Sampling
from checks.preflight import preflight
from pipeline.errors import ServingError
from pipeline.evaluation import Laboratory
from pipeline.evidence.statement import MeasurementEvidence
from pipeline.flow import measure_release
from pipeline.measurement import Measurement, Sample
from pipeline.progress import Progress as Report
from pipeline.release import load_release
from pipeline.serving import attach
from pipeline.workplace import open_workplace
from tests.fakes.brain import Brain
from tests.fakes.openai_server import FakeServer
from tests.fakes.pupil import Pupil
from tests.runs import Organisation, found_organisation

ROOT = Path(__file__).parents[2]
CHECKS = ("performance/knowledge", "safety/harmful_requests", "stability/repeat")
IN_FLIGHT = 32  # requests that the client has open at once
CRASHES = (0.3, 0.4)  # after which share of all requests, counted from the crash before


def measure(root: Path, url: str, checks: Sequence[Check] | None = None) -> dict[str, MeasurementEvidence]:
    """Take the measurements of the release under `root` that are missing; all of them, by check."""
    workplace = open_workplace(root / "airlock.toml")
    chosen = checks or [check for check in built_in_checks() if check.name in CHECKS]
    (measured,) = measure_release(load_release(root / "release.yaml"), Laboratory(workplace, chosen, Report(), url))
    assert measured.admission.subject is not None
    return {one.check: one for one in workplace.store.evidence(measured.admission.subject).measurements}


def unfinished(site: Organisation) -> list[Path]:
    return list((site.root / "store" / "evidence" / "unfinished").glob("*"))


def test_a_run_killed_twice_inside_checks_asks_nothing_again_and_finds_the_same(tmp_path: Path) -> None:
    whole, killed = (found_organisation(tmp_path / name / "site") for name in ("whole", "killed"))
    with FakeServer(whole.root / "checkpoint", Pupil().brain, name="good") as server:
        with attach(server.url, whole.root / "checkpoint", "good") as model:
            preflight(model)
        preflights = len(server.received)  # asked of every server that is started
        uninterrupted = measure(whole.root, server.url)
        needed = len(server.received) - 2 * preflights
        for share in CRASHES:
            kill_a_run(killed, server, after=preflights + int(share * needed))
            assert len(unfinished(killed)) == 1
        resumed = measure(killed.root, server.url)
        asked = len(server.received) - 2 * preflights - needed - (len(CRASHES) + 1) * preflights
    assert needed <= asked <= needed + len(CRASHES) * IN_FLIGHT
    assert results(killed, resumed) == results(whole, uninterrupted)
    assert sum(one.resumed for one in resumed.values()) > 0
    assert not any(one.resumed for one in uninterrupted.values())
    assert unfinished(killed) == []


def kill_a_run(site: Organisation, server: FakeServer, *, after: int) -> None:
    """Measure in a process of its own, and kill it when the server has got so many more requests."""
    program = "import sys; from pathlib import Path; from tests.pipeline.test_resumption import measure; "
    program += "measure(Path(sys.argv[1]), sys.argv[2])"
    last, pupil = len(server.received) + after, Pupil()
    child = subprocess.Popen([sys.executable, "-c", program, str(site.root), server.url], cwd=ROOT)

    def deadly(answer: Callable[..., Any]) -> Callable[..., Any]:
        def answered(*arguments: Any) -> Any:
            if len(server.received) >= last and child.poll() is None:
                os.kill(child.pid, signal.SIGKILL)
            return answer(*arguments)

        return answered

    server.brain = Brain(deadly(pupil.answer), deadly(pupil.logprob))
    assert child.wait(300) == -signal.SIGKILL
    server.brain = pupil.brain


def results(site: Organisation, measured: Mapping[str, MeasurementEvidence]) -> Mapping[str, object]:
    """Every figure with its samples, without how long each took."""

    def timeless(sample: Sample) -> Sample:
        return replace(sample, detail={**sample.detail, "seconds": None})

    store = open_workplace(site.root / "airlock.toml").store
    return {
        check: (one.metrics, [timeless(sample) for sample in store.samples(one.samples)])
        for check, one in measured.items()
    }


@pytest.mark.parametrize(("name", "kept"), [("stability/repeat", 1), ("performance/speed", 0)])
def test_figures_of_speed_never_come_from_an_earlier_attempt(tmp_path: Path, name: str, kept: int) -> None:
    """Whatever a check of speed asks, and however: nothing of an attempt that failed is kept for the next."""

    def fail(model: Model, _seed: int, _progress: Progress) -> Measurement:
        assert model.complete(["one"], Sampling(max_tokens=4))[0].error is None
        raise ServingError("the server died", why="As it was asked to.", remedy="None.")

    site = found_organisation(tmp_path / "site")
    checks = [replace(check, measure=fail) for check in built_in_checks() if check.name == name]
    with FakeServer(site.root / "checkpoint", Pupil().brain, name="good") as server:
        for _ in range(2):
            with pytest.raises(ServingError, match="died"):
                measure(site.root, server.url, checks)
        ones = [received for received in server.received if received.body["prompt"] == "one"]
    assert len(unfinished(site)) == kept
    assert len(ones) == 2 - kept
