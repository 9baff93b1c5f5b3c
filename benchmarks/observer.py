"""What somebody who reads a node's messages learns of its listeners, on the sample ratings.

One node holds one listener (or a few); of the rest of the 600 most are dealt out to three other
nodes. The observer has a catalogue, which is public, and one contribution of the node as it travels
(int8). From it alone it names the songs by their keys, and ranks them by the published bias. With
several listeners on the node it does not know who rated what; it is given that here. Means over
the listeners with the most ratings, and the ranking by the group's own model, which is no secret:

- named: published songs that the observer can name, of those published;
- AUC: the chance that a song the listener liked (4 or more) is ranked above one that it did not;
- Spearman: rank correlation of the published biases with the listener's ratings.

    python benchmarks/observer.py [--listeners 20] [--together 1 2 3 5 10]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata, spearmanr

from openfl.aggregation.quantize import quantize
from openfl.core.contribution import Charter, RowBlock
from openfl.core.model_view import DenseModel
from openfl.learning.central import merge
from openfl.learning.factorization.item_rows import item_keys
from openfl.learning.factorization.ratings import Ratings, load_catalogue, load_ratings
from openfl.learning.rating.charter import ITEMS, rating_charter
from openfl.learning.rating.task import MatrixFactorization
from openfl.learning.splitting import Split

MUSIC = Path(__file__).resolve().parents[1] / "examples" / "music"
LIKED = 4.0
OTHERS = 3
ROUNDS = 12


def task_of(charter: Charter, ratings: Ratings) -> MatrixFactorization:
    """All ratings train: what the observer finds out about is what is published."""
    nothing = np.zeros(0, np.intp)
    return MatrixFactorization.from_charter(
        charter, ratings, Split(np.arange(len(ratings)), nothing, nothing)
    )


def published(task: MatrixFactorization, model: DenseModel, rng: np.random.Generator) -> RowBlock:
    """The songs' rows of one contribution, as others decode them."""
    block = next(b for b in task.local_step(model, rng).blocks if b.table == ITEMS)
    return quantize(block, task.charter.table(ITEMS), rng).row_block()


def learned_by(tasks: list[MatrixFactorization], rng: np.random.Generator) -> DenseModel:
    model = DenseModel.empty(tasks[0].charter)
    for _ in range(ROUNDS):
        model = merge(tasks[0].charter, [task.local_step(model, rng) for task in tasks])
    return model


def auc(scores: NDArray[np.float64], liked: NDArray[np.bool_]) -> float:
    """NaN when all or none are liked."""
    good, bad = int(liked.sum()), int((~liked).sum())
    if not good or not bad:
        return float("nan")
    return float((rankdata(scores)[liked].sum() - good * (good + 1) / 2) / (good * bad))


def observe(
    block: RowBlock, names: dict[int, str], truth: dict[str, float]
) -> tuple[int, int, float, float]:
    """(songs published, named, AUC, Spearman) for a listener who rated `truth`."""
    bias = {names[int(k)]: float(v[-1]) for k, v in zip(block.keys, block.values, strict=True)}
    songs = [song for song in truth if song in bias]
    scores = np.array([bias[song] for song in songs])
    ratings = np.array([truth[song] for song in songs])
    return (
        len(block.keys),
        sum(int(key) in names for key in block.keys),
        auc(scores, ratings >= LIKED),
        float(spearmanr(scores, ratings).statistic),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--listeners", type=int, default=20)
    parser.add_argument("--together", type=int, nargs="+", default=[1, 2, 3, 5, 10])
    options = parser.parse_args()

    ratings = load_ratings(MUSIC / "ratings.csv")
    catalogue = tuple(load_catalogue(MUSIC / "songs.csv"))
    names = dict(zip(item_keys(catalogue, 40).tolist(), catalogue, strict=True))
    charter = rating_charter("observed", scale=ratings.scale)
    rng = np.random.default_rng(0)
    counts = np.bincount(ratings.user_index)
    keenest = [ratings.users[n] for n in np.argsort(-counts, kind="stable")]
    watched = keenest[: options.listeners]
    rest = [user for user in ratings.users if user not in set(watched)]
    company, others = rest[::6], [user for n, user in enumerate(rest) if n % 6]
    owner = {user: n % OTHERS for n, user in enumerate(others)}
    group = learned_by(
        [
            task_of(charter, ratings.only_users(lambda u, n=n: owner.get(u) == n))
            for n in range(OTHERS)
        ],
        rng,
    )
    whole = RowBlock(
        ITEMS,
        group.keys(ITEMS),
        group.rows(ITEMS, group.keys(ITEMS)),
        group.evidence(ITEMS, group.keys(ITEMS)).astype(np.float32),
        np.ones(charter.table(ITEMS).width, np.float32),
    )
    public = np.array([observe(whole, names, ratings.of_user(u)) for u in watched], dtype=float)
    area, rank = np.nanmean(public, axis=0)[2:]
    print(f"without the contribution, by the group's biases: AUC {area:.3f}, Spearman {rank:.2f}")
    print("listeners on the node  group    published  named    AUC  Spearman")
    for size in options.together:
        for what, model in (("empty", DenseModel.empty(charter)), ("learned", group)):
            found = []
            for listener in watched:
                here = {listener, *rng.choice(company, size - 1, replace=False)}
                task = task_of(charter, ratings.only_users(here.__contains__))
                found.append(observe(published(task, model, rng), names, ratings.of_user(listener)))
            count, named, area, rank = np.nanmean(np.array(found, dtype=float), axis=0)
            print(
                f"{size:21}  {what:7}  {count:9.1f}  {named / count:4.0%}  {area:.3f}  {rank:8.2f}"
            )


if __name__ == "__main__":
    main()
