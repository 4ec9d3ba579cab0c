"""Break-glass, confirmed and attacked: from two signatures to a promotion whose mark stays and which ends."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from pipeline.approvals import ApprovedDecision, check_approvals, check_break_glass, make_approval
from pipeline.errors import ApprovalError, PromotionError, RegistryContentError, RequestError
from pipeline.policy.decision import Decision, RuleResult
from pipeline.registry.consume import find_promoted, resolve
from pipeline.registry.operations import Operator, roll_back
from pipeline.registry.proof import gather_proof
from pipeline.registry.upkeep import verify_registry
from pipeline.site import BreakGlassSettings
from tests.pipeline.registry.helpers import DECIDED, Case, case, office
from tests.pipeline.registry.test_operations import rolled_back

HOUR = timedelta(hours=1)
ROLES = ("compliance", "security")


def refused(ready: Case, rule: str = "quality.floor") -> Case:
    """The same case, but the gate said no."""
    result = RuleResult(rule, "Quality", "block", "fail", None, "at least 1", None, "It is 0.5.", "Train it.", None)
    decision = replace(ready.approved.decision, verdict="NO-GO", results=(result,))
    digest = ready.store.record_decision(decision, ready.office.pipeline)
    settings = BreakGlassSettings(roles=ROLES, max_hours=24)
    site = ready.office.site.model_copy(update={"break_glass": settings})
    pending: Any = _Refused(decision, digest)
    return replace(ready, office=replace(ready.office, site=site), approved=pending)


class _Refused:
    """What a refused decision and its digest are kept in, in the place of an approved one."""

    def __init__(self, decision: Decision, digest: Any) -> None:
        self.decision = decision
        self.digest = digest


@pytest.fixture
def ready(tmp_path: Path) -> Case:
    return refused(case(tmp_path))


def call(ready: Case, person: str, role: str, **changes: Any) -> bytes:
    arguments: dict[str, Any] = {
        "comment": "the old model leaks",
        "expires": DECIDED + 12 * HOUR,
        "says": "break-glass",
        "at": DECIDED + HOUR,
        **changes,
    }
    key = ready.office.keys[person]
    return make_approval(ready.approved.decision, ready.approved.digest, role=role, key=key, **arguments)


def both(ready: Case, **changes: Any) -> list[bytes]:
    return [call(ready, "ana", "compliance", **changes), call(ready, "bo", "security", **changes)]


def check(ready: Case, statements: list[bytes], **changes: Any) -> ApprovedDecision:
    approved = ready.approved
    arguments: dict[str, Any] = {"at": DECIDED + 2 * HOUR, **changes}
    return check_break_glass(approved.decision, approved.digest, statements, ready.office.site, **arguments)


def promoted(ready: Case) -> Any:
    approved = check(ready, both(ready))
    return ready.promote(approved=approved, proof=gather_proof(ready.store, approved, ready.verified))


def test_two_people_in_two_roles_let_a_refused_decision_through_and_the_mark_stays(ready: Case) -> None:
    promotion = promoted(ready)

    assert promotion.result == "BREAK_GLASS"
    assert promotion.emergency == "ana (compliance): the old model leaks; bo (security): the old model leaks"
    assert promotion.expires == DECIDED + 12 * HOUR
    assert resolve(ready.registry, ready.log, "smollm2", stage="staging", at=DECIDED + 11 * HOUR) == promotion
    assert ready.log.entries()[-1].details["result"] == "BREAK_GLASS"
    assert "leaks" in ready.log.entries()[-1].details["emergency"]
    assert verify_registry(ready.registry, ready.log).problems == ()


def test_an_emergency_ends(ready: Case) -> None:
    promotion = promoted(ready)

    with pytest.raises(RegistryContentError, match="has ended"):
        resolve(ready.registry, ready.log, "smollm2", stage="staging", at=DECIDED + 12 * HOUR)
    with pytest.raises(RegistryContentError, match="has ended"):
        find_promoted(ready.registry, ready.log, promotion.manifest, name=promotion.name, at=DECIDED + 13 * HOUR)
    with pytest.raises(PromotionError):
        rolled_back(ready)


def test_a_rollback_to_an_emergency_that_has_ended(ready: Case) -> None:
    promotion = promoted(ready)
    operator = Operator(ready.office.keys["bo"], ready.office.pipeline, ready.office.site)

    with pytest.raises(RegistryContentError, match="has ended"):
        roll_back(
            promotion.name,
            stage="staging",
            reason="again",
            operator=operator,
            registry=ready.registry,
            log=ready.log,
            at=DECIDED + 13 * HOUR,
            to=promotion.subject,
        )


def test_the_shorter_of_the_two_ends_counts(ready: Case) -> None:
    statements = [call(ready, "ana", "compliance", expires=DECIDED + 4 * HOUR), call(ready, "bo", "security")]
    emergency = check(ready, statements).break_glass

    assert emergency is not None
    assert emergency.expires == DECIDED + 4 * HOUR


def test_attack_one_person_in_both_roles(tmp_path: Path) -> None:
    people = office(tmp_path, {"ana": list(ROLES), "bo": ["security"]})
    ready = refused(case(tmp_path, people=people))
    statements = [call(ready, "ana", role) for role in ROLES]

    with pytest.raises(ApprovalError, match="not agreed on"):
        check(ready, statements)
    assert check(ready, [*statements, call(ready, "bo", "security")]).break_glass is not None


def test_attack_one_signature_only(ready: Case) -> None:
    with pytest.raises(ApprovalError, match=r"signed have ana \(compliance\)"):
        check(ready, both(ready)[:1])


def test_attack_longer_than_the_site_allows(ready: Case) -> None:
    with pytest.raises(ApprovalError, match="more than 24 hours"):
        check(ready, both(ready, expires=DECIDED + 48 * HOUR))


def test_attack_after_its_end_or_by_who_took_part(ready: Case) -> None:
    with pytest.raises(ApprovalError, match="it expired"):
        check(ready, both(ready), at=DECIDED + 12 * HOUR)
    with pytest.raises(ApprovalError, match="took part"):
        check(ready, both(ready), excluded={ready.office.keys["bo"].verifying_key.digest})


def test_attack_for_another_stage(ready: Case) -> None:
    with pytest.raises(ApprovalError, match="for the stage 'staging' only"):
        check(ready, both(ready, stage="staging"), stage="production")


@pytest.mark.parametrize("rule", ["signature.verified", "checkpoint.safe-to-load", "evidence.of-this-checkpoint"])
def test_attack_breaking_the_gates_own_rules(tmp_path: Path, rule: str) -> None:
    ready = refused(case(tmp_path), rule)

    with pytest.raises(ApprovalError, match="in an emergency either"):
        check(ready, both(ready))


def test_attack_plain_approvals_do_not_break_glass_and_the_other_way_round(tmp_path: Path) -> None:
    ready = case(tmp_path)
    approved, settings = ready.approved, BreakGlassSettings(roles=ROLES)
    site = ready.office.site.model_copy(update={"break_glass": settings})
    plain = [one.voice.envelope for one in approved.approvals]
    with pytest.raises(ApprovalError, match="not agreed on"):
        check_break_glass(approved.decision, approved.digest, plain, site, at=DECIDED + 2 * HOUR)
    with pytest.raises(ApprovalError, match="needed"):
        check_approvals(approved.decision, approved.digest, both(ready), site, at=DECIDED + 2 * HOUR)


def test_a_site_without_break_glass_has_none(ready: Case) -> None:
    site = ready.office.site.model_copy(update={"break_glass": None})

    with pytest.raises(RequestError, match="no break-glass"):
        check(replace(ready, office=replace(ready.office, site=site)), both(ready))


@pytest.mark.parametrize("changes", [{"comment": " "}, {"expires": None}])
def test_an_emergency_without_reason_or_end_is_not_signed(ready: Case, changes: dict[str, Any]) -> None:
    with pytest.raises(ApprovalError, match="a reason and an end"):
        call(ready, "ana", "compliance", **changes)


def test_a_site_needs_two_different_roles() -> None:
    with pytest.raises(ValueError, match="two different roles"):
        BreakGlassSettings(roles=("security", "security"))
