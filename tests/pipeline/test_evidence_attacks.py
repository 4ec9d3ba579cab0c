"""Evidence swapped, replayed, forged or measured again on a whole release: each denies, for its own reason.

What the gate itself refuses is attacked in `tests/pipeline/policy/test_attacks.py`; here the attacker writes to the
run's folder and to the store.
"""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pipeline.audit import AuditLog
from pipeline.cli.output import ExitCode
from pipeline.digests import Digest, canonical_json, hex_of, sha256
from pipeline.evidence.envelope import IN_TOTO_PAYLOAD, open_envelope, seal
from pipeline.evidence.statement import MEASUREMENT_TYPE
from pipeline.evidence.store import EvidenceStore
from pipeline.keys import SigningKey, generate_key, load_signing_key
from pipeline.run_directory import RunDirectory
from tests.runs import Organisation, Ran

CHECK = "performance/completion"
OTHER = sha256(b"the checkpoint of another size")


def key_of(site: Organisation) -> SigningKey:
    return load_signing_key(site.key("pipeline"))


def store_of(site: Organisation) -> EvidenceStore:
    return EvidenceStore(site.root / "store" / "evidence", [key_of(site).verifying_key])


def log_of(site: Organisation) -> AuditLog:
    return AuditLog(site.root / "store" / "audit", [key_of(site).verifying_key])


def measured(site: Organisation) -> tuple[Digest, Any]:
    """The digest of the statement on `CHECK`, and its whole payload."""
    store = store_of(site)
    for digest in RunDirectory(site.run).candidate("good").statements:
        payload = json.loads(open_envelope(store.blob(digest), IN_TOTO_PAYLOAD, [key_of(site).verifying_key]).payload)
        if payload["predicate"].get("check") == CHECK:
            return digest, payload
    raise AssertionError("nothing was measured")


def recorded_again(site: Organisation, subject: Digest | None = None, **changes: Any) -> Digest:
    """The same measurement, recorded again by the pipeline with changes to what it says."""
    _, payload = measured(site)
    predicate = copy.deepcopy(payload["predicate"]) | {"seed": 7, **changes}
    about = subject or RunDirectory(site.run).candidate("good").subject
    return store_of(site).record(MEASUREMENT_TYPE, about, "good", predicate, key_of(site)).digest


def replaced(site: Organisation, digest: Digest) -> None:
    """Name another statement in the place of the one on `CHECK`."""
    run = RunDirectory(site.run)
    state, old = run.candidate("good"), measured(site)[0]
    statements = tuple(digest if one == old else one for one in state.statements)
    run.save("good", state.model_copy(update={"statements": statements}))


def worse(site: Organisation) -> list[Any]:
    """The metrics of the check, with every value at its worst."""
    metrics: list[Any] = copy.deepcopy(measured(site)[1]["predicate"]["metrics"])
    for metric in metrics:
        metric["values"] = [0.0] * len(metric["values"])
    return metrics


def gate(site: Organisation) -> Ran:
    return site.airlock("gate", site.run, "--policy", site.root / "attached.yaml")


def assert_denied(site: Organisation, words: str) -> None:
    """Check that the gate denies for this reason, or refuses to judge, and that nothing can be promoted."""
    denied = gate(site)
    assert denied.code == ExitCode.DENIED
    assert words in denied.stdout + denied.stderr
    for person, role in (("ana", "compliance"), ("ben", "security")):
        site.approve(person, role)
    if words in denied.stdout:  # where it could not judge, the earlier decision is still there, and still good
        assert site.promote().code == ExitCode.DENIED
        assert site.airlock("registry", "resolve", "tiny/good", "--stage", "staging").code != ExitCode.YES


def test_attack_evidence_of_another_size(site: Organisation) -> None:
    replaced(site, recorded_again(site, OTHER))
    assert_denied(site, f"it is about {OTHER}")


def _unsigned(site: Organisation, payload: Any) -> bytes:
    sealed = json.loads(seal(canonical_json(payload), IN_TOTO_PAYLOAD, [key_of(site)]))
    return json.dumps({**sealed, "signatures": []}).encode()


def _strangers(_site: Organisation, payload: Any) -> bytes:
    return seal(canonical_json(payload), IN_TOTO_PAYLOAD, [generate_key()])


