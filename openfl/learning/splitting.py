"""Which ratings are trained on and which are held out, whoever holds them.

The split of a user's ratings depends on the seed, the user's id and the ids of the rated songs, and
on nothing else: not on the other users in the file, nor on the order of its rows. So a data set
cut over many nodes is split exactly as it would be in one place, and figures can be compared.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from openfl.learning.factorization.ratings import Ratings

MIN_RATINGS_TO_SPLIT = 5
"""A user with fewer ratings keeps all of them for training."""


@dataclass(frozen=True, eq=False)
class Split:
    """Positions into a `Ratings`, each ascending; together they are all of it, each once."""

    train: NDArray[np.intp]
    validation: NDArray[np.intp]
    test: NDArray[np.intp]

    def positions(self, name: str) -> NDArray[np.intp]:
        """Those of "validation", "test" or "train"; ValueError for another name."""
        match name:
            case "validation":
                return self.validation
            case "test":
                return self.test
            case "train":
                return self.train
        raise ValueError(f'split must be "validation", "test" or "train", not "{name}"')

    def fold(self, number: int, folds: int) -> Split:
        """All but the test cut anew, at random but always alike: of `folds` equal parts that of
        this number is validation, and the others are for training."""
        known = np.sort(np.concatenate((self.train, self.validation)))
        part = np.random.default_rng(0).permutation(len(known)) % folds
        return Split(known[part != number], known[part == number], self.test)


def split_ratings(
    ratings: Ratings,
    validation_fraction: float = 0.1,
    test_fraction: float = 0.1,
    seed: int = 0,
) -> Split:
    """Hold out about these fractions of every user's ratings (rounded to whole ratings a user).

    At least one rating a user stays for training. ValueError when the fractions are negative or
    leave nothing to train on.
    """
    fractions_make_sense = (  # NaN does not
        validation_fraction >= 0 and test_fraction >= 0 and validation_fraction + test_fraction < 1
    )
    if not fractions_make_sense:
        raise ValueError("validation and test fractions must be >= 0 and their sum below 1")
    drawn = _hash_of_pairs(ratings, seed)
    order = np.lexsort((drawn, ratings.user_index))
    per_user = np.bincount(ratings.user_index, minlength=len(ratings.users))
    starts = np.cumsum(per_user) - per_user
    rank = np.empty(len(ratings), dtype=np.int64)
    rank[order] = np.arange(len(ratings)) - np.repeat(starts, per_user)

    tests = _held_out(per_user, test_fraction)
    validations = _held_out(per_user, validation_fraction)
    validations = np.maximum(np.minimum(validations, per_user - 1 - tests), 0)
    tests = np.minimum(tests, np.maximum(per_user - 1, 0))
    test_below = tests[ratings.user_index]
    validation_below = test_below + validations[ratings.user_index]
    return Split(
        train=np.flatnonzero(rank >= validation_below),
        validation=np.flatnonzero((rank >= test_below) & (rank < validation_below)),
        test=np.flatnonzero(rank < test_below),
    )


def _held_out(per_user: NDArray[np.int64], fraction: float) -> NDArray[np.int64]:
    rounded = np.floor(per_user * fraction + 0.5).astype(np.int64)
    return np.where(per_user >= MIN_RATINGS_TO_SPLIT, rounded, 0)


def _hash_of_pairs(ratings: Ratings, seed: int) -> NDArray[np.uint64]:
    """uint64[n]: a draw for each rating from its seed, user id and song id."""
    users = _hash_of_texts(f"openfl/split/{seed}/user/", ratings.users)
    songs = _hash_of_texts(f"openfl/split/{seed}/song/", ratings.songs)
    mixed = users[ratings.user_index] ^ songs[ratings.song_index]
    # One round of multiply and shift, so that the order differs from user to user.
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def _hash_of_texts(prefix: str, texts: tuple[str, ...]) -> NDArray[np.uint64]:
    keyed = hashlib.blake2b(prefix.encode(), digest_size=8)

    def digest(text: str) -> int:
        state = keyed.copy()
        state.update(text.encode())
        return int.from_bytes(state.digest(), "big")

    return np.fromiter(map(digest, texts), dtype=np.uint64, count=len(texts))


def split_rows(
    count: int, validation_fraction: float = 0.1, test_fraction: float = 0.1, seed: int = 0
) -> Split:
    """A random split of examples that are known by their position only."""
    order = np.random.default_rng(seed).permutation(count)
    tests = int(count * test_fraction + 0.5)
    validations = min(int(count * validation_fraction + 0.5), max(0, count - tests - 1))
    return Split(
        train=np.sort(order[tests + validations :]),
        validation=np.sort(order[tests : tests + validations]),
        test=np.sort(order[:tests]),
    )


def evenly(positions: NDArray[np.intp], most: int) -> NDArray[np.intp]:
    """At most `most` (1 or more) of the positions, spread evenly over all of them."""
    return positions[:: max(1, -(-len(positions) // most))]
