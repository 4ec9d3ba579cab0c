"""The README's examples are true: files load, commands exist, and the quick start is what it says."""

from __future__ import annotations

import argparse
import importlib
import re
import shlex
from pathlib import Path

import pytest

from pipeline.cli.main import COMMANDS
from pipeline.policy.document import load_policy
from pipeline.release import load_release
from pipeline.site import load_site
from tests.conftest import ROOT

README = (ROOT / "README.md").read_text()
_BLOCK = re.compile(r"^```(\w+) ?(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def _blocks(kind: str) -> list[str]:
    return [body for language, name, body in _BLOCK.findall(README) if kind in (language, name)]


def _commands() -> list[list[str]]:
    lines = [line.removeprefix("$ ") for block in _blocks("console") for line in block.splitlines()]
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("airlock ")]


def test_the_quick_start_is_two_commands_that_exist() -> None:
    quick = README.split("## Quick start", 1)[1].split("##", 1)[0]
    commands = re.findall(r"^\$ (\S+)", quick, re.MULTILINE)
    assert commands == ["ci/demo", "ci/test"]
    assert all((ROOT / command).stat().st_mode & 0o111 for command in commands)


def test_the_policy_loads(tmp_path: Path) -> None:
    (text,) = _blocks("policy")
    (tmp_path / "policy.yaml").write_text(text)
    assert load_policy(tmp_path / "policy.yaml").name == "our-production"


def test_the_release_loads(tmp_path: Path) -> None:
    (text,) = _blocks("release")
    (tmp_path / "checkpoints" / "135m").mkdir(parents=True)
    (tmp_path / "signatures").mkdir()
    (tmp_path / "signatures" / "135m.sig").touch()
    (tmp_path / "release.yaml").write_text(text)
    assert load_release(tmp_path / "release.yaml").candidates[0].name == "135m"


def test_the_site_loads(tmp_path: Path) -> None:
    (text,) = _blocks("site")
    (tmp_path / "airlock.toml").write_text(text)
    assert "publisher" in load_site(tmp_path / "airlock.toml").signers


def test_there_are_commands_to_check() -> None:
    assert len(_commands()) >= 8


@pytest.mark.parametrize("command", _commands(), ids=" ".join)
def test_a_command_is_one_that_airlock_has(command: list[str]) -> None:
    module = importlib.import_module(f"pipeline.cli.{COMMANDS[command[0]][0]}")
    parser = argparse.ArgumentParser(exit_on_error=False)
    module.configure(parser)
    parser.parse_args(command[1:])
