"""What each file is, told by its content; its name decides only what it is allowed to be.

A file passes when its content is one of the formats that a checkpoint needs: safetensors, JSON, plain text,
a tokenizer model, a picture for the card.  Everything else is denied, whatever it is called.
"""

from __future__ import annotations

import io
import pickletools
import re
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import BinaryIO

from pipeline.checkpoint.catalogue import finding
from pipeline.checkpoint.inspected import Finding
from pipeline.checkpoint.pickle_report import describe_pickle
from pipeline.checkpoint.tree import File, Tree

_HEAD = 64 * 1024  # bytes looked at from the start of a file
_TAIL = 65_557  # bytes in which a zip's end record can lie: 22 of its own and a comment of at most 65,535

_EXECUTABLES: Mapping[bytes, str] = MappingProxyType(
    {
        b"\x7fELF": "a Linux program or library",
        b"\xfe\xed\xfa\xce": "a macOS program",
        b"\xfe\xed\xfa\xcf": "a macOS program",
        b"\xce\xfa\xed\xfe": "a macOS program",
        b"\xcf\xfa\xed\xfe": "a macOS program",
        b"\xca\xfe\xba\xbe": "a Java class or a macOS program",
        b"\x00asm": "a WebAssembly program",
        b"!<arch>\n": "an archive of compiled code",
        b"\x1bLua": "compiled Lua",
        b"dex\n": "an Android program",
    }
)
_ARCHIVES: Mapping[bytes, str] = MappingProxyType(
    {
        b"PK\x03\x04": "a zip archive",
        b"PK\x05\x06": "an empty zip archive",
        b"\x1f\x8b": "gzip data",
        b"BZh": "bzip2 data",
        b"\xfd7zXZ\x00": "xz data",
        b"\x28\xb5\x2f\xfd": "zstandard data",
        b"\x04\x22\x4d\x18": "LZ4 data",
        b"7z\xbc\xaf\x27\x1c": "a 7z archive",
        b"Rar!\x1a\x07": "a RAR archive",
        b"MSCF": "a cabinet archive",
        b"xar!": "a xar archive",
        b"hsqs": "a squashfs image",
        b"\xed\xab\xee\xdb": "an RPM package",
    }
)
_OTHERS: Mapping[bytes, str] = MappingProxyType(
    {
        b"\x93NUMPY": "a NumPy array, which can hold a pickle",
        b"\x89HDF\r\n\x1a\n": "an HDF5 file, in which Keras stores code",
        b"SQLite format 3\x00": "a database",
        b"%PDF-": "a PDF document, which can hold code",
        b"ARROW1": "an Arrow file",
        b"PAR1": "a Parquet file",
        b"GGML": "a GGML file",
        b"ggjt": "a GGML file",
        b"lmgg": "a GGML file",
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": "an old Office document, which can hold macros",
    }
)
_PICTURES: Mapping[bytes, tuple[str, ...]] = MappingProxyType(
    {
        b"\x89PNG\r\n\x1a\n": (".png",),
        b"\xff\xd8\xff": (".jpg", ".jpeg"),
        b"GIF87a": (".gif",),
        b"GIF89a": (".gif",),
        b"RIFF": (".webp",),
    }
)

_SCRIPT_SUFFIXES_TEXT = """
    .py .pyw .pyi .pyx .ipynb .sh .bash .zsh .fish .csh .ksh .bat .cmd .ps1 .psm1 .vbs .js .mjs .cjs .ts .jsx .pl .pm
    .rb .php .lua .r .jl .tcl .awk .groovy .scala .kts .go .rs .c .cc .cpp .cu .h .hpp .java .cs .swift .hta .html
    .htm .svg .xhtml .service .desktop .reg .make .mk .cmake .dockerfile .pth .url .lnk .jar .whl .egg
"""
_SCRIPT_SUFFIXES = frozenset(_SCRIPT_SUFFIXES_TEXT.split())
_SCRIPT_NAMES_TEXT = """
    makefile dockerfile jenkinsfile rakefile gemfile setup.cfg pyproject.toml
"""
_SCRIPT_NAMES = frozenset(_SCRIPT_NAMES_TEXT.split())
_PICKLE_SUFFIXES_TEXT = """
    .pkl .pickle .pt .pth .ckpt .joblib .dill .bin .pt2 .npy .npz
"""
_PICKLE_SUFFIXES = frozenset(_PICKLE_SUFFIXES_TEXT.split())
_JSON_SUFFIXES = frozenset({".json", ".jsonl"})
_TEXT_SUFFIXES_TEXT = """
    .md .txt .rst .jinja .jinja2 .yaml .yml .tiktoken .vocab .bpe .cff .bib .csv .tsv
"""
_TEXT_SUFFIXES = frozenset(_TEXT_SUFFIXES_TEXT.split())
_TEXT_NAMES_TEXT = """
    license licence notice readme copying authors acknowledgements acknowledgments changelog codeowners .gitattributes
    .gitignore use_policy usage_policy terms copyright
"""
_TEXT_NAMES = frozenset(_TEXT_NAMES_TEXT.split())
_MODEL_SUFFIXES = frozenset({".model", ".spm", ".proto", ".tekken"})

