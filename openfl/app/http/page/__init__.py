"""The page: static files, the same for every node."""

from __future__ import annotations

from importlib import resources

_FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
}


def asset(path: str) -> tuple[str, bytes]:
    """(media type, content) of a part of the page; KeyError when there is none at this path."""
    name, media_type = _FILES[path]
    return media_type, resources.files(__name__).joinpath(name).read_bytes()
