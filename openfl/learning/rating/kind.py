"""The kind "rating": how users would rate songs, from their ratings."""

from __future__ import annotations

from openfl.config import kinds as described
from openfl.core.contribution import Evaluation
from openfl.core.model_view import DenseModel
from openfl.learning.factorization.ratings import Ratings
from openfl.learning.factorization.song_data import count_users, only_users
from openfl.learning.factorization.song_shards import (
    favourite_genres,
    join_ratings,
    upside_down,
    user_ids,
)
from openfl.learning.kind import Kind, Recommending
from openfl.learning.rating.charter import ITEMS, check_ratings_fit
from openfl.learning.rating.head import RatingHead
from openfl.learning.rating.made_up import community_ratings, synthetic_ratings
from openfl.learning.rating.task import MatrixFactorization
from openfl.learning.rating.workload import RatingWorkload, load_rating_data
from openfl.learning.sharding import Sharding
from openfl.learning.splitting import Split


def rmse_of_test(model: DenseModel, ratings: Ratings, split: Split) -> Evaluation:
    """The error of the ratings that `model` predicts for the test part."""
    return MatrixFactorization.from_charter(model.charter, ratings, split).evaluate(model, "test")


RATING = Kind(
    description=described.RATING,
    load=load_rating_data,
    workload=RatingWorkload,
    recommends=Recommending(ITEMS, RatingHead, check_ratings_fit, rmse_of_test),
    sharding=Sharding(
        count_users,
        only_users,
        join=join_ratings,
        users=user_ids,
        user_column="user_id",
        communities=favourite_genres,
        upside_down=upside_down,
        make_up={"synthetic": synthetic_ratings, "communities": community_ratings},
        sample_file="ratings.csv",
    ),
)
