"""Settings of learning: from which data, what, and how long."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from openfl.config.settings import setting
from openfl.config.text_checks import rating_bounds, rating_scale_problem

MAX_SEED = 2**63 - 1


@dataclass(frozen=True, slots=True)
class DataConfig:
    """The private data of this node. It never leaves the node."""

    ratings_file: str = setting(
        "",
        "CSV file with the columns user_id, song_id and rating. More columns are ignored. When"
        ' `task.kind` is "implicit": user_id, song_id, and one of plays, count and rating, or none'
        ' of them when each row is a play. When it is "classification": a column with the label and'
        " columns of numbers. Empty: the one this node last ran with.",
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
    rating_scale: str = setting(
        "auto",
        'Lowest and highest possible rating, such as "0.5-5". "auto" detects it when a group is'
        " founded and takes the group's when one is joined; a few ratings far off the scale of all"
        " others are then refused as mistakes, and a scale given here says that they are none.",
        allowed='"auto" or "LOWEST-HIGHEST"',
        check_text=rating_scale_problem,
    )
    min_strength: float = setting(
        1.0,
        "Implicit only: a song counts as played by a user from so many plays on, or, in a file of"
        " ratings, from such a rating on; then as one play. 4 takes only good ratings for likes.",
        unit="plays",
        minimum=0,
        above_minimum=True,
        maximum=1e6,
    )
    max_plays: float = setting(
        0.0,
        "Implicit only: most plays that a row can have. 0: a few rows of a million or more, and a"
        " hundred times as many as all others, are refused as mistakes.",
        unit="plays",
        minimum=0,
        maximum=1e9,
    )
    skip_bad_rows: bool = setting(
        False,
        "Leave out rows that cannot be used (no number, a field too few, far off the scale) and say"
        " how many. When false, such a file is refused, and the rows are listed.",
    )
    label_column: str = setting(
        "label",
        "Classification only: the column with what is to be learned, any text.",
        allowed="the name of a column",
    )
    feature_columns: tuple[str, ...] = setting(
        (),
        "Classification only: the columns to learn from. Empty: all columns of numbers but the"
        " label. All members of a group have the same.",
        allowed="names of columns",
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

    @property
    def rating_bounds(self) -> tuple[float, float] | None:
        """(lowest, highest) rating; None when it is to be detected."""
        return rating_bounds(self.rating_scale)


@dataclass(frozen=True, slots=True)
class TaskConfig:
    """What is learned. Used when this node founds a group; the charter of a joined group wins."""

    kind: Literal["rating", "implicit", "classification"] = setting(  # type: ignore[assignment]
        "rating",
        "What the model predicts: the rating of a song, (implicit) which songs are played, from"
        " plays or likes, or (classification) the label of a row of numbers. A node joins only"
        " groups of its own kind.",
        choices=("rating", "implicit", "classification"),
    )
    factors: int = setting(
        0,
        "Length of the vectors of users and songs. 0 is the usual of the kind: 8 for rating, 16 for"
        " implicit.",
        unit="numbers",
        minimum=0,
        maximum=64,
    )
    alpha: float = setting(
        1.0,
        "Implicit only: how much more a play says than no play. A song played n times counts"
        " 1 + alpha * n, one that was not counts 1.",
        minimum=0.01,
        maximum=1_000,
    )
    plays_limit: float = setting(
        10.0,
        "Implicit only: plays of one song by one user beyond this say nothing more.",
        unit="plays",
        minimum=1,
        maximum=1_000,
    )
    damping: float = setting(
        0.0,
        "How far a round's steps are shortened, from 0.5. More is slower and calmer; below 1 steps"
        " may overshoot. 0 is the usual of the kind: 1 for rating, 1.5 for implicit.",
        minimum=0,
        maximum=100,
    )
    prior: float = setting(
        0.0,
        "How strongly vectors are held near zero, whatever the number of ratings. 0 is the usual of"
        " the kind: 7 for rating, 8 for implicit.",
        minimum=0,
        maximum=1e6,
    )
    prior_per_evidence: float = setting(
        0.05,
        "How strongly vectors are held near zero for each rating: 0.05 for dense data, 0.1 for"
        " sparse data.",
        minimum=0,
        maximum=1e3,
    )
    bias_prior: float = setting(
        5.0,
        "Rating only: how strongly the average of a song is held near the average of all: 5 for"
        " dense data, 3 for sparse data.",
        minimum=0,
        above_minimum=True,
        maximum=1e6,
    )
    weight_prior: float = setting(
        1.0,
        "Classification only: how strongly the weights of features are held near zero (the ridge on"
        " standardised features). Less for many examples, more for few.",
        minimum=1e-6,
        maximum=1e6,
    )
    encoding: Literal["int4", "int8", "float16", "float32"] = setting(  # type: ignore[assignment]
        "int8",
        "Rating and implicit: how songs' rows travel. int4 sends about two thirds of the bytes of"
        " int8 and is less exact; float16 and float32 send two and four times as many.",
        choices=("int4", "int8", "float16", "float32"),
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
        " other.",
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