_PICKLE_READ = 4 * 1024 * 1024  # bytes of a file that reads as opcodes
_MOST_OPCODES = 100_000
# A pickle can act only on what it imports; the rest are the ways to call it.
_IMPORTING_OPCODES = frozenset({"GLOBAL", "INST", "STACK_GLOBAL", "EXT1", "EXT2", "EXT4"})
_CALLING_OPCODES = frozenset({"INST", "REDUCE", "BUILD", "OBJ", "NEWOBJ", "NEWOBJ_EX"})
_IMPORTED_NAME = re.compile(r"[A-Za-z_][\w.]* [A-Za-z_<][\w.<>]*")


def inspect_formats(tree: Tree) -> tuple[Finding, ...]:
    """One finding for every file that is not what a checkpoint may hold.  Raises StorageError when the disk fails."""
    return tuple(found for file in tree.files for found in inspect_format(file))


def inspect_format(file: File) -> Iterator[Finding]:
    """What is wrong with the format of `file`."""
    if file.suffix == ".safetensors":
        yield from _polyglot(file)
        return  # its header is read by `pipeline.checkpoint.weights`
    head = file.head(_HEAD)
    for recognise in _RECOGNISERS:
        found = recognise(file, head)
        if found is not None:
            yield found
            return
    refused = _unlisted(file, head)
    if refused is not None:
        yield refused


def is_pickle(data: bytes | BinaryIO) -> bool:
    """Whether `data` is a pickle that would do something: it imports, and so can call.

    The opcodes are read, never run, up to STOP, to the first byte that is none, or to the end.  Text can look like
    opcodes for a while (a line that starts with 'c' reads as an import), so imported names must look like names.
    """
    imported = called = False
    try:
        for number, (operation, argument, _) in enumerate(pickletools.genops(data)):
            if operation.name in ("GLOBAL", "INST") and not _IMPORTED_NAME.fullmatch(str(argument)):
                return False
            imported = imported or operation.name in _IMPORTING_OPCODES
            called = called or operation.name in _CALLING_OPCODES
            if number > _MOST_OPCODES:
                return True  # so long a run of opcodes is no accident
    except (ValueError, IndexError, OverflowError, UnicodeError, MemoryError) as error:
        return imported and called and "opcode" not in str(error)  # it was cut off, not wrong
    return imported


def _beginning(file: File) -> BinaryIO:
    """The first bytes of a file: a page of them, and more only where opcodes go on beyond it."""
    head = file.head(_HEAD)
    return io.BytesIO(file.head(_PICKLE_READ) if file.size > _HEAD and _goes_on(head) else head)


def _goes_on(head: bytes) -> bool:
    """Whether `head` reads as opcodes to its end."""
    try:
        for number, _ in enumerate(pickletools.genops(head)):
            if number > _MOST_OPCODES:
                return True
    except (ValueError, IndexError, OverflowError, UnicodeError, MemoryError) as error:
        return "opcode" not in str(error)
    return False


def _pickle(file: File, head: bytes) -> Finding | None:
    if is_pickle(_beginning(file)) or (head[:1] == b"\x80" and head[1:2] in b"\x02\x03\x04\x05" and len(head) > 1):
        return finding("checkpoint.pickle", file.name, f"It is a Python pickle. {describe_pickle(file, head)}")
    if file.suffix in _PICKLE_SUFFIXES:
        message = f"Files called *{file.suffix} are loaded as Python pickles. {describe_pickle(file, head)}"
        return finding("checkpoint.pickle", file.name, message)
    return None


def _gguf(file: File, head: bytes) -> Finding | None:
    if head.startswith((b"GGUF", b"FUGG")) or file.suffix in (".gguf", ".ggml"):
        message = "It is a GGUF file; parsers of that format have been exploited, and nothing here needs it."
        return finding("checkpoint.gguf", file.name, message)
    return None


def _archive(file: File, head: bytes) -> Finding | None:
    kind = _by_magic(_ARCHIVES, head) or ("a tar archive" if head[257:262] == b"ustar" else None)
    if kind is None and _ends_as_zip(file):
        kind = "a zip archive behind other bytes"
    if kind is None:
        return None
    if b"/data.pkl" in head or b"data.pkl" in head[:512]:
        message = f"It is a zip with a Python pickle inside, as torch.save writes it. {describe_pickle(file, head)}"
        return finding("checkpoint.pickle", file.name, message)
    return finding("checkpoint.archive", file.name, f"It is {kind}; what is packed inside cannot be reviewed as files.")


