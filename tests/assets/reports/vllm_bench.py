"""What `vllm bench serve --save-result --save-detailed` writes, as of vLLM 0.32."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def vllm_bench_report(ttfts: Sequence[float], *, failed: Sequence[int] = (), model: str = "good") -> dict[str, Any]:
    """A result with these times to the first token, four tokens a tenth of a second apart; `failed` requests failed."""
    numbers = range(len(ttfts))
    good = [number for number in numbers if number not in failed]
    mean = statistics.fmean(ttfts[number] for number in good) * 1000 if good else 0.0
    return {
        "date": "20261102-100000",
        "endpoint_type": "openai",
        "backend": "openai",
        "label": None,
        "model_id": model,
        "tokenizer_id": model,
        "num_prompts": len(ttfts),
        "request_rate": "inf",
        "burstiness": 1.0,
        "max_concurrency": None,
        "duration": 1.5,
        "completed": len(good),
        "failed": len(ttfts) - len(good),
        "total_input_tokens": 16 * len(good),
        "total_output_tokens": 4 * len(good),
        "request_throughput": len(good) / 1.5,
        "request_goodput": None,
        "input_lens": [16 for _ in numbers],
        "output_lens": [0 if number in failed else 4 for number in numbers],
        "ttfts": [0.0 if number in failed else ttfts[number] for number in numbers],
        "itls": [[] if number in failed else [0.1, 0.1, 0.1] for number in numbers],
        "latencies": [0.0 if number in failed else ttfts[number] + 0.3 for number in numbers],
        "start_times": [100.0 + number for number in numbers],
        "generated_texts": ["" if number in failed else f"answer {number}" for number in numbers],
        "errors": ["Service Unavailable" if number in failed else "" for number in numbers],
        "mean_ttft_ms": mean,
        "p99_ttft_ms": mean,
    }


def write_json(folder: Path, document: Any, name: str = "report.json") -> Path:
    """Write a JSON file."""
    path = folder / name
    path.write_text(json.dumps(document), encoding="utf-8")
    return path
