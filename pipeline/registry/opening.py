"""The site's registry, by its URL."""

from __future__ import annotations

from pipeline.errors import RequestError
from pipeline.files import read_bounded
from pipeline.registry.interface import Registry
from pipeline.registry.layout import LayoutRegistry
from pipeline.site import Site


def open_registry(site: Site) -> Registry:
    """The registry that the site names; nothing is made before something is stored.

    Raises:
        RequestError: its URL is of an unknown kind.
    """
    scheme, _, rest = site.registry.url.partition(":")
    if scheme == "layout" and rest:
        return LayoutRegistry(site.path.parent / rest, site.registry.stages)
    if scheme == "oci":
        return _server(site)
    raise RequestError(
        f"cannot open the registry '{site.registry.url}'",
        why="Its URL starts neither with 'layout:' and a folder nor with 'oci://'.",
        remedy=f'Write url = "layout:var/registry" under [registry] in {site.path}.',
    )


def _server(site: Site) -> Registry:
    from pipeline.registry.distribution import DistributionRegistry
    from pipeline.registry.transport import Transport, check_host

    settings = site.registry
    host, repository = check_host(settings.url)
    credentials = None
    if settings.username is not None and settings.password_file is not None:
        password = read_bounded(settings.password_file, limit=4096).decode("utf-8", "replace").rstrip("\r\n")
        credentials = (settings.username, password)
    transport = Transport(host, None if settings.ca is None else str(settings.ca), credentials)
    return DistributionRegistry(transport, repository, settings.stages, site.store.path / "registry")
