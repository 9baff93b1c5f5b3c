"""What holds of the implicit task for any plays and any way to deal them out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from openfl.core.contribution import Charter
from openfl.core.model_view import DenseModel, DenseTable
from openfl.learning.central import merge
from openfl.learning.factorization.ratings import Ratings
from openfl.learning.implicit.charter import ITEMS, implicit_charter
from openfl.learning.implicit.task import ImplicitFactorization
from tests.implicit_rig import Dense, some_plays, tasks_of

worlds = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 10_000),
        "users": st.integers(4, 20),
        "songs": st.integers(3, 15),
        "kinds": st.integers(1, 3),
        "factors": st.integers(1, 4),
        "alpha": st.floats(0.1, 3.0),
        "per_evidence": st.sampled_from([0.0, 0.05, 0.3]),
    }
)


def one_round(tasks: list[ImplicitFactorization], model: DenseModel) -> DenseModel:
    rng = np.random.default_rng(0)
    return merge(model.charter, [task.local_step(model, rng) for task in tasks])


def world(of: dict[str, Any]) -> tuple[Charter, Ratings]:
    charter = implicit_charter(
        "x",
        of["factors"],
        alpha=of["alpha"],
        prior=2.0,
        prior_per_evidence=of["per_evidence"],
    )
    return charter, some_plays(of["users"], of["songs"], of["seed"], of["kinds"])


def told(charter: Charter, plays: Ratings, rows: np.ndarray) -> DenseModel:
    """A group in which everybody has published what they know, and the songs' rows are `rows`."""
    everybody = tasks_of(charter, plays, [0] * len(plays.users))
    keys = Dense(charter, plays).keys

    def with_rows(tables: dict[str, DenseTable], evidence: np.ndarray) -> DenseModel:
        items = DenseTable(keys.copy(), rows.astype(np.float32), evidence)
        return DenseModel(charter, {**tables, ITEMS: items})

    model = with_rows({}, np.ones(len(keys)))
    published = one_round(everybody, model)  # the matrices of listeners who were fitted to `rows`
    return with_rows(dict(published.tables), published.tables[ITEMS].evidence.copy())


def dealt(data: st.DataObject, of: dict[str, Any]) -> list[int]:
    members = st.integers(0, 4)
    return data.draw(st.lists(members, min_size=of["users"], max_size=of["users"]), "owner")


@settings(max_examples=25, deadline=None)
@given(worlds, st.data())
def test_the_central_optimum_is_where_members_stay_however_plays_are_dealt_out(
    of: dict[str, Any], data: st.DataObject
) -> None:
    charter, plays = world(of)
    dense = Dense(charter, plays)
    songs = np.random.default_rng(of["seed"]).normal(size=(len(dense.keys), of["factors"]))
    for _ in range(150):
        songs = dense.fit(dense.fit(songs), by_song=True)
    size = max(1.0, np.abs(songs).max())
    slack = np.abs(dense.fit(dense.fit(songs), by_song=True) - songs).max() / size
    assume(slack < 1e-5)
    model = told(charter, plays, songs)
    after = one_round(tasks_of(charter, plays, dealt(data, of)), model)
    assert dense.rows(after) == pytest.approx(songs, abs=2e-3 * size)


@settings(max_examples=25, deadline=None)
@given(worlds, st.data())
def test_away_from_the_optimum_members_move_along_the_gradient_of_all(
    of: dict[str, Any], data: st.DataObject
) -> None:
    """The merged step is a positive definite matrix times the whole gradient: it is 0 only where
    that is. And from a told group it is the same however plays are dealt out."""
    charter, plays = world(of)
    dense = Dense(charter, plays)
    songs = np.random.default_rng(of["seed"]).normal(size=(len(dense.keys), of["factors"]))
    songs = songs.astype(np.float32).astype(float)
    model = told(charter, plays, songs)
    after = one_round(tasks_of(charter, plays, dealt(data, of)), model)
    gradient = dense.gradient(dense.fit(songs), songs)
    moved = dense.rows(after) - songs
    along = (moved * gradient).sum(axis=1)
    lengths = np.linalg.norm(moved, axis=1) * np.linalg.norm(gradient, axis=1)
    assert (along[lengths > 1e-6] > 0).all()
    centrally = one_round(tasks_of(charter, plays, [0] * of["users"]), model)
    assert dense.rows(after) == pytest.approx(dense.rows(centrally), rel=1e-3, abs=1e-4)
    assert np.array_equal(after.evidence(ITEMS, dense.keys), centrally.evidence(ITEMS, dense.keys))


@pytest.mark.parametrize("seed", range(12))
def test_members_end_where_exact_alternation_gains_next_to_nothing(seed: int) -> None:
    """No law, so fixed examples: the objective is not convex. From one start, members and exact
    alternation may end in different valleys, and either may rest on a saddle for long."""
    rng = np.random.default_rng(seed)
    of = {
        "seed": seed,
        "users": int(rng.integers(6, 20)),
        "songs": int(rng.integers(5, 15)),
        "kinds": int(rng.integers(1, 4)),
        "factors": int(rng.integers(1, 5)),
        "alpha": float(rng.uniform(0.1, 3.0)),
        "per_evidence": 0.05,
    }
    charter, plays = world(of)
    owners = [int(owner) for owner in rng.integers(0, 5, of["users"])]
    dense, tasks = Dense(charter, plays), tasks_of(charter, plays, owners)
    model = one_round(tasks, DenseModel.empty(charter))
    begun = dense.loss(dense.fit(dense.rows(model)), dense.rows(model))
    for _ in range(60):
        model = one_round(tasks, model)
    songs = dense.rows(model)
    reached = dense.loss(dense.fit(songs), songs)
    assert reached < 1.0001 * begun
    further = dense.fit(dense.fit(songs), by_song=True)
    assert reached < 1.02 * dense.loss(dense.fit(further), further)