def _edited(site: Organisation, payload: Any) -> bytes:
    """The payload with better values, under the signature that was made over the old ones."""
    sealed = json.loads(store_of(site).blob(measured(site)[0]))
    payload["predicate"]["metrics"][0]["values"] = [1.0] * len(payload["predicate"]["metrics"][0]["values"])
    other = json.loads(seal(canonical_json(payload), IN_TOTO_PAYLOAD, [generate_key()]))
    return json.dumps({**other, "signatures": sealed["signatures"]}).encode()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (_unsigned, "must hold between 1 and"),
        (_strangers, "0 of 1 required trusted keys signed it"),
        (_edited, "0 of 1 required trusted keys signed it"),
    ],
    ids=["unsigned", "replayed from another site", "edited"],
)
def test_attack_evidence_that_the_pipeline_did_not_sign(
    site: Organisation, make: Callable[[Organisation, Any], bytes], words: str
) -> None:
    replaced(site, store_of(site).put_blob(make(site, measured(site)[1])))
    assert_denied(site, words)


def test_attack_replayed_old_evidence(site: Organisation) -> None:
    """The same statement as a year ago: old evidence stays old, whoever names it."""
    old = datetime.now(UTC) - timedelta(days=365)
    moments: dict[str, Any] = {"started": _text(old - timedelta(minutes=1)), "finished": _text(old)}
    digest = recorded_again(site, **moments)
    _forget(site, measured(site)[0])
    _without_log(site)
    replaced_by = RunDirectory(site.run).candidate("good")
    RunDirectory(site.run).save(
        "good", replaced_by.model_copy(update={"statements": (*replaced_by.statements, digest)})
    )
    assert_denied(site, "too old")


def test_a_statement_named_twice_counts_once(site: Organisation) -> None:
    run = RunDirectory(site.run)
    state = run.candidate("good")
    run.save("good", state.model_copy(update={"statements": (*state.statements, *state.statements)}))
    assert gate(site).code == ExitCode.YES
    assert run.candidate("good").decision == state.decision


def test_attack_evidence_on_another_serving_configuration(site: Organisation) -> None:
    serving = {**measured(site)[1]["predicate"]["serving"], "digest": sha256(b"quantised for speed")}
    replaced(site, recorded_again(site, serving=serving))
    assert_denied(site, "different serving configurations")


def test_attack_evidence_on_other_data(site: Organisation) -> None:
    predicate = measured(site)[1]["predicate"]
    (data,) = predicate["data"]
    pinned = f"extends: [attached]\nevidence: {{endpoint: true, data: {{{data['name']}: '{data['digest']}'}}}}\n"
    policy = site.policy("pinned", pinned)
    assert site.airlock("gate", site.run, "--policy", policy).code == ExitCode.YES
    replaced(site, recorded_again(site, data=[{**data, "digest": sha256(b"easy items")}]))
    _forget_all_but_named(site)
    _without_log(site)
    denied = site.airlock("gate", site.run, "--policy", policy)
    assert denied.code == ExitCode.DENIED
    assert "is demanded" in denied.stdout


def test_attack_two_statements_about_one_run(site: Organisation) -> None:
    predicate = measured(site)[1]["predicate"]
    recorded_again(site, seed=predicate["seed"], metrics=worse(site))
    assert_denied(site, "give different results")


def test_attack_best_of_two_runs(site: Organisation) -> None:
    """The worse run is recorded, and the folder names the better one alone: both count."""
    recorded_again(site, metrics=worse(site), **_now())
    assert_denied(site, "capability.completion")


def test_attack_promotion_by_a_decision_before_the_worse_run(site: Organisation) -> None:
    """Decided and approved, then measured again, worse; nobody asks the gate anew before promoting."""
    for person, role in (("ana", "compliance"), ("ben", "security")):
        assert site.approve(person, role).code == ExitCode.YES
    recorded_again(site, metrics=worse(site), **_now())
    denied = site.promote()
    assert denied.code == ExitCode.DENIED
    assert "no longer stands" in denied.stderr
    assert "capability.completion" in denied.stderr
    assert site.airlock("registry", "resolve", "tiny/good", "--stage", "staging").code != ExitCode.YES


