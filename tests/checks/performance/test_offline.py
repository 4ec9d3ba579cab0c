"""Measuring through lm-eval opens no connection and asks no name server: its data and tasks are local."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_PROGRAM = """
import sys
from pathlib import Path

reached = []
network = {"socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "urllib.Request", "http.client.connect"}
sys.addaudithook(lambda event, arguments: reached.append(event) if event in network else None)

from checks.performance import answer, completion, knowledge
from tests.checks.performance.planted import PlantedModel, make_tokenizer

model = PlantedModel(make_tokenizer(Path(sys.argv[1])))
for check in (knowledge.CHECK, completion.CHECK, answer.CHECK):
    check.measure(model, 1, lambda _: None)
print(reached)
"""


def test_measuring_through_lm_eval_reaches_no_network(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _PROGRAM, str(tmp_path)]
    root = Path(__file__).parents[3]
    ended = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert ended.stdout == "[]\n", ended.stderr
    assert ended.stderr == "", "lm-eval's warnings and progress bars are kept from the terminal"
