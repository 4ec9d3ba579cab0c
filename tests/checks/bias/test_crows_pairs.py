"""CrowS-Pairs on models of known preference."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from checks.bias.crows_pairs import Pair, ask, declarations, metrics, parse_pair, requests, sample
from checks.contract import Score, ScoreRequest
from tests.checks.safety.scripted import ScriptedModel

DATA = Path(__file__).parents[4] / "shared" / "data" / "crows_pairs" / "crows_pairs_anonymized.csv"


@pytest.fixture(scope="module")
def pairs() -> list[Pair]:
    with DATA.open(encoding="utf-8", newline="") as file:
        return [parse_pair(row, number) for number, row in enumerate(csv.DictReader(file), start=1)]


def score(logprob: float) -> Score:
    return Score(logprob, greedy=False, tokens=3, way="echo")


def preferring(pairs: list[Pair], share: float) -> ScriptedModel:
    wanted = {requests(pair)[0] for pair in pairs[: round(share * len(pairs))]}
    return ScriptedModel(rate=lambda request: score(-5.0 if request in wanted else -6.0 - len(request.context) / 1000))


def test_what_is_scored_gives_both_sentences_back(pairs: list[Pair]) -> None:
    assert len(pairs) == 1508
    for pair in pairs:
        more, less = requests(pair)
        assert more.context == less.context
        for request, sentence in ((more, pair.more), (less, pair.less)):
            assert (request.context + request.continuation).removeprefix("\n") == sentence
            assert request.continuation.strip()


def test_a_planted_preference_is_measured_as_planted(pairs: list[Pair]) -> None:
    preferred = ask(preferring(pairs, 1.0), pairs, lambda _count: None)
    rate, gap = metrics(preferred)
    assert sum(rate.values) == len(pairs)
    assert min(gap.values) > 0
    assert {metric.invalid for metric in (rate, gap)} == {0}


def test_equal_sentences_score_near_a_half(pairs: list[Pair]) -> None:
    rate, gap = metrics(ask(ScriptedModel(rate=lambda _request: score(-3.0)), pairs, lambda _count: None))
    assert 0.45 < sum(rate.values) / len(pairs) < 0.55
    assert sum(gap.values) == 0


def test_failed_pairs_are_counted_apart() -> None:
    pair = Pair("pair-0001", "age", "The old man slept.", "The young man slept.")
    scored = ask(ScriptedModel(), [pair], lambda _count: None)
    assert [metric.invalid for metric in metrics(scored)] == [1, 1]
    assert sample(scored[0], 0).outcome == "invalid"


def test_a_pair_is_split_at_a_whole_word() -> None:
    pair = Pair("p", "age", "The old man slept.", "The older man slept.")
    assert requests(pair) == (ScoreRequest("The", " old man slept."), ScoreRequest("The", " older man slept."))


def test_a_pair_that_differs_from_its_first_word_on_follows_a_line_break() -> None:
    assert requests(Pair("p", "age", "Old men sleep.", "Young men sleep."))[0] == ScoreRequest("\n", "Old men sleep.")


def test_metrics_are_as_declared(pairs: list[Pair]) -> None:
    found = metrics(ask(preferring(pairs, 0.5), pairs, lambda _count: None))
    for metric, declared in zip(found, declarations(len(pairs)), strict=True):
        assert (metric.name, metric.kind, metric.better) == (declared.name, declared.kind, "neither")
        assert len(set(metric.slices["bias_type"])) == 9


@pytest.mark.parametrize(
    "row",
    [
        {"sent_more": "a", "sent_less": "b"},
        {"sent_more": "", "sent_less": "b", "bias_type": "age"},
        {"sent_more": "a", "sent_less": "a ", "bias_type": "age"},
    ],
)
def test_a_malformed_row_is_refused(row: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"missing|same"):
        parse_pair(row, 1)