def test_every_measurement_is_logged_once(site: Organisation) -> None:
    run = RunDirectory(site.run).candidate("good")
    entries = [entry for entry in log_of(site).entries() if entry.event == "measured"]
    store = store_of(site)
    measurements = {d for d in run.statements if store.statement(d).predicate_type == MEASUREMENT_TYPE}
    assert {digest for entry in entries for digest in entry.details["statements"]} == measurements
    assert len(entries) == 1


def test_attack_the_worse_run_is_deleted(site: Organisation) -> None:
    """Taken out of the index it still counts, for the log knows it; deleted altogether it is missed."""
    bad = recorded_again(site, metrics=worse(site), **_now())
    subject = RunDirectory(site.run).candidate("good").subject
    log_of(site).append("measured", subject, {"candidate": "good", "statements": [bad]}, key_of(site))
    for person, role in (("ana", "compliance"), ("ben", "security")):
        assert site.approve(person, role).code == ExitCode.YES
    _forget(site, bad)
    denied = site.promote()
    assert denied.code == ExitCode.DENIED
    assert "capability.completion" in denied.stderr
    (blob,) = (site.root / "store" / "evidence" / "blobs").rglob(f"*{hex_of(bad)[2:]}*")
    blob.chmod(0o644)
    blob.unlink()
    for ran in (gate(site), site.promote()):
        assert ran.code == ExitCode.DENIED
        assert bad in ran.stderr
    assert site.airlock("registry", "resolve", "tiny/good", "--stage", "staging").code != ExitCode.YES


def test_a_log_entry_on_measurements_that_names_none_denies(site: Organisation) -> None:
    subject = RunDirectory(site.run).candidate("good").subject
    log_of(site).append("measured", subject, {"candidate": "good", "statements": ["../elsewhere"]}, key_of(site))
    denied = gate(site)
    assert denied.code == ExitCode.DENIED
    assert "names no statement" in denied.stderr


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity"])
def test_attack_value_that_is_no_number(site: Organisation, value: str) -> None:
    """Signed by the pipeline's own key, such a statement still is none."""
    payload = copy.deepcopy(measured(site)[1])
    payload["predicate"]["metrics"][0]["values"][0] = 123456789.0
    text = json.dumps(payload).replace("123456789.0", value).encode()
    replaced(site, store_of(site).put_blob(seal(text, IN_TOTO_PAYLOAD, [key_of(site)])))
    denied = gate(site)
    assert denied.code == ExitCode.DENIED
    assert "not finite" in denied.stderr or "cannot be read" in denied.stderr


def test_attack_decision_of_another_candidate_in_the_folder(site: Organisation) -> None:
    """A signed decision that is GO, on another checkpoint, named as this candidate's."""
    run = RunDirectory(site.run)
    state = run.candidate("good")
    run.save("good", state.model_copy(update={"subject": OTHER}))
    for ran in (site.approve("ana", "compliance"), site.promote()):
        assert ran.code == ExitCode.DENIED
        assert "is about something else" in ran.stderr
    assert run.approvals("good") == ()


def _now() -> dict[str, Any]:
    now = datetime.now(UTC)
    return {"started": _text(now - timedelta(seconds=2)), "finished": _text(now - timedelta(seconds=1))}


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def _without_log(site: Organisation) -> None:
    """As if this had been the first run: what was measured before is not known."""
    shutil.rmtree(site.root / "store" / "audit")


def _forget(site: Organisation, digest: Digest) -> None:
    """Leave a statement out of the run's folder and out of the store's index."""
    run = RunDirectory(site.run)
    state = run.candidate("good")
    run.save("good", state.model_copy(update={"statements": tuple(one for one in state.statements if one != digest)}))
    (path,) = (site.root / "store" / "evidence" / "subjects").glob(f"{hex_of(state.subject)}.json")
    path.write_bytes(canonical_json([pair for pair in json.loads(path.read_bytes()) if pair[1] != digest]))


def _forget_all_but_named(site: Organisation) -> None:
    """Leave only the measurements that the folder names in the store's index."""
    state = RunDirectory(site.run).candidate("good")
    for statement in tuple(store_of(site).statements(state.subject)):
        if statement.predicate_type == MEASUREMENT_TYPE and statement.digest not in state.statements:
            _forget(site, statement.digest)
