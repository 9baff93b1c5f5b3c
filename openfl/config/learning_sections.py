"""Settings of learning that every kind has: from which data, what, and how long.

Those that a kind has beside them are in `openfl.config.kinds`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from openfl.config.kinds import KINDS
from openfl.config.settings import setting

MAX_SEED = 2**63 - 1
_COLUMN = "the name or number of a column"


def data_files() -> str:
    """What the data file has for each kind, in words."""
    first, *others = KINDS.values()
    rest = (f' When `task.kind` is "{kind.name}": {kind.data_file}.' for kind in others)
    return f"{first.data_file}. More columns are ignored.{''.join(rest)}"


def what_is_predicted() -> str:
    """What the model of each kind predicts, in words."""
    *most, last = (f"{kind.predicts} ({kind.name})" for kind in KINDS.values())
    return f"{', '.join(most)}, or {last}"


@dataclass(frozen=True, slots=True)
class DataConfig:
    """The private data of this node. It never leaves the node."""

    ratings_file: str = setting(
        "",
        f"CSV file with {data_files()} `start` also takes an export as it was downloaded, and any"
        " table of ratings or plays (docs/data.md). Empty: the one this node last ran with.",
        allowed="a path",
        path=True,
    )
    catalogue_file: str = setting(
        "",
        "CSV file with the columns song_id, title and artist, to show songs by name. Empty:"
        " songs.csv beside the ratings file, when there is one.",
        allowed="a path",
        path=True,
    )
    format: str = setting(
        "",
        "What the data is, where that is told wrongly by its content: spotify, spotify-extended,"
        " lastfm, listenbrainz, apple-music, itunes, youtube-music, letterboxd, imdb, goodreads,"
        " jester, openfl or table. Empty: told by its content.",
        allowed="the name of a format",
    )
    separator: str = setting(
        "",
        "What stands between the fields of a table. Empty: found out.",
        allowed="characters, tab, space or empty",
    )
    encoding: str = setting(
        "",
        "How the letters of the data are written: utf-8, cp1252, utf-16, ... Empty: found out.",
        allowed="the name of an encoding",
    )
    columns__user: str = setting(
        "",
        "The column of a table with the user: its name, or its number from 1 on. Empty: found out,"
        " as for the other columns.",
        allowed=_COLUMN,
    )
    columns__item: str = setting("", "The column with the song, film, ...", allowed=_COLUMN)
    columns__rating: str = setting("", "The column with the rating.", allowed=_COLUMN)
    columns__plays: str = setting("", "The column with the number of plays.", allowed=_COLUMN)
    columns__time: str = setting("", "The column with the time.", allowed=_COLUMN)
    columns__title: str = setting("", "The column with the title.", allowed=_COLUMN)
    columns__artist: str = setting("", "The column with the artist.", allowed=_COLUMN)
    skip_bad_rows: bool = setting(
        False,
        "Leave out rows that cannot be used (no number, a field too few, far off the scale) and say"
        " how many. When false, such a file is refused, and the rows are listed.",
    )
    validation_fraction: float = setting(
        0.1,
        "Part of each user's ratings (or plays), or of the examples, held out to measure every"
        " round.",
        unit="fraction",
        minimum=0,
        maximum=0.5,
    )
    test_fraction: float = setting(
        0.1,
        "Part of each user's ratings (or plays), or of the examples, held out for the final"
        " comparison; no decision looks at it.",
        unit="fraction",
        minimum=0,
        maximum=0.5,
    )
    split_seed: int = setting(
        0, "Seed of the split into training and held-out ratings.", minimum=0, maximum=MAX_SEED
    )


@dataclass(frozen=True, slots=True)
class TaskConfig:
    """What is learned. Used when this node founds a group; the charter of a joined group wins."""

    kind: str = setting(
        "rating",
        f"What the model predicts: {what_is_predicted()}. A node joins only groups of its own"
        " kind.",
        choices=KINDS.keys(),
    )
    seed: int = setting(
        0,
        "Seed of the values a song has before anyone rated it.",
        minimum=0,
        maximum=MAX_SEED,
    )


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """When and how long to train."""

    auto_start: bool = setting(
        True, "Train from the start. When false, the node only takes part and passes on."
    )
    rounds: int = setting(
        0,
        "Rounds to train. 0 goes on until the node is stopped.",
        unit="rounds",
        minimum=0,
        maximum=1_000_000_000,
    )
    interval_seconds: float = setting(
        2.0,
        "Time from the start of one round to the start of the next. Nodes never wait for each"
        " other. A node that cannot keep up takes longer, and says so.",
        unit="seconds",
        minimum=0.01,
        maximum=86_400,
    )
    wait_for_members: int = setting(
        1,
        "Start the first round only when so many members, this node included, are in the group.",
        unit="members",
        minimum=1,
        maximum=10_000,
    )
    when_done: Literal["exit", "serve"] = setting(  # type: ignore[assignment]
        "exit",
        "After the last round: exit, or stay in the group, pass on and answer.",
        choices=("exit", "serve"),
    )
    alone_rounds: int = setting(
        30,
        "Most rounds to train a second model on this node's data alone, to compare with. 0 leaves"
        " the comparison out.",
        unit="rounds",
        minimum=0,
        maximum=1_000,
    )
    min_row_evidence: int = setting(
        1,
        "Publish only songs with at least this many ratings on this node. 2 or 3 hide what a"
        " single listener rated.",
        unit="ratings",
        minimum=1,
        maximum=1_000_000,
    )
