"""Chat templates of the kinds that publishers write; these are our own.  None does more than frame what is said."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

_DEFAULT_PROMPT = """\
{%- if messages[0].role != 'system' %}
{{- '<|im_start|>system\\nYou are a small and friendly model.<|im_end|>\\n' }}
{%- endif -%}
{%- for message in messages %}
{{- '<|im_start|>' + message.role + '\\n' + message.content | trim + '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}
"""

_DATED = """\
{{- bos_token }}
{%- if messages[0]['role'] == 'system' %}
    {%- set prompt = messages[0]['content'] | trim %}
    {%- set rest = messages[1:] %}
{%- else %}
    {%- set prompt = '' %}
    {%- set rest = messages %}
{%- endif %}
{%- set today = '1 May 2025' %}
{%- if strftime_now is defined %}{% set today = strftime_now('%d %B %Y') %}{% endif %}
{{- '<|header|>system<|end|>\\nToday is the ' + today + '.\\n' + prompt }}
{%- if tools is not none %}
    {{- 'You can call these functions by answering with a JSON object:\\n' }}
    {%- for tool in tools %}{{ tool | tojson(indent=2) }}{% endfor %}
{%- endif %}
{{- '<|stop|>' }}
{%- for message in rest %}
    {%- if message.role == 'tool' or 'tool_calls' in message %}
        {%- set called = message.tool_calls | default(message.content) %}
        {{- '<|header|>' + message.role + '<|end|>' + called | tojson + '<|stop|>' }}
    {%- else %}
        {{- '<|header|>' + message['role'] + '<|end|>\\n\\n' + message['content'] | trim + '<|stop|>' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|header|>assistant<|end|>\\n\\n' }}{% endif %}
"""

_STRICT = """\
{{ bos_token }}
{%- if messages[0]['role'] == 'system' %}{{ raise_exception('There is no system role') }}{% endif %}
{%- for message in messages %}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
        {{- raise_exception('Roles must alternate: user, assistant, user') }}
    {%- endif %}
    {%- set role = 'model' if message['role'] == 'assistant' else message['role'] %}
    {{- '<start_of_turn>' + role + '\\n' + message['content'] | trim + '<end_of_turn>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}
"""

_BRACKETS = """\
{{- bos_token }}
{%- if messages[0].role == 'system' %}{% set prompt = messages[0].content %}{% set rest = messages[1:] %}
{%- else %}{% set prompt = none %}{% set rest = messages %}{% endif %}
{%- for message in rest %}
    {%- if message.role == 'user' and loop.last and prompt is not none %}
        {{- '[INST] ' + prompt + '\\n\\n' + message.content + ' [/INST]' }}
    {%- elif message.role == 'user' %}
        {{- '[INST] ' + message.content + ' [/INST]' }}
    {%- elif message.role == 'assistant' %}
        {{- ' ' + message.content + eos_token }}
    {%- endif %}
{%- endfor %}
"""

_REASONING = """\
{%- set state = namespace(last=-1) %}
{%- for message in messages %}
    {%- if message.role == 'user' and not message.content.startswith('<tool_response>') %}
        {%- set state.last = loop.index0 %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if message.content is string %}{% set said = message.content %}{% else %}{% set said = '' %}{% endif %}
    {%- if message.role == 'assistant' %}
        {%- if '</think>' in said %}{% set said = said.split('</think>')[-1].lstrip('\\n') %}{% endif %}
        {{- '<|im_start|>assistant\\n' + said + '<|im_end|>\\n' }}
    {%- else %}
        {{- '<|im_start|>' + message.role + '\\n' + said + '<|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}{{ '<think>\\n\\n</think>\\n\\n' }}{% endif %}
{%- endif %}
"""

_ROUNDS = """\
{%- set count = namespace(rounds=0) %}
{%- for message in messages %}
    {%- if message.role == 'user' %}
        {%- set count.rounds = count.rounds + 1 %}
        {{- '[Round ' ~ count.rounds ~ ']\\nQ: ' ~ message.content ~ '\\nA:' }}
    {%- else %}
        {{- ' ' ~ message.content ~ '\\n\\n' }}
    {%- endif %}
{%- endfor %}
"""

_PARTS = """\
{%- macro text_of(content) %}
    {%- if content is string %}{{ content }}
    {%- else %}{% for part in content %}{% if part.type == 'text' %}{{ part.text }}{% endif %}{% endfor %}{% endif %}
{%- endmacro %}
{%- for message in messages %}
    {{- '<|' + message.role + '|>\\n' }}{{ text_of(message.content) }}{{ '<|end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% else %}{{ eos_token }}{% endif %}
"""

_TRAINING = """\
{%- for message in messages %}
    {{- '<|im_start|>' + message.role + '\\n' }}
    {%- if message.role == 'assistant' %}
        {%- generation %}{{ message.content }}{% endgeneration %}
    {%- else %}{{ message.content }}{% endif %}
    {{- '<|im_end|>\\n' }}
{%- endfor %}
{{- '<|im_start|>assistant\\n' }}
"""

TEMPLATES: Mapping[str, str] = MappingProxyType(
    {
        "default prompt": _DEFAULT_PROMPT,
        "dated, with tools": _DATED,
        "strict about roles": _STRICT,
        "brackets": _BRACKETS,
        "reasoning": _REASONING,
        "counted rounds": _ROUNDS,
        "parts of content": _PARTS,
        "marked for training": _TRAINING,
    }
)
"""Templates by what is notable in them."""
