"""Capability and serving speed.

knowledge   lettered options, scored by named tokens      through lm-eval
completion  endings of sentences, by log-probability      through lm-eval
answer      short answers in the model's own words        through lm-eval
speed       latencies and throughput of streamed answers  by an open-loop client
"""

from __future__ import annotations

from checks.contract import Check
from checks.performance import answer, completion, knowledge, speed

CHECKS: tuple[Check, ...] = (knowledge.CHECK, completion.CHECK, answer.CHECK, speed.CHECK)
