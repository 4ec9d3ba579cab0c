"""The `lm_eval` command on rows of ours, as a user would run it against a server: the reference for our own numbers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

_OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}


def write_task(
    folder: Path, name: str, config: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], shots: Sequence[Any] = ()
) -> None:
    """An lm-eval task file in `folder`, with its data beside it.  `config` may `include` an upstream definition."""
    files = {"test": _write_rows(folder / f"{name}-test.jsonl", rows)}
    if shots:
        files["shots"] = _write_rows(folder / f"{name}-shots.jsonl", shots)
    document = {
        **config,
        "task": name,
        "dataset_path": "json",
        "dataset_name": None,
        "dataset_kwargs": {"data_files": files},
        "training_split": None,
        "validation_split": None,
        "test_split": "test",
        "fewshot_split": "shots" if shots else None,
        "num_fewshot": len(shots),
        "fewshot_config": {"sampler": "first_n"},
    }
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(document, allow_unicode=True), encoding="utf-8")


def _write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def run_lm_eval(
    folder: Path, name: str, url: str, served_name: str, tokenizer: Path, *, key: str | None = None
) -> list[dict[str, Any]]:
    """The samples that `lm_eval run` logs for the task `name` of `folder`, in the order of the rows.

    `key` is what the server at `url` asks for, if it does.
    """
    output = folder / f"out-{name}"
    arguments = {
        "model": served_name,
        "base_url": f"{url}/v1/completions",
        "tokenizer": tokenizer,
        "tokenizer_backend": "huggingface",
        "tokenized_requests": True,
        "num_concurrent": 32,
        "max_retries": 3,
        "max_length": 2048,
        "timeout": 600,
    }
    command = [sys.executable, "-m", "lm_eval", "run", "--model", "local-completions", "--model_args"]
    command.append(",".join(f"{key}={value}" for key, value in arguments.items()))
    command += ["--tasks", name, "--include_path", str(folder), "--output_path", str(output), "--log_samples"]
    environment = {**os.environ, **_OFFLINE, "HF_HOME": str(folder / "cache"), "OPENAI_API_KEY": key or "none"}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=1200, check=False)
    logged = sorted(output.rglob(f"samples_{name}_*.jsonl"))
    if ended.returncode != 0 or not logged:
        raise RuntimeError(f"lm_eval failed: {ended.stderr[-2000:]}")
    lines = logged[0].read_text(encoding="utf-8").splitlines()
    return sorted((json.loads(line) for line in lines), key=lambda sample: int(sample["doc_id"]))
