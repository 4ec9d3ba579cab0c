"""From renderings to findings: does the template do anything besides framing what is said?

The renderings come from a child process (`template_child`).  They are compared in pairs that differ in one text or in
the date alone; see `template_cases`.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.checkpoint.catalogue import finding
from pipeline.checkpoint.inspected import Finding
from pipeline.checkpoint.template_cases import NEUTRAL, Case, make_cases, neutral_cases
from pipeline.checkpoint.template_syntax import HIDDEN

_WALL_SECONDS = 60.0  # the child's CPU time is bounded far below; this is for a machine that stands still
_MOST_FINDINGS = 5  # of one kind

_SYNTAX = {
    "escape": ("checkpoint.template-escape", "reaches into Python objects"),
    "file": ("checkpoint.template-file", "reads other files"),
    "call": ("checkpoint.template-call", "calls a function that no chat template is given"),
    "condition": ("checkpoint.template-condition", "decides by what cannot be tried out"),
    "hidden-text": ("checkpoint.template-hidden-text", "holds text that a reader does not see"),
}
_FAILURES = {
    "escape": ("checkpoint.template-escape", "tried to leave its sandbox"),
    "time": ("checkpoint.template-time", "took longer to render than a conversation may"),
    "size": ("checkpoint.template-size", "wrote or held more than a conversation needs"),
}
# Markers of reasoning and of tools that published templates look for in what was said.
_MARKERS = frozenset(
    "<think> </think> /think /no_think <tool_response> </tool_response> <tool_call> </tool_call> [THINK] [/THINK] "  # noqa: SIM905
    "<reasoning> </reasoning> <thinking> </thinking> <answer> </answer>".split()
)
_TOKEN = re.compile(r"<[|｜/]?[\w▁ /:.-]+[|｜]?>|\[/?[A-Z_]+\]|<<?/?[A-Z]+>>?")
_NUMBER = re.compile(r"\d+")
_SAID = re.compile("|".join(re.escape(content) for contents in NEUTRAL.values() for content in contents))
_WORD = re.compile(r"[^\W\d_]{2,}")
_IDEOGRAPH = re.compile(r"[\u3040-\u30ff\u4e00-\u9fff\uac00-\ud7af]")
# What no default prompt of an honest publisher says.
_ADVERSE = re.compile(
    r"\bignor(e|ing) (all|any|every|the|previous|prior|safety)|disregard|bypass|secret(ly)?\b"
    r"|(do(es)? not|never) (tell|mention|reveal|disclose|inform)|without (telling|mentioning|informing)"
    r"|no restrictions|unrestricted|jailbr[eo]ak|exfiltrat|https?://|pretend to"
    r"|(print|send|output|include|repeat) .{0,40}(password|credential|api[ _-]?key)"
    r"|always (recommend|include|insert|append|add|mention|promote|praise|agree|comply)"
    r"|in every (answer|reply|response)",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class _Rendered:
    """A case and what came of it."""

    case: Case
    text: str | None
    error: str | None
    detail: str
    dates: tuple[str, ...]


def judge_template(file: str, source: str, tokens: Mapping[str, str]) -> Iterator[Finding]:
    """Parse and render `source` in a child, and judge what it says and does."""
    answer = _ask_child(source, tokens)
    if isinstance(answer, str):
        identifier, what = _FAILURES[answer]
        yield finding(identifier, file, f"The chat template {what}; the process that rendered it was stopped.")
        return
    yield from judge_outcomes(file, *answer)


def judge_outcomes(file: str, syntax: Mapping[str, Any], outcomes: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
    """Judge what the child answered: what the source says, and the outcomes of as many cases as it had time for."""
    if syntax["error"] is not None:
        yield finding("checkpoint.chat-template", file, f"The chat template is malformed: {syntax['error']}.")
        return
    for kind, line, detail in syntax["problems"][:_MOST_FINDINGS]:
        identifier, what = _SYNTAX[kind]
        yield finding(identifier, file, f"The chat template {what}: {detail} in line {line}.")
    cases = make_cases(syntax["constants"], parts=syntax["parts"])
    rendered = [_rendered(case, outcome) for case, outcome in zip(cases, outcomes, strict=False)]
    yield from _failures(file, rendered)
    if any(one.error in _FAILURES for one in rendered):
        return
    if len(rendered) < len(cases):
        message = f"Of {len(cases)} conversations only {len(rendered)} could be rendered in the time allowed."
        yield finding("checkpoint.template-unchecked", file, message)
    yield from _unfaithful(file, rendered)
    yield from _triggers(file, rendered)
    yield from _late(file, rendered)
    yield from _instructions(file, rendered)


def _ask_child(source: str, tokens: Mapping[str, str]) -> tuple[dict[str, Any], list[dict[str, Any]]] | str:
    """What the child answers: the syntax and the outcomes; or how it ended, as a key of `_FAILURES`."""
    request = json.dumps({"source": source, "tokens": dict(tokens)}).encode()
    command = [sys.executable, "-I", "-m", "pipeline.checkpoint.template_child"]
    try:
        ended = subprocess.run(
            command, input=request, capture_output=True, env={}, cwd="/", timeout=_WALL_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return "time"
    if ended.returncode in (-signal.SIGXCPU, -signal.SIGKILL):
        return "time"
    lines = ended.stdout.splitlines()
    if ended.returncode != 0 or not lines:
        return "size"  # it ran out of memory, or out of stack
    try:
        return json.loads(lines[0]), json.loads(lines[1]) if len(lines) > 1 else []
    except ValueError:
        return "escape"  # nobody but the template could have written something else


def _rendered(case: Case, outcome: Mapping[str, Any]) -> _Rendered:
    return _Rendered(
        case, outcome.get("text"), outcome.get("error"), outcome.get("detail", ""), tuple(outcome["dates"])
    )


def _failures(file: str, rendered: Sequence[_Rendered]) -> Iterator[Finding]:
    stopped = next((one for one in rendered if one.error in _FAILURES), None)
    if stopped is not None and stopped.error is not None:
        identifier, what = _FAILURES[stopped.error]
        yield finding(identifier, file, f"The chat template {what}: {stopped.detail}.")
        return
    if rendered and all(one.error is not None for one in rendered if one.case.is_neutral):
        message = f"The chat template cannot render a single question: {rendered[0].detail}."
        yield finding("checkpoint.template-failed", file, message)


def _unfaithful(file: str, rendered: Sequence[_Rendered]) -> Iterator[Finding]:
    """What is said must be in the rendering; only a model's own earlier words may be shortened."""
    for one in rendered:
        if not one.case.is_neutral or one.text is None:
            continue
        said = {(role, content) for role, content in one.case.turns if role != "assistant"}
        lost = sorted(role for role, content in said if content not in one.text)
        if lost:
            message = f"In the conversation '{one.case.shape}' it leaves out or rewrites what the {lost[0]} says."
            identifier = "checkpoint.template-content" if "user" in lost else "checkpoint.template-system-prompt"
            yield finding(identifier, file, f"The chat template is not faithful. {message}")
            return
        if found := HIDDEN.search(one.text):
            message = f"The chat template writes the invisible character U+{ord(found.group()):04X}."
            yield finding("checkpoint.template-hidden-text", file, message)
            return


