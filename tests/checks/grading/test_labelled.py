"""Files of labelled answers, good and bad."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from checks.grading.labelled import Labelled, read_labelled
from checks.grading.outcomes import Outcome
from pipeline.errors import FileFormatError, RequestError

ROW = {"prompt": "How?", "response": "So.", "outcome": "complied"}


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_json_lines(tmp_path: Path) -> None:
    rows = [ROW, {**ROW, "outcome": "refused"}]
    path = written(tmp_path / "a.jsonl", "\n".join(map(json.dumps, rows)) + "\n\n")
    assert read_labelled(path) == [
        Labelled("How?", "So.", Outcome.COMPLIED),
        Labelled("How?", "So.", Outcome.REFUSED),
    ]


def test_csv_in_the_layout_of_the_xstest_labels(tmp_path: Path) -> None:
    text = 'id,prompt,completion,final_label,strmatch_label\n1,How?,"No,\nnever.",2_full_refusal,1_full_compliance\n'
    assert read_labelled(written(tmp_path / "a.csv", text)) == [
        Labelled("How?", "No,\nnever.", Outcome.REFUSED, Outcome.COMPLIED)
    ]


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("a.jsonl", "", "no labelled answer"),
        ("a.jsonl", "{", "Row 1 is no valid JSON"),
        ("a.jsonl", "[1]", "Row 1 is no JSON object"),
        ("a.jsonl", json.dumps({"prompt": "x", "outcome": "refused"}), "no text 'response'"),
        ("a.jsonl", json.dumps({**ROW, "response": 3}), "no text 'response'"),
        ("a.jsonl", json.dumps({**ROW, "outcome": "maybe"}), "unknown label 'maybe'"),
        ("a.jsonl", "[" * 100_000, "no valid JSON"),
        ("a.csv", "prompt,completion\nx,y\n", "no text 'final_label'"),
        ("a.csv", "prompt,completion,final_label\nx,y,4_odd\n", "unknown label '4_odd'"),
        ("a.csv", 'prompt,completion,final_label\n"x"y,z,1_full_compliance\n', "no valid CSV"),
        ("a.csv", "prompt,completion,final_label\n", "no labelled answer"),
    ],
)
def test_bad_files_are_refused_with_the_row(tmp_path: Path, name: str, text: str, why: str) -> None:
    with pytest.raises(FileFormatError) as caught:
        read_labelled(written(tmp_path / name, text))
    assert why in caught.value.why


def test_broken_utf8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"prompt": "\xff"}')
    with pytest.raises(FileFormatError, match="cannot be used") as caught:
        read_labelled(path)
    assert "UTF-8" in caught.value.why


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="none"):
        read_labelled(tmp_path / "none.jsonl")
