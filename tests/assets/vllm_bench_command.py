"""`vllm bench serve` as a user would run it against a server."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

_MAIN = (
    "import argparse\n"
    "from vllm.benchmarks.serve import add_cli_args, main\n"
    "parser = argparse.ArgumentParser()\n"
    "add_cli_args(parser)\n"
    "main(parser.parse_args())\n"
)
"""The command's own main; the `vllm` script asks for a distribution of that name, which a build for CPUs lacks."""

_QUIET = {"HF_HUB_OFFLINE": "1", "OPENAI_API_KEY": "none", "VLLM_NO_USAGE_STATS": "1"}


def run_vllm_bench(folder: Path, url: str, served_name: str, tokenizer: Path, *, requests: int) -> Path:
    """Send random prompts through the chat endpoint; returns the path of the detailed result."""
    options = {
        "--backend": "openai-chat",
        "--endpoint": "/v1/chat/completions",
        "--base-url": url,
        "--model": served_name,
        "--tokenizer": tokenizer,
        "--dataset-name": "random",
        "--random-input-len": 16,
        "--random-output-len": 8,
        "--num-prompts": requests,
        "--result-dir": folder,
        "--result-filename": "result.json",
    }
    words = [str(word) for pair in options.items() for word in pair]
    command = [sys.executable, "-c", _MAIN, *words, "--save-result", "--save-detailed"]
    ended = subprocess.run(
        command, env={**os.environ, **_QUIET}, capture_output=True, text=True, timeout=600, check=False
    )
    if ended.returncode != 0:
        raise RuntimeError(f"vllm bench serve failed: {ended.stderr[-2000:]}")
    return folder / "result.json"
