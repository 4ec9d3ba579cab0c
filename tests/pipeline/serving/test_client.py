"""The client against a real HTTP server: what comes back, and what every kind of failure becomes."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import threading
from pathlib import Path

import pytest

from checks.contract import Answer, ChoiceRequest, Sampling, ScoreRequest, StreamedToken
from pipeline.errors import ServingError
from pipeline.serving.client import Served, ServedModel
from pipeline.serving.transport import Endpoint
from tests.fakes.brain import Asked, Brain, Faults, Pace
from tests.fakes.openai_server import FakeServer
from tests.pipeline.serving.conftest import QUICK, StartFake, model_of

HELLO = [{"role": "user", "content": "hello"}]
SHORT = Sampling(max_tokens=8)
LONG = Sampling(max_tokens=100)


def read(model: ServedModel, sampling: Sampling = LONG) -> list[StreamedToken]:
    async def collect() -> list[StreamedToken]:
        return [token async for token in model.stream(HELLO, sampling)]

    return asyncio.run(collect())


def test_answers_come_in_the_order_of_the_requests(model: ServedModel, fake: FakeServer) -> None:
    fake.brain = Brain(answer=lambda asked: asked.question.upper())
    prompts = [f"question {number}" for number in range(100)]
    answers = model.complete(prompts, LONG)
    assert [answer.text for answer in answers] == [prompt.upper() for prompt in prompts]
    assert {answer.finish for answer in answers} == {"stop"}
    assert all(answer.seconds > 0 and answer.fingerprint for answer in answers)


def test_every_sampling_setting_is_sent_so_that_no_default_of_the_server_decides(
    model: ServedModel, fake: FakeServer
) -> None:
    model.chat([HELLO], Sampling(max_tokens=5, temperature=0.5, top_p=0.9, seed=7, stop=("\n",)))
    body = fake.received[0].body
    assert fake.received[0].path == "/v1/chat/completions"
    wanted = {"max_tokens": 5, "temperature": 0.5, "top_p": 0.9, "seed": 7, "stop": ["\n"], "messages": HELLO}
    assert {key: body[key] for key in wanted} == wanted


def test_stop_texts_and_limits_end_answers(model: ServedModel, fake: FakeServer) -> None:
    fake.brain = Brain(answer=lambda _asked: "one two three")
    stopped, limited = Sampling(50, stop=(" two",)), Sampling(3)
    assert model.complete(["x"], stopped)[0].text == "one"
    assert dataclasses.replace(model.complete(["x"], limited)[0], seconds=0, fingerprint=None) == Answer(
        "one", "length", prompt_tokens=1, completion_tokens=3
    )


def test_an_empty_batch_asks_nothing(model: ServedModel, fake: FakeServer) -> None:
    assert (model.chat([], SHORT), model.score([]), model.choose([]), fake.received) == ([], [], [], [])


def test_concurrency_keeps_the_server_full_and_no_fuller(model: ServedModel, fake: FakeServer) -> None:
    fake.pace = Pace(first_token=0.02)
    model.complete(["x"] * 40, SHORT, concurrency=5)
    assert fake.most_running == 5


def test_a_batch_inside_a_running_event_loop_works(model: ServedModel) -> None:
    async def inside() -> list[Answer]:
        return model.complete(["x"], SHORT)

    assert asyncio.run(inside())[0].error is None


def test_a_unix_socket_serves_as_well(start_fake: StartFake, tiny: Path, tmp_path: Path) -> None:
    model = model_of(start_fake(socket=tmp_path / "s"), tiny)
    assert model.complete(["x"], SHORT)[0].error is None
    assert "".join(token.text for token in read(model)) == "You asked: hello"


# --- scores ---------------------------------------------------------------------------------------------------------


def planted(before: str, token: str) -> float:
    """It knows one thing: that the capital is P.  Everything else is unlikely."""
    return -0.01 if before.endswith("capital: ") and token == "P" else -4.0


def test_echo_and_named_tokens_give_the_planted_values(model: ServedModel, fake: FakeServer) -> None:
    fake.brain = Brain(logprob=planted)
    choices = ("P", "L")
    (chosen,) = model.choose([ChoiceRequest("capital: ", choices)])
    scored = model.score([ScoreRequest("capital: ", choice) for choice in choices])
    assert [score.logprob for score in chosen] == [score.logprob for score in scored] == [-0.01, -4.0]
    assert [score.greedy for score in chosen] == [score.greedy for score in scored] == [True, False]
    assert {score.way for score in chosen} == {"named-tokens"}
    assert len(fake.received) == 3  # one for the question, one for each echoed continuation


def test_a_continuation_of_several_tokens_is_their_sum(model: ServedModel, fake: FakeServer) -> None:
    fake.brain = Brain(logprob=planted)
    score = model.score([ScoreRequest("capital: ", "Po")])[0]
    assert score.logprob == pytest.approx(-4.01)
    assert (score.tokens, score.greedy) == (2, False)


def test_token_ids_are_sent_not_text(model: ServedModel, fake: FakeServer) -> None:
    model.score([ScoreRequest("ab", "c")])
    assert [type(token) for token in fake.received[0].body["prompt"]] == [int, int, int]


def test_longer_endings_are_scored_as_a_tree_at_the_values_of_echo(model: ServedModel, fake: FakeServer) -> None:
    endings = ("red", "rest", "re", "blue")
    (chosen,) = model.choose([ChoiceRequest("colour: ", endings)])
    nodes = len({ending[:place] for ending in endings for place in range(len(ending))})
    assert len(fake.received) == nodes
    echoed = model.score([ScoreRequest("colour: ", ending) for ending in endings])
    assert [score.logprob for score in chosen] == pytest.approx([score.logprob for score in echoed])
    assert [score.tokens for score in chosen] == [score.tokens for score in echoed]


def test_a_question_with_a_repeated_ending_is_an_error_of_its_own(model: ServedModel) -> None:
    good, bad = model.choose([ChoiceRequest("q", ("A", "B")), ChoiceRequest("q", ("A", "A"))])
    assert [score.error for score in good] == [None, None]
    assert [score.error for score in bad] == ["two continuations are the same tokens"] * 2


def test_a_failing_branch_makes_the_question_an_error(start_fake: StartFake, tiny: Path) -> None:
    branches = Faults(status=400, only=lambda body: len(json.loads(body).get("logprob_token_ids", ())) == 1)
    fake = start_fake(faults=branches)
    (scores,) = model_of(fake, tiny).choose([ChoiceRequest("colour: ", ("red", "blue"))])
    assert all("status 400" in (score.error or "") for score in scores)


def test_a_rendered_conversation_is_not_given_a_second_start_token(model: ServedModel, fake: FakeServer) -> None:
    text = model.render(HELLO)
    assert text == "<|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\n"
    model.choose([ChoiceRequest(text, ("A", "B"))])
    assert fake.received[0].body["prompt"].count(1) == 2


@pytest.mark.parametrize(
    ("faults", "message"),
    [
        (Faults(no_echo=True), "echoed other tokens"),
        (Faults(nan_logprobs=True), "NaN"),
        (Faults(constant_logprob=0.5), "above 0"),
        (Faults(status=400), "status 400"),
        (Faults(garbage=True), "no JSON"),
        (Faults(hang=True), "no answer within"),
    ],
)
def test_a_score_that_cannot_be_trusted_is_an_error(
    start_fake: StartFake, tiny: Path, faults: Faults, message: str
) -> None:
    patience = dataclasses.replace(QUICK, request=0.3)
    model = model_of(start_fake(faults=faults), tiny, patience=patience)
    score = model.score([ScoreRequest("a", "b")])[0]
    assert message in (score.error or "")
    assert score.logprob == float("-inf")


def test_named_tokens_left_out_are_an_error(start_fake: StartFake, tiny: Path) -> None:
    model = model_of(start_fake(faults=Faults(no_named_tokens=True)), tiny)
    assert all("named tokens" in (score.error or "") for score in model.choose([ChoiceRequest("q", ("A", "B"))])[0])


# --- failures -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("faults", [Faults(status=429), Faults(status=500), Faults(status=503), Faults(drop=True)])
def test_what_passes_is_tried_again(start_fake: StartFake, tiny: Path, faults: Faults) -> None:
    server = start_fake(faults=dataclasses.replace(faults, times=2))
    assert model_of(server, tiny).complete(["x"], SHORT)[0].error is None
    assert len(server.received) == 3


@pytest.mark.parametrize(
    ("faults", "requests", "message"),
    [
        (Faults(status=400), 1, "status 400: This fault was asked for."),
        (Faults(status=500), 3, "status 500"),
        (Faults(drop=True), 3, "dropped the connection (3 attempts)"),
        (Faults(garbage=True), 1, "no JSON"),
        (Faults(hang=True), 1, "no answer within 0.3 seconds"),
    ],
)
def test_one_poisoned_request_kills_nothing(
    start_fake: StartFake, tiny: Path, faults: Faults, requests: int, message: str
) -> None:
    server = start_fake(faults=dataclasses.replace(faults, only=lambda body: "poison" in body))
    model = model_of(server, tiny, patience=dataclasses.replace(QUICK, request=0.3))
    answers = model.complete(["a", "poison", "b"], SHORT, concurrency=1)
    assert [answer.error is None for answer in answers] == [True, False, True]
    assert message in (answers[1].error or "")
    assert (answers[1].finish, answers[1].text) == ("error", "")
    assert len(server.received) == 2 + requests


def test_an_empty_answer_is_an_answer(start_fake: StartFake, tiny: Path) -> None:
    answer = model_of(start_fake(faults=Faults(empty_text=True)), tiny).chat([HELLO], SHORT)[0]
    assert (answer.text, answer.error, answer.finish) == ("", None, "stop")


def test_a_dead_server_ends_the_batch_at_once(start_fake: StartFake, tiny: Path) -> None:
    server = start_fake()
    model = model_of(server, tiny)
    server.stop()
    with pytest.raises(ServingError, match="the model server is gone"):
        model.complete(["x"] * 100, SHORT)
    with pytest.raises(ServingError, match="Nothing answers at"):
        read(model)


def test_a_server_that_dies_under_a_batch_ends_it(start_fake: StartFake, tiny: Path) -> None:
    server = start_fake()

    def answer(asked: Asked) -> str:
        if asked.number == 20:
            threading.Thread(target=server.stop).start()
        return "x"

    server.brain = Brain(answer=answer)
    with pytest.raises(ServingError, match="the model server is gone"):
        model_of(server, tiny).complete(["x"] * 10_000, SHORT, concurrency=4)
    assert 20 < len(server.received) < 10_000


def test_the_end_of_the_servers_process_is_told_rather_than_the_lost_connection(
    start_fake: StartFake, tiny: Path
) -> None:
    def died(_seconds: float) -> None:
        raise ServingError("the model server died", why="Out of memory.", remedy="More memory.")

    model = model_of(start_fake(faults=Faults(drop=True)), tiny, check_alive=died)
    with pytest.raises(ServingError, match="Out of memory"):
        model.complete(["x"], SHORT)


def test_an_unknown_model_is_an_error_of_the_request(fake: FakeServer, tiny: Path, model: ServedModel) -> None:
    served = Served(Endpoint(fake.url), "other", "other", tiny, 2048, model.description)
    assert "does not exist" in (ServedModel(served).complete(["x"], SHORT)[0].error or "")


# --- rendering ------------------------------------------------------------------------------------------------------


def test_a_template_that_refuses_is_one_clear_error(model: ServedModel) -> None:
    with pytest.raises(ServingError, match="cannot be rendered"):
        model.render([{"role": "user"}])


def test_a_server_with_another_tokenizer_is_caught(fake: FakeServer, model: ServedModel) -> None:
    fake.text.encode = lambda *_, **__: [999_999]  # type: ignore[method-assign]
    with pytest.raises(ServingError, match="same tokens"):
        model.render(HELLO)


# --- streams --------------------------------------------------------------------------------------------------------


def test_a_stream_gives_every_token_and_not_the_role(model: ServedModel, fake: FakeServer) -> None:
    fake.brain = Brain(answer=lambda _asked: "abc")
    tokens = read(model)
    assert [(token.text, token.tokens) for token in tokens] == [("a", 1), ("b", 1), ("c", 1), ("", 1)]
    assert [token.at for token in tokens] == sorted(token.at for token in tokens)
    assert fake.received[0].body["stream"] is True


def test_a_stream_cut_by_its_limit_has_no_token_after_it(model: ServedModel, fake: FakeServer) -> None:
    fake.brain = Brain(answer=lambda _asked: "abcdef")
    assert [token.text for token in read(model, Sampling(3))] == ["a", "b", "c"]


def test_many_streams_run_at_once_in_one_loop(model: ServedModel, fake: FakeServer) -> None:
    fake.pace = Pace(first_token=0.05)

    async def one() -> str:
        return "".join([token.text async for token in model.stream(HELLO, LONG)])

    async def many() -> list[str]:
        return await asyncio.gather(*(one() for _ in range(50)))

    assert asyncio.run(many()) == ["You asked: hello"] * 50
    assert fake.most_running > 40


@pytest.mark.parametrize(
    ("faults", "message"),
    [
        (Faults(cut_stream_after=3), "the stream was cut before its end"),
        (Faults(cut_stream_after=0), "the stream was cut before its end"),
        (Faults(extra_tokens=5), "the server streamed 17 tokens and then counted 22"),
        (Faults(status=400), "status 400"),
        (Faults(status=500), "status 500"),
        (Faults(garbage=True), "the stream was cut before its end"),
        (Faults(drop=True), "the stream was cut before its end"),
        (Faults(hang=True), "stood still for 0.3 seconds"),
    ],
)
def test_a_failed_stream_is_an_error_and_is_not_repeated(
    start_fake: StartFake, tiny: Path, faults: Faults, message: str
) -> None:
    server = start_fake(faults=faults)
    model = model_of(server, tiny, patience=dataclasses.replace(QUICK, idle=0.3))
    with pytest.raises(ServingError, match="a streamed answer failed") as failure:
        read(model)
    assert message in failure.value.why
    assert len(server.received) == 1


def test_a_stream_that_is_not_read_to_its_end_leaves_the_server_free(model: ServedModel) -> None:
    async def first() -> str:
        stream = model.stream(HELLO, LONG)
        async for token in stream:
            await stream.aclose()  # type: ignore[attr-defined]
            return token.text
        return ""

    assert asyncio.run(first()) == "Y"
    assert len(read(model)) == 17
