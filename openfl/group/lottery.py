"""`Lottery`: in which of its rounds a member of a large group publishes.

Where `n` members each publish every round, each of them receives, checks and merges `n` deltas a
round. Contributions are absolute, so a round that is not published is not lost: the next one that
is published says all that it would have said. In a group of more than `target` members, they
therefore take turns.

Each round gives a member the part `target / n` of a turn, and it publishes when it has a whole one.
So all have equally many turns, nobody waits longer than `n / target` rounds, and there is nothing
to agree on. With which part a member begins is a hash of its identity: so turns are spread evenly,
and about `target` members have theirs in each round. How many members there are differs between
members and from one moment to the next; that changes how often one publishes and nothing else.

A new member has the most to tell, and what changes in what it tells dies down as it learns. So the
first rounds are published, and a member of `age` rounds gets the part `(EAGER_ROUNDS / age) ** 2`
at least: that is 8 turns in all, however large the group is.
"""

from __future__ import annotations

import hashlib

from openfl.core.contribution import PeerId

EAGER_ROUNDS = 4
"""See the module's text."""


class Lottery:
    """Of one membership of `author`. target: about how many members publish in each round of a
    large group; 0: all of them."""

    def __init__(self, author: PeerId, target: int) -> None:
        """Nothing was published in this membership yet."""
        self._target = target
        number = int.from_bytes(hashlib.sha256(author.encode()).digest()[:6], "big")
        self._turn = number / 2**48
        """The part that it has of its next turn."""
        self._age = 0
        self._latest = 0

    def draws(self, members: int) -> bool:
        """Whether to publish what comes of the next round: to be asked once for each. `members`:
        present ones, this one included."""
        part = 1.0
        if self._target and self._age:
            part = min(1.0, max(self._target / max(1, members), (EAGER_ROUNDS / self._age) ** 2))
        self._age += 1
        self._turn += part
        if self._turn < 1:
            return False
        self._turn -= 1
        return True

    def published(self) -> int:
        """What came of the latest round was published; returns how many rounds it is the outcome
        of."""
        rounds = self._age - self._latest
        self._latest = self._age
        return rounds


def turns_of(members: int, target: int) -> int:
    """In about how many rounds each of so many members publishes once."""
    return max(1, round(members / target)) if target else 1
