"""What evidence says of a server: the engine and everything about its start that could change a measured value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pipeline.digests import Digest, Json, digest_of
from pipeline.serving.isolation import Isolation


@dataclass(frozen=True)
class ServingDescription:
    """How a model was served.  It holds no path and no random value, so that equal servers have equal digests.

    `options` are the engine's, `environment` the switches set for it.  `managed` is False for a server that Airlock did
    not start: its options are then only what it reports of itself, and `endpoint` says where it was.  `isolation` says
    what kept it from the network (proved before it started); `none` where nothing but its offline switches did.
    """

    engine: str
    version: str
    options: Mapping[str, Json]
    environment: Mapping[str, str] = field(default_factory=dict)
    managed: bool = True
    isolation: Isolation = "none"
    endpoint: str | None = None

    def to_json(self) -> dict[str, Json]:
        """The description as it stands in evidence."""
        return {
            "engine": self.engine,
            "version": self.version,
            "options": dict(self.options),
            "environment": dict(self.environment),
            "managed": self.managed,
            "isolation": self.isolation,
            "endpoint": self.endpoint,
        }

    @property
    def digest(self) -> Digest:
        """The digest of `to_json()`: part of every measurement's cache key."""
        return digest_of(self.to_json())
