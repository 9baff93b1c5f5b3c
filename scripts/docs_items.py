"""Write the rules of songs' names, as openfl/items/music_rules.py has them, into docs/items.md.

They stand between the lines `<!-- rules -->` and `<!-- /rules -->`. A test compares.
"""

from __future__ import annotations

from pathlib import Path

from openfl.items.rules_page import rules_markdown

PAGE = Path(__file__).resolve().parents[1] / "docs" / "items.md"
BEGIN, END = "<!-- rules -->\n", "<!-- /rules -->\n"


def written(text: str) -> str:
    """The page with today's tables. ValueError when it does not say where they go."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{PAGE.name}: needs the lines {BEGIN.strip()} and {END.strip()}")
    return f"{before}{begin}{rules_markdown()}{end}{after}"


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
