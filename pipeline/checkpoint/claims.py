"""What the release claims of a checkpoint, against what its files show."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.checkpoint.catalogue import finding
from pipeline.checkpoint.inspected import Finding, Inspection
from pipeline.checkpoint.licence import spdx_of
from pipeline.release import Claims

_TOLERANCE = 0.05  # relative; names such as "9B" are rounded.  A policy may demand more.


def compare_claims(inspection: Inspection, claims: Claims) -> tuple[Finding, ...]:
    """A finding, with the claimed and the measured value, for each claim that the files do not bear out."""
    return tuple(_compared(inspection, claims))


def _compared(inspection: Inspection, claims: Claims) -> Iterator[Finding]:
    parameters = inspection.parameters
    if parameters is not None:
        yield from _number("parameters", claims.parameters, parameters.total)
        yield from _number("active-parameters", claims.active_parameters, parameters.active)
    context = inspection.context_length
    if claims.context_length is not None and context is not None and context < claims.context_length:
        message = f"The release claims a context of {claims.context_length:,} tokens; config.json allows {context:,}."
        yield finding("checkpoint.claim-context-length", "config.json", message)
    if claims.licence is not None and inspection.licence is not None and spdx_of(claims.licence) != inspection.licence:
        message = f"The release claims the licence {claims.licence}; the checkpoint names {inspection.licence}."
        yield finding("checkpoint.claim-licence", None, message)
    stated = inspection.provenance.get("base_model")
    bases = stated if isinstance(stated, list) else [stated]
    if claims.base_model is not None and stated and claims.base_model not in bases:
        message = f"The release claims the base model {claims.base_model}; the card names {', '.join(map(str, bases))}."
        yield finding("checkpoint.claim-base-model", "README.md", message)


def _number(name: str, claimed: float | None, measured: int) -> Iterator[Finding]:
    if claimed is None or abs(measured - claimed) <= _TOLERANCE * claimed:
        return
    words = name.replace("-", " ")
    message = (
        f"The release claims {claimed:,.0f} {words}; the headers hold {measured:,} ({measured / claimed:.2f} times)."
    )
    yield finding(f"checkpoint.claim-{name}", None, message)
