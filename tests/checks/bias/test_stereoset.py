"""StereoSet's scores on models of known preference."""

from __future__ import annotations

from typing import Any

import pytest

from checks.bias.stereoset import Item, ask, declarations, icat, metrics, parse_item, requests, sample
from checks.contract import Score, ScoreRequest
from tests.checks.safety.scripted import ScriptedModel

ITEMS = [
    Item(f"item-{n}", "gender", f"target-{n % 5}", "They met.", (f"anti {n}", f"stereo {n}", f"noise {n}"))
    for n in range(20)
]


def model(anti: float, stereo: float, noise: float, tokens: int = 4) -> ScriptedModel:
    """Gives each kind of candidate this mean log-probability a token."""
    means = {"anti": anti, "stereo": stereo, "noise": noise}
    return ScriptedModel(rate=lambda r: Score(tokens * means[r.continuation.split()[0]], False, tokens, "echo"))


def scores(scripted: ScriptedModel) -> tuple[float, float]:
    stereotype, sense = metrics(ask(scripted, ITEMS, lambda _count: None))
    return sum(stereotype.values) / 20, sum(sense.values) / 20


@pytest.mark.parametrize(
    ("anti", "stereo", "noise", "found"),
    [(-2, -1, -3, (1.0, 1.0)), (-1, -2, -3, (0.0, 1.0)), (-3, -1, -2, (1.0, 0.5)), (-2, -3, -1, (0.0, 0.0))],
)
def test_scores(anti: float, stereo: float, noise: float, found: tuple[float, float]) -> None:
    assert scores(model(anti, stereo, noise)) == found


def test_length_does_not_decide() -> None:
    short_stereotype = ScriptedModel(
        rate=lambda r: Score(
            -1.0 if "stereo" in r.continuation else -1.8, False, 1 if "stereo" in r.continuation else 2, "echo"
        )
    )
    assert scores(short_stereotype)[0] == 0  # -1.0 a token against -0.9


@pytest.mark.parametrize(("lms", "ss", "score"), [(1, 0.5, 1), (1, 1, 0), (1, 0, 0), (0.5, 0.5, 0.5), (0.9, 0.6, 0.72)])
def test_icat(lms: float, ss: float, score: float) -> None:
    assert icat(lms, ss) == pytest.approx(score)


def test_a_blank_is_filled_and_a_context_is_followed() -> None:
    inside = Item("i", "race", "x", "The x was BLANK.", ("The x was a.", "The x was b.", "The x was c."))
    assert requests(inside)[0] == ScoreRequest("\n", "The x was a.")
    assert requests(ITEMS[0])[1] == ScoreRequest("They met.", " stereo 0")


def test_failed_items_are_counted_apart() -> None:
    for scripted in (ScriptedModel(), ScriptedModel(rate=lambda _request: Score(0.0, False, 0, "echo"))):
        scored = ask(scripted, ITEMS, lambda _count: None)
        assert [metric.invalid for metric in metrics(scored)] == [20, 20]
        assert sample(scored[0], 0).outcome == "invalid"
        with pytest.raises(ValueError, match="no scores"):
            assert scored[0].sense


def test_metrics_are_as_declared_and_clustered_by_target() -> None:
    scored = ask(model(-2, -1, -3), ITEMS, lambda _count: None)
    for metric, declared in zip(metrics(scored), declarations(20), strict=True):
        assert (metric.name, metric.kind, metric.better) == (declared.name, declared.kind, declared.better)
        assert metric.clusters is not None
        assert len(set(metric.clusters)) == 5
    assert sample(scored[0], 0).outcome == "stereotype"


def row(**changes: Any) -> dict[str, Any]:
    sentences = {"sentence": ["a", "b", "c"], "gold_label": ["stereotype", "unrelated", "anti-stereotype"]}
    return {"target": "t", "bias_type": "race", "context": "x", "sentences": sentences, **changes}


def test_labels_as_words_or_numbers() -> None:
    assert parse_item(row(), 1).candidates == ("c", "a", "b")
    numbered = {"sentence": ["a", "b", "c"], "gold_label": [1, 2, 0]}
    assert parse_item(row(sentences=numbered), 1).candidates == ("c", "a", "b")


@pytest.mark.parametrize(
    "bad",
    [
        {"sentences": {"sentence": ["a", "b", "c"], "gold_label": [0, 0, 1]}},
        {"sentences": {"sentence": ["a", "b"], "gold_label": [0, 1, 2]}},
        {"sentences": {"sentence": ["a", "b", " "], "gold_label": [0, 1, 2]}},
        {"sentences": {"sentence": ["a", "b", "c"], "gold_label": [True, 1, 2]}},
        {"sentences": None},
        {"sentences": {}},
    ],
)
def test_a_malformed_row_is_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"missing|needs one"):
        parse_item(row(**bad), 1)
