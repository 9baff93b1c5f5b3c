"""Write the phases of a session, as openfl/group/phases.py has them, into docs/architecture.md.

They stand between the lines `<!-- phases -->` and `<!-- /phases -->`. A test compares.
"""

from __future__ import annotations

from pathlib import Path

from openfl.group.phases import phases_markdown

PAGE = Path(__file__).resolve().parents[1] / "docs" / "architecture.md"
BEGIN, END = "<!-- phases -->\n", "<!-- /phases -->\n"


def written(text: str) -> str:
    """The page with today's tables. ValueError when it does not say where they go."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{PAGE.name}: needs the lines {BEGIN.strip()} and {END.strip()}")
    return f"{before}{begin}{phases_markdown()}{end}{after}"


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
