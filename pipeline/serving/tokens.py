"""Text -> token ids by the checkpoint's own tokenizer, and where a continuation begins among them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import RequestError, ServingError
from pipeline.files import read_bounded

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_TOKENIZER_LIMIT = 256 * 1024 * 1024  # bytes; the largest vocabularies in use take a tenth of it


class BoundaryError(ValueError):
    """A continuation cannot be told apart from its context in tokens."""


@dataclass(frozen=True)
class Scored:
    """A whole prompt in tokens, of which those from `first` on are the continuation."""

    tokens: tuple[int, ...]
    first: int


class Tokens:
    """The tokenizer of a checkpoint directory.

    Special tokens that the tokenizer puts before every text (such as a beginning-of-text token) are put once, also
    where the text, as a chat template renders it, begins with them already.
    """

    def __init__(self, directory: Path) -> None:
        """Raises ServingError when there is no usable tokenizer.json."""
        self._tokenizer = _load(directory / "tokenizer.json")
        self._prefix = self._leading_specials()
        self._start = self._prefix or self._start_token(directory)

    def encode(self, text: str) -> tuple[int, ...]:
        """The tokens of `text`, after the leading special tokens that belong before every text."""
        tokens = tuple(self._tokenizer.encode(text, add_special_tokens=False).ids)
        return tokens if tokens[: len(self._prefix)] == self._prefix else (*self._prefix, *tokens)

    def encode_rendered(self, text: str) -> tuple[int, ...]:
        """The tokens of a text that holds its special tokens already."""
        return tuple(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of `tokens`, special tokens included."""
        return str(self._tokenizer.decode(list(tokens), skip_special_tokens=False))

    def pair(self, context: str, continuation: str) -> Scored:
        """`context` and `continuation` as one prompt.

        The two are tokenised as a whole.  Where the context's own tokens come first in it, the rest is the
        continuation's.  Where they do not, the context's last token having grown into the continuation, spaces at the
        end of the context count as the continuation's, and the context's number of tokens decides, as in lm-eval.

        Raises:
            BoundaryError: the continuation has no token of its own.
        """
        kept = context.rstrip()
        for before, after in ((context, continuation), (kept, context[len(kept) :] + continuation)):
            alone = self.encode(before) if before else self._start
            whole = self.encode(before + after)
            if not before and whole[: len(alone)] != alone:
                # Nothing comes before the continuation: a start token does, or its first would have no probability.
                whole = (*alone, *whole)
            if whole[: len(alone)] == alone:
                break
        if not 0 < len(alone) < len(whole):
            raise BoundaryError("the continuation has no token of its own after this context")
        return Scored(whole, len(alone))

    def endings(
        self, context: str, continuations: Sequence[str]
    ) -> tuple[tuple[int, ...], tuple[tuple[int, ...], ...]]:
        """The tokens of the context, and those of each continuation.

        Raises:
            BoundaryError: a continuation has no token or changes the context's tokens, or two are the same.
        """
        pairs = [self.pair(context, continuation) for continuation in continuations]
        contexts = {pair.tokens[: pair.first] for pair in pairs}
        if len(contexts) != 1:
            raise BoundaryError("the continuations do not follow the same tokens")
        endings = tuple(pair.tokens[pair.first :] for pair in pairs)
        if len(set(endings)) != len(endings):
            raise BoundaryError("two continuations are the same tokens")
        return contexts.pop(), endings

    def _leading_specials(self) -> tuple[int, ...]:
        with_specials = self._tokenizer.encode("a", add_special_tokens=True).ids
        plain = self._tokenizer.encode("a", add_special_tokens=False).ids
        for start in range(len(with_specials) - len(plain) + 1):
            if with_specials[start : start + len(plain)] == plain:
                return tuple(with_specials[:start])
        return ()

    def _start_token(self, directory: Path) -> tuple[int, ...]:
        """The token that stands for the beginning of a text: the tokenizer's own, or its end-of-text token."""
        try:
            configuration = json.loads(read_bounded(directory / "tokenizer_config.json"))
        except (RequestError, ValueError):
            return ()  # a tokenizer without configuration has no such token; empty contexts are then refused
        for key in ("bos_token", "eos_token"):
            named = configuration.get(key) if isinstance(configuration, dict) else None
            text = named.get("content") if isinstance(named, dict) else named
            token = self._tokenizer.token_to_id(text) if isinstance(text, str) else None
            if token is not None:
                return (int(token),)
        return ()


def _load(path: Path) -> Tokenizer:
    from tokenizers import Tokenizer

    try:
        return Tokenizer.from_str(read_bounded(path, limit=_TOKENIZER_LIMIT).decode("utf-8"))
    except (RequestError, UnicodeDecodeError) as error:
        reason = f"{error.why}" if isinstance(error, RequestError) else "It is not UTF-8."
        raise _unusable(path, reason) from error
    except Exception as error:  # the library raises bare Exception for every malformed file
        raise _unusable(path, f"{' '.join(str(error).split())[:200]}.") from error


def _unusable(path: Path, why: str) -> ServingError:
    return ServingError(
        f"cannot use the tokenizer {path}",
        why=why,
        remedy="Give the checkpoint a tokenizer.json that the 'tokenizers' library reads, then sign it again.",
    )
