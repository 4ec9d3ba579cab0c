"""A data root to write sets into, and the tokenizer of the planted models."""

from tests.checks.catalogue.conftest import tokenizer, write_set

__all__ = ["tokenizer", "write_set"]
