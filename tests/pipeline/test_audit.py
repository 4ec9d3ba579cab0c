"""The audit log, confirmed and attacked.  Every attack asserts that it is detected, and that nothing was added."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipeline.audit import AuditLog, Head
from pipeline.digests import sha256
from pipeline.errors import AirlockError, EvidenceError, SystemFailureError
from pipeline.keys import generate_key, write_key_pair

KEY = generate_key()
SUBJECT = sha256(b"a checkpoint")


@pytest.fixture
def log(tmp_path: Path) -> AuditLog:
    return filled(tmp_path / "audit")


def filled(path: Path, count: int = 4) -> AuditLog:
    log = AuditLog(path, [KEY.verifying_key])
    for number in range(count):
        log.append("promoted", SUBJECT, {"number": number}, KEY)
    return log


def lines(log: AuditLog) -> list[bytes]:
    return (log.path / "log.jsonl").read_bytes().splitlines(keepends=True)


def write(log: AuditLog, changed: list[bytes]) -> None:
    (log.path / "log.jsonl").write_bytes(b"".join(changed))


def assert_tampered(log: AuditLog, problem: str) -> None:
    with pytest.raises(EvidenceError, match="audit log does not verify") as caught:
        log.entries()
    assert problem in caught.value.why


def test_entries_come_back_as_written_and_chained(log: AuditLog) -> None:
    entries = log.entries()

    assert [entry.details["number"] for entry in entries] == [0, 1, 2, 3]
    assert [entry.index for entry in entries] == [0, 1, 2, 3]
    assert entries[0].previous is None
    assert [entry.previous for entry in entries[1:]] == [entry.digest for entry in entries[:-1]]
    assert {entry.signer for entry in entries} == {KEY.verifying_key.digest}
    assert entries[0].subject == SUBJECT


def test_append_returns_the_entry_that_is_read_back(log: AuditLog) -> None:
    entry = log.append("revoked", None, {"reason": "a backdoor"}, KEY)

    assert log.entries()[-1] == entry
    assert log.latest() == entry.time


def test_an_empty_log_verifies(tmp_path: Path) -> None:
    log = AuditLog(tmp_path / "none", [KEY.verifying_key])

    assert log.verify() == Head(0, None)
    assert log.latest() is None


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda rows: [rows[0], rows[2], rows[3]], "removed, added or reordered"),
        (lambda rows: [rows[0], rows[2], rows[1], rows[3]], "removed, added or reordered"),
        (lambda rows: [rows[0], rows[1], rows[1], rows[2], rows[3]], "removed, added or reordered"),
        (lambda rows: rows[1:], "removed, added or reordered"),
        (lambda rows: rows[:3], "it was cut"),
        (lambda _: [], "it was cut"),
        (lambda rows: [*rows[:3], rows[3][:-1]], "it was cut"),
        (lambda rows: [rows[0], b"\n", *rows[1:]], "not signed by a trusted key"),
    ],
    ids=["deletion", "reorder", "duplicate", "first-deleted", "truncation", "emptied", "torn-last", "blank-line"],
)
def test_attack_on_the_order_of_entries(
    log: AuditLog, change: Callable[[list[bytes]], list[bytes]], problem: str
) -> None:
    write(log, change(lines(log)))

    assert_tampered(log, problem)


def test_attack_edited_entry(log: AuditLog) -> None:
    changed = lines(log)
    envelope = json.loads(changed[2])
    envelope["payload"] = json.loads(changed[1])["payload"]
    changed[2] = json.dumps(envelope, separators=(",", ":")).encode() + b"\n"
    write(log, changed)

    assert_tampered(log, "entry 2 is not signed by a trusted key")


def test_attack_every_flipped_byte_of_the_log_is_detected(tmp_path: Path) -> None:
    log = filled(tmp_path / "audit", 2)
    original = (log.path / "log.jsonl").read_bytes()
    for place in range(0, len(original), 7):
        flipped = bytearray(original)
        flipped[place] ^= 1
        (log.path / "log.jsonl").write_bytes(flipped)
        with pytest.raises(EvidenceError):
            log.entries()


def test_attack_entry_signed_by_another_key_cannot_be_appended_or_read(log: AuditLog) -> None:
    stranger = generate_key()
    with pytest.raises(EvidenceError):
        log.append("promoted", SUBJECT, {}, stranger)
    assert len(log.entries()) == 4

    AuditLog(log.path, [KEY.verifying_key, stranger.verifying_key]).append("promoted", SUBJECT, {}, stranger)
    with pytest.raises(EvidenceError):
        log.entries()


def test_attack_entries_of_another_log_with_the_same_key(log: AuditLog, tmp_path: Path) -> None:
    other = filled(tmp_path / "other")
    write(log, [lines(log)[0], *lines(other)[1:]])

    assert_tampered(log, "does not continue the entry before it")


def test_attack_truncation_and_append_denied(log: AuditLog) -> None:
    write(log, lines(log)[:2])

    with pytest.raises(EvidenceError):
        log.append("promoted", SUBJECT, {}, KEY)
    assert len(lines(log)) == 2


def test_attack_old_head_put_back_over_a_longer_log(log: AuditLog) -> None:
    old = (log.path / "head.json").read_bytes()
    for _ in range(2):
        log.append("promoted", SUBJECT, {}, KEY)
    (log.path / "head.json").write_bytes(old)

    assert_tampered(log, "an old head was put back")
    with pytest.raises(EvidenceError):
        log.append("promoted", SUBJECT, {}, KEY)


def test_attack_head_deleted(log: AuditLog) -> None:
    (log.path / "head.json").unlink()

    assert_tampered(log, "an old head was put back")


def test_attack_head_edited(log: AuditLog) -> None:
    (log.path / "head.json").write_bytes(b"{}")

    with pytest.raises(EvidenceError):
        log.entries()


def test_attack_log_and_head_put_back_together_is_seen_by_a_witness(log: AuditLog) -> None:
    saved = [(name, (log.path / name).read_bytes()) for name in ("log.jsonl", "head.json")]
    log.append("revoked", SUBJECT, {}, KEY)
    witness = log.verify()
    for name, data in saved:
        (log.path / name).write_bytes(data)

    assert log.verify().entries == 4  # from inside, nothing is wrong
    with pytest.raises(EvidenceError, match="it was put back"):
        log.verify(witness)


def test_attack_log_replaced_by_another_is_seen_by_a_witness(log: AuditLog, tmp_path: Path) -> None:
    other = filled(tmp_path / "other", 6)

    with pytest.raises(EvidenceError, match="another log"):
        other.verify(log.verify())


def test_a_longer_log_continues_what_the_witness_saw(log: AuditLog) -> None:
    witness = log.verify()
    log.append("promoted", SUBJECT, {}, KEY)

    assert log.verify(witness).entries == 5


def test_a_torn_line_after_a_crash_is_replaced_by_the_next_entry(log: AuditLog) -> None:
    with (log.path / "log.jsonl").open("ab") as file:
        file.write(b'{"payload":"eyJ')

    assert len(log.entries()) == 4
    log.append("promoted", SUBJECT, {"number": 4}, KEY)
    assert [entry.details["number"] for entry in log.entries()] == [0, 1, 2, 3, 4]


def test_an_entry_whose_head_was_lost_in_a_crash_counts(log: AuditLog) -> None:
    old = (log.path / "head.json").read_bytes()
    log.append("promoted", SUBJECT, {"number": 4}, KEY)
    (log.path / "head.json").write_bytes(old)

    assert len(log.entries()) == 5
    log.append("promoted", SUBJECT, {"number": 5}, KEY)
    assert [entry.details["number"] for entry in log.entries()] == [0, 1, 2, 3, 4, 5]


def test_a_clock_set_back_is_refused(tmp_path: Path) -> None:
    times = [datetime(2026, 11, 2, tzinfo=UTC)]
    log = AuditLog(tmp_path / "audit", [KEY.verifying_key], clock=lambda: times[0])
    log.append("promoted", SUBJECT, {}, KEY)
    times[0] -= timedelta(days=1)

    with pytest.raises(SystemFailureError, match="clock was set back"):
        log.append("promoted", SUBJECT, {}, KEY)
    assert len(log.entries()) == 1


def test_concurrent_appends_all_count(tmp_path: Path) -> None:
    def worker() -> None:
        log = AuditLog(tmp_path / "audit", [KEY.verifying_key])
        for _ in range(5):
            log.append("promoted", SUBJECT, {}, KEY)

    threads = [threading.Thread(target=worker) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(AuditLog(tmp_path / "audit", [KEY.verifying_key]).entries()) == 40


def test_a_read_only_copy_can_be_read(log: AuditLog) -> None:
    (log.path / "lock").unlink()
    log.path.chmod(0o555)

    assert len(log.entries()) == 4


_FILLS_DISK = """
import resource, signal, sys
from pathlib import Path
from pipeline.audit import AuditLog
from pipeline.digests import sha256
from pipeline.errors import StorageError
from pipeline.keys import load_signing_key
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
key = load_signing_key(Path(sys.argv[2]))
log = AuditLog(Path(sys.argv[1]), [key.verifying_key])
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), int(sys.argv[3])))
try:
    log.append("promoted", None, {"text": "x" * 4000}, key)
