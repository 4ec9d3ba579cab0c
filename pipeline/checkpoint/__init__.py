"""VerifiedCandidate -> Checkpoint: what is in the files, found without loading or running any of them.

tree            the files, listed without following links
formats         what each file is, told by its content
weights         safetensors headers and the index that joins them
configuration   what the JSON files would make a loader do
architecture    whether the installed vLLM serves the model
parameters      counts, from headers alone
tokenizer, chat_template, licence
catalogue       every finding by id, with its severity and remedy
inspection      all of them in order
"""

from pipeline.checkpoint.inspected import Checkpoint, Finding, Inspection, Parameters, Severity
from pipeline.checkpoint.inspection import inspect_candidate, inspect_directory

__all__ = ["Checkpoint", "Finding", "Inspection", "Parameters", "Severity", "inspect_candidate", "inspect_directory"]
