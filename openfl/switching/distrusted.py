"""`Distrusted`: groups that broke their promise to this node, and how long they are passed over.

Rounds are the node's own.
"""

from __future__ import annotations

from dataclasses import dataclass

from openfl.core.contribution import GroupId

MAX_DISTRUSTED = 512
"""Groups remembered; the one that is free again first makes room."""
MAX_DOUBLINGS = 20
"""2 ** 20 times any number of rounds is for ever."""


@dataclass(frozen=True, slots=True)
class _Distrust:
    until_round: int
    times: int


class Distrusted:
    """first_rounds: how long a group is passed over the first time; twice as long each further
    time."""

    def __init__(self, first_rounds: int) -> None:
        self._first_rounds = first_rounds
        self._groups: dict[GroupId, _Distrust] = {}

    def __len__(self) -> int:
        return len(self._groups)

    def broke_promise(self, group_id: GroupId, round_now: int) -> None:
        """The group did so in this round."""
        times = self._groups[group_id].times if group_id in self._groups else 0
        rounds = self._first_rounds * 2 ** min(times, MAX_DOUBLINGS)
        self._groups[group_id] = _Distrust(round_now + rounds, times + 1)
        if len(self._groups) > MAX_DISTRUSTED:
            del self._groups[min(self._groups, key=self._free_again)]

    def is_distrusted(self, group_id: GroupId, round_now: int) -> bool:
        """Whether the group is to be passed over in this round."""
        distrust = self._groups.get(group_id)
        return distrust is not None and round_now < distrust.until_round

    def _free_again(self, group_id: GroupId) -> tuple[int, str]:
        return self._groups[group_id].until_round, group_id
