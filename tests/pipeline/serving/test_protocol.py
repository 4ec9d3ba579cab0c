"""Answers of a hostile server: every shape that the protocol does not allow is a ProtocolError, and nothing else."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.serving import protocol
from pipeline.serving.protocol import ProtocolError

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["choices", "logprobs", "tokens", "usage", "delta", "text", "error"]), inner)
    ),
    max_leaves=12,
)


def echo(**changes: Any) -> dict[str, Any]:
    logprobs = {
        "tokens": ["token_id:5", "token_id:6", "token_id:7"],
        "token_logprobs": [None, -1.0, -0.5],
        "top_logprobs": [None, {"token_id:6": -1.0}, {"token_id:7": -0.5, "token_id:9": -0.4}],
    }
    return {"choices": [{"logprobs": {**logprobs, **changes}}]}


def test_an_echoed_prompt_is_scored_from_the_boundary_on() -> None:
    score = protocol.echo_score(echo(), [5, 6, 7], 1)
    assert (score.logprob, score.tokens, score.greedy) == (-1.5, 2, False)
    assert protocol.echo_score(echo(), [5, 6, 7], 2).logprob == -0.5


def test_greedy_means_that_every_token_was_the_likeliest() -> None:
    body = echo(top_logprobs=[None, {"token_id:6": -1.0}, {"token_id:7": -0.5, "token_id:9": -0.6}])
    assert protocol.echo_score(body, [5, 6, 7], 1).greedy


@pytest.mark.parametrize(
    "changes",
    [
        {"tokens": ["token_id:5", "token_id:6", "token_id:8"]},
        {"tokens": ["token_id:5", "token_id:6"]},
        {"tokens": None},
        {"token_logprobs": [None, -1.0]},
        {"token_logprobs": [None, None, -0.5]},
        {"token_logprobs": [None, "x", -0.5]},
        {"token_logprobs": [None, True, -0.5]},
        {"token_logprobs": [None, 0.7, -0.5]},
        {"top_logprobs": [None, None, None]},
    ],
)
def test_an_echo_that_is_not_of_the_tokens_sent_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError):
        protocol.echo_score(echo(**changes), [5, 6, 7], 1)


def test_a_server_without_echo_is_named_as_such() -> None:
    with pytest.raises(ProtocolError, match="does not echo"):
        protocol.echo_score({"choices": [{"logprobs": None}]}, [5], 0)


def named(**changes: Any) -> dict[str, Any]:
    logprobs = {"tokens": ["token_id:5"], "top_logprobs": [{"token_id:5": -0.1, "token_id:6": -3.0}]}
    return {"choices": [{"logprobs": {**logprobs, **changes}}]}


def test_named_tokens_come_in_the_order_asked() -> None:
    scores = protocol.named_scores(named(), [6, 5])
    assert [(score.logprob, score.greedy) for score in scores] == [(-3.0, False), (-0.1, True)]


@pytest.mark.parametrize(
    "body",
    [
        named(top_logprobs=[{"token_id:5": -0.1}]),
        named(top_logprobs=[]),
        named(tokens=[]),
        named(top_logprobs=[{"token_id:5": 0.3, "token_id:6": -3.0}]),
        {"choices": [{"logprobs": None}]},
        {"choices": []},
        {},
    ],
)
def test_named_tokens_that_are_missing_or_impossible_are_refused(body: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError):
        protocol.named_scores(body, [5, 6])


@pytest.mark.parametrize("data", [b"", b"[1]", b"{", b'{"a": NaN}', b'{"a": -Infinity}', b"\xff", b"[" * 100_000])
def test_what_is_no_json_object_is_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        protocol.decode(data)


@given(JSON)
def test_no_shape_of_json_escapes_as_another_error(value: Any) -> None:
    body = value if isinstance(value, dict) else {"choices": [value]}
    for read in (
        lambda: protocol.answer_of(body, 0.0),
        lambda: protocol.echo_score(body, [1, 2], 1),
        lambda: protocol.named_scores(body, [1]),
        lambda: protocol.stream_chunk(json.dumps(body).encode()),
    ):
        with contextlib.suppress(ProtocolError):  # any other error fails the test; a shape may also be a valid one
            assert read() is not None


@pytest.mark.parametrize(
    "change",
    [
        {"usage": None},
        {"usage": {"prompt_tokens": 1, "completion_tokens": -1}},
        {"usage": {"prompt_tokens": 1, "completion_tokens": True}},
        {"usage": {"prompt_tokens": 1.5, "completion_tokens": 1}},
        {"choices": [{"text": 3, "finish_reason": "stop"}]},
        {"choices": [{"text": "a", "finish_reason": None}]},
        {"choices": [{"text": None, "finish_reason": "stop"}]},
    ],
)
def test_an_answer_without_text_reason_or_counts_is_refused(change: dict[str, Any]) -> None:
    good = {
        "choices": [{"text": "a", "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1},
    }
    assert protocol.answer_of(good, 1.0).text == "a"
    with pytest.raises(ProtocolError):
        protocol.answer_of({**good, **change}, 1.0)


def test_an_answer_that_only_reasoned_is_empty() -> None:
    body = {
        "choices": [{"message": {"content": None}, "finish_reason": "length"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1},
    }
    assert protocol.answer_of(body, 1.0).text == ""


def test_an_error_inside_a_stream_gives_its_reason() -> None:
    with pytest.raises(ProtocolError, match="broke the answer off: out of memory"):
        protocol.stream_chunk(b'{"error": {"message": "out of\\nmemory"}}')


def test_an_errors_message_is_one_short_line() -> None:
    assert protocol.error_message(b'{"error": "%s"}' % (b"x" * 500)) == "x" * 300
    assert protocol.error_message(b"<html>") == ""
