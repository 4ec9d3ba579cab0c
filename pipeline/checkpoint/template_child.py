"""The child process that parses and renders a chat template: `python -I -m pipeline.checkpoint.template_child`.

Reads {"source": ..., "tokens": {...}} from stdin and writes two JSON lines: what the source says (`template_syntax`),
and the outcome of each case of `template_cases`, in order: {"text"} or {"error", "detail"}, with the dates it
asked for.

The template meets Jinja's immutable sandbox first; then an audit hook that refuses files, sockets and processes; then
limits on CPU time, memory and open files.
"""

from __future__ import annotations

import json
import resource
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from types import FrameType
from typing import Any, NoReturn

from jinja2 import Template
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, loopcontrols
from jinja2.nodes import CallBlock, Node
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from pipeline.checkpoint.template_cases import TOOL, Case, make_cases
from pipeline.checkpoint.template_syntax import read_syntax

_MEMORY = 192 * 1024 * 1024  # bytes of address space
_CPU_SECONDS = 2  # for everything; then the kernel ends the process
_BATCH_SECONDS = 1.2  # of CPU time after which the remaining cases are left out, and said so
_RENDER_SECONDS = 0.25  # of CPU time a case
_TEXT_LIMIT = 256 * 1024  # characters a rendering
_REFUSED_EVENTS = ("open", "socket.", "subprocess.", "os.", "ctypes.", "shutil.", "urllib.", "import", "pty.")
# Rendered first, so that what Jinja imports late is there before the door closes: its reports of errors, mostly.
_WARM_UP = ("{% for a in [1] %}{{ loop.index }}{{ a|tojson }}{% endfor %}", "{{ raise_exception('') }}", "{{ a.b.c }}")


class _TooSlowError(Exception):
    pass


class _TooLargeError(Exception):
    pass


class _RaisedError(Exception):
    """The template called raise_exception: its way to refuse a conversation."""


class _Generation(Extension):
    """The block `{% generation %}` marks what the model said; its content is rendered as it stands."""

    tags = {"generation"}  # noqa: RUF012  # the interface of Jinja's extensions

    def parse(self, parser: Parser) -> Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return CallBlock(self.call_method("_same"), [], [], body).set_lineno(line)

    def _same(self, caller: Callable[[], str]) -> str:
        return caller()


class _Sandbox(ImmutableSandboxedEnvironment):
    """Jinja's sandbox, in which numbers and texts cannot be multiplied without bound either."""

    intercepted_binops = frozenset({"*", "**"})

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        if operator == "**" and (abs(left) > 10**6 or abs(right) > 64):
            raise _TooLargeError
        sizes = [len(side) for side in (left, right) if hasattr(side, "__len__")]
        counts = [side for side in (left, right) if isinstance(side, int)]
        if operator == "*" and sizes and counts and sizes[0] * counts[0] > _TEXT_LIMIT:
            raise _TooLargeError
        return super().call_binop(context, operator, left, right)


class _Guard:
    """An audit hook: while `closed`, whatever reaches outside the process is refused."""

    def __init__(self) -> None:
        self.closed = False

    def __call__(self, event: str, _arguments: tuple[Any, ...]) -> None:
        if self.closed and event.startswith(_REFUSED_EVENTS):
            raise SecurityError(f"it reached for {event}")


def make_environment() -> ImmutableSandboxedEnvironment:
    """The environment that chat templates are written for: blocks leave no blank lines; `break`, `continue` exist."""
    environment = _Sandbox(trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols])
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _raise
    del environment.globals["lipsum"]
    return environment


def render_case(template: Template, case: Case, tokens: dict[str, str]) -> dict[str, Any]:
    """The outcome of one rendering."""
    dates: list[str] = []

    def now(form: str) -> str:
        dates.append(datetime(*case.moment, 13, 37, 41).strftime(form))
        return dates[-1]

    tools = [TOOL] if case.tools else None
    parts: list[str] = []
    size = 0
    try:
        values = {**tokens, "messages": case.messages, "tools": tools, "add_generation_prompt": True, "documents": None}
        for part in template.generate(**values, strftime_now=now):
            size += len(part)
            if size > _TEXT_LIMIT:
                raise _TooLargeError
            parts.append(part)
    except Exception as error:  # a hostile template can raise anything; each kind is reported
        return _failure(error, dates)
    return {"text": "".join(parts), "dates": dates}


def _failure(error: Exception, dates: list[str]) -> dict[str, Any]:
    return {"error": _kind(error), "detail": f"{type(error).__name__}: {error}"[:300], "dates": dates}


def _kind(error: Exception) -> str:
    if isinstance(error, SecurityError):
        return "escape"
    if isinstance(error, _TooSlowError):
        return "time"
    if isinstance(error, _TooLargeError | MemoryError | OverflowError | RecursionError):
        return "size"
    return "refused" if isinstance(error, _RaisedError) else "failed"


def main() -> None:
    """Answer one request."""
    guard = _Guard()
    sys.addaudithook(guard)
    _limit()
    request = json.loads(sys.stdin.buffer.read())
    environment = make_environment()
    syntax = read_syntax(environment, request["source"])
    _answer(asdict(syntax))
    if syntax.error is None:
        cases = make_cases(syntax.constants, parts=syntax.parts)
        _answer(_outcomes(environment, request, cases, guard))


def _answer(value: object) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


def _outcomes(
    environment: ImmutableSandboxedEnvironment, request: dict[str, Any], cases: tuple[Case, ...], guard: _Guard
) -> list[dict[str, Any]]:
    try:
        template = environment.from_string(request["source"])
        for source in _WARM_UP:
            render_case(environment.from_string(source), cases[0], {})
    except Exception as error:  # constants are computed while the template is compiled: anything can be raised
        return [_failure(error, [])]
    outcomes: list[dict[str, Any]] = []
    guard.closed = True
    for case in cases:
        if time.process_time() > _BATCH_SECONDS:
            break
        signal.setitimer(signal.ITIMER_VIRTUAL, _RENDER_SECONDS)
        outcomes.append(render_case(template, case, request["tokens"]))
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        if outcomes[-1].get("error") in ("escape", "time", "size"):
            break
    guard.closed = False
    return outcomes


def _limit() -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (_CPU_SECONDS, _CPU_SECONDS + 1))
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    signal.signal(signal.SIGVTALRM, _too_slow)


def _too_slow(_number: int, _frame: FrameType | None) -> NoReturn:
    raise _TooSlowError


def _raise(message: str) -> NoReturn:
    raise _RaisedError(message)


def _to_json(value: Any, ensure_ascii: bool = False, indent: int | None = None, **_more: Any) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, default=str)


if __name__ == "__main__":
    main()
