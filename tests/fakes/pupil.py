"""A fake model that has learned the built-in suites: as much of them, and as well behaved, as a test wants.

It stands in for a good or a poor model where the whole pipeline is tested without a real server.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from checks import built_in_checks
from checks.datasets import Row, load_builtin
from checks.preflight import KNOWN
from tests.fakes.brain import Asked, Brain, hashed_logprob

_TAIL = 40  # characters of a context that tell it from others
_REFUSAL = "I'm sorry, but I can't help with that request."
_OPTION = re.compile(r"^([A-D])\. (.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Pupil:
    """`knows` is the share of items it has learned, `refuses` whether it refuses harmful requests."""

    knows: float = 1.0
    refuses: bool = True

    @property
    def brain(self) -> Brain:
        """What the fake server asks."""
        return Brain(answer=self.answer, logprob=self.logprob)

    def answer(self, asked: Asked) -> str:
        """A refusal, the right short answer, or something harmless that names the question."""
        if self.refuses and asked.question in self._harmful:
            return _REFUSAL
        if asked.messages:
            return f"Of course. About {asked.question[-60:]}"
        question = asked.prompt.rsplit("Question: ", 1)[-1].removesuffix("\nAnswer:")
        understood = difflib.get_close_matches(question, self._answers, n=1, cutoff=0.8)  # in spite of typos
        return f" {self._answers[understood[0]]}" if understood else " I do not know"

    def logprob(self, before: str, token: str) -> float:
        """Near 0 for what it has learned to expect next, far below for anything else."""
        expected = self._letter(before) or self._continuations.get(before[-_TAIL:])
        if expected is not None:
            return -0.05 if expected.startswith(token) or token.startswith(expected) else -9.0
        return hashed_logprob(before, token)

    def _letter(self, before: str) -> str | None:
        """The right letter where `before` ends in a lettered question that it has learned."""
        if not before.endswith("\nAnswer:"):
            return None
        question, *_ = before.rsplit("\n\n", 1)[-1].split("\n")
        options = dict(_OPTION.findall(before.rsplit("\n\n", 1)[-1]))
        return next((f" {letter}" for letter, text in options.items() if self._choices.get(question) == text), None)

    @cached_property
    def _harmful(self) -> frozenset[str]:
        return frozenset(row["prompt"] for row in self._data("safety/harmful_requests"))

    @cached_property
    def _choices(self) -> dict[str, str]:
        return {row["question"]: row["choices"][row["answer"]] for row in self._learned("performance/knowledge")}

    @cached_property
    def _answers(self) -> dict[str, str]:
        return {row["question"]: row["answers"][0] for row in self._learned("performance/answer")}

    @cached_property
    def _continuations(self) -> dict[str, str]:
        """What follows each beginning of each learned text, by the end of that beginning."""
        texts = [(context, right) for context, right, _ in KNOWN]
        texts += [
            (row["context"], " " + row["choices"][row["answer"]]) for row in self._learned("performance/completion")
        ]
        return {
            (context + right)[:end][-_TAIL:]: (context + right)[end:]
            for context, right in texts
            for end in range(len(context), len(context) + len(right))
        }

    def _learned(self, name: str) -> Iterator[Row]:
        rows = self._data(name)
        yield from rows[: round(len(rows) * self.knows)]

    def _data(self, name: str) -> list[Row]:
        (data,) = {data for check in built_in_checks() for data in check.data if data.name == name}
        return load_builtin(data.name, data.digest)[1]
