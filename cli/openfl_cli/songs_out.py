"""`--format`: what `recommend` and `similar` print for other programs."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from openfl_cli import options
from openfl_cli.song_lists import FORMATS, as_csv, as_jspf, as_m3u8, jspf_note


def add_list_arguments(parser: argparse.ArgumentParser) -> None:
    """What both commands take: from which data, and in which form."""
    parser.add_argument(
        "--data",
        metavar="FILE",
        help="the ratings file, when no node runs (default: as configured)",
    )
    options.add_config(parser)
    either = parser.add_mutually_exclusive_group()
    either.add_argument(
        "--format",
        choices=FORMATS,
        default="table",
        help="table (default), or for other programs: json, csv, m3u8, jspf",
    )
    options.add_json(either)


def format_of(arguments: argparse.Namespace) -> str:
    """One of `FORMATS`."""
    return "json" if arguments.json else str(arguments.format)


def print_songs(
    form: str,
    title: str,
    songs: Sequence[Mapping[str, Any]],
    columns: Sequence[str],
    notes: Sequence[str],
) -> None:
    """`songs`, best first, on stdout in another form than a table; `notes` on stderr. title: of a
    playlist; columns: of CSV, of which `rank` is counted here and `why` becomes one text."""
    match form:
        case "json":
            options.print_json(list(songs))
        case "csv":
            rows = [{**song, "rank": rank} for rank, song in enumerate(songs, start=1)]
            _print_as_utf8(as_csv(rows, columns))
        case "m3u8":
            _print_as_utf8(as_m3u8(title, songs))
        case "jspf":
            sys.stdout.write(as_jspf(title, songs, time.time()))
            notes = [*notes, *filter(None, [jspf_note(songs)])]
    for remark in notes:
        options.note(remark)


def _print_as_utf8(text: str) -> None:
    """Whatever the terminal's encoding is: these formats have no other."""
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None and (sys.stdout.encoding or "").lower() not in ("utf-8", "utf8"):
        reconfigure(encoding="utf-8")
    sys.stdout.write(text)
