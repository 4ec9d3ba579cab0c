"""What a pickle would do if it were loaded, for the report.  It is denied whatever this says."""

from __future__ import annotations

import io
import logging
import zipfile

from pipeline.checkpoint.tree import File

_READ = 1024 * 1024  # bytes of a pickle that are looked at
_MOST_NAMES = 8


def describe_pickle(file: File, head: bytes) -> str:
    """A sentence on what loading `file` would import, found by picklescan without loading anything."""
    data = _pickle_in_zip(file) if head.startswith(b"PK") else file.head(_READ)
    names = _imported_names(data) if data is not None else []
    if not names:
        return "Loading it runs whatever it says."
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return f"Loading it would import and could call {', '.join(names[:_MOST_NAMES])}{more}."


def _pickle_in_zip(file: File) -> bytes | None:
    """The first pickle of a zip archive as torch.save writes it; at most `_READ` bytes are unpacked."""
    try:
        with zipfile.ZipFile(file.path) as archive:
            name = next((name for name in archive.namelist() if name.endswith(".pkl")), None)
            if name is None:
                return None
            with archive.open(name) as member:
                return member.read(_READ)
    except Exception:  # a hostile archive can make zipfile raise anything; the report then says less
        return None


def _imported_names(data: bytes) -> list[str]:
    """What the pickle imports, the dangerous names first, each with picklescan's opinion."""
    logging.getLogger("picklescan").addHandler(logging.NullHandler())
    try:
        from picklescan.scanner import scan_pickle_bytes

        found = scan_pickle_bytes(io.BytesIO(data), "pickle").globals
    except Exception:  # a hostile pickle can make the scanner raise anything; the report then says less
        return []
    order = {"dangerous": 0, "suspicious": 1}
    ranked = sorted(found, key=lambda each: (order.get(each.safety.value, 2), each.module, each.name))
    return [f"{each.module[:60]}.{each.name[:60]} ({each.safety.value})" for each in ranked]
