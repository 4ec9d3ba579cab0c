"""Attacks on a signed checkpoint: each is denied, named, and leaves nothing in the store."""

from __future__ import annotations

import base64
import json
import os
import shutil
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.digests import Digest, sha256
from pipeline.errors import DeniedError, ManifestError, SignatureError
from pipeline.keys import generate_key
from pipeline.manifest import FileEntry, Manifest
from pipeline.signature import sign_checkpoint, verify_candidate
from pipeline.signature.bundle import pre_authentication_encoding
from pipeline.signature.statement import encode_statement
from pipeline.site import KeySigner
from tests.pipeline.signature.parts import FILES, Workplace, make_workplace, unprivileged, write_files

WEIGHTS = "model-00001-of-00002.safetensors"


def deny(workplace: Workplace, signer: KeySigner | None = None) -> DeniedError:
    """The denial of the candidate, after checking that the store got nothing."""
    with pytest.raises(DeniedError) as caught:
        verify_candidate(workplace.candidate(), workplace.site(signer))
    assert workplace.stored() == []
    return caught.value


def digest_of_files(files: dict[str, bytes]) -> Digest:
    """The identity of a checkpoint of `files`."""
    return Manifest(tuple(FileEntry(name, len(data), sha256(data)) for name, data in files.items())).digest


def rewrite(workplace: Workplace, change: Callable[[dict[str, object]], None]) -> None:
    """Sign a statement that `change` was applied to, with the publisher's own key."""
    bundle = json.loads(workplace.bundle.read_bytes())
    statement = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
    change(statement)
    write_signed(workplace, json.dumps(statement).encode())


def write_signed(workplace: Workplace, payload: bytes) -> None:
    """A bundle over `payload`, by the publisher's own key."""
    bundle = json.loads(workplace.bundle.read_bytes())
    signature = workplace.key.sign(pre_authentication_encoding(payload))
    bundle["dsseEnvelope"]["payload"] = base64.b64encode(payload).decode()
    bundle["dsseEnvelope"]["signatures"][0]["sig"] = base64.b64encode(signature).decode()
    workplace.bundle.write_text(json.dumps(bundle))


def test_flipped_byte(workplace: Workplace) -> None:
    data = bytearray(FILES[WEIGHTS])
    data[12345] ^= 1
    (workplace.checkpoint / WEIGHTS).write_bytes(data)
    denial = deny(workplace)
    assert isinstance(denial, ManifestError)
    assert denial.problems == (f"{WEIGHTS}: was changed after it was signed",)
    assert denial.subject == digest_of_files(FILES | {WEIGHTS: bytes(data)})


@pytest.mark.parametrize(
    "name", ["modeling.py", ".git/hooks/post-checkout", ".gitattributes", ".github/x", "deep/er/x"]
)
def test_extra_file(workplace: Workplace, name: str) -> None:
    write_files(workplace.checkpoint, {name: b"import os"})
    denial = deny(workplace)
    assert denial.problems == (f"{name}: is not signed",)
    assert denial.subject == digest_of_files(FILES | {name: b"import os"})


def test_missing_file(workplace: Workplace) -> None:
    (workplace.checkpoint / WEIGHTS).unlink()
    denial = deny(workplace)
    assert denial.problems == (f"{WEIGHTS}: is signed but missing",)
    assert denial.subject == digest_of_files({name: data for name, data in FILES.items() if name != WEIGHTS})


def test_renamed_file(workplace: Workplace) -> None:
    (workplace.checkpoint / "config.json").rename(workplace.checkpoint / "Config.json")
    denial = deny(workplace)
    assert denial.problems == ("Config.json: is not signed", "config.json: is signed but missing")


def test_two_files_swapped(workplace: Workplace) -> None:
    (workplace.checkpoint / "config.json").write_bytes(FILES["README.md"])
    (workplace.checkpoint / "README.md").write_bytes(FILES["config.json"])
    assert [line.split(":")[0] for line in deny(workplace).problems] == ["README.md", "config.json"]


