"""Settings that would make a loader run code, reach outside, or misread the model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tests.assets.checkpoints import edit_json
from tests.assets.hostile_files import Attack


def _sets(file: str, **changes: Any) -> Callable[[Path], object]:
    def spoil(directory: Path) -> None:
        path = directory / file
        if not path.exists():
            path.write_text("{}")
        edit_json(path, **changes)

    return spoil


def _config(**changes: Any) -> Callable[[Path], object]:
    return _sets("config.json", **changes)


def _writes(file: str, data: bytes) -> Callable[[Path], object]:
    return lambda directory: (directory / file).write_bytes(data)


_CODE = {"AutoModelForCausalLM": "modeling_tiny.TinyForCausalLM"}

_SETTINGS: Mapping[str, Attack] = {
    "auto-map": ("checkpoint.remote-code", _config(auto_map=_CODE)),
    "auto-map-to-a-hub": ("checkpoint.remote-code", _config(auto_map={"AutoConfig": "someone/else--configuration.C"})),
    "auto-map-nested": ("checkpoint.remote-code", _config(vision_config={"auto_map": _CODE})),
    "auto-map-deep": ("checkpoint.remote-code", _config(a=[{"b": {"c": [{"auto_map": _CODE}]}}])),
    "auto-map-in-prose": ("checkpoint.remote-code", _config(task_specific_params={"auto_map": _CODE})),
    "auto-map-of-tokenizer": (
        "checkpoint.remote-code",
        _sets("tokenizer_config.json", auto_map={"AutoTokenizer": ["tokenization_tiny.T", None]}),
    ),
    "auto-map-of-processor": (
        "checkpoint.remote-code",
        _sets("processor_config.json", auto_map={"AutoProcessor": "p.P"}),
    ),
    "auto-map-of-generation": ("checkpoint.remote-code", _sets("generation_config.json", auto_map={"A": "g.G"})),
    "trust-remote-code": ("checkpoint.remote-code", _config(trust_remote_code=True)),
    "custom-pipelines": ("checkpoint.remote-code", _config(custom_pipelines={"tiny": {"impl": "pipe.Pipe"}})),
    "custom-generate": ("checkpoint.remote-code", _sets("generation_config.json", custom_generate="someone/generate")),
    "attention-hook": ("checkpoint.code-hook", _config(_attn_implementation_internal="someone/kernel")),
    "attention-hook-nested": ("checkpoint.code-hook", _config(text_config={"_attn_implementation_internal": "eager"})),
    "attention-from-a-hub": ("checkpoint.code-hook", _config(_attn_implementation="someone/kernel@main:forward")),
    "kernels-from-a-hub": ("checkpoint.code-hook", _config(use_kernels=True)),
    "absolute-path": ("checkpoint.external-path", _config(_name_or_path="/srv/models/tiny")),
    "home-path": ("checkpoint.external-path", _config(tokenizer_file="~/.ssh/id_ed25519")),
    "climbing-path": ("checkpoint.external-path", _config(vocab_file="../../../etc/passwd")),
    "climbing-path-inside": ("checkpoint.external-path", _config(vocab_file="data/../../../etc/passwd")),
    "windows-path": ("checkpoint.external-path", _config(vocab_file="C:\\Windows\\win.ini")),
    "network-share": ("checkpoint.external-path", _config(vocab_file="\\\\server\\share\\file")),
    "file-address": ("checkpoint.remote-reference", _config(vocab_file="file:///etc/passwd")),
    "address": ("checkpoint.remote-reference", _config(vocab_file="https://example.invalid/vocab.json")),
    "address-in-bucket": ("checkpoint.remote-reference", _config(weights="s3://bucket/weights")),
    "address-in-a-list": ("checkpoint.remote-reference", _config(files=["a", "HTTP://example.invalid/b"])),
    "adapter-of-a-hub": (
        "checkpoint.remote-reference",
        _sets("adapter_config.json", base_model_name_or_path="someone/model"),
    ),
    "speculator-of-a-hub": (
        "checkpoint.remote-reference",
        _config(speculators_config={"verifier": {"name_or_path": "someone/model"}}),
    ),
    "class-of-a-hub": ("checkpoint.remote-code", _config(tokenizer_class="someone/code--tokenization.T")),
    "many-hooks": ("checkpoint.code-hook", _config(a=[{"use_kernels": True}] * 100_000)),
    "key-of-eight-megabytes": (
        "checkpoint.remote-code",
        _config(**{"k" * 8_000_000: ["a"] * 200_000, "trust_remote_code": True}),
    ),
    "template-neither-text-nor-list": ("checkpoint.chat-template", _sets("tokenizer_config.json", chat_template=7)),
    "no-config": ("checkpoint.config-missing", lambda directory: (directory / "config.json").unlink()),
    "config-no-json": ("checkpoint.json", _writes("config.json", b"{'single': 'quotes'}")),
    "config-a-list": ("checkpoint.config", _writes("config.json", b"[]")),
    "config-empty": ("checkpoint.json", _writes("config.json", b"")),
    "config-names-a-key-twice": (
        "checkpoint.json",
        _writes("config.json", b'{"auto_map": null, "model_type": "llama", "auto_map": {"A": "b.C"}}'),
    ),
    "config-nested-deep": ("checkpoint.json", _writes("config.json", b'{"a":' * 50_000 + b"1" + b"}" * 50_000)),
    "config-with-infinity": ("checkpoint.json", _writes("config.json", b'{"rope_theta": Infinity}')),
    "config-of-100-million-layers": ("checkpoint.config", _config(num_hidden_layers=10**12)),
    "config-with-negative-layers": ("checkpoint.config", _config(num_hidden_layers=-1)),
    "config-with-code-for-a-number": ("checkpoint.config", _config(hidden_size="__import__('os')")),
    "config-with-truth-for-a-number": ("checkpoint.config", _config(vocab_size=True)),
    "generation-no-json": ("checkpoint.json", _writes("generation_config.json", b"\xff\xfe")),
    "tokenizer-no-json": ("checkpoint.tokenizer", _writes("tokenizer.json", b"{")),
    "tokenizer-of-empty-lists": (
        "checkpoint.tokenizer",
        _writes("tokenizer.json", b'{"model":{"merges":[' + b"[]," * 15_000_000 + b"[]]}}"),
    ),
    "tokenizer-of-many-tokens": (
        "checkpoint.tokenizer",
        _writes("tokenizer.json", b'{"model":{"vocab":{' + b'"a":1,' * 3_000_000 + b'"b":1}}}'),
    ),
    "tokenizer-of-many-members": (
        "checkpoint.tokenizer",
        _writes("tokenizer.json", b"{" + b",".join(b'"%d":1' % n for n in range(5000)) + b"}"),
    ),
    "tokenizer-cut-off": ("checkpoint.tokenizer", _writes("tokenizer.json", b'{"model":{"vocab":{"a":1')),
    "tokenizer-names-a-key-twice": ("checkpoint.tokenizer", _writes("tokenizer.json", b'{"model":{},"model":{}}')),
    "tokenizer-goes-on": ("checkpoint.tokenizer", _writes("tokenizer.json", b'{"model":{}} {"model":{}}')),
    "tokenizer-a-list": ("checkpoint.tokenizer", _writes("tokenizer.json", b"[]")),
}

HOSTILE_SETTINGS: Mapping[str, Attack] = MappingProxyType(_SETTINGS)
