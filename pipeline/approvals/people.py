"""The site's people by their keys."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from pipeline.digests import Digest
from pipeline.errors import ApprovalError
from pipeline.keys import VerifyingKey, load_verifying_key
from pipeline.site import Site


@dataclass(frozen=True)
class Member:
    """One person: every key is theirs alone."""

    name: str
    roles: tuple[str, ...]
    keys: tuple[VerifyingKey, ...]

    def holds_any(self, digests: Collection[Digest]) -> bool:
        """Whether one of the person's keys is among `digests`."""
        return any(key.digest in digests for key in self.keys)


@dataclass(frozen=True)
class People:
    """Everyone whom the site names."""

    members: tuple[Member, ...]

    @property
    def keys(self) -> tuple[VerifyingKey, ...]:
        """Every key of everyone."""
        return tuple(key for member in self.members for key in member.keys)

    def owner(self, key: Digest) -> Member | None:
        """Whose key this is, or None for a stranger's."""
        return next((member for member in self.members if member.holds_any({key})), None)

    def holding(self, role: str) -> tuple[Member, ...]:
        """Those who hold `role`."""
        return tuple(member for member in self.members if role in member.roles)


def people_of(site: Site) -> People:
    """The site's people with their keys read.

    Raises:
        ApprovalError: two people share a key; one human could then count twice.
        KeyFileError: a key cannot be read.
    """
    members = tuple(
        Member(
            name, person.roles, tuple(load_verifying_key(path) for path in (person.public_key, *person.further_keys))
        )
        for name, person in sorted(site.people.items())
    )
    owners: dict[Digest, str] = {}
    for member in members:
        for key in member.keys:
            other = owners.setdefault(key.digest, member.name)
            if other != member.name:
                raise ApprovalError(
                    f"'{other}' and '{member.name}' have the same key",
                    why=f"The key {key.digest} stands for both in {site.path}, so one person could approve as two.",
                    remedy="Give each person a key of their own, and remove this one from the other.",
                )
    return People(members)
