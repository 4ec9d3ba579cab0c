"""The fake model's text: a real tokenizer's tokens, a real chat template's prompts, a `Brain`'s answers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import Tokenizer

from tests.fakes.brain import Asked, Brain, Faults

_TOP = -0.05  # the log-probability of the most likely token wherever the prompt's own is less likely
_CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


class RefusedError(Exception):
    """The request is one that vLLM answers with status 400."""


@dataclass(frozen=True)
class Piece:
    """One streamed chunk: its delta, the tokens generated so far, and the finish reason on the last."""

    delta: Mapping[str, str]
    tokens: int
    finish: str | None


@dataclass(frozen=True)
class Generated:
    """One answer as the protocol reports it.  `completion_tokens` counts the end-of-text token, as vLLM does."""

    text: str
    finish: str
    prompt_tokens: int
    completion_tokens: int
    logprobs: Mapping[str, Any] | None
    pieces: tuple[Piece, ...] = ()


class ModelText:
    """Everything between token ids and the brain."""

    def __init__(self, checkpoint: Path, context_length: int) -> None:
        self._tokenizer = Tokenizer.from_file(str(checkpoint / "tokenizer.json"))
        self._context_length = context_length
        self._known_pieces: dict[int, str] = {}
        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
        self._template = environment.from_string(_chat_template(checkpoint))

    def encode(self, text: str, *, special: bool) -> list[int]:
        return list(self._tokenizer.encode(text, add_special_tokens=special).ids)

    def decode(self, ids: Sequence[int]) -> str:
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=False))

    def _piece(self, token: int) -> str:
        """The text of one token, remembered: tests ask for the same ones thousands of times."""
        if token not in self._known_pieces:
            self._known_pieces[token] = self.decode([token])
        return self._known_pieces[token]

    def render(self, messages: Sequence[Mapping[str, Any]], *, generation_prompt: bool) -> str:
        return self._template.render(messages=messages, add_generation_prompt=generation_prompt)

    def prompts(self, prompt: Any) -> list[list[int]]:
        """The token ids of each prompt in a request: text, token ids, or a list of either."""
        if isinstance(prompt, str):
            return [self.encode(prompt, special=True)]
        if not isinstance(prompt, list) or not prompt:
            raise RefusedError("prompt must be text, token ids, or a list of either")
        if all(isinstance(item, int) for item in prompt):
            return [self._known(prompt)]
        return [self.encode(item, special=True) if isinstance(item, str) else self._known(item) for item in prompt]

    def _known(self, ids: Sequence[int]) -> list[int]:
        size = self._tokenizer.get_vocab_size()
        for token in ids:
            if not 0 <= token < size:
                raise RefusedError(f"Token id {token} is out of vocabulary")
        return list(ids)

    def chat(self, brain: Brain, body: Mapping[str, Any], faults: Faults, number: int) -> Generated:
        """The answer to a request for a chat completion; content in parts is the text of its parts, as for vLLM."""
        messages = [{**message, "content": _text(message["content"])} for message in body["messages"]]
        prompt = self.render(messages, generation_prompt=True)
        ids = self.encode(prompt, special=False)
        return self._generate(brain, _asked(prompt, body, number, messages), ids, body, faults)

    def complete(self, brain: Brain, ids: list[int], body: Mapping[str, Any], faults: Faults, number: int) -> Generated:
        """The answer to one prompt of a request for a completion."""
        if body.get("echo") and not faults.no_echo:
            return self._echo(brain, ids, body, faults)
        asked = _asked(self.decode(ids), body, number)
        if body.get("logprob_token_ids") and not faults.no_named_tokens:
            return self._named(brain, asked.prompt, ids, body, faults)
        return self._generate(brain, asked, ids, body, faults)

    def _generate(
        self, brain: Brain, asked: Asked, prompt: list[int], body: Mapping[str, Any], faults: Faults
    ) -> Generated:
        limit = body.get("max_completion_tokens") or body.get("max_tokens")
        if limit is None:
            limit = self._context_length - len(prompt) if asked.messages else 16
        if limit == 0 and body.get("echo"):
            limit = 1  # a server that ignores echo generates instead
        if limit < 1 or len(prompt) + limit > self._context_length:
            raise RefusedError(f"max_tokens={limit} with a prompt of {len(prompt)} tokens does not fit")
        text = "" if faults.empty_text else _before_stop(brain.answer(asked), body.get("stop") or [])
        ids = self.encode(text, special=False)
        finish = "length" if len(ids) >= limit else "stop"  # the end-of-text token needs room too
        ids = ids[:limit]
        pieces = self._pieces(ids, finish) if body.get("stream") else ()
        logprobs = None
        if body.get("logprobs") and body.get("prompt") is not None:
            logprobs = self._logprobs(brain, asked.prompt, ids, faults, as_ids=bool(body.get(_AS_IDS)))
        count = len(ids) + (finish == "stop") + faults.extra_tokens
        return Generated(self.decode(ids), finish, len(prompt), count, logprobs, pieces)

    def _pieces(self, ids: list[int], finish: str) -> tuple[Piece, ...]:
        """One chunk a token; after a natural end, an empty chunk for the end-of-text token."""
        texts = [self.decode(ids[: length + 1]) for length in range(len(ids))]
        deltas = [text[len(texts[index - 1]) if index else 0 :] for index, text in enumerate(texts)]
        whole = [Piece({"content": delta}, index + 1, None) for index, delta in enumerate(deltas)]
        if finish == "stop":
            return (*whole, Piece({"content": ""}, len(ids) + 1, "stop"))
        return (*whole[:-1], Piece(whole[-1].delta, len(ids), finish))

    def _echo(self, brain: Brain, ids: list[int], body: Mapping[str, Any], faults: Faults) -> Generated:
        """The prompt itself; its first token has no log-probability, as nothing comes before it."""
        if len(ids) + (body.get("max_tokens") or 0) > self._context_length:
            raise RefusedError(f"The prompt has {len(ids)} tokens; at most {self._context_length} are possible")
        text = self.decode(ids)
        tail = [] if body.get("max_tokens", 16) == 0 else self.encode(" and", special=False)[:1]
        logprobs = None
        if body.get("logprobs") is not None:
            as_ids = bool(body.get(_AS_IDS))
            logprobs = self._logprobs(brain, "", [*ids, *tail], faults, as_ids=as_ids)
            logprobs["token_logprobs"][0] = None
            logprobs["top_logprobs"][0] = None
        return Generated(text + self.decode(tail), "length", len(ids), 1 + faults.extra_tokens, logprobs)

    def _logprobs(self, brain: Brain, before: str, ids: list[int], faults: Faults, *, as_ids: bool) -> dict[str, Any]:
        values: list[float | None] = []
        tops: list[dict[str, float] | None] = []
        names: list[str] = []
        for token in ids:
            piece = self._piece(token)
            value = _planted(brain.logprob(before, piece), faults)
            name = f"token_id:{token}" if as_ids else piece
            other = "token_id:0" if as_ids else "<other>"
            values.append(value)
            tops.append({name: value} if value >= _TOP else {name: value, other: _TOP})
            names.append(name)
            before += piece
        return {"text_offset": [0] * len(ids), "token_logprobs": values, "tokens": names, "top_logprobs": tops}

    def _named(
        self, brain: Brain, before: str, prompt: list[int], body: Mapping[str, Any], faults: Faults
    ) -> Generated:
        """One token: the likeliest of those named, with the log-probabilities of all of them."""
        named = self._known(body["logprob_token_ids"])
        values = {token: _planted(brain.logprob(before, self._piece(token)), faults) for token in named}
        sampled = max(named, key=lambda token: values[token])
        top = {f"token_id:{token}": value for token, value in values.items()}
        logprobs = {
            "text_offset": [0],
            "token_logprobs": [values[sampled]],
            "tokens": [f"token_id:{sampled}"],
            "top_logprobs": [top],
        }
        return Generated(self.decode([sampled]), "length", len(prompt), 1 + faults.extra_tokens, logprobs)


_AS_IDS = "return_tokens_as_token_ids"


def _planted(value: float, faults: Faults) -> float:
    if faults.nan_logprobs:
        return float("nan")
    return value if faults.constant_logprob is None else faults.constant_logprob


def _text(content: str | Sequence[Mapping[str, str]]) -> str:
    return content if isinstance(content, str) else "".join(part["text"] for part in content)


def _asked(prompt: str, body: Mapping[str, Any], number: int, messages: Sequence[Mapping[str, Any]] = ()) -> Asked:
    temperature = body.get("temperature")
    return Asked(prompt, messages, body.get("seed"), 1.0 if temperature is None else temperature, number)


def _before_stop(text: str, stop: str | list[str]) -> str:
    stops = [stop] if isinstance(stop, str) else stop
    ends = [text.find(one) for one in stops if one and one in text]
    return text[: min(ends)] if ends else text


def _chat_template(checkpoint: Path) -> str:
    template = checkpoint / "chat_template.jinja"
    if template.exists():
        return template.read_text(encoding="utf-8")
    configuration = checkpoint / "tokenizer_config.json"
    if configuration.exists():
        return str(json.loads(configuration.read_text(encoding="utf-8")).get("chat_template") or _CHATML)
    return _CHATML
