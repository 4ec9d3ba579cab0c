"""The site's registry, by its URL."""

from __future__ import annotations

from pipeline.errors import RequestError
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
    raise RequestError(
        f"cannot open the registry '{site.registry.url}'",
        why="Its URL does not start with 'layout:' and a folder.",
        remedy=f'Write url = "layout:var/registry" under [registry] in {site.path}.',
    )
