"""A decision in the forms that other tools read: SLSA's Verification Summary v1 and in-toto's Simple Verification
Result v0.2.

Both are predicates about the checkpoint's digest, to be signed and stored like every statement.  They name each input
by its digest and say nothing that the decision does not.
"""

from __future__ import annotations

import re
from typing import Any

from pipeline.digests import Digest, hex_of
from pipeline.policy.decision import Decision

VSA_TYPE = "https://slsa.dev/verification_summary/v1"
SVR_TYPE = "https://in-toto.io/attestation/svr/v0.2"
VERIFIER = "urn:airlock:gate:v1"


def vsa_predicate(decision: Decision, digest: Digest) -> dict[str, Any]:
    """The Verification Summary of `decision`, whose signed envelope has `digest`.

    PASSED stands for GO alone; `verifiedLevels` names the policy, in the form that the specification leaves to others
    than SLSA, and another level where a rule was waived: who demands the policy's own level takes no waiver.  The
    inputs are the decision, the waivers and every statement that the decision was made from.
    """
    inputs = (digest, *decision.waivers, *decision.evidence)
    passed = decision.verdict == "GO"
    level = f"{_property(decision.policy)}{'_WITH_WAIVER' if decision.waived else ''}"
    return {
        "verifier": {"id": VERIFIER},
        "timeVerified": _time(decision),
        "resourceUri": f"urn:airlock:checkpoint:{decision.subject}",
        "policy": _policy(decision),
        "inputAttestations": [
            {"uri": f"urn:airlock:evidence:{one}", "digest": {"sha256": hex_of(one)}} for one in inputs
        ],
        "verificationResult": "PASSED" if passed else "FAILED",
        "verifiedLevels": [level] if passed else ["FAILED"],
    }


def svr_predicate(decision: Decision) -> dict[str, Any]:
    """The Simple Verification Result of `decision`: a property for each rule that passed, and one for GO.

    A waived rule is not among them: what is not listed is not asserted.
    """
    properties = [_property(result.rule) for result in decision.results if result.outcome == "pass"]
    if decision.verdict == "GO":
        mark = "WAIVED_GO" if decision.waived else "GO"
        properties.append(f"{_property(decision.policy)}_{mark}")
    return {
        "verifier": {"id": VERIFIER, "policies": [_policy(decision)]},
        "timeCreated": _time(decision),
        "properties": sorted(properties),
    }


def _policy(decision: Decision) -> dict[str, Any]:
    return {"uri": f"urn:airlock:policy:{decision.policy}", "digest": {"sha256": hex_of(decision.policy_digest)}}


def _property(name: str) -> str:
    """`safety.over-refusal` as AIRLOCK_SAFETY_OVER_REFUSAL."""
    return "AIRLOCK_" + re.sub(r"[^A-Z0-9]+", "_", name.upper())


def _time(decision: Decision) -> str:
    return decision.decided.strftime("%Y-%m-%dT%H:%M:%SZ")
