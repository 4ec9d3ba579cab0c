"""A server that is already up: what it says of itself is recorded as its own word."""

from __future__ import annotations

from pathlib import Path

import pytest

from checks.contract import Sampling
from pipeline.errors import RequestError, ServingError
from pipeline.serving import attach, describe_endpoint
from pipeline.serving.client import Served, ServedModel
from pipeline.serving.transport import Endpoint
from tests.fakes.openai_server import FakeServer
from tests.pipeline.serving.conftest import StartFake


def test_a_running_server_is_measured_and_the_description_says_so(fake: FakeServer, tiny: Path) -> None:
    with attach(fake.url, tiny) as model:
        assert model.complete(["x"], Sampling(1))[0].error is None
        assert (model.name, model.context_length) == ("model", 2048)
    description = describe_endpoint(fake.url)
    assert model.description == description
    assert not description.managed
    assert (description.engine, description.version) == ("vllm", "0.0.0-fake")
    assert description.to_json()["endpoint"] == fake.url


def test_two_servers_of_unknown_configuration_are_never_the_same(start_fake: StartFake) -> None:
    assert describe_endpoint(start_fake().url).digest != describe_endpoint(start_fake().url).digest


def test_a_unix_socket_may_be_attached_to(start_fake: StartFake, tiny: Path, tmp_path: Path) -> None:
    with attach(start_fake(socket=tmp_path / "s").url, tiny, "model") as model:
        assert model.complete(["x"], Sampling(1))[0].error is None


def test_the_path_of_the_protocol_may_be_part_of_the_address(fake: FakeServer, tiny: Path) -> None:
    with attach(fake.url + "/v1", tiny) as model:
        assert model.complete(["x"], Sampling(1))[0].error is None


def test_an_unknown_model_is_named_with_those_that_are_served(fake: FakeServer) -> None:
    with pytest.raises(ServingError, match="does not serve the model 'other'") as failure:
        describe_endpoint(fake.url, "other")
    assert failure.value.why == "It serves: model."


def test_nothing_there_is_one_clear_error(fake: FakeServer, tiny: Path) -> None:
    fake.stop()
    with pytest.raises(ServingError, match="Nothing answers"), attach(fake.url, tiny):
        pytest.fail("there is no server")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:8000",
        "ftp://host",
        "http://",
        "http://host:port",
        "unix:",
        "file:///x",
        "http://me:secret@host",
        "http://host?key=secret",
    ],
)
def test_what_is_no_address_is_a_wrong_request(url: str) -> None:
    with pytest.raises(RequestError, match="no address of a model server") as failure:
        describe_endpoint(url)
    assert "me:secret" not in str(failure.value)


def test_a_key_travels_as_a_bearer_token_and_is_shown_nowhere(fake: FakeServer, tiny: Path) -> None:
    endpoint = Endpoint(fake.url, key="secret")
    served = Served(endpoint, "model", "tiny", tiny, 2048, describe_endpoint(fake.url))
    ServedModel(served).complete(["x"], Sampling(1))
    assert fake.received[0].authorization == "Bearer secret"
    assert "secret" not in repr(served)


def test_the_key_of_a_running_server_comes_from_the_environment(
    fake: FakeServer, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRLOCK_ENDPOINT_KEY", "secret")
    with attach(fake.url, tiny) as model:
        model.complete(["x"], Sampling(1))
    assert fake.received[0].authorization == "Bearer secret"
    assert "secret" not in str(model.description.to_json())
