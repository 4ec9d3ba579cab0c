"""What a run notes about each item beside lm-eval's results, and the bounds of scoring an item in two ways."""

from __future__ import annotations

from dataclasses import dataclass, field

BATCH = 256  # requests handed over at once: enough to keep the server full, few enough to show progress
CROSS_CHECKED = 4  # questions of which one choice is scored both ways in a run
TOLERANCE = 0.02  # nats; far above the arithmetic noise of a healthy server, far below what moves an answer
NOISE_FACTOR = 3.0  # times the difference of two echoes of the same question

Key = tuple[str, int]
"""A task's name and the number of an item in it."""


@dataclass
class Ledger:
    """Why an item is invalid, how it was scored, how far both ways differ, and how its answer ended."""

    invalid: dict[Key, str] = field(default_factory=dict)
    ways: dict[Key, str] = field(default_factory=dict)
    differences: dict[Key, float] = field(default_factory=dict)
    finishes: dict[Key, str] = field(default_factory=dict)
