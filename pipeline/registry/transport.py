"""HTTP to one server, for `pipeline.registry.distribution`: every failure becomes an error of ours."""

from __future__ import annotations

import base64
import contextlib
import http.client
import ssl
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from urllib.parse import urlsplit

from pipeline.errors import RegistryError, RequestError

_TIMEOUT_SECONDS = 120.0  # without a byte
_BLOCK = 1024 * 1024  # bytes
_REDIRECTS = (301, 302, 303, 307, 308)
_ERROR_LIMIT = 2000  # bytes of the server's explanation that are shown


@dataclass(frozen=True)
class Transport:
    """How to reach a server: `host` with its port, the trusted certificates, and what proves who asks."""

    host: str
    ca: str | None = None
    credentials: tuple[str, str] | None = field(default=None, repr=False)

    @property
    def scheme(self) -> str:
        """https, but http on loopback."""
        return "http" if is_loopback(self.host) else "https"

    @contextlib.contextmanager
    def exchange(
        self,
        method: str,
        target: str,
        *,
        expect: Collection[int],
        headers: Mapping[str, str] | None = None,
        body: bytes | Iterable[bytes] | None = None,
    ) -> Iterator[http.client.HTTPResponse]:
        """One request and its response, whose status is one of `expect`.

        `target` is a path, or a full URL as servers give in Location.  One redirect of a reading request is followed;
        credentials go to the server itself only.

        Raises:
            RegistryError: the server is unreachable, breaks off, or answers with another status.
        """
        scheme, host, path = self._place(target)
        sent = dict(headers or {})
        if host == self.host and self.credentials is not None:
            sent["Authorization"] = "Basic " + base64.b64encode(":".join(self.credentials).encode()).decode()
        what = f"{method} {scheme}://{host}{path.partition('?')[0]}"
        connection: http.client.HTTPConnection | None = None
        try:
            connection = self._connection(scheme, host)
            connection.request(method, path, body=body, headers=sent)
            response = connection.getresponse()
            if response.status in _REDIRECTS and method in ("GET", "HEAD") and host == self.host:
                location = response.getheader("Location", "")
                with self._elsewhere(location).exchange(method, location, expect=expect, headers=headers) as other:
                    yield other
                return
            if response.status not in expect:
                raise _refused(what, response)
            yield response
        except (OSError, http.client.HTTPException) as error:
            raise RegistryError(
                f"the registry {host} cannot be reached",
                why=f"{what} failed: {error or type(error).__name__}.",
                remedy="Check that the registry is up and [registry] in airlock.toml names it, then run this again.",
            ) from error
        finally:
            if connection is not None:
                connection.close()

    def _place(self, target: str) -> tuple[str, str, str]:
        parts = urlsplit(target)
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        if not parts.netloc:
            return self.scheme, self.host, path
        # A server behind a proxy may name its own place wrongly; its own name means this connection.
        return (self.scheme if parts.netloc == self.host else parts.scheme), parts.netloc, path

    def _connection(self, scheme: str, host: str) -> http.client.HTTPConnection:
        if scheme == "http" and is_loopback(host):
            return http.client.HTTPConnection(host, timeout=_TIMEOUT_SECONDS, blocksize=_BLOCK)
        if scheme != "https":
            raise _insecure(scheme, host)
        context = ssl.create_default_context(cafile=self.ca)
        return http.client.HTTPSConnection(host, timeout=_TIMEOUT_SECONDS, context=context, blocksize=_BLOCK)

    def _elsewhere(self, location: str) -> Transport:
        parts = urlsplit(location)
        if parts.scheme != "https" and not is_loopback(parts.netloc):
            raise _insecure(parts.scheme, parts.netloc)
        return Transport(parts.netloc, self.ca, None)


def is_loopback(host: str) -> bool:
    """Whether `host`, with or without a port, is this machine."""
    name = urlsplit(f"//{host}").hostname or ""
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"


def read_limited(response: http.client.HTTPResponse, limit: int) -> bytes | None:
    """The body of at most `limit` bytes, or None when it is larger.  Raises OSError and HTTPException."""
    data = response.read(limit + 1)
    return None if len(data) > limit else data


def check_host(url: str) -> tuple[str, str]:
    """HOST and repository of `oci://HOST/REPOSITORY`.

    Raises:
        RequestError: the URL is of another form.
    """
    parts = urlsplit(url)
    repository = parts.path.strip("/")
    if parts.scheme != "oci" or not parts.hostname or not repository or parts.query or "@" in parts.netloc:
        raise RequestError(
            f"cannot open the registry '{url}'",
            why="Its URL is not of the form oci://HOST/REPOSITORY.",
            remedy='Write url = "oci://registry.internal/models" under [registry], and credentials beside it.',
        )
    return parts.netloc, repository


def _insecure(scheme: str, host: str) -> RegistryError:
    return RegistryError(
        f"the registry sends us to {host or 'nowhere'} over {scheme or 'nothing'}",
        why="Only HTTPS is spoken to other machines.",
        remedy="Set the registry's own external address, or let it serve blobs itself.",
    )


def _refused(what: str, response: http.client.HTTPResponse) -> RegistryError:
    said = response.read(_ERROR_LIMIT).decode("utf-8", "replace").strip()
    hints = {401: "Give [registry] username and password_file.", 403: "Have the registry allow this user to do that."}
    return RegistryError(
        "the registry refuses",
        why=f"{what} was answered with {response.status} {response.reason}{': ' + said if said else ''}.",
        remedy=hints.get(response.status, "See the registry's own log, then run the same command again."),
    )
