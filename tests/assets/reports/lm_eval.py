"""lm-eval's results and samples, as the version 0.4 of its command writes them with --log_samples."""

from __future__ import annotations

import hashlib
import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TIME = "2026-11-02T10-00-00.123456"
DATE = 1793613600.25  # 2026-11-02 10:00 UTC


@dataclass
class LmEvalReport:
    """A report in memory: `document` is the results file, `samples` the lines of each task."""

    document: dict[str, Any]
    samples: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The name of the results file."""
        return f"results_{TIME}.json"

    def rehash(self) -> LmEvalReport:
        """Give the hashes that lm-eval takes over the items of each task."""
        self.document["task_hashes"] = {
            task: _hash("".join(s["doc_hash"] + s["prompt_hash"] + s["target_hash"] for s in lines))
            for task, lines in self.samples.items()
        }
        return self

    def write(self, folder: Path) -> Path:
        """Write the files; returns the path of the results."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / self.name
        path.write_text(json.dumps(self.document, indent=2, ensure_ascii=False), encoding="utf-8")
        for task, lines in self.samples.items():
            text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
            (folder / f"samples_{task}_{TIME}.jsonl").write_text(text, encoding="utf-8")
        return path


def lm_eval_report(tasks: Mapping[str, Sequence[float]], *, model: str = "good", metric: str = "acc") -> LmEvalReport:
    """A report on `tasks`: each with the value of its one metric, item by item."""
    document: dict[str, Any] = {
        "results": {task: {"alias": task, f"{metric},none": statistics.fmean(v)} for task, v in tasks.items()},
        "group_subtasks": {},
        "configs": {task: {"metric_list": [{"metric": metric, "aggregation": "mean"}]} for task in tasks},
        "versions": dict.fromkeys(tasks, 1.0),
        "n-shot": dict.fromkeys(tasks, 0),
        "higher_is_better": {task: {metric: True} for task in tasks},
        "n-samples": {task: {"original": len(v), "effective": len(v)} for task, v in tasks.items()},
        "config": {"model": "local-completions", "model_args": {"model": model}, "random_seed": 7},
        "date": DATE,
        "lm_eval_version": "0.4.13",
        "model_name": model,
    }
    samples = {task: [_line(task, item, value, metric) for item, value in enumerate(v)] for task, v in tasks.items()}
    return LmEvalReport(document, samples).rehash()


def _line(task: str, item: int, value: float, metric: str) -> dict[str, Any]:
    question = f"{task}: question {item}"
    return {
        "doc_id": item,
        "doc": {"question": question},
        "target": "yes",
        "arguments": {"gen_args_0": {"arg_0": question, "arg_1": {"until": ["\n"]}}},
        "resps": [[f"answer {item}"]],
        "filtered_resps": [f"answer {item}"],
        "filter": "none",
        "metrics": [metric],
        "doc_hash": _hash(question),
        "prompt_hash": _hash(question),
        "target_hash": _hash("yes"),
        metric: value,
    }


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
