"""Paths -> what is in them: every file recognised, read, and told of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from openfl.core.errors import DataError
from openfl.sources.collect import Collected, Collector
from openfl.sources.columns import roles_of
from openfl.sources.containers import Part, Parts, open_parts, told_of
from openfl.sources.interactions import ME, Drops
from openfl.sources.options import ReadOptions
from openfl.sources.registry import recognise, source_named
from openfl.sources.source import Head, Items, Reading, Source, head_of

_LISTED = 5
"""Files that a message lists."""

Advance = Callable[[int, int], None]
"""Called with (bytes read, bytes there are) of all files together, now and then."""


@dataclass(frozen=True)
class FileRead:
    """One file that was read. remarks: what was assumed, and what does not look right in it."""

    name: str
    source: Source
    rows: int
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Imported:
    """All that some paths hold. items: what kind of thing. left: files that were not read -> why.
    dropped: rows left out, by reason."""

    collected: Collected
    items: Items
    files: tuple[FileRead, ...]
    drops: Drops
    left: dict[str, str] = field(default_factory=dict)

    @property
    def sources(self) -> tuple[Source, ...]:
        """Those that files are of, in order of first file."""
        return tuple({read.source.name: read.source for read in self.files}.values())


def no_advance(done: int, total: int) -> None:
    """For whoever shows nothing."""


def _nothing_before(collector: Collector, items: Items) -> None:
    pass


def read_paths(
    paths: Sequence[Path],
    options: ReadOptions | None = None,
    person: str = ME,
    advance: Advance = no_advance,
    before: Callable[[Collector, Items], None] = _nothing_before,
) -> Imported:
    """What the files at `paths` hold (files, folders, zip files, `.gz`).

    person: whose the exports are that are one person's. before: takes what was there already, when
    it is known what the files are about.
    DataError: nothing in them is recognised, they hold different kinds of things, or one of them is
    damaged; it names the file and what to do.
    """
    options = options or ReadOptions()
    drops = Drops()
    collector = Collector(drops, person)
    with open_parts(paths) as parts:
        found = _recognised(parts, options, paths)
        items = _one_kind(found)
        before(collector, items)
        files = _read_all(found, options, collector, drops, advance)
    collected = collector.collected()
    if not len(collected):
        raise DataError(_nothing_left(files, drops))
    return Imported(collected, items, tuple(files), drops, parts.left)


_Found = list[tuple[Part, Head, Source]]


def _recognised(parts: Parts, options: ReadOptions, paths: Sequence[Path]) -> _Found:
    """The files to read, in order. What is not recognised, or says nothing that another file does
    not say, is put into `parts.left`."""
    wanted = source_named(options.format) if options.format else None
    found: _Found = []
    unknown: list[str] = []
    for part in parts.parts:
        head = head_of(part, options)
        if wanted is not None and wanted.sniff(head) > 0:
            found.append((part, head, wanted))
        elif wanted is None and (source := recognise(head)) is not None:
            found.append((part, head, source))
        else:
            why = why_not(head)
            if wanted is not None:
                why = f"is not what data.format says ({wanted.title}); it {why}"
            parts.left[part.name] = why
            unknown.append(part.name)
    if any(source.name not in _LAST for _, _, source in found):
        named = {str(path) for path in paths}
        beside = {
            part.name: "a table beside the files of an export: name it to read it"
            for part, _, source in found
            if source.name in _LAST and part.name not in named
        }
        parts.left.update(beside)
        found = [each for each in found if each[0].name not in beside]
    for source in {source.name: source for _, _, source in found}.values():
        left = source.choose([head for _, head, of in found if of is source])
        parts.left.update(left)
        found = [each for each in found if each[0].name not in left]
    if all(source.name == "catalogue" for _, _, source in found):
        only = {part.name: "has names of items, and no ratings or plays" for part, _, _ in found}
        parts.left = only | parts.left
        raise DataError(_nothing_recognised(parts, paths))
    parts.left.update(dict.fromkeys(unknown, "holds no ratings, plays or likes"))
    return sorted(found, key=lambda each: each[2].order(each[1]))


_LAST = ("table", "catalogue", "openfl")
"""Sources that take what no other does: within an export they are something else."""


def why_not(head: Head) -> str:
    """Why a file is of no source, in words."""
    if not head.data:
        return "is empty"
    if not head.encoding.name:
        return "is not text"
    if not head.text:
        return f"is not text in the encoding {head.encoding.name}"
    if head.json_problem:
        return head.json_problem
    start = head.text[:2000].lstrip().lower()
    if start.startswith(("<!doctype html", "<html")):
        return "is a web page (in Google Takeout choose JSON, not HTML, for the history)"
    if head.json_start or start.startswith("<"):
        return "is not of a known form"
    if head.table is None:
        return "is not a table of two columns or more"
    if head.table.header:
        known = roles_of(head.table, ReadOptions(), head.name)
        names = [name for at, name in enumerate(head.table.header) if at not in known.values()]
        role = "user" if {"item", "title"} & known.keys() else "item"
        return (
            f"has columns of which it is not known what they are ({', '.join(names[:12])}): say it,"
            f' for example data.columns.{role} = "{(names or head.table.header)[0]}"'
        )
    return (
        f"has {head.table.width} columns without a header: say which is which, for example"
        ' data.columns.user = "1" and data.columns.item = "2"'
    )


def _nothing_recognised(parts: Parts, paths: Sequence[Path]) -> str:
    where = ", ".join(map(str, paths))
    if not parts.left:
        return f"{where}: there is no file in it"
    shown = [f"{name}: {why}" for name, why in list(parts.left.items())[:_LISTED]]
    more = len(parts.left) - len(shown)
    if len(shown) == 1 and len(paths) == 1:
        return f"{shown[0]}; data.format says what a file is when it cannot be told"
    rest = [f"and {more:,} more"] if more else []
    return "\n".join([f"{where}: no file of a known form:", *shown, *rest])


def _one_kind(found: _Found) -> Items:
    """What all files are about. DataError when it is not one thing."""
    kinds: dict[Items, str] = {}
    for part, head, source in found:
        kinds.setdefault(source.items_of(head), f"{part.name} ({source.title})")
    if len(kinds) > 1:
        listed = "; ".join(f"{items}: {name}" for items, name in kinds.items())
        raise DataError(f"these are different things, which are learned apart: {listed}")
    return next(iter(kinds))


def _read_all(
    found: _Found, options: ReadOptions, collector: Collector, drops: Drops, advance: Advance
) -> list[FileRead]:
    total = sum(part.size for part, _, _ in found)
    done = 0

    def advanced(count: int) -> None:
        nonlocal done
        done += count
        advance(min(done, total), total)

    memory: dict[str, dict[str, object]] = {}
    files = []
    for part, head, source in found:
        reading = Reading(
            part, head, options, drops, advanced, [], memory.setdefault(source.name, {})
        )
        if head.encoding.guessed:
            reading.remarks.append(
                f"taken for text in {head.encoding.name} (data.encoding says otherwise)"
            )
        before = collector.rows
        with told_of(part.name):
            for chunk in source.read(reading):
                collector.add(chunk, source.items_of(head), part.name, source.name)
        collector.end_of_file()
        files.append(FileRead(part.name, source, collector.rows - before, tuple(reading.remarks)))
    for store in memory.values():
        labels = store.get("labels")
        if isinstance(labels, dict):
            collector.rename(labels)
    return files


def _nothing_left(files: Sequence[FileRead], drops: Drops) -> str:
    names = files[0].name if len(files) == 1 else f"{files[0].name} and {len(files) - 1} more"
    if not drops.rows:
        return f"{names}: nothing in it"
    head = f"{names}: nothing is left of {drops.rows:,} rows:"
    reasons = [
        f"{dropped.rows:,}: {reason} (first {dropped.first[0]})"
        for reason, dropped in drops.reasons.items()
    ]
    return "\n".join([head, *reasons])
