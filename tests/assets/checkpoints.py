"""Small, valid checkpoints, made when a test needs one.

A checkpoint made here is complete: safetensors weights with seeded random values, a configuration that transformers
accepts, a real byte-level tokenizer, a chat template and a card with the licence in its front matter.  Its answers are
noise.
"""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.assets.architectures import ARCHITECTURES
from tests.assets.layers import Tensor

SPECIAL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
VOCABULARY = 320  # rows of the embedding; the tokenizer uses 263 of them, as padded vocabularies do

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)

_BYTES_PER_VALUE = {"F32": 4, "BF16": 2, "F16": 2, "I64": 8, "I32": 4, "I8": 1, "U8": 1, "F8_E4M3": 1}


@dataclass(frozen=True)
class SafetensorsEntry:
    """One tensor as it is written: its name, type, shape and bytes."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    data: bytes


def make_tiny_checkpoint(
    directory: Path,
    *,
    architecture: str = "llama",
    seed: int = 0,
    layers: int = 2,
    shards: int = 1,
    licence: str | None = "apache-2.0",
    chat_template: str | None = CHAT_TEMPLATE,
    config: Mapping[str, Any] | None = None,
) -> Path:
    """Write a checkpoint of a few thousand parameters into `directory` (made if absent) and return it.

    `architecture` is a key of `tests.assets.architectures.ARCHITECTURES`; `seed` decides the weights, so two seeds give
    two different digests; `config` is laid over the configuration.  With more than one shard an index file is written.
    """
    made = ARCHITECTURES[architecture](layers, VOCABULARY)
    directory.mkdir(parents=True, exist_ok=True)
    write_json(directory / "config.json", {**made.config, **(config or {})})
    write_json(directory / "generation_config.json", {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0})
    write_tokenizer(directory, chat_template)
    if licence is not None:
        write_card(directory, licence)
    write_weights(directory, list(_entries(made.tensors, seed)), shards)
    return directory


def write_weights(directory: Path, entries: list[SafetensorsEntry], shards: int = 1) -> None:
    """Write `entries` as `model.safetensors`, or as that many shards with an index."""
    if shards == 1:
        write_safetensors(directory / "model.safetensors", entries)
        return
    placed: dict[str, str] = {}
    for number in range(shards):
        name = f"model-{number + 1:05d}-of-{shards:05d}.safetensors"
        mine = entries[number::shards]
        write_safetensors(directory / name, mine)
        placed.update({entry.name: name for entry in mine})
    total = sum(len(entry.data) for entry in entries)
    write_json(
        directory / "model.safetensors.index.json",
        {"metadata": {"total_size": total}, "weight_map": dict(sorted(placed.items()))},
    )


def write_safetensors(path: Path, entries: list[SafetensorsEntry], metadata: Mapping[str, str] | None = None) -> None:
    """Write a safetensors file: the header's length (8 bytes, little endian), the header, and the tensors in order."""
    header: dict[str, Any] = {"__metadata__": dict(metadata or {"format": "pt"})}
    offset = 0
    for entry in entries:
        end = offset + len(entry.data)
        header[entry.name] = {"dtype": entry.dtype, "shape": list(entry.shape), "data_offsets": [offset, end]}
        offset = end
    write_raw_safetensors(path, json.dumps(header).encode(), b"".join(entry.data for entry in entries))


def write_raw_safetensors(path: Path, header: bytes, data: bytes, *, length: int | None = None) -> None:
    """Write a safetensors file from a raw header and raw data; `length` overrides the header's true length."""
    padded = header + b" " * (-len(header) % 8)
    path.write_bytes(struct.pack("<Q", len(padded) if length is None else length) + padded + data)


def write_tokenizer(directory: Path, chat_template: str | None = CHAT_TEMPLATE) -> None:
    """Write a byte-level BPE tokenizer: 256 bytes, the letters ' A' to ' D' as one token each, three special tokens."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers  # heavy

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    letters = [("Ġ", letter) for letter in "ABCD"]  # Ġ is how byte-level tokenizers write a space
    tokens = [*SPECIAL_TOKENS, *alphabet, *("".join(merge) for merge in letters)]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=letters))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL_TOKENS])
    tokenizer.save(str(directory / "tokenizer.json"))
    settings: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<|im_start|>",
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
        "model_max_length": 2048,
    }
    if chat_template is not None:
        settings["chat_template"] = chat_template
    write_json(directory / "tokenizer_config.json", settings)


def write_card(directory: Path, licence: str) -> None:
    """Write a README.md whose front matter names the licence."""
    (directory / "README.md").write_text(
        f"---\nlicense: {licence}\nlanguage:\n- en\npipeline_tag: text-generation\n---\n\n# A tiny model\n\nNoise.\n"
    )


def write_json(path: Path, value: object) -> None:
    """Write `value` as indented JSON."""
    path.write_text(json.dumps(value, indent=2) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in `path`."""
    value: dict[str, Any] = json.loads(path.read_text())
    return value


def edit_json(path: Path, **changes: Any) -> None:
    """Lay `changes` over the JSON object in `path`."""
    write_json(path, {**read_json(path), **changes})


def _entries(tensors: tuple[Tensor, ...], seed: int) -> Iterator[SafetensorsEntry]:
    source = random.Random(seed)
    for tensor in tensors:
        yield SafetensorsEntry(tensor.name, tensor.dtype, tensor.shape, _values(tensor, source))


def _values(tensor: Tensor, source: random.Random) -> bytes:
    """Bytes of the tensor: ones for a norm's weight, else small values of both signs."""
    count = 1
    for size in tensor.shape:
        count *= size
    if tensor.dtype not in ("F32", "BF16", "F16"):
        return source.randbytes(count * _BYTES_PER_VALUE[tensor.dtype])
    values = [1.0] * count if "norm" in tensor.name else [source.uniform(-0.1, 0.1) for _ in range(count)]
    if tensor.dtype == "F16":
        return struct.pack(f"<{count}e", *values)
    single = struct.pack(f"<{count}f", *values)
    if tensor.dtype == "F32":
        return single
    return bytes(byte for place, byte in enumerate(single) if place % 4 >= 2)  # bfloat16: the upper half of a float32