except StorageError as error:
    print(error.why)
"""


def test_a_full_disk_leaves_the_log_as_it_was(tmp_path: Path) -> None:
    write_key_pair(KEY, tmp_path / "key.pem")
    log = filled(tmp_path / "audit", 2)
    before = {path.name: path.read_bytes() for path in log.path.iterdir()}
    limit = len(before["log.jsonl"]) + 100
    done = subprocess.run(
        [sys.executable, "-c", _FILLS_DISK, str(log.path), str(tmp_path / "key.pem"), str(limit)],
        capture_output=True,
        text=True,
        check=True,
    )

    assert os.strerror(errno.EFBIG) in done.stdout
    assert {path.name: path.read_bytes() for path in log.path.iterdir()} == before
    assert len(log.entries()) == 2


def test_a_failure_after_the_line_was_written_takes_the_entry_back(tmp_path: Path) -> None:
    write_key_pair(KEY, tmp_path / "key.pem")
    log = filled(tmp_path / "audit")
    before = (log.path / "log.jsonl").read_bytes()
    # Descriptors for the lock and the log, and none for the head.
    program = _FILLS_DISK.replace("RLIMIT_FSIZE", "RLIMIT_NOFILE")
    done = subprocess.run(
        [sys.executable, "-c", program, str(log.path), str(tmp_path / "key.pem"), "5"],
        capture_output=True,
        text=True,
        check=True,
    )

    assert os.strerror(errno.EMFILE) in done.stdout
    assert (log.path / "log.jsonl").read_bytes() == before
    assert len(log.entries()) == 4


def test_a_directory_in_the_place_of_the_head_is_an_error_of_ours(log: AuditLog) -> None:
    (log.path / "head.json").unlink()
    (log.path / "head.json").mkdir()

    with pytest.raises(AirlockError):
        log.append("promoted", SUBJECT, {}, KEY)
    assert len(lines(log)) == 4
