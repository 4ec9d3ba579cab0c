"""The checkpoint's tokenizer, for choosing how a question is scored."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import RequestError

if TYPE_CHECKING:
    from tokenizers import Tokenizer


class Tokens:
    """How texts split into tokens.  No special tokens are added."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer

    @classmethod
    def load(cls, directory: Path) -> Tokens:
        """The tokenizer in `directory`.

        Raises:
            RequestError: there is no tokenizer.json, or it is malformed.
        """
        from tokenizers import Tokenizer

        path = directory / "tokenizer.json"
        try:
            return cls(Tokenizer.from_file(str(path)))
        except Exception as error:  # the library raises plain Exception and nothing finer
            raise RequestError(
                f"cannot read the tokenizer {path}",
                why=f"The library says: {error}.",
                remedy="Give a checkpoint with its tokenizer.json.",
            ) from error

    def encode(self, text: str) -> list[int]:
        """The token ids of `text`."""
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def continuation(self, context: str, continuation: str) -> list[int]:
        """The tokens that `continuation` adds after `context`.

        White space at the end of the context belongs to the continuation, and both are split together: the rule of
        lm-eval, so that the same tokens are scored.
        """
        bare = context.rstrip()
        whole = self.encode(context + continuation)
        return whole[len(self.encode(bare)) :]

    def endings(self, context: str, continuations: Sequence[str]) -> tuple[list[int], list[list[int]]] | None:
        """The tokens of `context` and of each continuation, where named tokens can ask for them; else None.

        They can where every continuation leaves the context's tokens as they are and adds some of its own, no two the
        same.  White space at the context's end could join either side, so such a context is left to echo.
        """
        if len(continuations) < 2 or not context.strip() or context != context.rstrip():
            return None
        start = self.encode(context)
        wholes = [self.encode(context + continuation) for continuation in continuations]
        if any(len(whole) <= len(start) or whole[: len(start)] != start for whole in wholes):
            return None
        endings = [whole[len(start) :] for whole in wholes]
        return (start, endings) if len({tuple(ending) for ending in endings}) == len(endings) else None
