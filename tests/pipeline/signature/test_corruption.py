"""A thousand random corruptions of a signed checkpoint, all caught; and parsers that raise no error but ours."""

from __future__ import annotations

import contextlib
import copy
import json
import random
import shutil
import string
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.digests import sha256
from pipeline.errors import DeniedError
from pipeline.keys import generate_key
from pipeline.manifest import FileEntry, Manifest
from pipeline.signature import verify_candidate
from pipeline.signature.bundle import parse_bundle, pre_authentication_encoding
from pipeline.signature.paths import collisions, is_at_or_below, path_problem
from pipeline.signature.signers import key_hint
from pipeline.signature.statement import encode_statement, parse_statement
from tests.pipeline.signature.parts import FILES, make_workplace, write_files
from tests.pipeline.signature.private_sigstore import encoded

CORRUPTIONS = 1000
SMALL_FILES = {name: data[:5000] for name, data in FILES.items()}


def corrupt(checkpoint: Path, chance: random.Random) -> str:
    """Do one random thing to the files that no reader would see; returns what it was."""
    kind = chance.choice(["flip", "truncate", "extend", "swap", "add", "rename", "remove", "move", "empty", "copy"])
    first, second = (checkpoint / name for name in chance.sample(sorted(FILES), 2))
    data = bytearray(first.read_bytes())
    position = chance.randrange(len(data))
    if kind == "flip":
        data[position] ^= 1 << chance.randrange(8)
        first.write_bytes(data)
    elif kind in ("truncate", "empty"):
        first.write_bytes(data[:position] if kind == "truncate" else b"")
    elif kind == "extend":
        first.write_bytes(data + chance.randbytes(chance.randint(1, 100)))
    elif kind in ("swap", "copy"):
        first.write_bytes(second.read_bytes())
        if kind == "swap":
            second.write_bytes(data)
    elif kind == "add":
        folder = checkpoint / chance.choice(["", ".git/", ".github/", "tokenizer/", "a/b/"])
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "".join(chance.choices(string.ascii_letters, k=12))).write_bytes(chance.randbytes(10))
    elif kind == "remove":
        first.unlink()
    else:
        target = checkpoint / ("inner/" if kind == "move" else "") / f"{first.name}{chance.choice('_.~0')}"
        target.parent.mkdir(exist_ok=True)
        first.rename(target)
    return f"{kind} {first.name} {second.name} {position}"


@pytest.mark.slow
def test_a_thousand_corruptions_are_caught(tmp_path: Path) -> None:
    workplace = make_workplace(tmp_path, SMALL_FILES)
    chance = random.Random(20261122)
    caught = 0
    for number in range(CORRUPTIONS):
        done = corrupt(workplace.checkpoint, chance)
        with pytest.raises(DeniedError) as denial:
            verify_candidate(workplace.candidate(), workplace.site())
        assert denial.value.problems, (number, done)
        assert denial.value.subject is not None, (number, done)
        caught += 1
        restore(workplace.checkpoint)
    assert caught == CORRUPTIONS
    assert workplace.stored() == []
    assert verify_candidate(workplace.candidate(), workplace.site()).manifest.files, "the restored files are good"


def restore(checkpoint: Path) -> None:
    """Make the files what they were."""
    shutil.rmtree(checkpoint)
    write_files(checkpoint, SMALL_FILES)


# Parsers

