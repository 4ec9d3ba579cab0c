"""Files that a checkpoint must not hold: pickles in disguise, archives, programs, scripts, links, devices."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

Attack = tuple[str, Callable[[Path], object]]


class _Says:
    """An object whose pickle calls `print` when it is loaded."""

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return print, ("a pickle ran",)


def acting_pickle(protocol: int = 2) -> bytes:
    """A pickle that would print a line if anything loaded it."""
    return pickle.dumps(_Says(), protocol=protocol)


def zip_of(**members: bytes) -> bytes:
    """A zip archive with these members; two underscores in a name stand for a dot, three for a slash."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name, data in members.items():
            archive.writestr(name.replace("___", "/").replace("__", "."), data)
    return target.getvalue()


def tar_of(name: str, data: bytes) -> bytes:
    """A tar archive with one member."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        member = tarfile.TarInfo(name)
        member.size = len(data)
        archive.addfile(member, io.BytesIO(data))
    return target.getvalue()


def _adds(name: str, data: bytes) -> Callable[[Path], object]:
    def spoil(directory: Path) -> None:
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    return spoil


def _links(name: str, target: str) -> Callable[[Path], object]:
    return lambda directory: (directory / name).symlink_to(target)


def _pipe(directory: Path) -> None:
    os.mkfifo(directory / "notes.txt")


def _many(directory: Path) -> None:
    (directory / "many").mkdir()
    for number in range(5_001):
        (directory / "many" / f"{number}.txt").touch()


def _path_too_long(directory: Path) -> None:
    """Folders within folders, until the whole path is longer than the system takes."""
    place = os.open(directory, os.O_RDONLY)
    for _ in range(18):
        os.mkdir("d" * 250, dir_fd=place)
        inner = os.open("d" * 250, os.O_RDONLY, dir_fd=place)
        os.close(place)
        place = inner
    os.close(os.open("hidden.py", os.O_CREAT | os.O_WRONLY, dir_fd=place))
    os.close(place)


def _appends(name: str, data: bytes) -> Callable[[Path], object]:
    def spoil(directory: Path) -> None:
        with (directory / name).open("ab") as file:
            file.write(data)

    return spoil


_TORCH_ZIP = zip_of(archive___data__pkl=acting_pickle(), archive___version=b"3\n")
_ELF = b"\x7fELF\x02\x01\x01" + b"\x00" * 57
_WINDOWS = b"MZ" + b"\x00" * 58 + struct.pack("<I", 64) + b"PE\x00\x00" + b"\x00" * 64
_TEXT_PICKLE = b"cbuiltins\nprint\n(S'a pickle ran'\ntR."
_NUMPY = b"\x93NUMPY\x01\x00v\x00" + b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }".ljust(117) + b"\n"

_FILES: Mapping[str, tuple[str, str, bytes]] = {
    "pickle-as-bin": ("checkpoint.pickle", "pytorch_model.bin", acting_pickle()),
    "pickle-as-pt": ("checkpoint.pickle", "model.pt", acting_pickle(4)),
    "pickle-as-rng-state": ("checkpoint.pickle", "rng_state.pth", _TORCH_ZIP),
    "pickle-as-training-arguments": ("checkpoint.pickle", "training_args.bin", _TORCH_ZIP),
    "pickle-as-optimizer": ("checkpoint.pickle", "optimizer.pt", acting_pickle(5)),
    "pickle-as-json": ("checkpoint.pickle", "extra.json", acting_pickle(2)),
    "pickle-as-text": ("checkpoint.pickle", "notes.txt", acting_pickle(3)),
    "pickle-as-picture": ("checkpoint.pickle", "logo.png", acting_pickle(4)),
    "pickle-as-tokenizer": ("checkpoint.pickle", "tokenizer.model", acting_pickle(2)),
    "pickle-as-licence": ("checkpoint.pickle", "LICENSE", acting_pickle(2)),
    "pickle-without-suffix": ("checkpoint.pickle", "weights", acting_pickle(2)),
    "pickle-of-protocol-0": ("checkpoint.pickle", "readme.txt", _TEXT_PICKLE),
    "pickle-of-protocol-0-as-markdown": ("checkpoint.pickle", "NOTES.md", _TEXT_PICKLE),
    "pickle-of-protocol-1": ("checkpoint.pickle", "vocab.txt", acting_pickle(1)),
    "pickle-before-text": ("checkpoint.pickle", "merges.txt", _TEXT_PICKLE + b"\na b\nc d\n"),
    "pickle-behind-a-long-text": ("checkpoint.pickle", "long.txt", b"V" + b"a" * 70_000 + b"\n0" + _TEXT_PICKLE),
    "pickle-behind-many-texts": ("checkpoint.pickle", "many.txt", b"Vabc\n0" * 40_000 + _TEXT_PICKLE),
    "pickle-as-extra-safetensors": ("checkpoint.pickle", "extra.safetensors", acting_pickle(4)),
    "pickle-in-a-folder": ("checkpoint.pickle", "deep/er/still/state.pkl", acting_pickle(4)),
    "pickle-by-joblib": ("checkpoint.pickle", "vectoriser.joblib", acting_pickle(4)),
    "numpy-with-objects": ("checkpoint.pickle", "array.npy", _NUMPY + acting_pickle()),
    "numpy-in-text": ("checkpoint.format", "array.txt", _NUMPY + acting_pickle()),
    "torch-zip-as-json": ("checkpoint.pickle", "state.json", _TORCH_ZIP),
    "gguf": ("checkpoint.gguf", "model.gguf", b"GGUF\x03\x00\x00\x00" + b"\x00" * 16),
    "gguf-as-bin": ("checkpoint.pickle", "model.bin", b"\x00" * 64),
    "gguf-in-disguise": ("checkpoint.gguf", "tokenizer.model", b"GGUF\x03\x00\x00\x00" + b"\x00" * 16),
    "ggml": ("checkpoint.format", "weights.txt", b"lmgg" + b"\x00" * 64),
    "zip": ("checkpoint.archive", "extra.zip", zip_of(a__txt=b"a")),
    "zip-as-text": ("checkpoint.archive", "extra.txt", zip_of(a__txt=b"a")),
    "zip-behind-text": ("checkpoint.archive", "notes.md", b"# Notes\n" + zip_of(a__txt=b"a")),
    "gzip": ("checkpoint.archive", "vocab.json.gz", gzip.compress(b"{}")),
    "gzip-as-json": ("checkpoint.archive", "vocab.json", gzip.compress(b"{}")),
    "bzip2": ("checkpoint.archive", "data.txt", bz2.compress(b"data")),
    "xz": ("checkpoint.archive", "data.md", lzma.compress(b"data")),
    "tar": ("checkpoint.archive", "model.nemo", tar_of("model.txt", b"a")),
    "zstandard": ("checkpoint.archive", "data.txt", b"\x28\xb5\x2f\xfd\x04\x00\x01\x00\x00"),
    "program": ("checkpoint.executable", "libkernel.so", _ELF),
    "program-as-text": ("checkpoint.executable", "kernel.txt", _ELF),
    "program-as-picture": ("checkpoint.executable", "logo.png", _ELF),
    "windows-program": ("checkpoint.executable", "setup.txt", _WINDOWS),
    "compiled-python": ("checkpoint.executable", "modeling.pyc", b"\xa7\r\r\n" + b"\x00" * 24),
    "webassembly": ("checkpoint.executable", "tool.txt", b"\x00asm\x01\x00\x00\x00"),
    "java": ("checkpoint.executable", "Tool.txt", b"\xca\xfe\xba\xbe\x00\x00\x00\x34"),
    "python-module": ("checkpoint.script", "modeling_tiny.py", b"VALUE = 1\n"),
    "shell-script": ("checkpoint.script", "install.sh", b"echo hello\n"),
    "script-as-text": ("checkpoint.script", "install.txt", b"#!/bin/sh\necho hello\n"),
    "notebook": ("checkpoint.script", "try.ipynb", b'{"cells": []}'),
    "page": ("checkpoint.script", "index.html", b"<p>hello</p>"),
    "page-as-text": ("checkpoint.script", "index.txt", b"<!DOCTYPE html><p>hello</p>"),
    "picture-with-script": ("checkpoint.script", "logo.svg", b"<svg></svg>"),
    "site-packages-hook": ("checkpoint.pickle", "site.pth", b"import this\n"),
    "makefile": ("checkpoint.script", "Makefile", b"all:\n\ttrue\n"),
    "keras": ("checkpoint.format", "model.h5", b"\x89HDF\r\n\x1a\n" + b"\x00" * 64),
    "onnx": ("checkpoint.format", "model.onnx", b"\x08\x07\x12\x07pytorch" + b"\x00" * 64),
    "database": ("checkpoint.format", "cache.db", b"SQLite format 3\x00" + b"\x00" * 64),
    "unknown-suffix": ("checkpoint.format", "blob.xyz", b"\x00\x01\x02\x03" * 16),
    "binary-as-text": ("checkpoint.format", "vocab.txt", b"\x00\x01\x02\x03" * 16),
    "binary-as-tokenizer": ("checkpoint.format", "tokenizer.model", b"\xff\xfe\x00\x01" * 16),
    "core-dump": ("checkpoint.format", "core", b"\x01\x02" * 64),
}

HOSTILE_FILES: Mapping[str, Attack] = MappingProxyType(
    {
        **{name: (identifier, _adds(file, data)) for name, (identifier, file, data) in _FILES.items()},
        "zip-behind-weights": ("checkpoint.polyglot", _appends("model.safetensors", zip_of(data__pkl=acting_pickle()))),
        "link-outside": ("checkpoint.link", _links("notes.txt", "/etc/hostname")),
        "link-inside": ("checkpoint.link", _links("copy.json", "config.json")),
        "link-to-a-folder": ("checkpoint.link", _links("folder", "..")),
        "link-to-nothing": ("checkpoint.link", _links("gone.txt", "nowhere")),
        "path-too-long": ("checkpoint.unreadable", _path_too_long),
        "pipe": ("checkpoint.special-file", _pipe),
        "too-many-files": ("checkpoint.too-many-files", _many),
        "name-with-newline": ("checkpoint.file-name", _adds("two\nlines.txt", b"a")),
        "name-with-escape": ("checkpoint.file-name", _adds("\x1b[2Jclear.txt", b"a")),
        "name-that-reverses": ("checkpoint.file-name", _adds("gnp.\u202etxt.md", b"a")),
    }
)
