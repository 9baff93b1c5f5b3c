"""The page that shows a node in a browser, and the same page frozen in one file.

Written by hand: there is no build step. `index.html` is the shell, `page.css` how it looks, and
`page.js` the files of `js/` one after another. They hold nothing of a node: the live page asks for
that (`/api/page`, `/api/stream`), a frozen one has it inside.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

_TYPES: Mapping[str, str] = {
    "/": "text/html; charset=utf-8",
    "/page.css": "text/css; charset=utf-8",
    "/page.js": "text/javascript; charset=utf-8",
}
_STYLE_LINK = '<link rel="stylesheet" href="page.css">\n'
_SCRIPT_LINK = '<script src="page.js" defer></script>\n'


def asset(path: str) -> tuple[str, bytes]:
    """(media type, content) of `/`, `/page.css` or `/page.js`; KeyError for any other path."""
    media_type = _TYPES[path]
    return media_type, _text(path).encode()


def frozen(document: Mapping[str, Any]) -> str:
    """The page of `document` as one file of HTML, which needs nothing else and may be opened from a
    disk. document: as `/api/page` answers, or of the kind "simulation"; plain JSON values."""
    page, style, script = _text("/"), _text("/page.css"), _text("/page.js")
    policy = (
        f"default-src 'none'; script-src {_hash_of(script)}; style-src {_hash_of(style)};"
        " img-src data:; base-uri 'none'; form-action 'none'"
    )
    head = (
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n<style>{style}</style>\n'
    )
    end = (
        f'<script type="application/json" id="document">{json_in_html(document)}</script>\n'
        f"<script>{script}</script>\n</body>"
    )
    for old, new in ((_STYLE_LINK, head), (_SCRIPT_LINK, ""), ("</body>", end)):
        before, found, after = page.rpartition(old)
        if not found:
            raise ValueError(f"index.html has no {old.strip()}")
        page = before + new + after
    return page


def json_in_html(value: Any) -> str:
    """`value` as JSON that may stand in a script element: no text in it can end the element, begin
    a comment, or break a line of JavaScript."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))  # ASCII: U+2028 is escaped
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


@cache
def _text(path: str) -> str:
    folder = files(__name__)
    if path != "/page.js":
        name = "index.html" if path == "/" else path[1:]
        return folder.joinpath(name).read_text(encoding="utf-8")
    parts = sorted(folder.joinpath("js").iterdir(), key=lambda part: part.name)
    code = "\n".join(
        part.read_text(encoding="utf-8") for part in parts if part.name.endswith(".js")
    )
    # One scope of its own, and nothing in the global one.
    return f'(() => {{\n"use strict";\n{code}}})();\n'


def _hash_of(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