KEY = generate_key()
GOOD_PAYLOAD = encode_statement(Manifest((FileEntry("config.json", 2, sha256(b"{}")),)), name="model", left_out=())
GOOD_BUNDLE: dict[str, Any] = {
    "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
    "verificationMaterial": {"publicKey": {"hint": key_hint(KEY.verifying_key)}, "tlogEntries": []},
    "dsseEnvelope": {
        "payload": encoded(GOOD_PAYLOAD),
        "payloadType": "application/vnd.in-toto+json",
        "signatures": [{"sig": encoded(KEY.sign(pre_authentication_encoding(GOOD_PAYLOAD))), "keyid": ""}],
    },
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["AAAA", "sha256", "files"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)


def places(value: Any, here: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path to every value inside a JSON value."""
    yield here
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*here, key))


def replaced(value: Any, place: tuple[Any, ...], new: Any) -> Any:
    """A copy of a JSON value with another one at `place`."""
    if not place:
        return new
    changed = copy.deepcopy(value)
    inner = changed
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = new
    return changed


def parse(data: bytes) -> None:
    """Parse a bundle and its statement; only a denial may come out."""
    with contextlib.suppress(DeniedError):
        parse_statement(parse_bundle(data).payload)


def test_the_good_bundle_is_good() -> None:
    signed = parse_statement(parse_bundle(json.dumps(GOOD_BUNDLE).encode()).payload)
    assert signed.digests == {"config.json": sha256(b"{}")}


@given(st.binary(max_size=300))
@settings(deadline=None)
def test_any_bytes_as_a_bundle(data: bytes) -> None:
    with pytest.raises(DeniedError):
        parse_bundle(data)
    with pytest.raises(DeniedError):
        parse_statement(data)


@given(st.sampled_from(sorted(places(GOOD_BUNDLE), key=str)), JSON)
@settings(deadline=None)
def test_any_value_anywhere_in_a_bundle(place: tuple[Any, ...], new: Any) -> None:
    parse(json.dumps(replaced(GOOD_BUNDLE, place, new)).encode())


@given(st.sampled_from(sorted(places(json.loads(GOOD_PAYLOAD)), key=str)), JSON)
@settings(deadline=None)
def test_any_value_anywhere_in_a_statement(place: tuple[Any, ...], new: Any) -> None:
    payload = json.dumps(replaced(json.loads(GOOD_PAYLOAD), place, new)).encode()
    with contextlib.suppress(DeniedError):
        parse_statement(payload)


@given(st.data())
@settings(deadline=None)
def test_any_edit_of_the_bytes_of_a_bundle_is_refused_or_means_the_same(data: st.DataObject) -> None:
    raw = bytearray(json.dumps(GOOD_BUNDLE).encode())
    position = data.draw(st.integers(0, len(raw) - 1))
    raw[position] = data.draw(st.integers(0, 255))
    try:
        bundle = parse_bundle(bytes(raw))
    except DeniedError:
        return
    accepted = KEY.verifying_key.verifies(bundle.signature, bundle.message)
    assert not accepted or bundle.payload == GOOD_PAYLOAD


@pytest.mark.parametrize("data", [b"[" * 100_000, b'{"a":' * 100_000, b'{"mediaType": ' + b"9" * 10_000 + b"}"])
def test_json_made_to_exhaust_the_parser(data: bytes) -> None:
    with pytest.raises(DeniedError):
        parse_bundle(data)


@given(st.lists(st.tuples(st.text(max_size=20), st.binary(max_size=3)), max_size=6))
@settings(max_examples=300, deadline=None)
def test_a_statement_of_any_names_is_read_back_or_refused(files: list[tuple[str, bytes]]) -> None:
    entries = tuple(FileEntry(name, len(data), sha256(data)) for name, data in files)
    try:
        payload = encode_statement(Manifest(entries), name="model", left_out=())
        signed = parse_statement(payload)
    except (DeniedError, UnicodeEncodeError):  # a lone surrogate is no text, and signing never sees one
        return
    assert signed.digests == {name: sha256(data) for name, data in files}
    assert not any(path_problem(name) for name, _ in files)
    assert collisions(signed.digests) == ()


@given(st.text(max_size=30), st.text(max_size=30))
@settings(deadline=None)
def test_nothing_is_below_a_path_that_is_none(path: str, ancestor: str) -> None:
    if path_problem(ancestor.removesuffix("/")) is not None:
        assert not is_at_or_below(path, ancestor)
    else:
        assert is_at_or_below(f"{ancestor.removesuffix('/')}/{path}", ancestor)
