"""The estimate of the time left learns from what has finished."""

from __future__ import annotations

import io

from pipeline.progress import Progress


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_steps_that_took_twice_as_long_double_the_rest() -> None:
    clock = Clock()
    progress = Progress(io.StringIO(), clock)
    first, _second = progress.expect("first", 10.0), progress.expect("second", 30.0)
    assert progress.seconds_left() == 40.0
    progress.start(first)
    clock.now = 20.0
    progress.finish(first)
    assert progress.seconds_left() == 60.0


def test_a_running_step_is_estimated_from_its_own_units() -> None:
    clock = Clock()
    progress = Progress(io.StringIO(), clock)
    step = progress.expect("step", 1000.0, units=10)
    progress.start(step)
    clock.now = 8.0
    progress.advance(step, 4)
    assert progress.seconds_left() == 12.0


def test_a_step_that_overruns_has_nothing_negative_left() -> None:
    clock = Clock()
    progress = Progress(io.StringIO(), clock)
    step = progress.expect("step", 5.0)
    progress.start(step)
    clock.now = 50.0
    assert progress.seconds_left() == 0.0


def test_a_log_gets_few_lines_and_no_escapes() -> None:
    clock, stream = Clock(), io.StringIO()
    progress = Progress(stream, clock)
    step = progress.expect("step", 10.0, units=1000)
    progress.start(step)
    for _ in range(1000):
        clock.now += 0.05
        progress.advance(step, 1)
    progress.finish(step)
    progress.say("news")
    lines = stream.getvalue().splitlines()
    assert 3 <= len(lines) <= 8
    assert lines[-1] == "news"
    assert lines[-2].startswith("step: done in 50 s")
    assert "\x1b" not in stream.getvalue()


def test_a_terminal_overwrites_its_line() -> None:
    clock, stream = Clock(), Terminal()
    progress = Progress(stream, clock)
    step = progress.expect("step", 300.0, units=2)
    progress.start(step)
    clock.now = 100.0
    progress.advance(step, 1)
    assert stream.getvalue().count("\r") == 2
    assert "1/2; about 1.7 min left" in stream.getvalue()


def test_a_dropped_step_counts_no_more() -> None:
    progress = Progress(io.StringIO(), Clock())
    step = progress.expect("step", 5.0)
    progress.drop(step)
    assert progress.seconds_left() == 0.0


def test_a_step_that_may_end_early_is_an_upper_limit_and_tells_the_pace_by_what_it_did() -> None:
    clock, stream = Clock(), io.StringIO()
    progress = Progress(stream, clock)
    early, other = progress.expect("early", 100.0, units=100, at_most=True), progress.expect("other", 50.0)
    progress.start(early)
    assert "at most 150 s left" in stream.getvalue().replace("2.5 min", "150 s")
    progress.advance(early, 20)
    clock.now = 20.0
    progress.finish(early, 20)
    assert "early (20 of 100 requests): done in 20 s; about 50 s left" in stream.getvalue()
    assert progress.seconds_left() == 50.0  # not ten seconds: it ended early, it was not fast
    progress.start(other)
    progress.finish(other)
