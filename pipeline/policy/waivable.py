"""Which rules a waiver may be for."""

from __future__ import annotations

from fnmatch import fnmatchcase

from pipeline.policy.language import PolicyFile, is_built_in


def waivable(policy: PolicyFile, rule: str) -> bool:
    """Whether a waiver may be granted for the rule with this id: never for a built-in one, nor for those listed."""
    return not is_built_in(rule) and not any(fnmatchcase(rule, pattern) for pattern in policy.waivers.never)
