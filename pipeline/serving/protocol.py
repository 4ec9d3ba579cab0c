"""vLLM's OpenAI protocol: what is asked, and answers read without trust.

A server's answer is hostile input: each value is checked for its type and range, and whatever is wrong is a
`ProtocolError` with one sentence, never a crash and never a number that merely looks right.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from checks.contract import Answer, Message, Sampling, Score

_LOGPROB_SLACK = 1e-4  # rounding may lift the log of a probability of 1 a little above 0


class ProtocolError(ValueError):
    """The server answered with something that the protocol does not allow."""


def decode(data: bytes) -> Mapping[str, Any]:
    """The JSON object in `data`.  Raises ProtocolError; NaN and infinities are refused."""
    try:
        value = json.loads(data, parse_constant=_refuse_constant)
    except ProtocolError:
        raise
    except (ValueError, RecursionError) as error:
        raise ProtocolError("the server's answer is no JSON") from error
    if not isinstance(value, dict):
        raise ProtocolError("the server's answer is no JSON object")
    return value


def _refuse_constant(name: str) -> float:
    raise ProtocolError(f"the server's answer holds {name}, which is no number")


def sampling_fields(sampling: Sampling) -> dict[str, Any]:
    """The request fields for `sampling`, each said outright so that no server default decides."""
    return {
        "max_tokens": sampling.max_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "seed": sampling.seed,
        "stop": list(sampling.stop),
    }


def chat_body(conversation: Sequence[Message], sampling: Sampling) -> dict[str, Any]:
    """A request for /v1/chat/completions."""
    return {"messages": [dict(message) for message in conversation], **sampling_fields(sampling)}


def completion_body(prompt: str, sampling: Sampling) -> dict[str, Any]:
    """A request for /v1/completions."""
    return {"prompt": prompt, **sampling_fields(sampling)}


def echo_body(tokens: Sequence[int]) -> dict[str, Any]:
    """A request for the log-probability of every token of a prompt."""
    return {
        "prompt": list(tokens),
        "max_tokens": 0,
        "echo": True,
        "logprobs": 1,
        "temperature": 0.0,
        "return_tokens_as_token_ids": True,
    }


def named_body(tokens: Sequence[int], named: Sequence[int]) -> dict[str, Any]:
    """A request for the log-probabilities of the tokens `named` as the next one after `tokens`."""
    return {
        "prompt": list(tokens),
        "max_tokens": 1,
        "logprobs": 1,
        "temperature": 0.0,
        "logprob_token_ids": list(named),
        "return_tokens_as_token_ids": True,
    }


def answer_of(body: Mapping[str, Any], seconds: float) -> Answer:
    """The answer in a chat or a plain completion.  Raises ProtocolError."""
    choice = _choice(body)
    message = choice.get("message")
    text = message.get("content") if isinstance(message, Mapping) else choice.get("text")
    if text is None and isinstance(message, Mapping):
        text = ""  # a model that only reasoned, or said nothing
    if not isinstance(text, str):
        raise ProtocolError("the server's answer has no text")
    finish = choice.get("finish_reason")
    if not isinstance(finish, str):
        raise ProtocolError("the server's answer has no finish reason")
    usage = usage_of(body)
    fingerprint = body.get("system_fingerprint")
    return Answer(
        text=text,
        finish=finish,
        prompt_tokens=usage.prompt,
        completion_tokens=usage.completion,
        seconds=seconds,
        fingerprint=fingerprint if isinstance(fingerprint, str) else None,
    )


@dataclass(frozen=True)
class Usage:
    """Token counts as the server reports them."""

    prompt: int
    completion: int


def usage_of(body: Mapping[str, Any]) -> Usage:
    """The token counts of an answer.  Raises ProtocolError when they are missing or no counts."""
    usage = body.get("usage")
    if not isinstance(usage, Mapping):
        raise ProtocolError("the server's answer has no token counts")
    return Usage(_count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens")))


def _count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ProtocolError("the server's answer has token counts that are no counts")
    return value


def echo_score(body: Mapping[str, Any], tokens: Sequence[int], first: int) -> Score:
    """The score of `tokens[first:]` from an echoed prompt.

    Raises:
        ProtocolError: log-probabilities are missing, of other tokens than those sent, or no log-probabilities.
    """
    logprobs = _choice(body).get("logprobs")
    if not isinstance(logprobs, Mapping):
        raise ProtocolError("the server does not echo log-probabilities of the prompt")
    names, values, tops = (_list(logprobs.get(key)) for key in ("tokens", "token_logprobs", "top_logprobs"))
    if list(names) != [f"token_id:{token}" for token in tokens]:
        raise ProtocolError("the server echoed other tokens than those it was sent")
    if not len(values) == len(tops) == len(tokens):
        raise ProtocolError("the server did not return one log-probability for each token")
    total, greedy = 0.0, True
    for value, top in zip(values[first:], tops[first:], strict=True):
        logprob = _logprob(value)
        total += logprob
        greedy = greedy and logprob >= max(map(_logprob, _mapping(top).values()), default=0.0)
    return Score(logprob=total, greedy=greedy, tokens=len(tokens) - first, way="echo")


def named_scores(body: Mapping[str, Any], named: Sequence[int]) -> tuple[Score, ...]:
    """The score of each token in `named`, in their order.

    Raises:
        ProtocolError: a token named is missing, or what came is no log-probability.
    """
    logprobs = _choice(body).get("logprobs")
    if not isinstance(logprobs, Mapping):
        raise ProtocolError("the server does not return log-probabilities")
    names, tops = _list(logprobs.get("tokens")), _list(logprobs.get("top_logprobs"))
    if len(names) != 1 or len(tops) != 1:
        raise ProtocolError("the server did not return exactly one token")
    top = _mapping(tops[0])
    missing = [token for token in named if f"token_id:{token}" not in top]
    if missing:
        raise ProtocolError("the server does not return the log-probabilities of named tokens")
    return tuple(
        Score(
            logprob=_logprob(top[f"token_id:{token}"]),
            greedy=names[0] == f"token_id:{token}",
            tokens=1,
            way="named-tokens",
        )
        for token in named
    )


def _choice(body: Mapping[str, Any]) -> Mapping[str, Any]:
    choices = _list(body.get("choices"))
    if len(choices) != 1:
        raise ProtocolError("the server's answer does not hold exactly one choice")
    return _mapping(choices[0])


def _list(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise ProtocolError("the server's answer lacks a list that the protocol promises")
    return value


def _mapping(value: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ProtocolError("the server's answer lacks an object that the protocol promises")
    return value


def _logprob(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ProtocolError("the server returned something that is no log-probability")
    if value > _LOGPROB_SLACK:
        raise ProtocolError("the server returned a log-probability above 0")
    return float(value)


def error_message(data: bytes) -> str:
    """The message in an error's body, short and on one line; empty where there is none."""
    try:
        error = decode(data).get("error")
    except ProtocolError:
        return ""
    message = error.get("message") if isinstance(error, Mapping) else error
    return " ".join(message.split())[:300] if isinstance(message, str) else ""


@dataclass(frozen=True)
class StreamChunk:
    """One chunk of a streamed answer.  `completion` is the number of tokens so far, where the server says it."""

    text: str
    finish: str | None
    completion: int | None
    closing: bool
    """True of the chunk after the answer, which has the final counts."""


def stream_chunk(data: bytes) -> StreamChunk:
    """The chunk in one event.  Raises ProtocolError, also for an error that the server sent inside the stream."""
    body = decode(data)
    if "error" in body:
        raise ProtocolError(f"the server broke the answer off: {error_message(data) or 'no reason given'}")
    choices = _list(body.get("choices"))
    completion = usage_of(body).completion if body.get("usage") is not None else None
    if not choices:
        return StreamChunk("", None, completion, closing=True)
    choice = _choice(body)
    delta = _mapping(choice.get("delta"))
    text, finish = delta.get("content"), choice.get("finish_reason")
    if not isinstance(text, str | None) or not isinstance(finish, str | None):
        raise ProtocolError("a chunk of the stream has text or a finish reason of the wrong kind")
    return StreamChunk(text or "", finish, completion, closing=False)
