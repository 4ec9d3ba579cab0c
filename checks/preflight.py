"""Is this server's answer worth measuring?  Run before any suite.

A server that ignores `echo` or `logprobs`, serves random weights or mixes up its requests still answers, and every
multiple-choice suite then comes out near chance without an error.  These few requests tell such a server from a weak
model: the known answers are continuations that even a damaged language model prefers to nonsense.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from checks.contract import ChoiceRequest, Model, Score, ScoreRequest
from checks.performance.tokens import Tokens
from pipeline.errors import ServingError

REPEAT_TOLERANCE = 0.001  # nats; the same request alone on the server twice
NAMED_TOLERANCE = 0.05  # nats; named tokens against echo
CHAIN_TOLERANCE = 0.05  # nats a token; a text scored whole against the same text scored in two parts
KNOWN_RIGHT = 18  # of 24; a guesser reaches it in 1.1 % of the runs

PASSAGE = ("The old bridge crosses the river", " near the market, where farmers sell", " apples, bread and fresh milk.")
LETTERED = (
    "Which of these is a colour?\nA. Red\nB. Seven\nC. Table\nD. Under\nAnswer:",
    "Which of these is a number?\nA. Blue\nB. Horse\nC. Nine\nD. Slowly\nAnswer:",
)
LETTERS = (" A", " B", " C", " D")
KNOWN: tuple[tuple[str, str, str], ...] = (
    ("Once upon a", " time", " engine"),
    ("Thank you very", " much", " triangle"),
    ("Ladies and", " gentlemen", " calculus"),
    ("One, two, three,", " four", " pepper"),
    ("Monday, Tuesday, Wednesday,", " Thursday", " chicken"),
    ("red, green, blue, red, green, blue, red, green,", " blue", " wolf"),
    ("a b c d e f", " g", " king"),
    ("The United States of", " America", " carrot"),
    ("Happy birthday to", " you", " steel"),
    ("He opened the door and walked", " into", " eleven"),
    ("She was born in the city", " of", " eats"),
    ("They went to the beach and swam in the", " sea", " because"),
    ("apple apple apple apple apple apple", " apple", " granite"),
    ("This is one of the most", " important", " the"),
    ("As soon as", " possible", " mattress"),
    ("There is no doubt", " that", " sandwich"),
    ("In order", " to", " cow"),
    ("For the first", " time", " of"),
    ("On the other", " hand", " went"),
    ("It is not only useful but", " also", " forks"),
    ("He has been working there", " for", " rabbit"),
    ("The capital of France is", " Paris", " purple"),
    ("We would like", " to", " sky"),
    ("cat dog cat dog cat dog cat", " dog", " theorem"),
)


@dataclass(frozen=True)
class PreflightReport:
    """What the server showed: differences in nats, counts of known answers.  Part of the evidence."""

    echo_tokens: int
    repeat_difference: float
    chain_difference_per_token: float
    named_token_difference: float
    known_answers: int
    known_right: int


def preflight(model: Model) -> PreflightReport:
    """Check that `model` is scored as it should be.

    Raises:
        ServingError: log-probabilities are missing, constant or not those of the tokens asked for, a repeat differs,
            named tokens differ from echo, or trivial known answers score no better than chance.
        RequestError: the checkpoint's tokenizer cannot be read.
    """
    echo_tokens, repeated, chained = _check_echo(model, Tokens.load(model.tokenizer))
    named = _check_named_tokens(model)
    right = _check_known_answers(model)
    return PreflightReport(echo_tokens, repeated, chained, named, len(KNOWN), right)


def _check_echo(model: Model, tokens: Tokens) -> tuple[int, float, float]:
    first, middle, last = PASSAGE
    requests = [
        ScoreRequest(first, middle + last),
        ScoreRequest(first, middle),
        ScoreRequest(first + middle, last),
    ]
    scores = [_one(model, request) for request in requests]
    again = _one(model, requests[0])
    for request, score in zip(requests, scores, strict=True):
        wanted = len(tokens.continuation(request.context, request.continuation))
        if score.tokens != wanted:
            raise _broken(
                "the server does not score every token of a prompt",
                f"Of {wanted} tokens it scored {score.tokens}.",
            )
    whole, one, other = scores
    if one.logprob in (whole.logprob, other.logprob):
        raise _broken(
            "the server gives different texts the same log-probability",
            f"Two of three passages of different length have {one.logprob:.4f}.",
        )
    repeated = abs(whole.logprob - again.logprob)
    if repeated > REPEAT_TOLERANCE:
        raise _broken(
            "the server does not repeat itself",
            f"The same request, alone, differs by {repeated:.4f} nats the second time.",
        )
    chained = abs(whole.logprob - one.logprob - other.logprob) / max(1, whole.tokens)
    if chained > CHAIN_TOLERANCE:
        raise _broken(
            "the server's log-probabilities are not those of the tokens asked for",
            f"A passage scored whole and in two parts differs by {chained:.4f} nats a token.",
        )
    return whole.tokens, repeated, chained


def _check_named_tokens(model: Model) -> float:
    named = model.choose([ChoiceRequest(context, LETTERS) for context in LETTERED])
    echoed = model.score([ScoreRequest(context, letter) for context in LETTERED for letter in LETTERS])
    flat = [score for row in named for score in row]
    if len(flat) != len(echoed):
        raise _broken("the server lost named tokens", f"Of {len(echoed)} it scored {len(flat)}.")
    difference = max(
        abs(_usable(one).logprob - _usable(other).logprob) for one, other in zip(flat, echoed, strict=True)
    )
    if difference > NAMED_TOLERANCE:
        raise _broken(
            "named tokens and echo disagree",
            f"The same letters differ by {difference:.4f} nats; at most {NAMED_TOLERANCE} is noise.",
        )
    return difference


def _check_known_answers(model: Model) -> int:
    scores = model.score([ScoreRequest(context, word) for context, *words in KNOWN for word in words])
    pairs = zip(scores[::2], scores[1::2], strict=True)
    right = sum(_usable(one).logprob > _usable(other).logprob for one, other in pairs)
    if len({score.logprob for score in scores}) == 1:
        raise _broken("the server's log-probabilities are constant", "Every known answer has the same one.")
    if right < KNOWN_RIGHT:
        raise _broken(
            "trivial known answers score no better than chance",
            f"{right} of {len(KNOWN)} were preferred to nonsense; {KNOWN_RIGHT} are needed.",
        )
    return right


def _one(model: Model, request: ScoreRequest) -> Score:
    return _usable(_first(model.score([request])))


def _first(scores: Sequence[Score]) -> Score:
    if len(scores) != 1:
        raise _broken("the server lost a request", f"One request had {len(scores)} results.")
    return scores[0]


def _usable(score: Score) -> Score:
    if score.error is not None:
        raise _broken("the server cannot score a text", f"It says: {score.error}.")
    if not math.isfinite(score.logprob) or score.logprob > REPEAT_TOLERANCE:  # rounding may lift a certainty above 0
        raise _broken("the server's log-probabilities are no log-probabilities", f"One of them is {score.logprob}.")
    return score


def _broken(what: str, why: str) -> ServingError:
    return ServingError(
        what,
        why=why,
        remedy="Serve the checkpoint with a vLLM that returns echo log-probabilities (and never --load-format dummy); "
        "nothing measured on this server would count.",
    )
