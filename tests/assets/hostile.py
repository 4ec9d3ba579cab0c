"""Hostile checkpoints, made when a test needs one: a valid checkpoint and one thing wrong with it.

Payloads are benign: what a pickle would call is `print`, what a script would do is nothing.  Nothing dangerous is
stored in the project; the bytes exist only in a test's temporary directory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from tests.assets.checkpoints import CHAT_TEMPLATE, make_tiny_checkpoint
from tests.assets.hostile_files import HOSTILE_FILES
from tests.assets.hostile_settings import HOSTILE_SETTINGS
from tests.assets.hostile_templates import HOSTILE_TEMPLATES
from tests.assets.hostile_weights import HOSTILE_WEIGHTS


@dataclass(frozen=True)
class Hostile:
    """An attack: what spoils a valid checkpoint, and the id of the finding that must deny it."""

    name: str
    identifier: str
    spoil: Callable[[Path], object]

    def make(self, directory: Path) -> Path:
        """Write the hostile checkpoint into `directory` and return it."""
        template = CHAT_TEMPLATE if self.name.startswith("template-") else None  # rendering one takes a while
        make_tiny_checkpoint(directory, chat_template=template)
        self.spoil(directory)
        return directory


_TABLES = (HOSTILE_FILES, HOSTILE_WEIGHTS, HOSTILE_SETTINGS, HOSTILE_TEMPLATES)

HOSTILE: Mapping[str, Hostile] = MappingProxyType(
    {name: Hostile(name, identifier, spoil) for table in _TABLES for name, (identifier, spoil) in table.items()}
)
"""Every attack by its name."""
