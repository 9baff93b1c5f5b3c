"""`KindDescription`: what the configuration and the commands know of a kind of learning.

Words and settings only, so that reading a configuration loads no model. What a kind does is its
`openfl.learning.kind.Kind`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from openfl.config.sections import Config

Complaint = tuple[tuple[str, ...], str]
"""(keys of settings that are each fine alone but not together, what is wrong with them)"""


def _none(config: Config) -> Iterable[Complaint]:
    return ()


@dataclass(frozen=True)
class KindDescription:
    """One kind of learning, in words, and the settings that are its own.

    name: as `task.kind` and the charters of its groups have it. predicts: what its model predicts.
    data_file: what `data.ratings_file` is for it. settings: its own keys, as (section, dataclass of
    `setting(...)`); kinds may share a dataclass, not a key. reread: which of its keys in [data] a
    node remembers with the file, which has to be read alike the next time. complaints: about its
    settings taken together. metric: what its tasks measure on held-out data. example: one of what
    it learns from. score, popularity: what the figures beside recommended songs are, for somebody
    known and for somebody unknown. evidence: what the group counts of a song. private: whether it
    can teach under differential privacy.
    """

    name: str
    predicts: str
    data_file: str
    settings: tuple[tuple[Literal["data", "task"], type[Any]], ...] = ()
    reread: tuple[str, ...] = ()
    complaints: Callable[[Config], Iterable[Complaint]] = _none
    metric: str = "loss"
    example: str = "example"
    score: str = "score"
    popularity: str = "score"
    evidence: str = "evidence"
    private: bool = False
