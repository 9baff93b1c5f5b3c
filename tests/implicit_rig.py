"""Invented plays, and the objective of the implicit task written down densely, to check against."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from openfl.core.contribution import Charter
from openfl.core.model_view import DenseModel
from openfl.learning.factorization.item_rows import item_keys
from openfl.learning.factorization.ratings import Ratings
from openfl.learning.implicit.charter import ITEMS, implicit_parameters
from openfl.learning.implicit.task import ImplicitFactorization
from openfl.learning.splitting import Split


def some_plays(users: int = 30, songs: int = 20, seed: int = 0, kinds: int = 2) -> Ratings:
    """Everybody plays mostly songs of their own kind (n modulo `kinds`), some often."""
    rng = np.random.default_rng(seed)
    alike = (np.arange(users) % kinds)[:, None] == (np.arange(songs) % kinds)[None, :]
    played = rng.random((users, songs)) < np.where(alike, 0.6, 0.08)
    played[np.arange(users), rng.integers(0, songs, users)] = True
    user, song = np.nonzero(played)
    drawn = Ratings(
        users=tuple(f"u{n}" for n in range(users)),
        songs=tuple(f"s{n}" for n in range(songs)),
        user_index=user.astype(np.int32),
        song_index=song.astype(np.int32),
        values=rng.integers(1, 6, len(user)).astype(np.float32),
        scale=(0.0, 5.0),
    )
    return drawn.only_users(lambda user: True)  # without the songs that nobody played


def all_for_training(plays: Ratings) -> Split:
    nothing = np.empty(0, dtype=np.intp)
    return Split(np.arange(len(plays)), nothing, nothing)


def tasks_of(
    charter: Charter, plays: Ratings, owner: Sequence[int], min_row_evidence: int = 1
) -> list[ImplicitFactorization]:
    """A task a member; `owner[n]` is the member who has user n. All plays are trained on."""
    of = {user: owner[n] for n, user in enumerate(plays.users)}
    parts = [
        plays.only_users(lambda user, member=member: of[user] == member)
        for member in sorted(set(owner))
    ]
    return [
        ImplicitFactorization.from_charter(charter, part, all_for_training(part), min_row_evidence)
        for part in parts
    ]


class Dense:
    """The objective over all of `plays`, songs ordered by row key."""

    def __init__(self, charter: Charter, plays: Ratings) -> None:
        self.parameters = implicit_parameters(charter)
        keys = item_keys(plays.songs, 40)
        self.keys = np.sort(keys)
        column = np.searchsorted(self.keys, keys)[plays.song_index]
        self.plays = np.zeros((len(plays.users), len(keys)))
        strengths = np.minimum(plays.values, self.parameters.plays_limit)
        self.plays[plays.user_index, column] = strengths
        self.wanted = (self.plays > 0).astype(float)
        self.confidence = 1 + self.parameters.alpha * self.plays
        self.user_ridge = self.parameters.ridge(self.plays.sum(axis=1))
        self.song_ridge = self.parameters.ridge(self.plays.sum(axis=0))

    def fit(self, rows: np.ndarray, by_song: bool = False) -> np.ndarray:
        """The exact other side, one ridge regression at a time."""
        confidence, wanted = self.confidence, self.wanted
        ridge = self.song_ridge if by_song else self.user_ridge
        if by_song:
            confidence, wanted = confidence.T, wanted.T
        return np.array(
            [
                np.linalg.solve(
                    (rows * c[:, None]).T @ rows + r * np.eye(rows.shape[1]), (c * w) @ rows
                )
                for c, w, r in zip(confidence, wanted, ridge, strict=True)
            ]
        )

    def loss(self, users: np.ndarray, songs: np.ndarray) -> float:
        errors = self.confidence * (self.wanted - users @ songs.T) ** 2
        ridge = (self.user_ridge[:, None] * users**2).sum()
        return float(errors.sum() + ridge + (self.song_ridge[:, None] * songs**2).sum())

    def gradient(self, users: np.ndarray, songs: np.ndarray) -> np.ndarray:
        """Half the negative gradient at the songs, float64[songs, k]."""
        errors = self.confidence * (self.wanted - users @ songs.T)
        return errors.T @ users - self.song_ridge[:, None] * songs

    def rows(self, model: DenseModel) -> np.ndarray:
        return model.rows(ITEMS, self.keys).astype(float)
