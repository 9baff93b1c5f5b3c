"""Writing a report: the page of a document, as one file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from openfl.core.errors import UsageError

SUFFIXES = (".html", ".htm")


def check(path: Path, option: str = "--html") -> None:
    """UsageError before long work when the report could not be written after it."""
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"{option} needs a file that ends in {' or '.join(SUFFIXES)}, got {path}")
    if not path.absolute().parent.is_dir():
        raise UsageError(f"{option}: there is no folder {path.absolute().parent}")
    if path.is_dir():
        raise UsageError(f"{option}: {path} is a folder")


def write(path: Path, document: Mapping[str, Any]) -> None:
    """Write the page of `document`; StateError when that cannot be done. That of a node tells who
    its owner is and what they may like: it is theirs to show, and readable by them alone."""
    from openfl.app.http.page import frozen
    from openfl.core.atomic_files import atomic_write
    from openfl.core.telemetry import json_plain

    mode = 0o600 if document["kind"] == "node" else 0o644
    atomic_write(path, frozen(json_plain(document)).encode(), mode)