def test_truncated_and_extended_files(workplace: Workplace) -> None:
    (workplace.checkpoint / WEIGHTS).write_bytes(FILES[WEIGHTS][:-1])
    (workplace.checkpoint / "config.json").write_bytes(FILES["config.json"] + b"\n")
    assert [line.split(":")[0] for line in deny(workplace).problems] == ["config.json", WEIGHTS]


@pytest.mark.parametrize("target", ["outside", "checkpoint/README.md"])
def test_symbolic_link_to_the_signed_content(workplace: Workplace, target: str) -> None:
    (workplace.root / "outside").write_bytes(FILES["config.json"])
    (workplace.checkpoint / "config.json").unlink()
    (workplace.checkpoint / "config.json").symlink_to(workplace.root / target)
    denial = deny(workplace)
    assert any("config.json: is a symbolic link" in line for line in denial.problems)
    assert denial.subject is None, "a link has no digest, so the submission as a whole has none"


def test_linked_directory(workplace: Workplace) -> None:
    shutil.move(workplace.checkpoint / "tokenizer", workplace.root / "tokenizer")
    (workplace.checkpoint / "tokenizer").symlink_to(workplace.root / "tokenizer")
    assert any("tokenizer: is a symbolic link" in line for line in deny(workplace).problems)


def test_pipe(workplace: Workplace) -> None:
    os.mkfifo(workplace.checkpoint / "pipe")
    assert deny(workplace).problems == ("pipe: is a pipe; only regular files are accepted",)


def test_pipe_in_place_of_a_signed_file(workplace: Workplace) -> None:
    (workplace.checkpoint / "config.json").unlink()
    os.mkfifo(workplace.checkpoint / "config.json")
    assert any("config.json: is a pipe" in line for line in deny(workplace).problems)


def test_socket() -> None:
    with tempfile.TemporaryDirectory() as short, socket.socket(socket.AF_UNIX) as server:
        workplace = make_workplace(Path(short))
        server.bind(str(workplace.checkpoint / "s"))
        assert deny(workplace).problems == ("s: is a socket; only regular files are accepted",)


def test_unreadable_file() -> None:
    with tempfile.TemporaryDirectory() as short:
        workplace = make_workplace(Path(short))
        for place in (workplace.root, workplace.root / "publisher.pub"):
            place.chmod(0o777)
        (workplace.checkpoint / "config.json").chmod(0)
        with unprivileged():
            denial = deny(workplace)
        assert denial.problems == ("config.json: cannot be read (Permission denied)",)
        assert denial.subject is None


def test_unreadable_directory() -> None:
    with tempfile.TemporaryDirectory() as short:
        workplace = make_workplace(Path(short))
        workplace.root.chmod(0o777)
        (workplace.checkpoint / "tokenizer").chmod(0)
        with unprivileged():
            denial = deny(workplace)
        assert "tokenizer: cannot be read (Permission denied)" in denial.problems
        assert denial.subject is None


@pytest.mark.parametrize("extra", ["CONFIG.JSON", "Tokenizer/extra.json"])
def test_names_that_differ_in_case_only(tmp_path: Path, extra: str) -> None:
    workplace = make_workplace(tmp_path)
    write_files(workplace.checkpoint, {extra: b"{}"})
    assert any("collides with" in line for line in deny(workplace).problems)


def test_names_that_differ_in_unicode_form_only(workplace: Workplace) -> None:
    write_files(workplace.checkpoint, {"caf\u00e9": b"1", "cafe\u0301": b"2"})
    assert any("collides with" in line for line in deny(workplace).problems)


@pytest.mark.parametrize("name", ["a\\b", "a\nb", "right\u202eleft", "zero\u200bwidth"])
def test_deceptive_names(workplace: Workplace, name: str) -> None:
    write_files(workplace.checkpoint, {name: b"x"})
    assert len(deny(workplace).problems) == 1


def test_name_that_is_no_unicode(workplace: Workplace) -> None:
    Path(os.fsdecode(os.fsencode(workplace.checkpoint) + b"/\xff")).write_bytes(b"x")
    denial = deny(workplace)
    assert denial.problems == ("\\udcff: has control or invisible characters",)
    str(denial).encode("utf-8")


