"""A decision recomputed from the store: the same bytes, or the difference by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipeline.digests import Digest, canonical_json, hex_of, sha256
from pipeline.errors import EvidenceError
from pipeline.evidence.statement import Evidence
from pipeline.evidence.store import EvidenceStore
from pipeline.keys import generate_key
from pipeline.measurement import DataSet, Measurement, Metric, Sample
from pipeline.policy.decision import Decision
from pipeline.policy.document import Policy, load_policy
from pipeline.policy.gate import decide
from pipeline.replay import replay

JUDGE_KEY = KEY = generate_key()
AT = datetime(2026, 11, 2, tzinfo=UTC)
SUBJECT = sha256(b"candidate")
ITEMS = 400
RULES = """
apiVersion: airlock/v1
kind: Policy
name: test
rules:
  - {id: quality.floor, title: Quality, reason: Users need it., metric: performance/knowledge/acc, min: 0.5}
approvals: [{role: compliance, count: 1}]
"""


@dataclass(frozen=True)
class Judged:
    """A store with the evidence and the policy of a decision, and the decision's digest there."""

    store: EvidenceStore
    policy: Policy
    digest: Digest


def knowledge(right: int, seed: int = 0) -> Measurement:
    ids = tuple(f"item-{number}" for number in range(ITEMS))
    values = (1.0,) * right + (0.0,) * (ITEMS - right)
    return Measurement(
        check="performance/knowledge",
        version="1",
        data=(DataSet("knowledge", "1", ITEMS, sha256(b"data"), "CC0-1.0"),),
        metrics=(Metric("acc", "rate", "ratio", "higher", ids, values),),
        samples=tuple(Sample(id_, "?", "A", "right") for id_ in ids),
        seed=seed,
    )


def recorded(store: EvidenceStore, subject: Digest, right: int) -> Evidence:
    store.record_verification(subject, "m", {"verified": True, "claims": {}}, KEY)
    store.record_inspection(subject, "m", {"findings": [], "parameters": {"total": 10, "active": 10}}, KEY)
    for seed in (0, 1, 2):
        store.record_measurement(
            subject,
            "m",
            knowledge(right, seed),
            serving={"engine": "vllm", "managed": True, "digest": sha256(b"serving")},
            environment={"packages": []},
            started=AT - timedelta(hours=2),
            finished=AT - timedelta(hours=1),
            key=KEY,
        )
    return store.evidence(subject)


def judge(folder: Path, right: int = 350, change: Callable[[Decision], Decision] = lambda made: made) -> Judged:
    store = EvidenceStore(folder / "evidence", [KEY.verifying_key])
    folder.mkdir(exist_ok=True)
    (folder / "policy.yaml").write_text(RULES)
    policy = load_policy(folder / "policy.yaml")
    store.put_blob(policy.canonical)
    known = recorded(store, SUBJECT, right)
    made = decide(policy, known, release="r", release_digest=sha256(b"r"), candidate="m", at=AT, stage="staging")
    return Judged(store, policy, store.record_decision(change(made), KEY))


@pytest.mark.parametrize(("right", "verdict"), [(350, "GO"), (200, "INCONCLUSIVE"), (100, "NO-GO")])
def test_a_decision_is_recomputed_byte_for_byte(tmp_path: Path, right: int, verdict: str) -> None:
    judged = judge(tmp_path, right)

    result = replay(judged.digest, judged.store)
    assert result.same
    assert result.differences == ()
    assert result.stored.verdict == result.recomputed.verdict == verdict


def test_a_decision_against_a_baseline_is_recomputed(tmp_path: Path) -> None:
    judged = judge(tmp_path)
    baseline = recorded(judged.store, sha256(b"the model before"), 340)
    known = judged.store.evidence(SUBJECT)
    made = decide(
        judged.policy, known, release="r", release_digest=sha256(b"r"), candidate="m", at=AT, baseline=baseline
    )

    assert replay(judged.store.record_decision(made, KEY), judged.store).same