def _executable(file: File, head: bytes) -> Finding | None:
    kind = _by_magic(_EXECUTABLES, head)
    if kind is None and head.startswith(b"MZ") and b"PE\x00\x00" in head[:4096]:
        kind = "a Windows program or library"
    if kind is None and (head[2:4] == b"\r\n" and len(head) > 16 and file.suffix in (".pyc", ".pyo")):
        kind = "compiled Python"
    if kind is None and file.suffix in (".so", ".dll", ".dylib", ".exe", ".pyd", ".pyc", ".o", ".a", ".com", ".msi"):
        kind = f"called *{file.suffix}, as programs and libraries are"
    return None if kind is None else finding("checkpoint.executable", file.name, f"It is {kind}.")


def _script(file: File, head: bytes) -> Finding | None:
    if head.startswith(b"#!"):
        first = head.split(b"\n", 1)[0][:80].decode("utf-8", "replace")
        return finding("checkpoint.script", file.name, f"It is a script that starts with {first!r}.")
    if file.suffix in _SCRIPT_SUFFIXES or file.path.name.lower() in _SCRIPT_NAMES:
        return finding("checkpoint.script", file.name, "It is source code; a checkpoint needs none.")
    if re.match(rb"\s*(<\?php|<script|<!doctype html|<html|<svg|<\?xml)", head[:512], re.IGNORECASE):
        return finding("checkpoint.script", file.name, "It is a page or picture that can hold script.")
    return None


_RECOGNISERS: tuple[Callable[[File, bytes], Finding | None], ...] = (_pickle, _gguf, _archive, _executable, _script)


def _polyglot(file: File) -> Iterator[Finding]:
    """A safetensors file that another reader would take for something else."""
    if _ends_as_zip(file):
        message = "It ends in a zip directory: a reader of archives would see other contents than a reader of tensors."
        yield finding("checkpoint.polyglot", file.name, message)
    if is_pickle(_beginning(file)):
        message = f"It is a Python pickle under the name of a safetensors file. {describe_pickle(file, b'')}"
        yield finding("checkpoint.pickle", file.name, message)


def _ends_as_zip(file: File) -> bool:
    """Whether the file's last bytes are a zip's end record: its comment must end where the file does."""
    tail = file.tail(_TAIL)
    place = tail.rfind(b"PK\x05\x06")
    while place >= 0:
        record = tail[place : place + 22]
        if len(record) == 22 and place + 22 + int.from_bytes(record[20:22], "little") == len(tail):
            return True
        place = tail.rfind(b"PK\x05\x06", 0, place)
    return False


def _unlisted(file: File, head: bytes) -> Finding | None:
    """The finding for a file that is in none of the formats a checkpoint may hold."""
    known = _by_magic(_OTHERS, head)
    if known is not None:
        return finding("checkpoint.format", file.name, f"It is {known}.")
    if _is_picture(file, head) or file.size == 0:
        return None
    stem = file.path.name.lower().split(".")[0]
    textual = (
        file.suffix in _TEXT_SUFFIXES | _JSON_SUFFIXES or file.path.name.lower() in _TEXT_NAMES or stem in _TEXT_NAMES
    )
    if textual:
        if _is_text(head):
            return None
        return finding("checkpoint.format", file.name, "It has the name of a text file and binary content.")
    if file.suffix in _MODEL_SUFFIXES and (_is_sentencepiece(head) or _is_text(head)):
        return None
    return finding("checkpoint.format", file.name, "It is in none of the formats that a checkpoint may hold.")


def _by_magic(table: Mapping[bytes, str], head: bytes) -> str | None:
    return next((kind for magic, kind in table.items() if head.startswith(magic)), None)


def _is_picture(file: File, head: bytes) -> bool:
    return any(head.startswith(magic) and file.suffix in suffixes for magic, suffixes in _PICTURES.items())


def _is_text(head: bytes) -> bool:
    """Whether `head` is UTF-8 without control characters; a character cut off at the end of `head` is fine."""
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3 or len(head) < _HEAD:
            return False
        text = head[: error.start].decode("utf-8")
    return not any(character < " " and character not in "\t\n\r\f" for character in text)


def _is_sentencepiece(head: bytes) -> bool:
    """Whether `head` is a SentencePiece model: protobuf whose first field is a list of pieces that start with text."""
    return len(head) > 16 and head[0] == 0x0A and head[2] == 0x0A and head[1] - head[3] in (2, 4, 7, 9)