def test_directories_without_end(workplace: Workplace) -> None:
    (workplace.checkpoint / "/".join(["d"] * 40)).mkdir(parents=True)
    assert "deeper than 32 directories" in deny(workplace).problems[0]


@pytest.mark.parametrize("folders", [True, False])
def test_files_or_directories_without_end(workplace: Workplace, monkeypatch: pytest.MonkeyPatch, folders: bool) -> None:
    monkeypatch.setattr("pipeline.signature.tree.ENTRY_LIMIT", 50)  # the true limit would take a minute to reach
    for number in range(30):
        write_files(workplace.checkpoint / f"{number}", {f"{number}": b""})
        if folders:
            (workplace.checkpoint / f"{number}" / f"{number}").unlink()
            (workplace.checkpoint / f"{number}" / f"{number}").mkdir()
    denial = deny(workplace)
    assert "the checkpoint has more than 50 files and directories" in denial.problems
    assert denial.subject is None


def test_empty_checkpoint(workplace: Workplace) -> None:
    shutil.rmtree(workplace.checkpoint)
    workplace.checkpoint.mkdir()
    denial = deny(workplace)
    assert len(denial.problems) == len(FILES)
    assert denial.subject is None


def test_empty_list_of_files_signed_by_the_publisher(workplace: Workplace) -> None:
    write_signed(workplace, encode_statement(Manifest(()), name="model", left_out=()))
    shutil.rmtree(workplace.checkpoint)
    workplace.checkpoint.mkdir()
    denial = deny(workplace)
    assert isinstance(denial, ManifestError)
    assert denial.problems == ("the list is empty",)


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../escape", "a/../b", "./config.json", "a//b", "", "a\\..\\b", "a\x00b"]
)
def test_signed_path_that_escapes(workplace: Workplace, name: str) -> None:
    entry = FileEntry(name, 1, sha256(b"x"))
    write_signed(workplace, encode_statement(Manifest((entry,)), name="model", left_out=()))
    denial = deny(workplace)
    assert isinstance(denial, ManifestError)
    assert denial.subject == digest_of_files(FILES)


def test_signed_path_that_is_repeated(workplace: Workplace) -> None:
    twice = (FileEntry("a", 1, sha256(b"x")), FileEntry("a", 1, sha256(b"y")))
    write_signed(workplace, encode_statement(Manifest(twice), name="model", left_out=()))
    assert deny(workplace).problems == ("'a' is listed 2 times",)


def test_bundle_by_another_key(workplace: Workplace) -> None:
    sign_checkpoint(workplace.checkpoint, generate_key(), workplace.bundle)
    denial = deny(workplace)
    assert isinstance(denial, SignatureError)
    assert denial.subject == digest_of_files(FILES)


def test_bundle_by_another_key_that_claims_to_be_the_publishers(workplace: Workplace) -> None:
    honest = json.loads(workplace.bundle.read_bytes())
    sign_checkpoint(workplace.checkpoint, generate_key(), workplace.bundle)
    forged = json.loads(workplace.bundle.read_bytes())
    forged["verificationMaterial"] = honest["verificationMaterial"]
    workplace.bundle.write_text(json.dumps(forged))
    assert "does not verify" in deny(workplace).why


def test_bundle_whose_key_hint_was_edited(workplace: Workplace) -> None:
    bundle = json.loads(workplace.bundle.read_bytes())
    bundle["verificationMaterial"]["publicKey"]["hint"] = "0" * 64
    workplace.bundle.write_text(json.dumps(bundle))
    assert isinstance(deny(workplace), SignatureError)


def test_edited_statement(workplace: Workplace) -> None:
    (workplace.checkpoint / "config.json").write_bytes(b"evil")
    bundle = json.loads(workplace.bundle.read_bytes())
    payload = base64.b64decode(bundle["dsseEnvelope"]["payload"])
    edited = payload.replace(sha256(FILES["config.json"])[7:].encode(), sha256(b"evil")[7:].encode())
    bundle["dsseEnvelope"]["payload"] = base64.b64encode(edited).decode()
    workplace.bundle.write_text(json.dumps(bundle))
    denial = deny(workplace)
    assert isinstance(denial, SignatureError)
    assert denial.subject == digest_of_files(FILES | {"config.json": b"evil"})


