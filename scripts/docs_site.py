"""Lay out in build/docs what the site is made of; `make docs` then has Zensical make it.

The pages are those of docs/, and the other documents of the project beside them: links from one to
another stay links. What a link to a file that is no document names is shown as code, because the
site stands without the sources. The page of the library's names is written from `openfl.__all__`.

    python scripts/docs_site.py            lay out
    python scripts/docs_site.py --check    what site/ would fetch from elsewhere; exit code 1
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import openfl

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "build"
LAID_OUT = BUILD / "docs"
SITE = ROOT / "site"
OTHERS = {
    "README.md": "readme.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "SECURITY.md": "project/security-policy.md",
    "CHANGELOG.md": "project/changelog.md",
    "tests/README.md": "project/tests.md",
    "examples/music/README.md": "project/sample-data.md",
}
"""Documents outside docs/, and where they are on the site."""
FENCED = re.compile(r"(^ *```.*?^ *``` *$)", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<!!)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^()\s]+)\)")
ELSEWHERE = re.compile(
    r"<(?:script|link|img|iframe|source|video|audio)\b[^>]*?\b(?:src|href)=[\"']?((?:https?:)?//[^\"'\s>]+)"
    r"|@import\s+(?:url\()?[\"']?((?:https?:)?//[^\"')]+)"
    r"|url\([\"']?((?:https?:)?//[^\"')]+)"
)
GROUPS = {
    "A node": ("run", "RunningNode", "open_node", "Node", "load_config", "Config"),
    "What a node tells": (
        *("NodeSnapshot", "NodeEvent", "GroupView"),
        *("Recommendations", "SimilarSongs", "Wishes"),
    ),
    "Learning tasks": (
        *("LearningTask", "Workload", "TaskWorkload", "Charter", "TableSchema", "Contribution"),
        *("RowBlock", "ModelView", "Evaluation", "OwnLosses", "GroupId", "PeerId"),
    ),
    "PyTorch": ("TorchTask", "TorchModel", "TorchSettings", "torch_charter", "torch_problem"),
    "Kinds and rules of your own": (
        *("Kind", "KindDescription", "register_kind", "setting", "Sharding"),
        *("Stack", "by_centre", "register_rule"),
    ),
}
"""The names of the library by what they are for; errors and whatever is new come after them."""


def sources() -> dict[Path, Path]:
    """Every document -> where it is laid out, below LAID_OUT."""
    pages = {path: path.relative_to(ROOT / "docs") for path in (ROOT / "docs").rglob("*.md")}
    return pages | {ROOT / name: Path(place) for name, place in OTHERS.items()}


def linked(text: str, page: Path, places: dict[Path, Path]) -> str:
    """The text of a page with its links as they are where it is laid out."""
    own = places[page]

    def one(found: re.Match[str]) -> str:
        words, target = found.groups()
        if re.match(r"[a-z]+:|#", target):
            return found[0]
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve()
        if file in places:
            path = os.path.relpath(places[file], own.parent)
            return f"[{words}]({path}{'#' + anchor if anchor else ''})"
        if file == ROOT / "docs" / "decisions":
            return words
        if file.is_relative_to(ROOT / "docs"):
            return f"[{words}]({os.path.relpath(file.relative_to(ROOT / 'docs'), own.parent)})"
        where = f"`{file.relative_to(ROOT)}`"
        return where if words.strip("`") in (file.name, where.strip("`")) else f"{words} ({where})"

    def pictures(part: str) -> str:
        return (
            re.sub(r'(src="|\]\()docs/(?=pictures/)', r"\1", part) if page.parent == ROOT else part
        )

    parts = FENCED.split(text)  # the blocks are at the odd places
    return "".join(
        part if at % 2 else pictures(LINK.sub(one, part)) for at, part in enumerate(parts)
    )


def api_page() -> str:
    """The page of the names in `openfl.__all__`, for mkdocstrings to fill in."""
    named = {name for names in GROUPS.values() for name in names}
    rest = [name for name in openfl.__all__ if name not in named]
    errors = [name for name in rest if name.endswith("Error")]
    groups = {**GROUPS, "Errors": errors, "More": [name for name in rest if name not in errors]}
    lines = [
        "# The library",
        "",
        "What can be imported from `openfl`, from its docstrings. [A node in your own",
        "program](embedding.md) shows how it goes together, [learning tasks](tasks.md) how to",
        "write one.",
    ]
    for title, names in groups.items():
        lines += ["", f"## {title}"] if names else []
        lines += [line for name in names for line in ("", f"::: openfl.{name}")]
    return "\n".join(lines) + "\n"


def lay_out() -> None:
    """Write build/docs anew, and the configuration beside it."""
    shutil.rmtree(LAID_OUT, ignore_errors=True)
    shutil.copytree(ROOT / "docs", LAID_OUT, ignore=shutil.ignore_patterns("*.md"))
    places = sources()
    for page, place in places.items():
        written = LAID_OUT / place
        written.parent.mkdir(parents=True, exist_ok=True)
        written.write_text(linked(page.read_text("utf-8"), page, places), encoding="utf-8")
    (LAID_OUT / "api.md").write_text(api_page(), encoding="utf-8")
    shutil.copy(ROOT / "mkdocs.yml", BUILD)


def fetched_from_elsewhere(site: Path) -> Iterator[str]:
    """Every script, style, font or picture that a browser would fetch from another host."""
    for path in sorted(site.rglob("*")):
        if path.suffix in (".html", ".css"):
            for found in ELSEWHERE.finditer(path.read_text("utf-8")):
                if 'rel="canonical"' not in found[0]:
                    yield f"{path.relative_to(site)}: {next(filter(None, found.groups()))}"


def main() -> int:
    if sys.argv[1:] == ["--check"]:
        found = list(fetched_from_elsewhere(SITE))
        print("\n".join(found), end="\n" if found else "")
        return int(bool(found))
    lay_out()
    return 0


if __name__ == "__main__":
    sys.exit(main())
