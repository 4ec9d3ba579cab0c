"""airlock.toml: what a site trusts and has."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.errors import FileFormatError, RequestError
from pipeline.site import KeySigner, load_site

GOOD = """
[store]
path = "var/store"
[data]
roots = ["benchmarks", "/data"]
[pipeline]
key = "keys/pipeline.pem"
[signers.publisher]
method = "key"
public_key = "trust/publisher.pub"
[people.ana]
public_key = "trust/ana.pub"
roles = ["compliance"]
"""


def write(tmp_path: Path, text: str = GOOD) -> Path:
    path = tmp_path / "airlock.toml"
    path.write_text(text)
    return path


def test_every_path_becomes_absolute(tmp_path: Path) -> None:
    site = load_site(write(tmp_path))
    assert site.store.path == tmp_path / "var" / "store"
    assert site.data.roots == (tmp_path / "benchmarks", Path("/data"))
    assert site.pipeline.key == tmp_path / "keys" / "pipeline.pem"
    assert site.people["ana"].public_key == tmp_path / "trust" / "ana.pub"
    signer = site.signer("publisher")
    assert isinstance(signer, KeySigner)
    assert signer.public_key == tmp_path / "trust" / "publisher.pub"


def test_an_unknown_signer_is_refused_with_those_that_are_known(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="it knows: publisher"):
        load_site(write(tmp_path)).signer("stranger")


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("[store]", "[stoer]", "'stoer' is not a known key"),
        ('method = "key"', 'method = "trust-me"', "signers"),
        ('roles = ["compliance"]', "roles = []", "roles"),
        ('[pipeline]\nkey = "keys/pipeline.pem"', "", "'pipeline' is missing"),
        ("[store]", "[serving]\nport = 8000\n[store]", "port needs"),
    ],
)
def test_a_wrong_value_is_named(tmp_path: Path, old: str, new: str, reason: str) -> None:
    with pytest.raises(FileFormatError, match=reason):
        load_site(write(tmp_path, GOOD.replace(old, new, 1)))
