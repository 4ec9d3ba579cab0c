"""Serving: a verified checkpoint behind a model server, and the server behind `checks.contract.Model`.

    description.py  ServingDescription: what evidence says of the server
    vllm.py         a plan -> vLLM's command line and environment
    local.py        the server as a child process: start, readiness, log, end
    supervisor.py   the program that ends the server whatever ends Airlock, and keeps it from the network
    isolation.py    what keeps it from the network, and the proof
    endpoint.py     a server that is already up
    client.py       ServedModel: batches, scores, streams;  journal.py  what was answered before a crash
    protocol.py     requests, and answers read without trust;  sse.py  event streams;  tokens.py  token boundaries
    transport.py    HTTP over a unix socket or TCP;  metrics.py  the engine's own numbers, and its liveness

The server listens on a unix socket in a directory for this user alone, or on loopback with a key; it is ready when it
has answered a request, not when it says so; and it never outlives Airlock.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.serving.description import ServingDescription

if TYPE_CHECKING:
    from pipeline.checkpoint.inspected import Checkpoint
    from pipeline.planning import ServingPlan
    from pipeline.serving.client import ServedModel
    from pipeline.site import ServingSettings, Site

__all__ = ["ServingDescription", "attach", "describe", "describe_endpoint", "serve"]


def describe(plan: ServingPlan, settings: ServingSettings | None = None) -> ServingDescription:
    """How `serve` would serve `plan` with the installed engine, at a site with these `settings`; nothing is started.

    Without the site's settings no isolation is claimed: a site may have the server listen where none is possible.

    Raises:
        ServingError: no engine is installed, or this machine cannot serve the plan, or not as isolated as the site
            requires.
    """
    from pipeline.serving import vllm
    from pipeline.serving.isolation import isolation_for

    isolation = isolation_for(settings) if settings else "none"
    return vllm.describe_plan(plan, vllm.installed_engine(), isolation=isolation)


def serve(checkpoint: Checkpoint, plan: ServingPlan, site: Site, *, log: Path) -> AbstractContextManager[ServedModel]:
    """Serve the verified copy of `checkpoint` by a child process; entering waits until it has answered a request.

    The server's output goes to `log`.  Leaving ends the server and everything it started; so does the end of this
    process, even by SIGKILL.

    Raises:
        ServingError: no engine is installed, the port is taken, the server died or was not ready in time.
        StorageError: the log or the private directory cannot be written.
    """
    from pipeline.serving.local import serve_local

    return serve_local(checkpoint, plan, site, describe(plan, site.serving), log=log)


def attach(url: str, checkpoint_root: Path, name: str | None = None) -> AbstractContextManager[ServedModel]:
    """The model `name` (the only one, when None) of a server that is already up, at `http://HOST:PORT` or `unix:PATH`.

    Texts are made into tokens by the tokenizer in `checkpoint_root`.  What the server really runs is not known; its
    description says so (`managed` is False).  AIRLOCK_ENDPOINT_KEY in the environment is its key.

    Raises:
        RequestError: `url` is no address.
        ServingError: nothing answers there, or no such model is served.
    """
    from pipeline.serving.endpoint import attached

    return attached(url, checkpoint_root, name)


def describe_endpoint(url: str, name: str | None = None) -> ServingDescription:
    """What the server at `url` reports of itself.  Raises as `attach` does."""
    from pipeline.serving.endpoint import describe_server

    return describe_server(url, name)[0]
