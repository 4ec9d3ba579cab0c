from __future__ import annotations

import json
from pathlib import Path

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors

from pipeline.errors import ServingError
from pipeline.serving.tokens import BoundaryError, Tokens


@pytest.fixture(scope="session")
def merging(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer that merges ' A' and 'xy' into one token each, and puts <s> before every text."""
    folder = tmp_path_factory.mktemp("merging")
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = ["<s>", *alphabet, "ĠA", "xy"]
    vocabulary = {word: number for number, word in enumerate(words)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[("Ġ", "A"), ("x", "y")]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken("<s>", special=True, normalized=False)])
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def texts(tokens: Tokens, ids: tuple[int, ...]) -> list[str]:
    return [tokens.decode([token]) for token in ids]


def test_the_start_token_comes_once(merging: Path) -> None:
    tokens = Tokens(merging)
    assert texts(tokens, tokens.encode("b")) == ["<s>", "b"]
    assert texts(tokens, tokens.encode("<s>b")) == ["<s>", "b"]


def test_a_clean_boundary_is_kept(merging: Path) -> None:
    pair = Tokens(merging).pair("Q:\n", "A")
    assert texts(Tokens(merging), pair.tokens[pair.first :]) == ["A"]


def test_a_space_at_the_end_of_the_context_belongs_to_the_continuation(merging: Path) -> None:
    tokens = Tokens(merging)
    pair = tokens.pair("Q: ", "A")
    assert texts(tokens, pair.tokens[pair.first :]) == [" A"]
    assert pair == tokens.pair("Q:", " A")


def test_an_empty_context_is_the_start_token(merging: Path) -> None:
    tokens = Tokens(merging)
    assert texts(tokens, tokens.pair("", "bc").tokens) == ["<s>", "b", "c"]
    assert tokens.pair("", "bc").first == 1


def test_an_empty_context_takes_the_start_token_from_the_configuration(tiny: Path) -> None:
    tokens = Tokens(tiny)
    assert texts(tokens, tokens.pair("", "bc").tokens) == ["<|im_start|>", "b", "c"]


def test_an_empty_context_without_any_start_token_is_refused(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_bytes((tiny / "tokenizer.json").read_bytes())
    with pytest.raises(BoundaryError):
        Tokens(tmp_path).pair("", "bc")


def test_a_continuation_that_melts_into_its_context_is_refused(merging: Path) -> None:
    with pytest.raises(BoundaryError):
        Tokens(merging).pair("x", "y")
    with pytest.raises(BoundaryError):
        Tokens(merging).pair("x", "")


def test_endings_follow_one_context(merging: Path) -> None:
    tokens = Tokens(merging)
    context, endings = tokens.endings("Q:", ("A", "BA"))
    assert texts(tokens, context) == ["<s>", "Q", ":"]
    assert [texts(tokens, ending) for ending in endings] == [["A"], ["B", "A"]]


@pytest.mark.parametrize("continuations", [("A", ""), ("A", "A")])
def test_endings_without_a_token_of_their_own_are_refused(merging: Path, continuations: tuple[str, ...]) -> None:
    with pytest.raises(BoundaryError):
        Tokens(merging).endings("Q:", continuations)


def test_a_checkpoint_without_a_tokenizer_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ServingError, match="no such file"):
        Tokens(tmp_path)


@pytest.mark.parametrize("content", [b"{", b"{}", b"\xff", json.dumps({"version": "9"}).encode()])
def test_a_malformed_tokenizer_is_one_clear_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "tokenizer.json").write_bytes(content)
    with pytest.raises(ServingError, match="cannot use the tokenizer"):
        Tokens(tmp_path)
