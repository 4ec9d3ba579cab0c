"""The site's people, by their keys and by the identities that a Sigstore instance vouches for."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from pipeline.digests import Digest
from pipeline.errors import ApprovalError
from pipeline.keys import VerifyingKey, identity_digest, load_verifying_key
from pipeline.site import KeylessSettings, Person, Site


@dataclass(frozen=True)
class Identity:
    """Who someone is to an issuer of identities; both are compared exactly."""

    subject: str
    issuer: str

    @property
    def digest(self) -> Digest:
        """What stands for the identity where a key's digest does for a key."""
        return identity_digest(self.subject, self.issuer)


@dataclass(frozen=True)
class Member:
    """One person: every key is theirs alone, and so is the identity."""

    name: str
    roles: tuple[str, ...]
    keys: tuple[VerifyingKey, ...]
    identity: Identity | None = None

    @property
    def digests(self) -> tuple[Digest, ...]:
        """All that the person can sign with: the digests of the keys, and that of the identity."""
        return (*(key.digest for key in self.keys), *([self.identity.digest] if self.identity is not None else []))

    def holds_any(self, digests: Collection[Digest]) -> bool:
        """Whether one of the person's keys, or the identity, is among `digests`."""
        return any(digest in digests for digest in self.digests)


@dataclass(frozen=True)
class People:
    """Everyone whom the site names.

    `keyless` is the instance that vouches for identities; `revoked` are the keys that no longer count anywhere.
    """

    members: tuple[Member, ...]
    keyless: KeylessSettings | None = None
    revoked: frozenset[str] = frozenset()

    @property
    def keys(self) -> tuple[VerifyingKey, ...]:
        """Every key of everyone."""
        return tuple(key for member in self.members for key in member.keys)

    def owner(self, digest: Digest) -> Member | None:
        """Whose key or identity this is, or None for a stranger's."""
        return next((member for member in self.members if member.holds_any({digest})), None)

    def called(self, name: str) -> Member | None:
        """The person of this name, or None."""
        return next((member for member in self.members if member.name == name), None)

    def holding(self, role: str) -> tuple[Member, ...]:
        """Those who hold `role`."""
        return tuple(member for member in self.members if role in member.roles)

    def any_revoked(self, digests: Iterable[Digest]) -> bool:
        """Whether one of the keys with these digests was revoked by the site."""
        return any(digest in self.revoked for digest in digests)


def people_of(site: Site) -> People:
    """The site's people with their keys read.

    Raises:
        ApprovalError: two people share a key or an identity; one human could then count twice.
        KeyFileError: a key cannot be read.
    """
    members = tuple(_member(name, person) for name, person in sorted(site.people.items()))
    owners: dict[Digest, str] = {}
    for member in members:
        for digest in member.digests:
            other = owners.setdefault(digest, member.name)
            if other != member.name:
                what = "identity" if member.identity is not None and member.identity.digest == digest else "key"
                raise ApprovalError(
                    f"'{other}' and '{member.name}' have the same {what}",
                    why=f"The {what} {digest} stands for both in {site.path}, so one person could approve as two.",
                    remedy=f"Give each person a {what} of their own, and remove this one from the other.",
                )
    return People(members, site.keyless, frozenset(site.trust.revoked_keys))


def _member(name: str, person: Person) -> Member:
    identity = None
    if person.identity is not None and person.issuer is not None:
        identity = Identity(person.identity, person.issuer)
    return Member(name, person.roles, tuple(load_verifying_key(path) for path in person.public_keys), identity)