def test_statement_whose_subject_is_of_other_files(workplace: Workplace) -> None:
    def change(statement: dict[str, object]) -> None:
        statement["subject"] = [{"name": "model", "digest": {"sha256": "0" * 64}}]

    rewrite(workplace, change)
    assert "inconsistent" in deny(workplace).what


@pytest.mark.parametrize(
    "change",
    [
        {"predicateType": "https://model_signing/Digests/v0.1"},
        {"_type": "https://in-toto.io/Statement/v0.1"},
        {"predicate": {"resources": [], "serialization": {"method": "shards"}}},
        {"predicate": None},
        {"surprise": 1},
    ],
)
def test_statement_of_another_kind(workplace: Workplace, change: dict[str, object]) -> None:
    rewrite(workplace, lambda statement: statement.update(change))
    assert "not of a supported format" in deny(workplace).what


def test_file_under_a_path_that_the_signer_left_out(workplace: Workplace) -> None:
    rewrite(workplace, leave_out(["notes"]))
    write_files(workplace.checkpoint, {"notes/evil.py": b"import os"})
    assert deny(workplace).problems == ("notes/evil.py: the signer left it out, and the site does not allow that",)


@pytest.mark.parametrize("path", [".", "", "/", "..", "./"])
def test_signer_and_site_that_leave_out_everything(workplace: Workplace, path: str) -> None:
    rewrite(workplace, leave_out([path]))
    write_files(workplace.checkpoint, {"evil.py": b"import os"})
    public = workplace.root / "publisher.pub"
    denial = deny(workplace, KeySigner(method="key", public_key=public, allow_ignored=(path,)))
    assert denial.problems == ("evil.py: is not signed",)


def test_file_that_only_the_site_would_leave_out(workplace: Workplace) -> None:
    write_files(workplace.checkpoint, {".gitattributes": b"x"})
    signer = KeySigner(method="key", public_key=workplace.root / "publisher.pub", allow_ignored=(".gitattributes",))
    assert deny(workplace, signer).problems == (".gitattributes: is not signed",)


def test_permitted_file_is_accepted_but_never_stored(workplace: Workplace) -> None:
    rewrite(workplace, leave_out([".gitattributes", "notes"]))
    write_files(workplace.checkpoint, {".gitattributes": b"x", "notes/deep/file": b"y"})
    signer = KeySigner(
        method="key", public_key=workplace.root / "publisher.pub", allow_ignored=(".gitattributes", "notes")
    )
    verified = verify_candidate(workplace.candidate(), workplace.site(signer))
    assert verified.manifest.digest == digest_of_files(FILES)
    assert not (verified.root / ".gitattributes").exists()
    assert not (verified.root / "notes").exists()


def test_left_out_path_cannot_hide_a_changed_signed_file(workplace: Workplace) -> None:
    rewrite(workplace, leave_out(["config.json"]))
    (workplace.checkpoint / "config.json").write_bytes(b"evil")
    signer = KeySigner(method="key", public_key=workplace.root / "publisher.pub", allow_ignored=("config.json",))
    assert deny(workplace, signer).problems == ("config.json: was changed after it was signed",)


def test_file_that_changes_while_it_is_read(workplace: Workplace) -> None:
    def append(_count: int) -> None:
        with (workplace.checkpoint / WEIGHTS).open("ab") as file:
            file.write(b"more")

    with pytest.raises(ManifestError, match="changed while it was read"):
        verify_candidate(workplace.candidate(), workplace.site(), progress=append)
    assert workplace.stored() == []


def leave_out(paths: list[str]) -> Callable[[dict[str, object]], None]:
    """A change that makes the signer leave out `paths`."""

    def change(statement: dict[str, object]) -> None:
        predicate = statement["predicate"]
        assert isinstance(predicate, dict)
        predicate["serialization"]["ignore_paths"] = paths

    return change
