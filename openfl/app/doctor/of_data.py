"""The check of the data that the node learns from: as a start would read it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from shlex import quote

from openfl.app.data_paths import is_to_be_taken, read_options
from openfl.app.doctor.finding import Finding, fault, fine, warning
from openfl.app.doctor.subject import Subject
from openfl.config import Config
from openfl.core.errors import DataError, UserError
from openfl.core.files import open_named
from openfl.learning.kinds import load_workload
from openfl.learning.workload import Remarking

FEW_EXAMPLES = 20
"""With fewer, hardly one is held out to measure by."""
NO_FAULT = ("data", "few-users")
"""Remarks that are told at each start, and are not what is wrong when something does not work."""


def data(subject: Subject) -> Iterator[Finding]:
    """Missing, unreadable, bad rows, encoding, too little, and what a start would remark on it."""
    config = subject.config
    if not config.data.ratings_file:
        yield warning(
            "data-none",
            "no data is set, and no node has run here with any",
            "start it with --data FILE, or set data.ratings_file",
        )
        return
    path = Path(config.data.ratings_file)
    named = [path]
    if config.data.catalogue_file:
        named.append(Path(config.data.catalogue_file))
    missing = list(_unopened(named))
    yield from missing
    if missing:
        return
    try:
        if is_to_be_taken(config, [path]):
            yield _of_export(config, path)
            return
        workload = load_workload(config, subject.resumed)
    except DataError as error:
        yield fault(*_of_error(str(error)), str(path))
        return
    except UserError as error:
        yield fault("data-unfit", str(error), "see docs/tasks.md", str(path))
        return
    remarks = workload.remarks() if isinstance(workload, Remarking) else ()
    examples = 0
    for remark in remarks:
        if remark.kind == "data":
            examples = int(remark.data.get("examples", 0))
            yield fine(remark.text, str(path))
        elif remark.level == "warning" and remark.kind not in NO_FAULT:
            yield warning(remark.kind, remark.text, "", str(path))
    if remarks and examples < FEW_EXAMPLES:
        yield _too_few(examples, path)


def _of_export(config: Config, path: Path) -> Finding:
    """Read as `data convert` would before a start; DataError."""
    from openfl.sources.reading import read_paths

    imported = read_paths([path], read_options(config))
    titles = ", ".join(source.title for source in imported.sources)
    rows = len(imported.collected)
    if rows < FEW_EXAMPLES:
        return _too_few(rows, path)
    return fine(f"{titles}: {rows:,} rows", str(path))


def _too_few(rows: int, path: Path) -> Finding:
    return warning(
        "data-little",
        f"{rows} rows are too few to see whether learning together helps you",
        "add more; docs/data.md says what can be read",
        str(path),
    )


def _unopened(paths: list[Path]) -> Iterator[Finding]:
    for path in paths:
        try:
            open_named(path).close()
        except FileNotFoundError:
            text = "name it anew with start --data, or data.ratings_file"
            yield fault("data-missing", "there is no such file", text, str(path))
        except IsADirectoryError:
            continue  # of an export; whoever reads it says what is wrong
        except OSError as error:
            text = f"cannot be read: {error.strerror or error}"
            yield fault(
                "data-unreadable",
                text,
                f"check its permissions: ls -l {quote(str(path))}",
                str(path),
            )


def _of_error(text: str) -> tuple[str, str, str]:
    """(kind, what, what to do) of a DataError."""
    if "UTF-8" in text:
        return "data-encoding", text, "have it written as UTF-8, or convert it: data convert"
    if "rows cannot be used" in text or "--skip-bad-rows" in text:
        return "data-bad-rows", text, "correct them, or leave them out: start --skip-bad-rows"
    return "data-unusable", text, "docs/data.md says what can be read"
