"""The preflight tells a server that cannot be measured from a model that is merely weak."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from checks.contract import Score, ScoreRequest
from checks.preflight import KNOWN, preflight
from pipeline.errors import ServingError
from tests.checks.performance.planted import PlantedModel, length_logprob, make_tokenizer

_RIGHT = {(context, right) for context, right, _ in KNOWN}
_WRONG = {(context, wrong) for context, _, wrong in KNOWN}


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tokenizer(tmp_path_factory.mktemp("tokenizer"))


def _sensible(context: str, continuation: str) -> float:
    if (context, continuation) in _RIGHT:
        return -1.0
    if (context, continuation) in _WRONG:
        return -9.0
    return length_logprob(context, continuation)


class _Spoiled(PlantedModel):
    """A sensible model behind a server that spoils its scores."""

    spoil: Callable[[Score, int], Score] = staticmethod(lambda score, _: score)
    _turn: itertools.count[int]

    def score(self, requests: Any) -> list[Score]:
        self._turn = getattr(self, "_turn", itertools.count())
        return [self.spoil(score, next(self._turn)) for score in super().score(requests)]


def _model(tokenizer: Path, spoil: Callable[[Score, int], Score]) -> _Spoiled:
    model = _Spoiled(tokenizer, _sensible)
    model.spoil = spoil
    return model


def test_sound_server_passes_and_is_reported(tokenizer: Path) -> None:
    report = preflight(PlantedModel(tokenizer, _sensible, named_error=0.001))
    assert report.known_right == report.known_answers == len(KNOWN)
    assert report.repeat_difference == 0
    assert report.named_token_difference == pytest.approx(0.001)
    assert report.echo_tokens > 10


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (lambda score, _: replace(score, tokens=score.tokens - 1), "does not score every token"),
        (lambda score, _: replace(score, logprob=-2.0), "same log-probability"),
        (lambda score, turn: replace(score, logprob=score.logprob - 0.01 * turn), "does not repeat itself"),
        (lambda score, _: replace(score, error="echo is not supported"), "echo is not supported"),
        (lambda score, _: replace(score, logprob=float("nan")), "no log-probabilities"),
        (lambda score, _: replace(score, logprob=3.0), "no log-probabilities"),
        (lambda score, _: replace(score, logprob=score.logprob * score.tokens), "not those of the tokens asked for"),
        (
            lambda score, turn: replace(score, logprob=score.logprob - 0.5 * (turn > 3)),
            "named tokens and echo disagree",
        ),
    ],
)
def test_unsound_server_is_refused(tokenizer: Path, spoil: Callable[[Score, int], Score], problem: str) -> None:
    with pytest.raises(ServingError, match=problem):
        preflight(_model(tokenizer, spoil))


def test_server_of_random_weights_is_refused(tokenizer: Path) -> None:
    with pytest.raises(ServingError, match="no better than chance"):
        preflight(PlantedModel(tokenizer, length_logprob))


def test_server_that_loses_a_request_is_refused(tokenizer: Path) -> None:
    class _Losing(PlantedModel):
        def score(self, requests: Any) -> list[Score]:
            return super().score([*requests][1:])

    with pytest.raises(ServingError, match="lost a request"):
        preflight(_Losing(tokenizer, _sensible))


def test_known_answers_are_distinct_and_not_the_options_of_a_suite() -> None:
    assert len({context for context, _, _ in KNOWN}) == len(KNOWN)
    assert ScoreRequest(*KNOWN[0][:2]) != ScoreRequest(KNOWN[0][0], KNOWN[0][2])
