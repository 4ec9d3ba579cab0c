"""The child's own parts, in this process: the sandbox, the bounds, the conversations that it renders."""

from __future__ import annotations

import io
import json
import sys
from typing import Any

import pytest
from jinja2.exceptions import SecurityError

from pipeline.checkpoint import template_child
from pipeline.checkpoint.template_cases import NEUTRAL, Case, make_cases, neutral_cases
from pipeline.checkpoint.template_child import make_environment, render_case
from pipeline.checkpoint.template_conditions import read_conditions
from pipeline.checkpoint.template_syntax import read_syntax
from tests.assets.templates import TEMPLATES

FIRST = neutral_cases()[0]


def rendered(source: str, case: Case = FIRST) -> dict[str, Any]:
    return render_case(make_environment().from_string(source), case, {"bos_token": "<s>"})


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("{{ messages.__class__.mro() }}", "escape"),
        ("{% set n = 300000 %}{{ 'a' * n }}", "size"),
        ("{% set n = 300000 %}{{ n * [1, 2] }}", "size"),
        ("{% set n = 999 %}{{ n ** n }}", "size"),
        ("{% set n = 200000 %}{% for i in range(n) %}a{% endfor %}", "size"),
        ("{% for i in range(90000) %}aaaa{% endfor %}", "size"),
        ("{{ raise_exception('no') }}", "refused"),
        ("{{ messages.append(1) }}", "escape"),
        ("{{ nobody.here.there }}", "failed"),
    ],
)
def test_how_a_rendering_can_fail(source: str, error: str) -> None:
    assert rendered(source)["error"] == error


def test_numbers_are_multiplied_as_ever() -> None:
    assert rendered("{{ 6 * 7 }} {{ 2 ** 10 }} {{ 'ab' * 2 }}")["text"] == "42 1024 abab"


def test_what_a_template_is_given() -> None:
    outcome = rendered("{{ bos_token }}{{ strftime_now('%Y') }}{{ messages[0].content | tojson }}")
    assert outcome == {"text": f'<s>2193"{NEUTRAL["user"][0]}"', "dates": ["2193"]}


def test_messages_can_come_in_parts() -> None:
    case = make_cases([], parts=True)[-1]
    assert rendered("{{ messages[0].content[0].type }}", case)["text"] == "text"


def test_what_is_marked_for_training_is_rendered_plainly() -> None:
    assert rendered("{% generation %}said{% endgeneration %}")["text"] == "said"


def test_tools_are_given_where_the_case_has_them() -> None:
    with_tools = next(case for case in neutral_cases() if case.tools)
    assert "look_up" in rendered("{{ tools | tojson(indent=2) }}", with_tools)["text"]
    assert rendered("{{ tools is none }}")["text"] == "True"


def test_the_guard_refuses_files_and_sockets_while_it_is_closed() -> None:
    guard = template_child._Guard()
    guard("open", ())
    guard.closed = True
    for event in ("open", "socket.connect", "subprocess.Popen", "os.system", "import"):
        with pytest.raises(SecurityError, match="reached for"):
            guard(event, ())
    guard("object.__getattr__", ())


@pytest.mark.parametrize("name", sorted(TEMPLATES))
def test_an_honest_template_asks_nothing_that_cannot_be_tried(name: str) -> None:
    syntax = read_syntax(make_environment(), TEMPLATES[name])
    assert syntax.problems == ()
    assert syntax.parts == (name == "parts of content")


@pytest.mark.parametrize(
    ("condition", "nature"),
    [
        ("messages[0].content == 'stop'", None),
        ("messages[0]['content'] is string", None),
        ("message.content", None),
        ("not message.content", None),
        ("message.content | length > 0", None),
        ("message.content | trim | lower == 'stop'", None),
        ("'stop' in message.content or message.role == 'user'", None),
        ("message.content.startswith('stop')", None),
        ("message.content.split('stop')[-1] == 'go'", None),
        ("message.content.strip() != ''", None),
        ("message.type == 'text'", None),
        ("'image' in message.content", None),
        ("messages | length > 3", None),
        ("strftime_now is defined", None),
        ("message.content[2] == 'q'", "a part of what is said"),
        ("message.content[2:5] == 'abc'", "a part of what is said"),
        ("message.content | replace('a', '') == 'b'", "a part of what is said"),
        ("message.content | length == 40", "a length or a number in what is said"),
        ("message.content.count('q') > 2", "a length or a number in what is said"),
        ("message.content.startswith(message.role)", "'startswith' of what is said"),
        ("message.content.isdigit()", "'isdigit' of what is said"),
        ("message.content is divisibleby 3", "'divisibleby' of what is said"),
        ("(messages | string)[9] == 'q'", "a part of what is said"),
        ("strftime_now('%Y') > '2026'", "the date"),
        ("strftime_now('%d') | int % 2", "the date"),
    ],
)
def test_conditions_that_cannot_be_tried_are_named(condition: str, nature: str | None) -> None:
    found = list(read_conditions(make_environment().parse(f"{{% if {condition} %}}a{{% endif %}}")))
    assert [each[1] for each in found] == ([] if nature is None else [nature])


@pytest.mark.parametrize(
    "source",
    [
        "{% set day = strftime_now('%d') %}{% if day == '13' %}a{% endif %}",
        "{% set n = namespace(c='') %}{% set n.c = message.content[0] %}{% if n.c == 'q' %}a{% endif %}",
        "{% set c %}{{ message.content }}{% endset %}{% if c[1] == 'q' %}a{% endif %}",
        "{% for k, v in message.items() %}{% if v[1] == 'q' %}a{% endif %}{% endfor %}",
        "{% for c in message.content if c == 'q' %}a{% endfor %}",
        "{{ 'a' if message.content[0] == 'q' else 'b' }}",
        "{% set odd = message.content[0] == 'q' %}{% if odd %}a{% endif %}",
    ],
)
def test_what_is_said_is_followed_through_variables(source: str) -> None:
    assert list(read_conditions(make_environment().parse(source)))


def test_the_answer_of_the_child(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.StringIO()
    monkeypatch.setattr(sys, "stdout", written)
    template_child._answer({"constants": ("a",)})
    assert json.loads(written.getvalue()) == {"constants": ["a"]}
