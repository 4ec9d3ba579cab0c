"""The cheaper way of scoring is chosen, and never one that would ask about other tokens."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checks.performance.cost import CostModel, shared_length
from checks.performance.harness import Task, run_task
from checks.performance.tokens import Tokens
from pipeline.errors import RequestError
from tests.checks.performance.planted import PlantedModel

_ENDINGS = [[1, 2, 3, 4], [1, 5, 6, 7, 8], [9, 10, 11, 12], [13, 14, 15, 16, 17]]


def test_letters_are_always_named() -> None:
    for length in (1, 25, 400, 4000):
        assert CostModel().prefers_named(range(length), [[1], [2], [3], [4]], shared=0)


def test_long_shared_contexts_are_named_and_short_ones_echoed() -> None:
    assert CostModel().prefers_named(range(406), _ENDINGS, shared=380)
    assert not CostModel().prefers_named(range(25), _ENDINGS, shared=0)


@given(st.integers(1, 600), st.integers(0, 600), st.integers(1, 256))
def test_a_warmer_cache_never_costs_more(length: int, shared: int, block: int) -> None:
    model = CostModel(block=block)
    warm = model.named(range(length), _ENDINGS, min(shared, length))
    assert warm <= model.named(range(length), _ENDINGS, 0)


@given(st.lists(st.integers(0, 3)), st.lists(st.integers(0, 3)))
def test_shared_length_is_the_longest_common_beginning(one: list[int], other: list[int]) -> None:
    length = shared_length(one, other)
    assert one[:length] == other[:length]
    assert length in (len(one), len(other)) or one[length] != other[length]


@pytest.mark.parametrize(
    ("context", "continuations"),
    [
        ("Answer:", [" A"]),
        ("Answer: ", ["A", "B"]),
        ("", [" A", " B"]),
        ("Answer:", [" A", " A"]),
        ("Answer:", [" A", ""]),
        ("Answ", ["er: A", "er: B"]),
    ],
)
def test_what_named_tokens_cannot_ask_is_left_to_echo(context: str, continuations: list[str], tokenizer: Path) -> None:
    assert Tokens.load(tokenizer).endings(context, continuations) is None


def test_tokens_of_endings_are_those_of_the_whole_text(tokenizer: Path) -> None:
    tokens = Tokens.load(tokenizer)
    split = tokens.endings("Answer:", [" A", " apple tree"])
    assert split is not None
    context, endings = split
    assert context + endings[1] == tokens.encode("Answer: apple tree")
    assert len(endings[0]) == 1
    assert len(endings[1]) > 1


def test_a_missing_tokenizer_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="cannot read the tokenizer"):
        Tokens.load(tmp_path)


def _task(context: str, options: list[str]) -> Task:
    config = {
        "output_type": "multiple_choice",
        "doc_to_text": lambda row: row["context"],
        "doc_to_choice": lambda row: row["choices"],
        "doc_to_target": lambda row: row["answer"],
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
    }
    rows = [{"id": str(n), "context": f"{context} {n}:", "choices": options, "answer": 0} for n in range(12)]
    return Task("planted", config, rows)


def test_either_way_gives_the_same_results(tokenizer: Path) -> None:
    options = ["red apple", "red berry", "green leaf"]
    ways = []
    for context in ("Short", "A long introduction that all questions share. " * 40):
        model = PlantedModel(tokenizer)
        results = run_task(model, _task(context, options), 1, lambda _: None)
        ways.append({result.way for result in results})
        for result in results:
            assert result.logprobs == tuple(
                model.logprob(result.prompt, continuation) for continuation in result.continuations
            )
    assert ways == [{"echo"}, {"named-tokens"}]


def test_sample_of_a_tree_is_scored_both_ways(tokenizer: Path) -> None:
    model = PlantedModel(tokenizer, named_error=0.001)
    task = _task("A long introduction that all questions share. " * 40, ["red apple", "green leaf"])
    results = run_task(model, task, 1, lambda _: None)
    checked = [result.difference for result in results if result.difference is not None]
    assert len(checked) == 4
    assert all(difference == pytest.approx(0.001) for difference in checked)
    assert len(set(itertools.chain.from_iterable(result.logprobs for result in results))) > 2
