"""A data root to write sets into."""

from tests.checks.catalogue.conftest import write_set

__all__ = ["write_set"]
