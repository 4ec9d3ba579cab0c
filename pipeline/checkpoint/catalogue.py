"""Every finding that inspection can make: its id, its severity and what resolves it.

Severities: `deny` is unsafe to load, or is not what it says it is; `block` cannot be served or judged as it stands;
`warn` and `info` are for the reader.  A policy may make a rule of any id.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from pipeline.checkpoint.inspected import Finding, Severity

_REMOVE = "Ask the publisher for a release without this file, or remove the file and have the result signed again."
_REPUBLISH = "Get the file again from the publisher; if it stays so, do not use this release."
_SAFETENSORS = "Convert the weights to safetensors on a machine without secrets, and have the result signed again."
_CONFIGURATION = "Remove the key; a release that cannot work without it needs code that nobody here has reviewed."
_TEMPLATE = "Replace the chat template by one that only frames what is said, and have the result signed again."
_CLAIM = "Correct the claim in the release, or submit the checkpoint that the claim is about."
_CORRECT = "Correct the file, and have the checkpoint signed again."

CATALOGUE: Mapping[str, tuple[Severity, str]] = MappingProxyType(
    {
        # the tree of files
        "checkpoint.link": ("deny", "Replace the link by the file itself."),
        "checkpoint.special-file": ("deny", "Remove it; a checkpoint holds regular files only."),
        "checkpoint.unreadable": ("deny", "Give the user that runs this command permission to read it."),
        "checkpoint.file-name": ("deny", "Rename the file to plain printable characters."),
        "checkpoint.too-many-files": ("deny", "Remove what is not part of the model."),
        "checkpoint.empty": ("deny", "Give the directory that holds config.json and the weights."),
        # formats
        "checkpoint.pickle": ("deny", _SAFETENSORS),
        "checkpoint.gguf": ("deny", _SAFETENSORS),
        "checkpoint.archive": ("deny", _REMOVE),
        "checkpoint.executable": ("deny", _REMOVE),
        "checkpoint.script": ("deny", _REMOVE),
        "checkpoint.polyglot": ("deny", _REPUBLISH),
        "checkpoint.format": ("deny", _REMOVE),
        # safetensors
        "checkpoint.weights-missing": ("deny", "Add the weights in safetensors format."),
        "checkpoint.header-size": ("deny", _REPUBLISH),
        "checkpoint.header-json": ("deny", _REPUBLISH),
        "checkpoint.header-entry": ("deny", _REPUBLISH),
        "checkpoint.tensor-name": ("deny", _REPUBLISH),
        "checkpoint.tensor-dtype": ("deny", _REPUBLISH),
        "checkpoint.tensor-shape": ("deny", _REPUBLISH),
        "checkpoint.tensor-length": ("deny", _REPUBLISH),
        "checkpoint.tensor-range": ("deny", _REPUBLISH),
        "checkpoint.tensor-overlap": ("deny", _REPUBLISH),
        "checkpoint.tensor-gap": ("deny", _REPUBLISH),
        "checkpoint.tensor-duplicate": ("deny", _REPUBLISH),
        "checkpoint.tensor-not-finite": ("block", _REPUBLISH),
        "checkpoint.tensor-zero": ("warn", "Ask the publisher whether this layer was meant to be empty."),
        "checkpoint.tensor-copy": ("warn", "Ask the publisher why two tensors are the same."),
        "checkpoint.trailing-data": ("deny", _REPUBLISH),
        "checkpoint.index": ("deny", _REPUBLISH),
        "checkpoint.index-mismatch": ("deny", _REPUBLISH),
        "checkpoint.index-unused": ("block", _REMOVE),
        "checkpoint.index-size": ("warn", "Ask the publisher to correct total_size in the index."),
        # configuration
        "checkpoint.json": ("deny", _CORRECT),
        "checkpoint.config-missing": ("deny", "Add config.json."),
        "checkpoint.config": ("deny", _CORRECT),
        "checkpoint.remote-code": ("deny", _CONFIGURATION),
        "checkpoint.code-hook": ("deny", _CONFIGURATION),
        "checkpoint.external-path": ("deny", "Put what it names into the checkpoint, and name it by a relative path."),
        "checkpoint.remote-reference": ("deny", "Remove the address; nothing is fetched in an air gap."),
        "checkpoint.architecture": ("block", "Name one of the architectures that the installed vLLM serves."),
        "checkpoint.architecture-unchecked": ("warn", "Run the inspection where vLLM is installed."),
        "checkpoint.architecture-unknown": ("block", "Install a vLLM that serves this architecture, or withdraw it."),
        "checkpoint.output-head": ("block", "Correct tie_word_embeddings, or add lm_head.weight."),
        "checkpoint.output-head-unused": ("warn", "Remove lm_head.weight, or set tie_word_embeddings to false."),
        "checkpoint.sampling-defaults": ("info", "Nothing: measurements state their own sampling."),
        "checkpoint.config-mismatch": ("block", "Make config.json and the weights agree."),
        # tokenizer and chat template
        "checkpoint.tokenizer-missing": ("block", "Add the tokenizer's files."),
        "checkpoint.tokenizer": ("deny", _CORRECT),
        "checkpoint.tokenizer-vocabulary": ("block", "Make the tokenizer and the embedding agree."),
        "checkpoint.special-token": ("block", "Make the special tokens of the configuration and the tokenizer agree."),
        "checkpoint.end-of-sequence": ("block", "Name an eos_token_id that the tokenizer has."),
        "checkpoint.chat-template-missing": ("block", "Add a chat template, or declare the model a base model."),
        "checkpoint.chat-template": ("deny", _CORRECT),
        "checkpoint.template-escape": ("deny", _TEMPLATE),
        "checkpoint.template-file": ("deny", _TEMPLATE),
        "checkpoint.template-call": ("deny", _TEMPLATE),
        "checkpoint.template-hidden-text": ("deny", _TEMPLATE),
        "checkpoint.template-time": ("deny", _TEMPLATE),
        "checkpoint.template-size": ("deny", _TEMPLATE),
        "checkpoint.template-content": ("deny", _TEMPLATE),
        "checkpoint.template-trigger": ("deny", _TEMPLATE),
        "checkpoint.template-condition": ("deny", _TEMPLATE),
        "checkpoint.template-instructions": ("deny", _TEMPLATE),
        "checkpoint.template-failed": ("block", _TEMPLATE),
        "checkpoint.template-unchecked": ("block", "Have the template read by a person, or make it simpler."),
        "checkpoint.template-conflict": ("block", "Keep one chat template, the one that was meant."),
        "checkpoint.template-system-prompt": ("warn", "Do not rely on system prompts with this model."),
        "checkpoint.template-marker": ("info", "Nothing: the mark belongs to the model's protocol."),
        "checkpoint.template-prompt": ("info", "Read it: the model is told this when no system prompt is given."),
        "checkpoint.template-changed": ("warn", "Read the difference, and ask the publisher for its reason."),
        # licence and claims
        "checkpoint.licence-missing": ("warn", "Ask the publisher under which licence the checkpoint may be used."),
        "checkpoint.card": ("warn", "Correct the front matter of README.md."),
        "checkpoint.claim-parameters": ("block", _CLAIM),
        "checkpoint.claim-active-parameters": ("block", _CLAIM),
        "checkpoint.claim-context-length": ("block", _CLAIM),
        "checkpoint.claim-licence": ("block", _CLAIM),
        "checkpoint.claim-base-model": ("warn", _CLAIM),
        "checkpoint.licence-conflict": ("block", "Ask the publisher which of the two licences holds."),
        "checkpoint.licence-unknown": ("info", "Have the licence read, and claim it by its SPDX identifier."),
    }
)


def finding(identifier: str, file: str | None, message: str) -> Finding:
    """A finding of the catalogue about `file` (relative; None for the checkpoint as a whole)."""
    severity, remedy = CATALOGUE[identifier]
    return Finding(identifier, severity, file, message, remedy)
