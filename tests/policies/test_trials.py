"""The policies' own tests pass, and tests of policies notice what they should."""

from __future__ import annotations

from pathlib import Path

import pytest

import policies
from pipeline.errors import FileFormatError, RequestError
from pipeline.policy.document import load_policy
from pipeline.policy.trial import run_trials, trial_path

FOLDER = Path(policies.__file__).parent
TRIALS = sorted(FOLDER.glob("*.test.yaml"))
HEAD = "apiVersion: airlock/v1\nkind: PolicyTest\ncases:\n"


@pytest.mark.parametrize("path", TRIALS, ids=lambda path: path.stem)
def test_the_built_in_policies_decide_as_their_tests_say(path: Path) -> None:
    policy = load_policy(Path(path.name.removesuffix(".test.yaml")))
    results = run_trials(policy, path)
    assert results
    assert [(result.name, result.problems) for result in results if result.problems] == []


def test_every_policy_that_people_use_has_tests() -> None:
    assert {path.name.removesuffix(".test.yaml") for path in TRIALS} >= {
        "staging",
        "production",
        "regulated",
        "edge",
        "demo",
    }


def test_a_case_that_does_not_come_out_says_what_did(tmp_path: Path) -> None:
    path = tmp_path / "demo.test.yaml"
    path.write_text(
        HEAD + "  - {name: wrong, expect: {verdict: GO, rules: {capability.knowledge: pass, no.such: pass}}}\n"
    )
    (result,) = run_trials(load_policy(Path("demo")), path)
    assert len(result.problems) == 3
    assert "the verdict is NO-GO, not GO" in result.problems[0]
    assert "is missing, not pass" in result.problems[1]
    assert "'no.such' is not among those" in result.problems[2]


def test_slices_and_baselines_can_be_described(tmp_path: Path) -> None:
    policy_path = tmp_path / "p.yaml"
    policy_path.write_text(
        "apiVersion: airlock/v1\nkind: Policy\nname: p\nrules:\n"
        "  - {id: a.b, title: T, reason: R., metric: a/b/c, min: 0.5, slices: each}\n"
        "  - {id: a.c, title: T, reason: R., metric: a/b/c, versus: baseline, max_drop: 0.1}\n"
    )
    slices = "{slices: {language: {en: {rate: 0.9, items: 200}, zh: {rate: 0.2, items: 200}}}}"
    expected = "{verdict: NO-GO, rules: {a.b: fail, a.c: pass}}"
    case = f"  - {{name: n, metrics: {{a/b/c: {slices}}}, baseline: {{a/b/c: {slices}}}, expect: {expected}}}\n"
    trial_path(policy_path).write_text(HEAD + case)
    (result,) = run_trials(load_policy(policy_path), trial_path(policy_path))
    assert result.problems == ()


@pytest.mark.parametrize(
    "case",
    [
        "{name: n}",
        "{name: n, expect: {verdict: MAYBE}}",
        "{name: n, expect: {verdict: GO}, metrics: {a/b/c: {rate: 0.5}}}",
        "{name: n, expect: {verdict: GO}, metrics: {a/b/c: {rate: 0.5, items: 3, values: [1]}}}",
        "{name: n, expect: {verdict: GO}, metrics: {a/b/c: {}}}",
        "{name: n, expect: {verdict: GO}, metrics: {acc: {rate: 0.5, items: 3}}}",
    ],
)
def test_a_malformed_case_is_refused(tmp_path: Path, case: str) -> None:
    path = tmp_path / "demo.test.yaml"
    path.write_text(f"{HEAD}  - {case}\n")
    with pytest.raises(FileFormatError, match="not acceptable"):
        run_trials(load_policy(Path("demo")), path)


def test_a_policy_without_tests_says_so(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="has no tests"):
        run_trials(load_policy(Path("demo")), tmp_path / "none.test.yaml")
