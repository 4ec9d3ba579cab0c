"""Answered requests survive a crash inside a check, and no answer that another hand wrote becomes evidence."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from checks.contract import ChoiceRequest, Sampling, ScoreRequest
from pipeline.digests import sha256
from pipeline.errors import EvidenceError
from pipeline.keys import SigningKey, generate_key
from pipeline.serving.client import ServedModel
from pipeline.serving.journal import Journal, Journals, request_digest
from tests.fakes.brain import Asked, Brain, Faults
from tests.fakes.openai_server import FakeServer
from tests.pipeline.serving.conftest import StartFake, model_of

MEASUREMENT = sha256(b"a measurement")
OTHER = sha256(b"another measurement")
ONE, TWO = (request_digest("/v1/completions", {"prompt": prompt}) for prompt in ("one", "two"))
SHORT = Sampling(max_tokens=40)
PROMPTS = [f"question {number}" for number in range(20)]
CHOICE = ChoiceRequest("Which?", (" A", " B", " long", " longer"))


@pytest.fixture
def key() -> SigningKey:
    return generate_key()


@pytest.fixture
def journals(tmp_path: Path, key: SigningKey) -> Journals:
    return Journals(tmp_path / "unfinished", key)


def opened(journals: Journals, use: Callable[[Journal], object] = lambda _journal: None) -> Journal:
    """What `use` does with the journal, which is closed afterwards as a crash would."""
    with journals.open(MEASUREMENT) as journal:
        assert journal is not None
        use(journal)
        return journal


def fill(journal: Journal) -> None:
    for number in range(3):
        journal.add(ONE, {"number": number})
    journal.add(TWO, "two")


def file_of(journals: Journals) -> Path:
    (path,) = journals.root.iterdir()
    return path


def test_answers_are_there_in_the_next_attempt_each_once_and_in_order(journals: Journals) -> None:
    opened(journals, fill)
    with journals.open(MEASUREMENT) as journal:
        assert journal is not None
        assert [journal.take(ONE) for _ in range(4)] == [{"number": 0}, {"number": 1}, {"number": 2}, None]
        assert (journal.take(TWO), journal.take(TWO)) == ("two", None)
        assert journal.resumed == 4
        journal.add(TWO, "again")
    with journals.open(MEASUREMENT) as journal:
        assert journal is not None
        assert [journal.take(TWO) for _ in range(3)] == ["two", "again", None]


def test_what_an_attempt_added_itself_is_no_answer_to_its_next_equal_request(journals: Journals) -> None:
    with journals.open(MEASUREMENT) as journal:
        assert journal is not None
        journal.add(ONE, 1)
        assert journal.take(ONE) is None


def test_a_torn_last_line_is_dropped_wherever_it_is_torn(journals: Journals) -> None:
    opened(journals, fill)
    whole = file_of(journals).read_bytes()
    lines = whole.splitlines(keepends=True)
    for length in range(len(whole) - len(lines[-1]), len(whole)):
        file_of(journals).write_bytes(whole[:length])
        with journals.open(MEASUREMENT) as journal:
            assert journal is not None
            assert (journal.take(TWO), journal.take(ONE)) == (None, {"number": 0})
            journal.add(TWO, "anew")
        assert len(file_of(journals).read_bytes().splitlines()) == len(lines)


def test_the_file_is_the_users_alone_and_goes_when_it_is_discarded(journals: Journals) -> None:
    journal = opened(journals, fill)
    assert file_of(journals).stat().st_mode & 0o777 == 0o600
    assert journals.root.stat().st_mode & 0o777 == 0o700
    journal.discard()
    assert list(journals.root.iterdir()) == []


def test_two_runs_at_once_do_not_share_a_journal(journals: Journals) -> None:
    with journals.open(MEASUREMENT) as first, journals.open(MEASUREMENT) as second, journals.open(OTHER) as third:
        assert first is not None
        assert second is None
        assert third is not None


@pytest.mark.parametrize("age", [timedelta(days=8), timedelta(days=-1)])
def test_old_answers_and_those_of_the_future_are_asked_again(journals: Journals, age: timedelta) -> None:
    now = datetime.now(UTC)
    opened(replace(journals, clock=lambda: now - age), fill)
    journal = opened(journals, lambda journal: journal.add(ONE, "new"))
    assert journal.begun >= now
    with journals.open(MEASUREMENT) as again:
        assert again is not None
        assert (again.take(ONE), again.take(TWO), again.begun) == ("new", None, journal.begun)


def test_journals_of_measurements_that_were_given_up_are_swept(journals: Journals) -> None:
    opened(journals, fill)
    given_up = file_of(journals)
    with journals.open(OTHER):
        assert given_up.exists()
    old = (datetime.now(UTC) - timedelta(days=8)).timestamp()
    os.utime(given_up, (old, old))
    with journals.open(OTHER):
        assert not given_up.exists()


def test_a_full_disk_costs_the_protection_and_nothing_else(journals: Journals, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_arguments: object) -> int:
        raise OSError(28, "No space left on device")

    def fill_up(journal: Journal) -> None:
        journal.add(ONE, "kept")
        monkeypatch.setattr(os, "pwrite", full)
        journal.add(TWO, "lost")
        monkeypatch.undo()
        journal.add(TWO, "lost too")

    opened(journals, fill_up)
    with journals.open(MEASUREMENT) as journal:
        assert journal is not None
        assert (journal.take(ONE), journal.take(TWO)) == ("kept", None)


def test_an_answer_too_long_for_a_line_is_asked_again(journals: Journals) -> None:
    with journals.open(MEASUREMENT) as journal:
        assert journal is not None
        journal.add(ONE, "x" * 1024**2)
        journal.add(TWO, "short")
    with journals.open(MEASUREMENT) as journal:
        assert journal is not None
        assert (journal.take(ONE), journal.take(TWO)) == (None, "short")


def edited(data: bytes) -> bytes:
    return data.replace(b'"two"', b'"2.0"')


def without_a_line(data: bytes) -> bytes:
    lines = data.splitlines(keepends=True)
    return b"".join(lines[:1] + lines[2:])


def in_another_order(data: bytes) -> bytes:
    lines = data.splitlines(keepends=True)
    return b"".join([lines[0], lines[2], lines[1], *lines[3:]])


def with_a_line_twice(data: bytes) -> bytes:
    return data + data.splitlines(keepends=True)[-1]


def with_an_endless_line(data: bytes) -> bytes:
    return data + b"0" * (2 * 1024**2)


@pytest.mark.parametrize("change", [edited, without_a_line, in_another_order, with_a_line_twice, with_an_endless_line])
def test_attack_a_stored_answer_edited_moved_or_removed(journals: Journals, change: Callable[[bytes], bytes]) -> None:
    opened(journals, fill)
    data = change(file_of(journals).read_bytes())
    file_of(journals).write_bytes(data)
    with pytest.raises(EvidenceError, match="was edited"):
        opened(journals)
    assert file_of(journals).read_bytes() == data


def test_attack_a_stored_answer_edited_after_the_journal_was_read(journals: Journals) -> None:
    opened(journals, fill)
    with journals.open(MEASUREMENT) as journal:
        assert journal is not None
        file_of(journals).write_bytes(edited(file_of(journals).read_bytes()))
        with pytest.raises(EvidenceError, match="was edited"):
            journal.take(TWO)
        assert journal.resumed == 0


def test_attack_the_journal_of_another_measurement_or_of_another_key(journals: Journals) -> None:
    opened(journals, fill)
    file_of(journals).rename(journals.root / f"{OTHER[7:]}.journal")
    with pytest.raises(EvidenceError, match="was edited"), journals.open(OTHER):
        pass
    file_of(journals).rename(journals.root / f"{MEASUREMENT[7:]}.journal")
    with pytest.raises(EvidenceError, match="was edited"):
        opened(replace(journals, key=generate_key()))


def test_attack_a_journal_that_others_can_write_to(journals: Journals, tmp_path: Path) -> None:
    opened(journals, fill)
    path = file_of(journals)
    path.chmod(0o666)
    with pytest.raises(EvidenceError, match="Others than the pipeline's user"):
        opened(journals)
    path.chmod(0o600)
    journals.root.chmod(0o777)
    with pytest.raises(EvidenceError, match="Others than the pipeline's user"):
        opened(journals)
    journals.root.chmod(0o700)
    (tmp_path / "second-name").hardlink_to(path)
    with pytest.raises(EvidenceError, match="one name"):
        opened(journals)


def test_attack_a_link_in_the_place_of_a_journal_is_not_followed(journals: Journals, tmp_path: Path) -> None:
    opened(journals, fill)
    path = file_of(journals)
    path.rename(tmp_path / "elsewhere")
    before = (tmp_path / "elsewhere").read_bytes()
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(EvidenceError, match="cannot count"):
        opened(journals)
    assert (tmp_path / "elsewhere").read_bytes() == before


def ask_everything(model: ServedModel) -> tuple[list[object], ...]:
    return (
        [replace(answer, seconds=0.0) for answer in model.complete(PROMPTS, SHORT)],
        [replace(a, seconds=0.0) for a in model.chat([[{"role": "user", "content": p}] for p in PROMPTS], SHORT)],
        list(model.score([ScoreRequest("one two", " three"), ScoreRequest("one", " two three")])),
        list(model.choose([CHOICE])),
    )


def test_a_second_attempt_asks_nothing_that_was_answered_and_says_the_same(
    journals: Journals, model: ServedModel, fake: FakeServer
) -> None:
    with journals.open(MEASUREMENT) as journal, model.keeping(journal):
        first = ask_everything(model)
    asked = len(fake.received)
    with journals.open(MEASUREMENT) as journal, model.keeping(journal):
        assert ask_everything(model) == first
        assert journal is not None
        assert journal.resumed == asked == len(fake.received)
        ask_everything(model)
    assert len(fake.received) == 2 * asked
    ask_everything(model)
    assert len(fake.received) == 3 * asked


def test_a_server_started_anew_under_another_name_goes_on(
    journals: Journals, start_fake: StartFake, tiny: Path
) -> None:
    """Each server that is started has a name of its own; what it serves is in the measurement's cache key."""
    first, second = start_fake(name="tiny-0001"), start_fake(name="tiny-0002")
    for server in (first, second):
        model = model_of(server, tiny)
        with journals.open(MEASUREMENT) as journal, model.keeping(journal):
            ask_everything(model)
    assert first.received
    assert second.received == []