def _promoted_by_hand(made: Decision) -> Decision:
    results = tuple(replace(result, outcome="pass") for result in made.results)
    return replace(made, verdict="GO", results=results)


def test_attack_a_signed_decision_that_the_gate_did_not_make(tmp_path: Path) -> None:
    judged = judge(tmp_path, 100, _promoted_by_hand)

    result = replay(judged.digest, judged.store)
    assert not result.same
    assert 'decision.verdict: "GO" -> "NO-GO"' in result.differences
    assert any(line.startswith("decision.results.quality.floor.outcome") for line in result.differences)


def test_attack_approvals_taken_out_of_a_decision(tmp_path: Path) -> None:
    judged = judge(tmp_path, 350, lambda made: replace(made, approvals=()))

    result = replay(judged.digest, judged.store)
    assert [line.split(":")[0] for line in result.differences] == ["decision.approvals"]


def test_attack_a_rule_left_out_of_a_decision(tmp_path: Path) -> None:
    judged = judge(tmp_path, 350, lambda made: replace(made, results=made.results[:-1]))

    assert not replay(judged.digest, judged.store).same


def test_attack_evidence_edited_after_the_decision(tmp_path: Path) -> None:
    judged = judge(tmp_path)
    digest = judged.store.evidence(SUBJECT).measurements[0].statement.digest
    path = tmp_path / "evidence" / "blobs" / hex_of(digest)[:2] / hex_of(digest)
    path.chmod(0o644)
    path.write_bytes(path.read_bytes().replace(b"a", b"b", 1))

    with pytest.raises(EvidenceError, match="was edited"):
        replay(judged.digest, judged.store)


def test_attack_policy_removed_after_the_decision(tmp_path: Path) -> None:
    judged = judge(tmp_path)
    (tmp_path / "evidence" / "blobs" / hex_of(judged.policy.digest)[:2] / hex_of(judged.policy.digest)).unlink()

    with pytest.raises(EvidenceError, match="missing"):
        replay(judged.digest, judged.store)


def test_attack_policy_swapped_in_the_decision(tmp_path: Path) -> None:
    lax = RULES.replace("min: 0.5", "min: 0.1").encode()
    (tmp_path / "lax.yaml").write_bytes(lax)
    other = load_policy(tmp_path / "lax.yaml")
    judged = judge(tmp_path, 200, lambda made: replace(made, policy_digest=other.digest))
    judged.store.put_blob(other.canonical)

    assert 'decision.verdict: "INCONCLUSIVE" -> "GO"' in replay(judged.digest, judged.store).differences


def test_attack_evidence_of_two_other_checkpoints(tmp_path: Path) -> None:
    judged = judge(tmp_path)
    others = [recorded(judged.store, sha256(name), 399).digests for name in (b"one", b"two")]
    made = judged.store.decision(judged.digest)
    mixed = replace(made, evidence=tuple(sorted({*made.evidence, *others[0], *others[1]})))

    with pytest.raises(EvidenceError, match="mixes evidence"):
        replay(judged.store.record_decision(mixed, KEY), judged.store)


def test_attack_another_statement_in_the_place_of_a_decision(tmp_path: Path) -> None:
    judged = judge(tmp_path)
    known: Any = judged.store.evidence(SUBJECT).inspection

    with pytest.raises(EvidenceError, match="cannot count"):
        replay(known.digest, judged.store)


def test_an_unreadable_policy_is_an_error_of_ours(tmp_path: Path) -> None:
    nonsense = canonical_json({"policy": 1})
    judged = judge(tmp_path, 350, lambda made: replace(made, policy_digest=sha256(nonsense)))
    judged.store.put_blob(nonsense)

    with pytest.raises(Exception, match="policy") as caught:
        replay(judged.digest, judged.store)
    assert type(caught.value).__module__ == "pipeline.errors"