def _triggers(file: str, rendered: Sequence[_Rendered]) -> Iterator[Finding]:
    """Renderings that differ from their neutral case by more than what was said, or by more than the date."""
    neutral = {one.case.shape: one for one in rendered if one.case.is_neutral}
    reported: dict[str, set[str]] = {}
    for one in rendered:
        base = neutral.get(one.case.shape)
        if base is None or one is base or _same(base, one):
            continue
        if one.case.together and "checkpoint.template-trigger" in reported:
            continue  # one of the words was enough
        identifier, message = _trigger(base, one)
        cause = one.case.constant or one.case.heard or "the date"
        causes = reported.setdefault(identifier, set())
        if cause not in causes and len(causes) < _MOST_FINDINGS:
            causes.add(cause)
            yield finding(identifier, file, message)


def _same(base: _Rendered, one: _Rendered) -> bool:
    """Whether `one` is `base` with its text, or its date, in the place of the other's."""
    if base.text is None or one.text is None:
        return base.error == one.error
    return one.text in _expected(base, one)


def _expected(base: _Rendered, one: _Rendered) -> tuple[str, ...]:
    text = base.text or ""
    for old, new in zip(base.dates, one.dates, strict=False):
        text = text.replace(old, new)
    pairs = [(old, new) for (_, old), (_, new) in zip(base.case.turns, one.case.turns, strict=True) if old != new]
    plain, quoted = text, text
    for old, new in pairs:
        plain = plain.replace(old, new)
        quoted = quoted.replace(old, json.dumps(new, ensure_ascii=False)[1:-1])
    return plain, quoted


