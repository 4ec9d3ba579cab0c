from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.serving.sse import EVENT_LIMIT, EventParser, EventTooLargeError

STREAM = (
    b': hello\r\nevent: x\ndata: {"a": 1}\n\ndata:two\rdata: lines\r\r'
    b"data: \xc3\xa9\r\n\r\nid: 3\n\ndata: [DONE]\n\ndata: cut"
)
EVENTS = [b'{"a": 1}', b"two\nlines", "é".encode(), b"[DONE]"]


def parse(pieces: list[bytes]) -> list[bytes]:
    parser = EventParser()
    return [event for piece in pieces for event in parser.feed(piece)]


def test_events_of_a_whole_stream() -> None:
    assert parse([STREAM]) == EVENTS


@given(st.lists(st.integers(0, len(STREAM)), max_size=40))
def test_any_chunking_gives_the_same_events(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(STREAM)]
    assert parse([STREAM[a:b] for a, b in itertools.pairwise(edges)]) == EVENTS


@given(st.lists(st.binary(max_size=30)))
def test_hostile_bytes_never_crash_the_parser(pieces: list[bytes]) -> None:
    assert all(isinstance(event, bytes) for event in parse(pieces))


def test_an_event_that_never_ends_is_refused() -> None:
    parser = EventParser()
    with pytest.raises(EventTooLargeError):
        for _ in range(EVENT_LIMIT // 2**16 + 2):
            parser.feed(b"data: " + b"x" * 2**16 + b"\n")


def test_a_line_that_never_ends_is_refused() -> None:
    parser = EventParser()
    with pytest.raises(EventTooLargeError):
        for _ in range(EVENT_LIMIT // 2**20 + 2):
            parser.feed(b"x" * 2**20)
