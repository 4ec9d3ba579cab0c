"""The frame of the command line: help, JSON, escapes, exit codes, and defects that must not pass for a yes."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline import errors
from pipeline.cli import main
from pipeline.cli.output import ExitCode, Output, printable


def _output(*, json: bool = False) -> tuple[Output, io.StringIO, io.StringIO]:
    stdout, stderr = io.StringIO(), io.StringIO()
    return Output(json, stdout, stderr), stdout, stderr


@pytest.mark.parametrize("command", sorted(main.COMMANDS))
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.execute([command, "--help"]) == ExitCode.YES
    assert f"usage: airlock {command}" in capsys.readouterr().out


@pytest.mark.parametrize("command", sorted(main.COMMANDS))
def test_help_imports_nothing_heavy(command: str) -> None:
    code = (
        f"import sys; from pipeline.cli.main import execute; execute([{command!r}, '--help']); "
        "heavy = {'vllm', 'torch', 'transformers', 'lm_eval', 'datasets', 'scipy', 'numpy', 'sigstore', 'aiohttp', "
        "'pydantic', 'cryptography', 'jinja2'}; print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stderr.strip() == "[]"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.ManifestError, ExitCode.DENIED),
        (errors.ApprovalError, ExitCode.DENIED),
        (errors.FileFormatError, ExitCode.BAD_REQUEST),
        (errors.KeyFileError, ExitCode.BAD_REQUEST),
        (errors.InconclusiveError, ExitCode.INCONCLUSIVE),
        (errors.ServingError, ExitCode.SYSTEM_FAILURE),
        (errors.StorageError, ExitCode.SYSTEM_FAILURE),
        (errors.RegistryError, ExitCode.SYSTEM_FAILURE),
    ],
)
def test_each_family_of_errors_has_its_code(error: type[errors.AirlockError], code: ExitCode) -> None:
    assert main.exit_code_of(error("what", why="why", remedy="remedy")) == code


def test_an_error_under_json_is_one_document(tmp_path: Path) -> None:
    output, stdout, stderr = _output(json=True)
    code = main.execute(["gate", str(tmp_path), "--policy", "demo", "--site", str(tmp_path / "no.toml")], output)
    document = json.loads(stdout.getvalue())["error"]
    assert code == document["exit_code"] == ExitCode.BAD_REQUEST
    assert document["what"] in stderr.getvalue()


def test_control_characters_never_reach_the_terminal() -> None:
    output, stdout, stderr = _output()
    hostile = "a\x1b[2Jb\x9bc\u202ed\re"
    output.result({}, hostile)
    output.say(hostile)
    for text in (stdout.getvalue(), stderr.getvalue()):
        assert not {"\x1b", "\x9b", "\u202e", "\r"} & set(text)
        assert "\\x1b" in text
    assert printable("tab\tand\nnewline") == "tab\tand\nnewline"


def test_a_defect_is_no_yes_and_shows_no_traceback(tmp_path: Path) -> None:
    """A directory where the site file should be read as a file is foreseen; an argument of a wrong type is not."""
    output, _, stderr = _output()
    code = main._report_defect(TypeError("unforeseen"), output)
    assert code == ExitCode.SYSTEM_FAILURE
    assert "Traceback" not in stderr.getvalue()
    assert "unforeseen" in stderr.getvalue()
    assert not list(tmp_path.iterdir())


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.execute(["--version"]) == ExitCode.YES
    assert capsys.readouterr().out.startswith("airlock ")


def test_a_closed_pipe_is_silent() -> None:
    command = f"{sys.executable} -m pipeline.cli.main policy show demo | head -n 1"
    ended = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert ended.stderr == ""
