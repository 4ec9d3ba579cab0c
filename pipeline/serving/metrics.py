"""vLLM's metrics (Prometheus text format 0.0.4), and the liveness that they show."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

_LINE = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{.*\})?\s+(\S+)(?:\s+-?\d+)?\s*")
_ITERATIONS = "vllm:iteration_tokens_total_count"
_IN_FLIGHT = ("vllm:num_requests_running", "vllm:num_requests_waiting")


def parse(text: str) -> dict[str, float]:
    """The value of each metric, summed over its labels (such as the engines of a data-parallel server).

    Lines that are no finite samples are left out: a server's own words are never an error here.
    """
    totals: dict[str, float] = {}
    for line in text.splitlines():
        match = _LINE.fullmatch(line)
        if match is None:
            continue
        try:
            value = float(match[2])
        except ValueError:
            continue
        if math.isfinite(value):
            totals[match[1]] = totals.get(match[1], 0.0) + value
    return totals


@dataclass
class Liveness:
    """Tells a stuck engine from a busy one: requests are in flight, but it makes no step.

    `stall` is for how many seconds that may be so.
    """

    stall: float
    _steps: float | None = None
    _since: float = 0.0

    def stuck(self, metrics: Mapping[str, float], now: float) -> bool:
        """Whether the engine has stood still for too long, as seen at `now` (seconds, monotonic)."""
        steps = metrics.get(_ITERATIONS)
        busy = sum(metrics.get(name, 0.0) for name in _IN_FLIGHT) > 0
        if steps is None or not busy or steps != self._steps:
            self._steps, self._since = steps, now
            return False
        return now - self._since >= self.stall