def test_one_text_scored_from_two_places_is_two_requests(
    journals: Journals, model: ServedModel, fake: FakeServer
) -> None:
    """The same tokens go to the server; what is read of its answer differs."""
    requests = [ScoreRequest("one two", " three"), ScoreRequest("one", " two three")]
    with journals.open(MEASUREMENT) as journal, model.keeping(journal):
        whole = model.score(requests[:1])
    with journals.open(MEASUREMENT) as journal, model.keeping(journal):
        other = model.score(requests[1:])
        assert journal is not None
        assert (journal.resumed, model.score(requests[:1])) == (0, whole)
    assert other[0].tokens > whole[0].tokens
    assert other[0].logprob < whole[0].logprob
    assert len(fake.received) == 2


def test_repeated_requests_are_asked_as_often_as_without_a_crash(
    journals: Journals, model: ServedModel, fake: FakeServer
) -> None:
    fake.brain = Brain(answer=lambda asked: f"answer {asked.number}")
    with journals.open(MEASUREMENT) as journal, model.keeping(journal):
        (first,) = model.complete(["same"], SHORT)
    with journals.open(MEASUREMENT) as journal, model.keeping(journal):
        again, then = (model.complete(["same"], SHORT)[0].text for _ in range(2))
    assert again == first.text != then
    assert len(fake.received) == 2


