"""The link to a node's page: its address, and the token where no server and no log sees it."""

from __future__ import annotations

import html
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

OPENER = "page.html"


def page_link(home: Path, url: str) -> str:
    """For the node of `home`, which answers at `url`. StateError: its token cannot be read."""
    from openfl.app.http.token import TOKEN_FILE, load_or_create_token
    from openfl.core.errors import StateError

    if not os.path.lexists(home / TOKEN_FILE):  # another one would not be the running node's
        raise StateError(
            f"{home / TOKEN_FILE} is gone: restart the node (openfl-node restart),"
            " which makes another"
        )
    # Behind the #: browsers send that to nobody.
    return f"{url}/#token={quote(load_or_create_token(home / TOKEN_FILE), safe='')}"


def has_desktop(environ: Mapping[str, str], platform: str = sys.platform) -> bool:
    """Whether a browser that is opened here would be seen: not over ssh, nor on a console."""
    if environ.get("SSH_CONNECTION") or environ.get("SSH_TTY"):
        return False
    return platform == "darwin" or bool(environ.get("DISPLAY") or environ.get("WAYLAND_DISPLAY"))


def open_in_browser(home: Path, link: str) -> bool:
    """Whether a browser was told to. The link goes through a file that its owner alone reads: on
    the command line of a browser every user of the machine could see the token. StateError: the
    file cannot be written."""
    import webbrowser

    from openfl.core.atomic_files import atomic_write

    file = home / OPENER
    target = html.escape(link, quote=True)
    page = (
        '<!doctype html><meta charset="utf-8"><title>OpenFL</title>'
        f'<meta http-equiv="refresh" content="0; url={target}">'
        f'<a href="{target}">the page of the node</a>\n'
    )
    atomic_write(file, page.encode())
    return webbrowser.open(file.as_uri())


def wanted_here() -> bool:
    """Whether to open a browser without being told to: at a terminal of a desktop."""
    return sys.stdout.isatty() and has_desktop(os.environ)
