"""A site's set reaches the suite that knows how to ask it, whichever suite that is."""

from __future__ import annotations

from pathlib import Path

from checks import known_checks
from tests.checks.safety.test_site_sets import lines, made


def test_a_set_of_harmful_requests_becomes_a_check_of_the_safety_suite(tmp_path: Path) -> None:
    row = {"id": "1", "prompts_final": "Trick someone.", "harm_area": "Scams"}
    file = made(tmp_path, "simple_safety_tests", "simple_safety_tests.jsonl", lines(row))
    file.rename(tmp_path / "simple_safety_tests.dataset.yaml")
    suites = {check.name.partition("/")[0] for check in known_checks([tmp_path])[len(known_checks([])) :]}
    assert suites == {"safety"}