def test_failed_requests_are_asked_again(journals: Journals, model: ServedModel, fake: FakeServer) -> None:
    fake.faults = Faults(status=400, only=lambda body: "question 7" in body)
    with journals.open(MEASUREMENT) as journal, model.keeping(journal):
        failed = [answer.error is not None for answer in model.complete(PROMPTS, SHORT)]
    assert failed == [prompt == "question 7" for prompt in PROMPTS]
    fake.faults, asked = Faults(), len(fake.received)
    with journals.open(MEASUREMENT) as journal, model.keeping(journal):
        assert all(answer.error is None for answer in model.complete(PROMPTS, SHORT))
    assert [received.body["prompt"] for received in fake.received[asked:]] == ["question 7"]


def test_streams_are_neither_kept_nor_answered_from_a_journal(
    journals: Journals, model: ServedModel, fake: FakeServer
) -> None:
    async def read() -> list[str]:
        return [token.text async for token in model.stream([{"role": "user", "content": "hello"}], SHORT)]

    for _ in range(2):
        with journals.open(MEASUREMENT) as journal, model.keeping(journal):
            assert asyncio.run(read())
            assert journal is not None
            assert journal.resumed == 0
    assert len(fake.received) == 2


def test_hostile_text_comes_back_as_it_was(journals: Journals, model: ServedModel, fake: FakeServer) -> None:
    found: list[str] = []
    opened(journals, lambda journal: journal.add(ONE, "\ud800\n"))
    assert opened(journals, lambda journal: found.append(journal.take(ONE))).resumed == 1
    assert found == ["\ud800\n"]
    texts = ["\x00\n", '"}\n', "\u2028\r"]
    seen: Counter[str] = Counter()

    def hostile(asked: Asked) -> str:
        seen[asked.prompt] += 1
        return texts[int(asked.prompt)]

    fake.brain = Brain(answer=hostile)

    def ask() -> list[str]:
        with journals.open(MEASUREMENT) as journal, model.keeping(journal):
            return [answer.text for answer in model.complete(["0", "1", "2"], Sampling(max_tokens=50))]

    assert ask() == ask()
    assert set(seen.values()) == {1}


def test_attack_an_edited_journal_ends_a_batch_in_one_error(
    journals: Journals, model: ServedModel, fake: FakeServer
) -> None:
    with journals.open(MEASUREMENT) as journal, model.keeping(journal):
        model.complete(PROMPTS, SHORT)
    asked = len(fake.received)
    with (
        journals.open(MEASUREMENT) as journal,
        model.keeping(journal),
        pytest.raises(EvidenceError, match="was edited"),
    ):
        path = file_of(journals)
        path.write_bytes(path.read_bytes().replace(b"You asked", b"You lied!"))
        model.complete(PROMPTS, SHORT)
    assert len(fake.received) == asked
