"""Whether output that was captured once is still what is printed, within the bounds it states.

    captured 2026-11-28 at 1a2b3c4; again within 5 %; free: round, heard

What differs from run to run by its nature is compared by its kind alone: peer ids, addresses, times
of day, digests, the bars of a sparkline. All words are compared. A figure may be as far off as
`within` says, in parts of the shown one; `free` names columns of a table, keys of JSON, or first
words of lines (after the time of an event) whose figures are not compared (of a column, nor its
words). The order of lines is free, their number is not; with `among others`, or a line `...`, there
may be more lines than are shown.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

KINDS = (
    (re.compile(r"/ip[46]/\S+"), "ADDRESS"),
    (
        re.compile(r"12D3KooW[1-9A-HJ-NP-Za-km-z]{44}|12D3…\w{6}|\.\.[1-9A-HJ-NP-Za-km-z]{6}\b"),
        "PEER",
    ),
    (re.compile(r"\b\d\d:\d\d:\d\d\b"), "CLOCK"),
    (re.compile(r"\b(?=[0-9a-f]*\d)[0-9a-f]{12,}\b"), "DIGEST"),
    (re.compile(r"[▁▂▃▄▅▆▇█]+"), "BARS"),
)
FIGURE = re.compile(r"(?<![\w.])[+-]?\d[\d,]*(?:\.\d+)?")
BOUNDS = re.compile(r"; again within (\d+(?:\.\d+)?) %(, among others)?(?:; free: ([^;]+?))?$")
CELL = re.compile(r"\S+(?: \S+)*")


@dataclass(frozen=True)
class Bounds:
    """How far what is printed may be from what is shown."""

    within: float
    """In parts of the shown figure."""
    free: frozenset[str] = frozenset()
    others: bool = False


@dataclass(frozen=True)
class Line:
    """A line of output: its words, with 0 for every figure, and the figures."""

    text: str
    words: str
    figures: tuple[float, ...]

    def like(self, printed: Line, within: float) -> bool:
        return self.words == printed.words and all(
            abs(shown - found) <= within * abs(shown) + 1e-9
            for shown, found in zip(self.figures, printed.figures, strict=True)
        )


def bounds(mark: str) -> Bounds | None:
    """What a comment above a block says of its bounds; None: nothing."""
    said = BOUNDS.search(mark)
    if said is None:
        return None
    free = frozenset(name.strip() for name in (said[3] or "").split(",") if name.strip())
    return Bounds(float(said[1]) / 100, free, said[2] is not None)


def differences(shown: Sequence[str], printed: Sequence[str], allowed: Bounds) -> list[str]:
    """What is shown and not printed, and the other way round, a line each; empty: the same."""
    if shown and shown[0] in ("{", "["):
        try:
            found = json.loads("\n".join(printed))
        except ValueError:
            return [f"not JSON: {line}" for line in printed or ["nothing is printed"]]
        return _json_differences(json.loads("\n".join(shown)), found, allowed)
    if "..." in shown:
        shown = [line for line in shown if line != "..."]
        allowed = replace(allowed, others=True)
    left, right = (parsed(lines, allowed.free) for lines in (shown, printed))
    partner = _matched(left, right, allowed.within)
    missing = [
        f"not printed: {line.text}" for i, line in enumerate(left) if i not in partner.values()
    ]
    if allowed.others:
        return missing
    return missing + [f"not shown: {line.text}" for j, line in enumerate(right) if j not in partner]


def parsed(lines: Sequence[str], free: frozenset[str]) -> list[Line]:
    """Lines that are not empty, without what is free in them."""
    found, head = [], []
    for line in lines:
        text = line
        if not line.strip() or line.startswith("$ "):
            head = []
        elif _is_head(line, free):
            head = cells(line)
        elif len(cells(line)) == 1:
            head = []  # a sentence below the table
        elif head:
            text = _without_columns(line, head, free)
        if not line.strip():
            continue
        for kind, name in KINDS:
            text = kind.sub(name, text)
        words = re.sub(r"\s+", " ", FIGURE.sub("0", text)).strip()
        figures = tuple(float(figure.replace(",", "")) for figure in FIGURE.findall(text))
        if _subject(line) in free and not head:
            figures = (0.0,) * len(figures)
        found.append(Line(line, words, figures))
    return found


def _subject(line: str) -> str:
    """The word that says what a line is about: the first, or of an event the one after its time."""
    first, *rest = line.split()
    return rest[0] if rest and KINDS[2][0].fullmatch(first) else first


def _is_head(line: str, free: frozenset[str]) -> bool:
    """Whether it names the columns of a table, one of them free."""
    names = [name for _, _, name in cells(line)]
    return len(names) > 1 and not FIGURE.search(line) and not free.isdisjoint(names)


def cells(line: str) -> list[tuple[int, int, str]]:
    """The cells of a row of a table: two spaces and more are between them."""
    return [(cell.start(), cell.end(), cell[0]) for cell in CELL.finditer(line)]


def _without_columns(line: str, head: list[tuple[int, int, str]], free: frozenset[str]) -> str:
    """The row with a star for each cell below a heading that is free."""
    kept = []
    for start, end, text in cells(line):
        gaps = [max(start - right, left - end) for left, right, _ in head]
        name = head[gaps.index(min(gaps))][2]
        kept.append("*" if name in free and min(gaps) < 0 else text)
    return "  ".join(kept)


def _matched(shown: list[Line], printed: list[Line], within: float) -> dict[int, int]:
    """A printed line for as many shown ones as can be: printed -> shown (augmenting paths)."""
    partner: dict[int, int] = {}

    def place(i: int, tried: set[int]) -> bool:
        for j, line in enumerate(printed):
            if j not in tried and shown[i].like(line, within):
                tried.add(j)
                if j not in partner or place(partner[j], tried):
                    partner[j] = i
                    return True
        return False

    for i in range(len(shown)):
        place(i, set())
    return partner


def _json_differences(shown: Any, printed: Any, allowed: Bounds, at: str = "") -> list[str]:
    """Every key that is shown must be printed, with a value of its kind; more may be printed."""
    if isinstance(shown, dict) and isinstance(printed, dict):
        found = []
        for key, value in shown.items():
            if key not in printed:
                found.append(f"not printed: {at}.{key}")
            elif key not in allowed.free or isinstance(value, dict | list):
                found += _json_differences(value, printed[key], allowed, f"{at}.{key}")
        return found
    if isinstance(shown, list) and isinstance(printed, list):
        if len(shown) > len(printed):
            return [f"{at}: {len(printed)} printed, {len(shown)} shown"]
        return [
            line
            for number, (one, other) in enumerate(zip(shown, printed, strict=False))
            for line in _json_differences(one, other, allowed, f"{at}[{number}]")
        ]
    if isinstance(shown, bool) or not isinstance(shown, int | float):
        one, other = (parsed([str(value)], frozenset()) for value in (shown, printed))
        same = [line.words for line in one] == [line.words for line in other]
    else:
        same = isinstance(printed, int | float) and abs(shown - printed) <= allowed.within * abs(
            shown
        )
    return [] if same else [f"{at}: {printed!r} printed, {shown!r} shown"]
