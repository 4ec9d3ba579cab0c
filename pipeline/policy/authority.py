"""Which policies may decide at a site: signed by whom it trusts, pinned for a stage, and never an older version.

Without these a weaker policy file is all it takes to promote a weaker model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline.audit import Entry
from pipeline.digests import Digest
from pipeline.errors import DeniedError, EvidenceError
from pipeline.evidence.envelope import open_envelope, seal
from pipeline.files import read_bounded, write_atomic
from pipeline.keys import SigningKey, VerifyingKey, load_verifying_key
from pipeline.policy.document import Policy, load_policy, locate
from pipeline.site import Site

POLICY_PAYLOAD = "application/vnd.airlock.policy+json"


def authorised_policy(path: Path, site: Site, *, remember: bool = True) -> Policy:
    """The policy at `path`, once the site's demands on policies are met; its version is remembered, unless for a look.

    Raises:
        RequestError: there is no such policy.
        FileFormatError: it is malformed.
        DeniedError: no key of [policies] signed_by signed it, or a newer version of it has decided here before.
    """
    policy = load_policy(path)
    if site.policies.signed_by:
        signature = signature_path(locate(path))
        sealed = read_bounded(signature) if signature.exists() else None
        require_signed(policy, sealed, [load_verifying_key(key) for key in site.policies.signed_by])
    require_forward(policy, site.store.path / "policies", remember=remember)
    return policy


def signature_path(path: Path) -> Path:
    """Where the signature of the policy file `path` is."""
    return path.with_name(f"{path.name}.sig")


def seal_policy(policy: Policy, key: SigningKey) -> bytes:
    """A DSSE envelope over the whole policy: what it extends is signed with it."""
    return seal(policy.canonical, POLICY_PAYLOAD, [key])


def require_signed(policy: Policy, sealed: bytes | None, trusted: Sequence[VerifyingKey]) -> None:
    """Check that `sealed` is an envelope of this very policy by one of `trusted`.

    Raises:
        DeniedError: there is none, it is by others, or it is of another policy.
    """
    problem = "It is not signed."
    if sealed is not None:
        try:
            payload = open_envelope(sealed, POLICY_PAYLOAD, trusted).payload
        except EvidenceError as error:
            problem = error.why
        else:
            if payload == policy.canonical:
                return
            problem = "Its signature is over another policy: it, or one that it extends, was changed since."
    raise DeniedError(
        f"the policy '{policy.name}' may not decide here",
        why=problem,
        remedy="Have one of those whom [policies] signed_by names review it and run 'airlock policy sign'.",
    )


def require_pinned(policy: str, digest: Digest, stage: str, pinned: Mapping[str, Sequence[str]]) -> None:
    """Check that the policy with this digest may decide for `stage`; a stage that is not in `pinned` takes any.

    Raises:
        DeniedError: the stage is pinned to other policies.
    """
    if stage not in pinned or digest in pinned[stage]:
        return
    raise DeniedError(
        f"the policy '{policy}' may not decide for stage '{stage}'",
        why=f"Its digest is {digest}; the site allows {', '.join(pinned[stage]) or 'none'}.",
        remedy="Gate with an allowed policy, or have the site's owner add this one to [policies.pinned] after review.",
    )


def require_newest(policy: Policy, entries: Sequence[Entry]) -> None:
    """Check by the signed log that no newer version of the policy of this name has decided at this site.

    `entries` are those of the audit log: the memory in the store's folder is a file that can be edited, they cannot.

    Raises:
        DeniedError: one has.
    """
    details = (entry.details for entry in entries if entry.event == "decided")
    versions = [entry.get("policy_version") for entry in details if entry.get("policy_name") == policy.name]
    newest = max((version for version in versions if isinstance(version, int)), default=0)
    if policy.file.version < newest:
        raise _older(policy, newest)


def require_forward(policy: Policy, folder: Path, *, remember: bool = True) -> None:
    """Check that no newer version of the policy of this name has decided before, and remember this one's in `folder`.

    Without `remember`, it is only checked.

    Raises:
        DeniedError: one has, or the memory of it was edited.
        StorageError: the disk failed.
    """
    path = folder / policy.name
    newest = _newest(path) if path.exists() else 0
    version = policy.file.version
    if version < newest:
        raise _older(policy, newest)
    if version > newest and remember:
        write_atomic(path, f"{version}\n".encode())


def _older(policy: Policy, newest: int) -> DeniedError:
    return DeniedError(
        f"the policy '{policy.name}' may not decide here",
        why=f"It is version {policy.file.version}, but version {newest} has decided here before, and versions never go "
        "back.",
        remedy=f"Use version {newest}, or give the policy a higher number if it is meant to replace that one.",
    )


def _newest(path: Path) -> int:
    text = read_bounded(path).decode("utf-8", errors="replace").strip()
    if not text.isascii() or not text.isdigit():
        raise DeniedError(
            "it is not known which version of a policy decided last",
            why=f"{path} does not hold a number.",
            remedy="Find out who changed it, then restore it from a backup.",
        )
    return int(text)
