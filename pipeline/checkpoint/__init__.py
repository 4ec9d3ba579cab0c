"""VerifiedCandidate -> Checkpoint: what is in the files, found without loading or running any of them.

- `tree`: the files, listed without following links
- `formats`, `pickle_report`: what each file is, told by its content
- `weights`, `safetensors_header`, `tensor_scan`: headers, the index that joins shards, values on demand
- `configuration`, `settings`, `attention`: what the JSON files say, and what they would make a loader do
- `architecture`: whether the installed vLLM serves the model
- `parameters`, `claims`: counts from headers alone, against what the release claims
- `tokenizer`, `json_members`, `strict_json`: the vocabulary, and JSON within bounds
- `chat_template`, `template_*`: templates parsed and rendered in a child process, compared in pairs of conversations
- `card`, `licence`: what the supplier says
- `catalogue`: every finding by id, with its severity and remedy
- `inspection`: all of them in order
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.checkpoint.inspected import Checkpoint, Finding, Inspection, Parameters, Predecessor, Severity
    from pipeline.checkpoint.inspection import (
        inspect_candidate,
        inspect_directory,
        inspect_verified,
        predecessor_in,
        require_safe,
    )

__all__ = [
    "Checkpoint",
    "Finding",
    "Inspection",
    "Parameters",
    "Predecessor",
    "Severity",
    "inspect_candidate",
    "inspect_directory",
    "inspect_verified",
    "predecessor_in",
    "require_safe",
]


def __getattr__(name: str) -> Any:
    """Import on first use: the child that renders templates needs one module of this package, and must start fast."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from pipeline.checkpoint import inspected, inspection

    return getattr(inspection if name.islower() else inspected, name)
