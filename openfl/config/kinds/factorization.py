"""Settings that the kinds which factorize a matrix of users and songs share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from openfl.config.settings import setting


@dataclass(frozen=True, slots=True)
class FactorizationTask:
    """How users and songs become vectors. 0: the usual of the kind."""

    factors: int = setting(
        0,
        "length of the vectors of users and songs. 0 is the usual of the kind: 8 for rating, 16 for"
        " implicit.",
        unit="numbers",
        minimum=0,
        maximum=64,
    )
    damping: float = setting(
        0.0,
        "how far a round's steps are shortened, from 0.5. More is slower and calmer; below 1 steps"
        " may overshoot. 0 is the usual of the kind: 1 for rating, 1.5 for implicit.",
        minimum=0,
        maximum=100,
    )
    prior: float = setting(
        0.0,
        "how strongly vectors are held near zero, whatever the number of ratings. 0 is the usual of"
        " the kind: 7 for rating, 8 for implicit.",
        minimum=0,
        maximum=1e6,
    )
    prior_per_evidence: float = setting(
        0.05,
        "how strongly vectors are held near zero for each rating: 0.05 for dense data, 0.1 for"
        " sparse data.",
        minimum=0,
        maximum=1e3,
    )
    items: Literal["opaque", "music", "film", "book"] = setting(  # type: ignore[assignment]
        "opaque",
        "how songs are named in groups founded here, and which groups can be joined. opaque: by the"
        " ids of the data file, which other members' files must share. music: by artist and title,"
        " film: by title and year, book: by ISBN, or author and title, so that files of different"
        " services meet; the data then needs a catalogue with these (docs/items.md). A home that"
        " is in a group names them as its group does.",
        choices=("opaque", "music", "film", "book"),
    )
    encoding: Literal["int4", "int8", "float16", "float32"] = setting(  # type: ignore[assignment]
        "int8",
        "how songs' rows travel. int4 sends about two thirds of the bytes of int8 and is less"
        " exact; float16 and float32 send two and four times as many.",
        choices=("int4", "int8", "float16", "float32"),
    )
