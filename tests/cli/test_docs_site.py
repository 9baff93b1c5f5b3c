"""What the site is made of: every page has its place, links go on leading somewhere, and nothing
is fetched from elsewhere. `make docs`, which `.ci/run` calls, builds it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import openfl
from scripts import docs_site, pictures

ROOT = Path(__file__).resolve().parents[2]
CONFIG = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
TREE = CONFIG.partition("\nnav:\n")[2]
NAV = re.findall(r"^ +- [^\n]+: (\S+\.md)$", TREE, re.MULTILINE)


def test_every_page_is_in_the_navigation_once() -> None:
    pages = {str(place) for place in docs_site.sources().values()} | {"api.md"}
    assert sorted(NAV) == sorted(pages), "add the page to `nav` in mkdocs.yml"


def test_the_first_page_of_the_documents_leads_to_all_others_but_the_decisions() -> None:
    text = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    pages = {path.name for path in (ROOT / "docs").glob("*.md")} - {"index.md"}
    assert [name for name in sorted(pages) if f"]({name}" not in text] == []
    assert [name for name in sorted(pages) if text.count(f"]({name})") > 1] == []


def test_the_four_parts_are_those_of_the_first_page() -> None:
    parts = ["Tutorials", "How to", "Reference", "Explanation"]
    assert re.findall(r"^  - ([^\n:]+):$", TREE, re.MULTILINE)[:4] == parts
    text = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    assert re.findall(r"^## ([^\n:]+):", text, re.MULTILINE) == parts


def test_links_are_those_of_the_site() -> None:
    places = docs_site.sources()

    def linked(text: str, page: str) -> str:
        return docs_site.linked(text, ROOT / page, places)

    assert linked("[a](docs/cli.md#start)", "README.md") == "[a](cli.md#start)"
    assert linked("![a](docs/pictures/view.svg)", "README.md") == "![a](pictures/view.svg)"
    assert linked("[a](../README.md#the-name)", "docs/server.md") == "[a](readme.md#the-name)"
    assert linked("[a](../CHANGELOG.md)", "docs/upgrade.md") == "[a](project/changelog.md)"
    assert linked("[a](../items.md)", "docs/decisions/0008-rooms.md") == "[a](../items.md)"
    task = "[`openfl/learning/task.py`](../openfl/learning/task.py)"
    assert linked(task, "docs/tasks.md") == "`openfl/learning/task.py`"
    named = "[`LearningTask`](../openfl/learning/task.py)"
    assert linked(named, "docs/tasks.md") == "`LearningTask` (`openfl/learning/task.py`)"
    assert linked("[all](decisions/)", "docs/index.md") == "all"
    for kept in ("[a](https://example.org)", "[a](#here)", "```sh\n[a](../x.py)\n```"):
        assert linked(kept, "docs/cli.md") == kept


def test_the_page_of_the_library_has_every_public_name_once() -> None:
    named = re.findall(r"^::: openfl\.(\w+)$", docs_site.api_page(), re.MULTILINE)
    assert sorted(named) == sorted(openfl.__all__)


def test_what_a_browser_would_fetch_from_elsewhere_is_found(tmp_path: Path) -> None:
    (tmp_path / "fine.html").write_text(
        '<a href="https://example.org">x</a><script src="a.js"></script>'
        '<link rel="canonical" href="https://example.org/"><style>a { src: url("b.woff") }</style>'
    )
    assert list(docs_site.fetched_from_elsewhere(tmp_path)) == []
    (tmp_path / "page.html").write_text('<script async src="https://cdn.example/a.js"></script>')
    (tmp_path / "style.css").write_text(
        "@import url(//fonts.example/css); a { b: url(http://c/d) }"
    )
    assert list(docs_site.fetched_from_elsewhere(tmp_path)) == [
        "page.html: https://cdn.example/a.js",
        "style.css: //fonts.example/css",
        "style.css: http://c/d",
    ]


def test_the_tools_are_pinned_with_hashes() -> None:
    pins = (ROOT / "requirements" / "docs.txt").read_text(encoding="utf-8")
    blocks = re.split(r"^(?=[A-Za-z0-9._-]+==)", pins, flags=re.MULTILINE)[1:]
    assert {"zensical", "mkdocstrings-python"} <= {block.partition("==")[0] for block in blocks}
    assert [block.split()[0] for block in blocks if "--hash=sha256:" not in block] == []
    assert "://" not in pins


# --- the README and its pictures ---------------------------------------------------------------


def test_the_readme_is_one_screen_with_pictures_that_are_there() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 90
    shown = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", text)
    assert shown
    assert [name for name in shown if not (ROOT / name).exists()] == []


def test_the_picture_of_the_view_is_what_the_view_draws_today() -> None:
    plain = json.loads(pictures.SNAPSHOT.read_text(encoding="utf-8"))
    assert pictures.VIEW.read_text(encoding="utf-8") == pictures.drawn(plain), "run `make pictures`"


def test_the_picture_needs_nothing_from_elsewhere_and_tells_nobody_s_address() -> None:
    text = pictures.VIEW.read_text(encoding="utf-8")
    assert "http" not in text.replace("http://www.w3.org/", "").replace(
        "https://www.textualize.io", ""
    )
    told = set(re.findall(r"/ip4/([\d.]+)/", pictures.SNAPSHOT.read_text(encoding="utf-8")))
    assert all(address.startswith(("127.", "192.0.2.")) for address in told)
    assert "/home/ann/" in json.loads(pictures.SNAPSHOT.read_text("utf-8"))["home"]
