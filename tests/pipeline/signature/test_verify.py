"""A candidate that was signed and left alone is verified and stored; a second verification reuses the copy."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from pipeline.digests import hex_of, sha256
from pipeline.errors import KeyFileError, ManifestError, RequestError, StorageError
from pipeline.keys import SigningKey, write_key_pair
from pipeline.manifest import FileEntry, Manifest
from pipeline.signature import manifest_of, verify_candidate
from pipeline.site import KeySigner
from tests.pipeline.signature.parts import FILES, Workplace, make_workplace

EXPECTED = Manifest(tuple(FileEntry(name, len(data), sha256(data)) for name, data in FILES.items()))


def test_an_intact_candidate_is_verified(workplace: Workplace) -> None:
    verified = verify_candidate(workplace.candidate(), workplace.site())
    assert verified.manifest == EXPECTED
    assert verified.signer.name == "publisher"
    assert verified.signer.key_digest == workplace.key.verifying_key.digest
    assert verified.bundle_digest == sha256(workplace.bundle.read_bytes())


def test_the_stored_copy_is_complete_and_read_only(workplace: Workplace) -> None:
    root = verify_candidate(workplace.candidate(), workplace.site()).root
    assert root == workplace.store / hex_of(EXPECTED.digest)
    assert {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()} == FILES
    assert {stat.S_IMODE(path.stat().st_mode) for path in root.rglob("*") if path.is_file()} == {0o444}
    assert {stat.S_IMODE(path.stat().st_mode) for path in (root, root / "tokenizer")} == {0o555}
    assert workplace.stored() == workplace.record_names(EXPECTED.digest)


def test_the_stored_copy_shares_no_inode_with_the_submission(workplace: Workplace) -> None:
    root = verify_candidate(workplace.candidate(), workplace.site()).root
    for name in FILES:
        assert (root / name).stat().st_ino != (workplace.checkpoint / name).stat().st_ino


def test_editing_the_submission_afterwards_leaves_the_copy_alone(workplace: Workplace) -> None:
    root = verify_candidate(workplace.candidate(), workplace.site()).root
    (workplace.checkpoint / "config.json").write_bytes(b"edited")
    assert (root / "config.json").read_bytes() == FILES["config.json"]


def test_a_second_verification_reuses_the_copy(workplace: Workplace) -> None:
    first = verify_candidate(workplace.candidate(), workplace.site())
    inodes = {path: path.stat().st_ino for path in first.root.rglob("*")}
    second = verify_candidate(workplace.candidate(), workplace.site())
    assert second == first
    assert {path: path.stat().st_ino for path in second.root.rglob("*")} == inodes


def test_progress_counts_each_byte_once(workplace: Workplace) -> None:
    seen: list[int] = []
    verify_candidate(workplace.candidate(), workplace.site(), progress=seen.append)
    assert sum(seen) == EXPECTED.size


def test_a_copy_that_was_written_to_is_not_reused(workplace: Workplace) -> None:
    root = verify_candidate(workplace.candidate(), workplace.site()).root
    target = root / "config.json"
    target.chmod(0o644)
    target.write_bytes(FILES["config.json"].replace(b"llama", b"LLAMA"))
    target.chmod(0o444)
    with pytest.raises(StorageError, match=r"config\.json differs"):
        verify_candidate(workplace.candidate(), workplace.site())


def test_a_copy_with_a_file_too_many_is_not_reused(workplace: Workplace) -> None:
    root = verify_candidate(workplace.candidate(), workplace.site()).root
    root.chmod(0o755)
    (root / "modeling.py").write_bytes(b"import os")
    with pytest.raises(StorageError, match=r"modeling\.py"):
        verify_candidate(workplace.candidate(), workplace.site())


def test_a_copy_whose_file_was_replaced_by_an_equal_one_is_hashed_and_reused(workplace: Workplace) -> None:
    first = verify_candidate(workplace.candidate(), workplace.site())
    first.root.chmod(0o755)
    (first.root / "new").write_bytes(FILES["config.json"])
    (first.root / "new").chmod(0o444)
    (first.root / "new").replace(first.root / "config.json")
    assert verify_candidate(workplace.candidate(), workplace.site()) == first


def test_a_copy_that_may_be_written_is_not_reused(workplace: Workplace) -> None:
    root = verify_candidate(workplace.candidate(), workplace.site()).root
    (root / "config.json").chmod(0o644)
    with pytest.raises(StorageError, match=r"config\.json may be written"):
        verify_candidate(workplace.candidate(), workplace.site())


def test_a_copy_with_a_second_name_elsewhere_is_not_reused(workplace: Workplace) -> None:
    root = verify_candidate(workplace.candidate(), workplace.site()).root
    (workplace.root / "handle").hardlink_to(root / "config.json")
    with pytest.raises(StorageError, match=r"config\.json has a second name"):
        verify_candidate(workplace.candidate(), workplace.site())


def test_a_link_in_place_of_a_copy_is_not_followed(workplace: Workplace) -> None:
    root = verify_candidate(workplace.candidate(), workplace.site()).root
    root.chmod(0o755)
    root.rename(workplace.root / "mine")
    root.symlink_to(workplace.root / "mine")
    with pytest.raises(StorageError, match="is no directory"):
        verify_candidate(workplace.candidate(), workplace.site())


@pytest.mark.parametrize("record", [b"", b"not json", b"{}", None])
def test_a_lost_or_broken_record_only_costs_a_second_look(workplace: Workplace, record: bytes | None) -> None:
    first = verify_candidate(workplace.candidate(), workplace.site())
    path = first.root.with_name(f"{first.root.name}.json")
    good = path.read_bytes()
    path.unlink() if record is None else path.write_bytes(record)
    assert verify_candidate(workplace.candidate(), workplace.site()) == first
    assert path.read_bytes() == good


def test_what_an_interrupted_run_left_is_removed(workplace: Workplace) -> None:
    abandoned = workplace.store / ".incoming-abandoned"
    (abandoned / "inner").mkdir(parents=True)
    (abandoned / "inner").chmod(0o555)
    verify_candidate(workplace.candidate(), workplace.site())
    assert workplace.stored() == workplace.record_names(EXPECTED.digest)


def test_an_unknown_signer_is_refused(workplace: Workplace) -> None:
    candidate = workplace.candidate()
    stranger = candidate.signature.model_copy(update={"signer": "stranger"})
    with pytest.raises(RequestError, match="signer 'stranger' is unknown"):
        verify_candidate(candidate.model_copy(update={"signature": stranger}), workplace.site())


def test_a_missing_checkpoint_is_refused(workplace: Workplace) -> None:
    missing = workplace.candidate().model_copy(update={"checkpoint": workplace.root / "nowhere"})
    with pytest.raises(RequestError, match="cannot read the checkpoint"):
        verify_candidate(missing, workplace.site())


def test_a_missing_bundle_is_refused(workplace: Workplace) -> None:
    with pytest.raises(RequestError, match="no such file"):
        verify_candidate(workplace.candidate(workplace.root / "no.sig"), workplace.site())


def test_an_ed25519_key_is_no_checkpoint_signer(workplace: Workplace) -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    public = write_key_pair(SigningKey(Ed25519PrivateKey.generate()), workplace.root / "ed.pem")
    with pytest.raises(KeyFileError, match="EC keys"):
        verify_candidate(workplace.candidate(), workplace.site(KeySigner(method="key", public_key=public)))


def test_a_store_that_cannot_be_written_is_a_system_failure(workplace: Workplace) -> None:
    workplace.store.parent.write_bytes(b"a file where the store should be")
    with pytest.raises(StorageError, match="cannot use the store"):
        verify_candidate(workplace.candidate(), workplace.site())


ONE_LARGE_FILE = {"model.safetensors": b"\x5a" * (70 << 20), "config.json": b"{}"}


@pytest.fixture(params=["small", "large"])
def any_size(request: pytest.FixtureRequest, tmp_path: Path) -> Workplace:
    """A checkpoint of small files, and one with a file so large that two threads work on it."""
    return make_workplace(tmp_path, ONE_LARGE_FILE if request.param == "large" else None)


def test_a_file_of_any_size_is_copied_whole(any_size: Workplace) -> None:
    seen: list[int] = []
    verified = verify_candidate(any_size.candidate(), any_size.site(), progress=seen.append)
    assert verified.manifest == manifest_of(any_size.checkpoint) == manifest_of(verified.root)
    assert sum(seen) == verified.manifest.size


def test_a_full_disk_leaves_nothing_half_written(any_size: Workplace) -> None:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (700_000, hard))  # as a full disk: writing stops in the middle of a file
    try:
        with pytest.raises(StorageError, match="cannot store"):
            verify_candidate(any_size.candidate(), any_size.site())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert any_size.stored() == []


def test_an_interrupt_leaves_nothing_half_written(any_size: Workplace) -> None:
    def interrupt(_count: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        verify_candidate(any_size.candidate(), any_size.site(), progress=interrupt)
    assert any_size.stored() == []


def test_a_changed_byte_in_a_file_of_any_size_is_caught(any_size: Workplace) -> None:
    for path in any_size.checkpoint.glob("*.safetensors"):
        with path.open("r+b") as file:
            file.seek(-1, 2)
            file.write(b"!")
    with pytest.raises(ManifestError, match="changed after it was signed"):
        verify_candidate(any_size.candidate(), any_size.site())
    assert any_size.stored() == []


def test_no_descriptor_is_left_open(workplace: Workplace) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    verify_candidate(workplace.candidate(), workplace.site())
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_eight_at_once_store_one_copy(workplace: Workplace) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(8) as threads:
        jobs = [threads.submit(verify_candidate, workplace.candidate(), workplace.site()) for _ in range(8)]
    assert len({job.result().manifest.digest for job in jobs}) == 1
    assert workplace.stored() == workplace.record_names(EXPECTED.digest)
