"""Reads are bounded and follow no links; writes appear whole or not at all."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.errors import RequestError, StorageError
from pipeline.files import read_bounded, storage_errors, write_atomic


def test_what_was_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file"
    write_atomic(path, b"content", mode=0o600)
    assert read_bounded(path) == b"content"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == ["file"]


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("secret")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    with pytest.raises(RequestError, match="symbolic link"):
        read_bounded(tmp_path / "link")


def test_a_larger_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 101)
    with pytest.raises(RequestError, match="larger than 100 bytes"):
        read_bounded(tmp_path / "file", limit=100)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="There is no such file"):
        read_bounded(tmp_path / "absent")


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="no regular file"):
        read_bounded(tmp_path)


def test_a_pipe_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(RequestError, match="no regular file"):
        read_bounded(tmp_path / "pipe")


def test_a_full_disk_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomic(path, b"old")
    code = f"""
import resource, signal
from pathlib import Path
from pipeline.errors import StorageError
from pipeline.files import write_atomic
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))
try:
    write_atomic(Path({str(path)!r}), b"new" * 100)
except StorageError as error:
    print(error.remedy)
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.strip()
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_an_unwritable_place_is_a_storage_error() -> None:
    with pytest.raises(StorageError, match="cannot write"):
        write_atomic(Path("/proc/airlock/file"), b"x")


def test_an_oserror_becomes_ours() -> None:
    with pytest.raises(StorageError, match="making a folder"), storage_errors("making a folder"):
        raise OSError(28, "No space left on device")
