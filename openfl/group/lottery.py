"""`Lottery`: in which of its rounds a member of a large group publishes.

Where `n` members each publish every round, each of them receives, checks and merges `n` deltas a
round. Contributions are absolute, so a round that is not published is not lost: the next one that
is published says all that it would have said. In a group of more than `target` members, they
therefore take turns.

A member's turn comes every `turns = ceil(n / target)` rounds of its own, at a place that a hash of
its identity gives: members spread evenly over the turns, with nothing to agree on, and anybody can
work out when anybody's turn is. A new member has the most to tell, and what changes in what it
tells dies down as it learns, so turns come more often at first: a member of `age` rounds waits for
`age / EAGER_ROUNDS` of them at most. Its first round is always published.

How many members there are differs between members and from one moment to the next. That changes how
often one publishes and nothing else, and nobody ever waits longer than `turns` rounds.
"""

from __future__ import annotations

import hashlib

from openfl.core.contribution import PeerId

EAGER_ROUNDS = 2
"""See the module's text."""


class Lottery:
    """Of one membership of `author`. target: about how many members publish in each round of a
    large group; 0: all of them."""

    def __init__(self, author: PeerId, target: int) -> None:
        """Nothing was published in this membership yet."""
        self._target = target
        self._place = int.from_bytes(hashlib.sha256(author.encode()).digest()[:8], "big")
        self._first: int | None = None
        self._latest = 0

    def draws(self, round_number: int, members: int) -> bool:
        """Whether to publish what comes of this round. `members`: present, this one included."""
        if not self._target or self._first is None:
            return True
        age = round_number - self._first
        turns = min(turns_of(members, self._target), max(1, age // EAGER_ROUNDS))
        its_turn = (self._place + round_number) % turns == 0
        return its_turn or round_number - self._latest >= turns

    def published(self, round_number: int) -> None:
        """This round was published."""
        if self._first is None:
            self._first = round_number
        self._latest = round_number


def turns_of(members: int, target: int) -> int:
    """In how many rounds each of so many members publishes once."""
    return max(1, -(-members // target)) if target else 1
