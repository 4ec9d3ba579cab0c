"""What a site demands of a signer beyond the signature: time, revocation, and the freshness of a trust root."""

from __future__ import annotations

import fnmatch
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated

from pydantic import AwareDatetime, Field, ValidationError

from pipeline.digests import Digest
from pipeline.documents import Document
from pipeline.errors import FileFormatError, SignatureError
from pipeline.files import read_bounded
from pipeline.site import DigestText, RootDemands, SignerLimits, Site


@dataclass(frozen=True)
class Trust:
    """The site's demands on one signer, ready to be asked.  `now` is the time of verification, with a time zone."""

    name: str
    limits: SignerLimits
    revoked: frozenset[str]
    now: datetime

    def require_candidate(self, candidate: str) -> None:
        """The signer must be one who may sign the candidate of that name.

        Raises:
            SignatureError: it is not.
        """
        if not any(fnmatch.fnmatchcase(candidate, pattern) for pattern in self.limits.may_sign):
            raise self.refusal(
                f"The site lets this signer sign {', '.join(self.limits.may_sign)}, and this is '{candidate}'.",
                "Have the checkpoint signed by a signer who may, or have the site's owner extend 'may_sign'.",
            )

    def require_time(self, when: datetime) -> None:
        """The signer must be trusted at `when`.

        Raises:
            SignatureError: it is not, or not yet, or no more.
        """
        start, end = self.limits.valid_from, self.limits.valid_until
        if start is not None and when < start:
            raise self.refusal(
                f"The site trusts this signer from {start.isoformat()}; the time that counts is {when.isoformat()}.",
                "Have the checkpoint signed again within the window.",
            )
        if end is not None and when > end:
            raise self.refusal(
                f"The site trusts this signer until {end.isoformat()}; the time that counts is {when.isoformat()}.",
                "Have the checkpoint signed by a signer whom the site trusts today.",
            )

    def require_not_revoked(self, keys: Iterable[Digest]) -> None:
        """None of the `keys` may be revoked.

        Raises:
            SignatureError: one is.
        """
        for key in keys:
            if key in self.revoked:
                raise self.refusal(
                    f"The key {key} is revoked by the site.",
                    "Have the checkpoint signed with a key that is not revoked, after finding out why this one was.",
                )

    def refusal(self, why: str, remedy: str) -> SignatureError:
        """The error for a signer who is known but may not be trusted here and now."""
        return SignatureError(f"signer '{self.name}' is not acceptable", why=why, remedy=remedy)


def trust_in(site: Site, name: str, now: datetime) -> Trust:
    """The site's demands on its signer called `name`.

    Raises:
        RequestError: the site knows no such signer.
    """
    limits = site.signer(name)
    return Trust(name, limits, frozenset((*site.trust.revoked_keys, *limits.revoked_keys)), now)


class RootRecord(Document):
    """What is recorded of a trust root when it is exported: see `pipeline.site.RootDemands`."""

    version: Annotated[int, Field(ge=1)]
    issued: AwareDatetime
    digest: DigestText


def require_fresh_root(demands: RootDemands, root: bytes, trust: Trust) -> tuple[str, ...]:
    """Check the trust root with the bytes `root` against its record; the warnings there are to give.

    Raises:
        SignatureError: the record is of another root, its version is too low, or it is too old or from the future.
        FileFormatError: the record is malformed.
        RequestError: it cannot be read.
    """
    if demands.root_record is None:
        return ()
    record = _load_record(demands.root_record)
    if record.digest != f"sha256:{hashlib.sha256(root).hexdigest()}":
        raise trust.refusal(
            f"The record {demands.root_record.name} is of another trust root.",
            "Import the trust root and its record together, from one export.",
        )
    if demands.minimum_root_version is not None and record.version < demands.minimum_root_version:
        raise trust.refusal(
            f"Its trust root has version {record.version}, the site demands {demands.minimum_root_version} or more.",
            "Import the current trust root; an older one may trust keys that were since withdrawn.",
        )
    return _age_warnings(demands, record, trust)


def _age_warnings(demands: RootDemands, record: RootRecord, trust: Trust) -> tuple[str, ...]:
    age = trust.now - record.issued
    days = age / timedelta(days=1)
    if days < -1:  # a day's grace for clocks that disagree
        raise trust.refusal(
            f"Its trust root was issued in the future, at {record.issued.isoformat()}.",
            "Set this machine's clock, or import a trust root with a true date.",
        )
    oldest = demands.max_root_age_days
    if oldest is not None and days > oldest:
        raise trust.refusal(
            f"Its trust root is {days:.0f} days old, and the site allows {oldest:g}.",
            "Import a current trust root from the connected side.",
        )
    if demands.warn_root_age_days is not None and days > demands.warn_root_age_days:
        limit = f"; it is refused after {oldest:g}" if oldest is not None else ""
        return (f"The trust root of signer '{trust.name}' is {days:.0f} days old{limit}. Import a current one.",)
    return ()


def _load_record(path: Path) -> RootRecord:
    data = read_bounded(path)
    try:
        return RootRecord.model_validate_json(data)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(str(part) for part in problem["loc"]) or "the file"
        raise FileFormatError(
            f"{path} is no record of a trust root",
            why=f"'{place}': {problem['msg']}.",
            remedy='Write it as {"version": 1, "issued": "2026-01-31T00:00:00Z", "digest": "sha256:..."}.',
        ) from error
