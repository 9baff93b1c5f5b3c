"""The files of the page, and the page frozen in one."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import pytest

from openfl.app.http.page import asset, frozen, json_in_html
from tests.nasty_names import NASTY

ENDS = ["</script>", "<!--", "<script>", "\u2028", "\u2029", "&lt;/script&gt;", "]]>"]


class Scripts(HTMLParser):
    """What a browser takes for scripts and styles."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None], str]] = []
        self.policy = ""
        self._inside: tuple[str, dict[str, str | None]] | None = None
        self._text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if given.get("http-equiv") == "Content-Security-Policy":
            self.policy = given["content"] or ""
        if tag in ("script", "style"):
            self._inside, self._text = (tag, given), ""

    def handle_data(self, data: str) -> None:
        self._text += data

    def handle_endtag(self, tag: str) -> None:
        if self._inside is not None and tag == self._inside[0]:
            self.found.append((*self._inside, self._text))
            self._inside = None


def parsed(html: str) -> Scripts:
    parser = Scripts()
    parser.feed(html)
    parser.close()
    return parser


def test_there_are_three_files_and_no_others() -> None:
    assert asset("/")[0].startswith("text/html")
    assert asset("/page.js")[0].startswith("text/javascript")
    assert asset("/page.css")[0].startswith("text/css")
    for path in ("/page.html", "/../page.js", "", "/js/01-words.js", "/__init__.py"):
        with pytest.raises(KeyError):
            asset(path)


def test_the_shell_has_no_script_and_no_style_of_its_own() -> None:
    """The policy of the live page allows none."""
    shell = asset("/")[1].decode()
    found = parsed(shell).found
    assert [(tag, given.get("src"), text) for tag, given, text in found] == [
        ("script", "page.js", "")
    ]
    assert not re.search(r"\son\w+=|\sstyle=|javascript:", shell)


def test_the_script_makes_elements_of_no_text() -> None:
    """Names come from strangers: text only ever becomes text nodes."""
    script = asset("/page.js")[1].decode()
    for way in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "Function(",
    ):
        assert way not in script, way
    assert "http://" not in script.replace("http://www.w3.org/2000/svg", "")
    assert "https://" not in script + asset("/page.css")[1].decode()


@pytest.mark.parametrize("text", [*NASTY, *ENDS])
def test_no_text_ends_the_script_that_it_is_inlined_in(text: str) -> None:
    document = {"format": 1, text: [text, {"name": text}]}
    html = frozen(document)
    data = [inside for _, given, inside in parsed(html).found if given.get("id") == "document"]
    assert [json.loads(inside) for inside in data] == [document]
    assert not set("<>&\u2028\u2029") & set(json_in_html(document))


def test_a_frozen_page_allows_its_own_script_and_style_alone() -> None:
    scripts = parsed(frozen({"format": 1, "title": "</style>"}))
    directives = dict(part.split(" ", 1) for part in scripts.policy.split("; "))
    assert directives["default-src"] == "'none'"

    def hashes(tag: str) -> list[str]:
        return [
            f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
            for name, given, text in scripts.found
            if name == tag and given.get("type") != "application/json"
        ]

    assert hashes("script") == [directives["script-src"]]
    assert hashes("style") == [directives["style-src"]]
    assert "connect-src" not in directives, "nothing is asked of anybody"
    assert 'src="page.js"' not in frozen({})
    assert 'href="page.css"' not in frozen({})


def test_what_is_no_json_is_not_written() -> None:
    with pytest.raises(ValueError, match="JSON"):
        frozen({"value": float("nan")})