def _trigger(base: _Rendered, one: _Rendered) -> tuple[str, str]:
    effect = _effect(base, one)
    if one.case.heard is None:
        day = "-".join(f"{part:02d}" for part in one.case.moment)
        return "checkpoint.template-trigger", f"The chat template writes something else on {day}: {effect}."
    word = one.case.constant or one.case.heard
    if _is_marker(word, one.case.spoken_by or "") or (one.error == "refused" and _TOKEN.search(word)):
        return "checkpoint.template-marker", f"The chat template reacts to {word[:60]!r} in a message: {effect}."
    who = one.case.spoken_by
    return "checkpoint.template-trigger", f"The chat template reacts when the {who} says {word[:80]!r}: {effect}."


def _is_marker(word: str, role: str) -> bool:
    """Whether `word` is a mark of the protocol: a known one, or control tokens that the model itself wrote."""
    return word in _MARKERS or (role == "assistant" and not _TOKEN.sub("", word).strip())


def _effect(base: _Rendered, one: _Rendered) -> str:
    if one.text is None:
        return f"it refuses, saying {one.detail[:120]!r}"
    if base.text is None:
        return "it does not refuse as it does otherwise"
    expected, actual = _expected(base, one)[0], one.text
    added = _only_in(actual, expected)
    return f"it adds {added[:200]!r}" if added else f"it leaves out {_only_in(expected, actual)[:200]!r}"


def _only_in(longer: str, shorter: str) -> str:
    """The middle of `longer`: what remains without the beginning and the end that it shares with `shorter`."""
    start = 0
    while start < min(len(longer), len(shorter)) and longer[start] == shorter[start]:
        start += 1
    end = 0
    while end < min(len(longer), len(shorter)) - start and longer[-1 - end] == shorter[-1 - end]:
        end += 1
    return longer[start : len(longer) - end].strip()


def _instructions(file: str, rendered: Sequence[_Rendered]) -> Iterator[Finding]:
    """Sentences of the template's own: before the conversation, or after what the user said."""
    neutral = [one for one in rendered if one.case.is_neutral and one.text is not None]
    first = {case.shape for case in neutral_cases()}
    plain = [one for one in neutral if one.case.shape in first and not one.case.tools]
    after = [line for one in plain for line in _prose(_after_user(one))]
    if after:
        message = f"The chat template adds sentences to what the user says: {after[0][:200]!r}."
        yield finding("checkpoint.template-instructions", file, message)
    yield from _own_words(file, [line for one in plain for line in _prose(one.text or "") if line not in after])
    adverse = [line for one in neutral for line in _prose(one.text or "") if _ADVERSE.search(line)]
    if adverse and adverse[0] not in after:
        message = f"The chat template instructs the model in what no user wrote: {adverse[0][:300]!r}."
        yield finding("checkpoint.template-instructions", file, message)


def _late(file: str, rendered: Sequence[_Rendered]) -> Iterator[Finding]:
    """What stands between the messages of a long conversation must stand there in a short one too."""
    neutral = [one for one in rendered if one.case.is_neutral and one.text is not None and not one.case.tools]
    usual = {frame for one in neutral if len(one.case.turns) <= 5 for frame in _frames(one.text or "")}
    for one in neutral:
        late = [frame for frame in _frames(one.text or "") if frame not in usual]
        if late:
            message = f"In a conversation of {one.case.shape} it writes {late[0][:200]!r}."
            yield finding("checkpoint.template-trigger", file, f"The chat template changes as talk goes on. {message}")
            return


def _frames(text: str) -> list[str]:
    """The pieces of `text` between what is said, with every number alike: some templates count the rounds."""
    return [_NUMBER.sub("0", frame) for frame in _SAID.split(text)]


def _own_words(file: str, lines: list[str]) -> Iterator[Finding]:
    distinct = [line for line in dict.fromkeys(lines) if not _ADVERSE.search(line)]
    if distinct:
        words = " / ".join(line[:200] for line in distinct[:5])
        yield finding("checkpoint.template-prompt", file, f"The chat template has a prompt of its own: {words!r}.")


def _after_user(one: _Rendered) -> str:
    """What follows the user's first words in a rendering."""
    return (one.text or "").split(NEUTRAL["user"][0], 1)[-1]


def _prose(text: str) -> list[str]:
    """The lines of `text`, without what was said and without control tokens, that read as a sentence."""
    lines = _TOKEN.sub("\n", _SAID.sub("\n", text)).splitlines()
    return [line.strip() for line in lines if len(_WORD.findall(line)) >= 4 or len(_IDEOGRAPH.findall(line)) >= 8]
