"""A server that is already up: what it says of itself, and a model behind it."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.errors import ServingError
from pipeline.serving.client import Served, ServedModel
from pipeline.serving.description import ServingDescription
from pipeline.serving.protocol import ProtocolError, decode
from pipeline.serving.transport import Endpoint, Patience, RequestFailedError, Transport, parse_endpoint


def _alive(_seconds: float) -> None:
    """Its process is not ours to watch."""


KEY_VARIABLE = "AIRLOCK_ENDPOINT_KEY"
"""The environment variable with the key of a server that asks for one: command lines can be read by every user."""


def _reach(url: str) -> Endpoint:
    return replace(parse_endpoint(url), key=os.environ.get(KEY_VARIABLE) or None)


def describe_server(url: str, name: str | None) -> tuple[ServingDescription, Mapping[str, Any]]:
    """What the server at `url` reports of itself, and its entry for the model `name` (its only one when None).

    Raises:
        RequestError: `url` is no address.
        ServingError: nothing answers there, or no such model is served.
    """
    transport = Transport(_reach(url), Patience(), _alive)
    version, entries = asyncio.run(_report(transport))
    entry = _entry(entries, name, url)
    length = entry.get("max_model_len")
    options = {"model": str(entry["id"]), "max-model-len": length if type(length) is int and length > 0 else None}
    owner = entry.get("owned_by")
    engine = owner if isinstance(owner, str) and owner else "unknown"
    return ServingDescription(engine, version or "unknown", options, managed=False, endpoint=url), entry


async def _report(transport: Transport) -> tuple[str | None, list[Mapping[str, Any]]]:
    async with transport.session() as session:
        try:
            models = decode(await transport.get(session, "/v1/models")).get("data")
        except (RequestFailedError, ProtocolError) as error:
            raise _no_server(transport.endpoint, f"It does not list its models: {error}.") from error
        try:
            version = decode(await transport.get(session, "/version")).get("version")
        except (RequestFailedError, ProtocolError):
            version = None  # an engine other than vLLM; the evidence then says that its version is unknown
    entries = models if isinstance(models, list) else []
    known = [entry for entry in entries if isinstance(entry, Mapping) and isinstance(entry.get("id"), str)]
    return (version if isinstance(version, str) else None), known


def _entry(entries: list[Mapping[str, Any]], name: str | None, url: str) -> Mapping[str, Any]:
    found = [entry for entry in entries if name in (None, entry["id"])]
    if len(found) == 1:
        return found[0]
    served = ", ".join(sorted(str(entry["id"]) for entry in entries)) or "none"
    raise ServingError(
        f"the server at {url} does not serve " + (f"the model '{name}'" if name else "exactly one model"),
        why=f"It serves: {served}.",
        remedy="Name one of the models that it serves.",
    )


def _no_server(endpoint: Endpoint, why: str) -> ServingError:
    return ServingError(
        f"no model server answers at {endpoint.url}",
        why=why,
        remedy="Start the server, or correct the address; it must speak OpenAI's protocol. "
        f"If it asks for a key, put it into the environment variable {KEY_VARIABLE}.",
    )


@contextlib.contextmanager
def attached(url: str, checkpoint_root: Path, name: str | None) -> Iterator[ServedModel]:
    """The model behind `url`; see `pipeline.serving.attach`."""
    description, entry = describe_server(url, name)
    length = description.options["max-model-len"]
    if not isinstance(length, int):
        raise _no_server(Endpoint(url), "It does not say how long a context it allows (max_model_len).")
    model_id = str(entry["id"])
    yield ServedModel(Served(_reach(url), model_id, model_id, checkpoint_root, length, description))
