"""What inspection says of checkpoints that are what they say they are, and of those that do not fit together."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from pipeline.checkpoint import inspect_candidate, inspect_directory
from pipeline.cli.main import execute
from pipeline.cli.output import ExitCode, Output
from pipeline.errors import RequestError, UnsafeCheckpointError
from tests.assets.checkpoints import edit_json, make_tiny_checkpoint, read_json
from tests.assets.hostile import HOSTILE
from tests.assets.served import checkpoint_of


def ids(directory: Path) -> set[str]:
    return {found.id for found in inspect_directory(directory).findings}


def airlock(*arguments: str) -> tuple[ExitCode, str]:
    stdout = io.StringIO()
    code = execute(arguments, Output("--json" in arguments, stdout, io.StringIO()))
    return code, stdout.getvalue()


def test_an_intact_checkpoint_has_no_finding(tmp_path: Path) -> None:
    inspection = inspect_directory(make_tiny_checkpoint(tmp_path / "model"))
    assert inspection.findings == ()
    assert inspection.architecture == "LlamaForCausalLM"
    assert (inspection.layers, inspection.vocabulary, inspection.context_length) == (2, 320, 2048)
    assert inspection.licence == "Apache-2.0"
    assert inspection.chat_template


def test_parameters_are_counted_from_headers(tmp_path: Path) -> None:
    parameters = inspect_directory(make_tiny_checkpoint(tmp_path / "model")).parameters
    layer = 2 * 64 + 2 * 64 * 64 + 2 * 32 * 64 + 3 * 96 * 64
    assert parameters is not None
    assert parameters.total == parameters.active == 320 * 64 + 2 * layer + 64
    assert parameters.embedding == 320 * 64
    assert parameters.by_dtype == {"BF16": parameters.total}


def test_shards_count_as_the_single_file(tmp_path: Path) -> None:
    one = inspect_directory(make_tiny_checkpoint(tmp_path / "one"))
    three = inspect_directory(make_tiny_checkpoint(tmp_path / "three", shards=3))
    assert three.findings == ()
    assert one.parameters == three.parameters
    assert one.weight_bytes == three.weight_bytes == one.parameters.total * 2 if one.parameters else False


def test_the_real_model_has_nothing_to_deny(smollm2: Path) -> None:
    inspection = inspect_directory(smollm2)
    assert not [found for found in inspection.findings if found.severity in ("deny", "block")]
    assert inspection.parameters is not None
    assert inspection.parameters.total == 134_515_008


def test_a_candidate_that_is_safe_becomes_a_checkpoint(tmp_path: Path) -> None:
    verified = checkpoint_of(make_tiny_checkpoint(tmp_path / "model")).verified
    assert inspect_candidate(verified).verified is verified


def test_an_unsafe_candidate_is_refused_with_every_reason(tmp_path: Path) -> None:
    directory = HOSTILE["pickle-as-bin"].make(tmp_path / "model")
    edit_json(directory / "config.json", auto_map={"AutoConfig": "c.C"})
    verified = checkpoint_of(directory).verified
    with pytest.raises(UnsafeCheckpointError) as caught:
        inspect_candidate(verified)
    assert caught.value.subject == verified.manifest.digest
    assert [line.split(":")[0] for line in caught.value.problems] == ["checkpoint.pickle", "checkpoint.remote-code"]


@pytest.mark.parametrize(
    ("file", "changes", "identifier"),
    [
        ("config.json", {"vocab_size": 400}, "checkpoint.config-mismatch"),
        ("config.json", {"hidden_size": 128}, "checkpoint.config-mismatch"),
        ("config.json", {"num_hidden_layers": 3}, "checkpoint.config-mismatch"),
        ("config.json", {"tie_word_embeddings": False}, "checkpoint.output-head"),
        ("config.json", {"architectures": ["NobodyForCausalLM"]}, "checkpoint.architecture-unknown"),
        ("config.json", {"architectures": []}, "checkpoint.architecture"),
        ("generation_config.json", {"eos_token_id": [2, 300]}, "checkpoint.end-of-sequence"),
        ("tokenizer_config.json", {"eos_token": "<|nobody|>"}, "checkpoint.special-token"),
        ("tokenizer_config.json", {"eos_token": {"content": "<|nobody|>"}}, "checkpoint.special-token"),
        ("tokenizer_config.json", {"chat_template": None}, "checkpoint.chat-template-missing"),
    ],
)
def test_parts_that_do_not_fit_are_found(tmp_path: Path, file: str, changes: dict[str, Any], identifier: str) -> None:
    directory = make_tiny_checkpoint(tmp_path / "model")
    edit_json(directory / file, **changes)
    assert ids(directory) == {identifier}


def test_weights_that_the_index_does_not_name_are_blocked_and_not_counted(tmp_path: Path) -> None:
    directory = make_tiny_checkpoint(tmp_path / "model", shards=2)
    plain = inspect_directory(directory)
    shutil.copy(directory / "model-00001-of-00002.safetensors", directory / "consolidated.safetensors")
    inspection = inspect_directory(directory)
    assert [(found.id, found.severity) for found in inspection.findings] == [("checkpoint.index-unused", "block")]
    assert inspection.parameters == plain.parameters


def test_an_index_with_a_wrong_total_is_a_warning(tmp_path: Path) -> None:
    directory = make_tiny_checkpoint(tmp_path / "model", shards=2)
    edit_json(directory / "model.safetensors.index.json", metadata={"total_size": 1})
    assert ids(directory) == {"checkpoint.index-size"}


def test_an_output_head_beside_tied_embeddings_is_a_warning(tmp_path: Path) -> None:
    directory = make_tiny_checkpoint(tmp_path / "model", architecture="llama-untied")
    edit_json(directory / "config.json", tie_word_embeddings=True)
    assert ids(directory) == {"checkpoint.output-head-unused"}


def test_a_tokenizer_larger_than_the_embedding_is_found(tmp_path: Path) -> None:
    directory = make_tiny_checkpoint(tmp_path / "model")
    document = read_json(directory / "tokenizer.json")
    document["added_tokens"].append({"id": 320, "content": "<|extra|>", "special": True})
    (directory / "tokenizer.json").write_text(json.dumps(document))
    assert ids(directory) == {"checkpoint.tokenizer-vocabulary"}


def test_missing_parts_are_found(tmp_path: Path) -> None:
    directory = make_tiny_checkpoint(tmp_path / "model", licence=None, chat_template=None)
    for name in ("tokenizer.json", "generation_config.json"):
        (directory / name).unlink()
    assert ids(directory) == {
        "checkpoint.tokenizer-missing",
        "checkpoint.chat-template-missing",
        "checkpoint.licence-missing",
    }


def test_no_end_of_sequence_is_found(tmp_path: Path) -> None:
    directory = make_tiny_checkpoint(tmp_path / "model", config={"eos_token_id": None})
    (directory / "generation_config.json").unlink()
    assert ids(directory) == {"checkpoint.end-of-sequence"}


def test_a_directory_that_is_none_is_a_bad_request(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="not a directory"):
        inspect_directory(tmp_path / "nothing")


def test_an_empty_directory_is_denied(tmp_path: Path) -> None:
    assert {"checkpoint.empty", "checkpoint.weights-missing"} <= ids(tmp_path)


def test_the_command_prints_facts_and_says_yes(tmp_path: Path) -> None:
    code, text = airlock("inspect", str(make_tiny_checkpoint(tmp_path / "model")))
    assert code == ExitCode.YES
    assert "LlamaForCausalLM" in text and "Nothing makes it unsafe to load." in text


def test_the_command_denies_in_json_with_the_gravest_first(tmp_path: Path) -> None:
    directory = make_tiny_checkpoint(tmp_path / "model", licence=None)
    (directory / "model.pkl").write_bytes(b"\x80\x04.")
    code, text = airlock("inspect", str(directory), "--json")
    document = json.loads(text)
    assert code == ExitCode.DENIED
    assert [item["id"] for item in document["findings"]] == ["checkpoint.pickle", "checkpoint.licence-missing"]
    assert set(document["findings"][0]) == {"id", "severity", "file", "message", "remedy"}
    assert document["checkpoint"]["parameters"]["total"] > 0


def test_the_command_denies_in_words(tmp_path: Path) -> None:
    code, text = airlock("inspect", str(HOSTILE["auto-map"].make(tmp_path / "model")))
    assert code == ExitCode.DENIED
    assert "deny: checkpoint.remote-code in config.json" in text and "remedy:" in text


def test_the_command_on_nothing_is_a_bad_request(tmp_path: Path) -> None:
    assert airlock("inspect", str(tmp_path / "nothing"))[0] == ExitCode.BAD_REQUEST
