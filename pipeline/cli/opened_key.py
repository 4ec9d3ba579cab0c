"""The private key that a command was given: in a file, or on a token."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.keys import MessageSigner

KEY_HELP = "your private key: a PEM file, or a pkcs11: URI for one on a token"


@contextlib.contextmanager
def opened_key(name: str) -> Iterator[MessageSigner]:
    """The key in the file `name`, or on the token that the URI `name` means, for as long as the block lasts.

    Raises:
        KeyFileError, RequestError: it cannot be used, or the token's PIN is not known.
    """
    if name.startswith("pkcs11:"):
        from pipeline.signature.pkcs11_key import opened_token_key

        with opened_token_key(name) as key:
            yield key
    else:
        from pipeline.keys import load_signing_key

        yield load_signing_key(Path(name))
