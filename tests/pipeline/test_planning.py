"""Plans: memory by the stated formulas, the fewest devices that hold the model, and what cannot work said so."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.checkpoint.inspected import Attention, Checkpoint, Inspection
from pipeline.cli.main import execute
from pipeline.cli.output import ExitCode, Output
from pipeline.errors import RequestError, SystemFailureError
from pipeline.planning import cache_bytes_per_token, plan, plan_serving
from pipeline.release import ServingRequest
from pipeline.site import Accelerator
from tests.assets.checkpoints import make_tiny_checkpoint
from tests.assets.hostile import HOSTILE
from tests.assets.served import checkpoint_of

H200 = Accelerator(name="H200", memory_gb=141, per_node=8, nodes=4)
SMALL = Accelerator(name="small", memory_gb=24, per_node=2)


def model(weights: float, attention: Attention, context: int = 262_144) -> Inspection:
    """A checkpoint of which only what planning reads is known."""
    return Inspection(
        architecture=None,
        model_type=None,
        parameters=None,
        layers=None,
        context_length=context,
        vocabulary=None,
        chat_template=True,
        licence=None,
        findings=(),
        weight_bytes=int(weights),
        attention=attention,
    )


DENSE = Attention(full_layers=64, window_layers=0, window=None, heads=64, kv_heads=8, head_dim=128)
HYBRID = Attention(full_layers=16, window_layers=0, window=None, heads=24, kv_heads=4, head_dim=256)
WINDOWED = Attention(full_layers=8, window_layers=40, window=1024, heads=32, kv_heads=16, head_dim=128)
LATENT = Attention(full_layers=61, window_layers=0, window=None, heads=128, kv_heads=128, head_dim=128, latent=576)


@pytest.mark.parametrize(
    ("attention", "dtype", "size"),
    [
        (DENSE, "bfloat16", 2 * 64 * 8 * 128 * 2),
        (DENSE, "float32", 2 * 64 * 8 * 128 * 4),
        (HYBRID, "bfloat16", 2 * 16 * 4 * 256 * 2),
        (WINDOWED, "bfloat16", 2 * 8 * 16 * 128 * 2),
        (LATENT, "bfloat16", 61 * 576 * 2),
    ],
)
def test_cache_bytes_a_token(attention: Attention, dtype: str, size: int) -> None:
    assert cache_bytes_per_token(attention, dtype) == size


def test_the_prediction_is_what_vllm_reported() -> None:
    smollm2 = Attention(full_layers=30, window_layers=0, window=None, heads=9, kv_heads=3, head_dim=64)
    assert 2**30 / cache_bytes_per_token(smollm2, "bfloat16") == pytest.approx(46_592, rel=0.001)


def test_heads_are_replicated_on_more_devices_than_heads() -> None:
    each = [cache_bytes_per_token(HYBRID, "bfloat16", parallel=n) for n in (1, 2, 4, 8)]
    assert each == [65_536, 32_768, 16_384, 16_384]


def test_the_fewest_devices_are_taken() -> None:
    assert plan(model(55.6e9, HYBRID), ServingRequest(), [H200]).tensor_parallel == 1
    assert plan(model(244e9, DENSE), ServingRequest(), [H200]).tensor_parallel == 2
    large = plan(model(1.5e12, DENSE), ServingRequest(), [H200])
    assert (large.tensor_parallel, large.nodes, large.obstacles) == (16, 2, ())


def test_the_kind_of_accelerator_that_needs_fewer_is_taken() -> None:
    made = plan(model(40e9, DENSE), ServingRequest(), [SMALL, H200])
    assert (made.accelerator, made.tensor_parallel) == ("H200", 1)


def test_a_long_context_needs_more_devices() -> None:
    short = plan(model(20e9, DENSE), ServingRequest(), [SMALL])
    long = plan(model(18e9, DENSE), ServingRequest(max_model_len=65_536), [SMALL])
    assert short.tensor_parallel == 1
    assert long.tensor_parallel == 2


def test_windows_bound_what_their_layers_need() -> None:
    all_full = replace(WINDOWED, full_layers=48, window_layers=0)
    wish = ServingRequest(max_model_len=131_072)
    windowed = plan(model(10e9, WINDOWED), wish, [H200]).cache_tokens
    full = plan(model(10e9, all_full), wish, [H200]).cache_tokens
    assert windowed is not None and full is not None and windowed > 5 * full


def test_devices_must_divide_the_heads() -> None:
    odd = replace(DENSE, heads=9, kv_heads=3)
    assert plan(model(200e9, odd), ServingRequest(), [H200]).tensor_parallel == 3
    asked = plan(model(20e9, odd), ServingRequest(tensor_parallel=2), [H200])
    assert "cannot be spread over 2" in asked.obstacles[0]


def test_what_does_not_fit_is_said() -> None:
    made = plan(model(60e9, DENSE), ServingRequest(), [SMALL])
    assert "too little for one request" in made.obstacles[0]
    asked = plan(model(1e9, DENSE), ServingRequest(tensor_parallel=64), [H200])
    assert "the site has 32" in asked.obstacles[0]


def test_a_model_of_unknown_shape_is_still_planned() -> None:
    unknown = replace(model(1e9, DENSE), attention=None)
    made = plan(unknown, ServingRequest(), [H200])
    assert (made.tensor_parallel, made.cache_tokens) == (1, None)


def with_request(checkpoint: Checkpoint, request: ServingRequest) -> Checkpoint:
    candidate = checkpoint.verified.candidate.model_copy(update={"serving": request})
    return Checkpoint(replace(checkpoint.verified, candidate=candidate), checkpoint.inspection)


def test_without_accelerators_the_plan_is_one_process(tmp_path: Path) -> None:
    checkpoint = checkpoint_of(make_tiny_checkpoint(tmp_path / "model"))
    made = plan_serving(checkpoint)
    assert (made.tensor_parallel, made.max_model_len, made.dtype) == (1, 2048, "bfloat16")


def test_a_context_beyond_the_checkpoints_is_refused(tmp_path: Path) -> None:
    checkpoint = checkpoint_of(make_tiny_checkpoint(tmp_path / "model"))
    with pytest.raises(RequestError, match="4096"):
        plan_serving(with_request(checkpoint, ServingRequest(max_model_len=4096)))


def test_too_few_devices_are_an_error_of_the_site(tmp_path: Path) -> None:
    checkpoint = checkpoint_of(make_tiny_checkpoint(tmp_path / "model"))
    with pytest.raises(SystemFailureError, match="the site has 2"):
        plan_serving(with_request(checkpoint, ServingRequest(tensor_parallel=4)), accelerators=[SMALL])


def release_of(folder: Path, **serving: int) -> list[str]:
    """Write a release of one candidate and a site; return the arguments that name them."""
    wish = json.dumps(serving)
    (folder / "m.sig").write_text("{}")
    (folder / "release.yaml").write_text(
        "apiVersion: airlock/v1\nkind: Release\nname: r\ncandidates:\n"
        f"- {{name: tiny, checkpoint: model, signature: {{bundle: m.sig, signer: s}}, serving: {wish}}}\n"
    )
    (folder / "airlock.toml").write_text(
        '[pipeline]\nkey = "p.pem"\n[[accelerators]]\nname = "small"\nmemory_gb = 24\nper_node = 2\n'
    )
    return [str(folder / "release.yaml"), "--site", str(folder / "airlock.toml")]


def planned(arguments: list[str], *, json_wanted: bool) -> tuple[ExitCode, str]:
    stdout = io.StringIO()
    flags = ["--json"] if json_wanted else []
    return execute(["plan", *arguments, *flags], Output(json_wanted, stdout, io.StringIO())), stdout.getvalue()


def test_the_command_prints_each_plan(tmp_path: Path) -> None:
    make_tiny_checkpoint(tmp_path / "model")
    code, text = planned(release_of(tmp_path), json_wanted=False)
    assert code == ExitCode.YES
    assert "1 x small on 1 node(s)" in text and "256 bytes a token" in text


def test_the_command_says_what_cannot_work(tmp_path: Path) -> None:
    make_tiny_checkpoint(tmp_path / "model")
    code, text = planned(release_of(tmp_path, tensor_parallel=4), json_wanted=True)
    assert code == ExitCode.SYSTEM_FAILURE
    assert "the site has 2" in json.loads(text)["candidates"][0]["obstacles"][0]


def test_the_command_says_what_inspection_denies(tmp_path: Path) -> None:
    HOSTILE["auto-map"].make(tmp_path / "model")
    code, text = planned(release_of(tmp_path), json_wanted=True)
    assert code == ExitCode.DENIED
    assert json.loads(text)["candidates"][0]["denied"] == ["checkpoint.remote-code"]


def test_the_command_calls_the_requests_an_upper_limit(tmp_path: Path) -> None:
    make_tiny_checkpoint(tmp_path / "model")
    _, text = planned(release_of(tmp_path), json_wanted=False)
    assert "at most" in text
    assert "less what a policy with 'stopping: sequential' does not need" in text
    requests = json.loads(planned(release_of(tmp_path), json_wanted=True)[1])["at_most_requests"]
    assert requests["safety/harmful_requests"] == 160
    assert f"{sum(requests.values()):,} requests" in text
