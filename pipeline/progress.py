"""Progress with an estimate of the time left.

Work is announced as steps with expected seconds; what has been seen of finished steps corrects the rest.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TextIO

_QUIET_SECONDS = 15.0  # between two lines about the same step, where lines cannot be overwritten


@dataclass
class Step:
    """One announced piece of work.  `units` are counted off as they finish; `expected` is in seconds.

    `at_most` says that it may well end before all units are done.
    """

    name: str
    expected: float
    units: int = 1
    at_most: bool = False
    done: int = 0
    started: float | None = None
    seconds: float | None = None

    def left(self, now: float, pace: float) -> float:
        """Seconds still to go, when work takes `pace` times what was expected."""
        if self.seconds is not None:
            return 0.0
        if self.started is None:
            return self.expected * pace
        elapsed = now - self.started
        if self.done:
            return elapsed * (self.units - self.done) / self.done
        return max(self.expected * pace - elapsed, 0.0)


@dataclass
class Progress:
    """Announced steps and a stream to report on.  `clock` gives monotonic seconds."""

    stream: TextIO = field(default_factory=lambda: sys.stderr)
    clock: Callable[[], float] = time.monotonic
    steps: list[Step] = field(default_factory=list)
    _last_line: float = float("-inf")

    def expect(self, name: str, seconds: float, units: int = 1, *, at_most: bool = False) -> Step:
        """Announce a step of `units` that should take `seconds`, or less where it may end before."""
        step = Step(name, seconds, units, at_most)
        self.steps.append(step)
        return step

    def start(self, step: Step) -> None:
        """The step begins now."""
        step.started = self.clock()
        self._report(step, force=True)

    def advance(self, step: Step, units: int) -> None:
        """`units` more of the step are done."""
        step.done = min(step.done + units, step.units)
        self._report(step, force=False)

    def finish(self, step: Step, units: int | None = None) -> None:
        """The step is done, with as many `units` as were announced or with another number of them."""
        now = self.clock()
        if units is not None and step.at_most and step.units:
            step.expected *= units / step.units  # so that the pace of the rest is not mistaken
            step.name, step.units = f"{step.name} ({units:,} of {step.units:,} requests)", units
        step.seconds = now - (step.started if step.started is not None else now)
        step.done = step.units
        self._report(step, force=True)

    def say(self, line: str) -> None:
        """A line of its own, for news that belongs to no step."""
        print(f"\r\x1b[2K{line}" if self.stream.isatty() else line, file=self.stream, flush=True)

    def drop(self, step: Step) -> None:
        """The step is not needed after all."""
        self.steps.remove(step)

    def seconds_left(self) -> float:
        """The estimate for everything announced and not finished."""
        now, pace = self.clock(), self._pace()
        return sum(step.left(now, pace) for step in self.steps)

    def _pace(self) -> float:
        """How long finished steps took, as a multiple of what was expected of them."""
        finished = [step for step in self.steps if step.seconds is not None and step.expected > 0]
        expected = sum(step.expected for step in finished)
        return sum(step.seconds or 0.0 for step in finished) / expected if expected else 1.0

    def _report(self, step: Step, *, force: bool) -> None:
        terminal = self.stream.isatty()
        now = self.clock()
        if not force and now - self._last_line < (0.2 if terminal else _QUIET_SECONDS):
            return
        self._last_line = now
        state = f"done in {_duration(step.seconds)}" if step.seconds is not None else f"{step.done}/{step.units}"
        word = "at most" if any(other.at_most and other.seconds is None for other in self.steps) else "about"
        line = f"{step.name}: {state}; {word} {_duration(self.seconds_left())} left"
        end = "\n" if not terminal or step.seconds is not None else ""
        start = "\r\x1b[2K" if terminal else ""
        print(f"{start}{line}", end=end, file=self.stream, flush=True)


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min"
