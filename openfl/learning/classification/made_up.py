"""Labelled examples that are made up from a seed, of users who each have some.

An example is drawn around the centre of its class, with normal noise. Users have the classes in
shares of their own. In *communities* a class is somewhere else for each community, except for a
part `overlap` of the classes: what is one thing to some is another to others, so that one model for
all serves nobody.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from openfl.learning.classification.examples import Labelled
from openfl.learning.factorization.song_shards import equal_communities
from openfl.learning.sharding import MadeUpData, MadeUpSize

CLASSES = ("amber", "blue", "coral", "dun")
CENTRE_SCALE = 1.0
NOISE = 1.5
SHARE_ALPHA = 1.0
"""Of the Dirichlet distribution that a user's shares of the classes are drawn from."""


def community_examples(size: MadeUpSize, seed: int) -> MadeUpData:
    """Of communities of equal size, give or take one; `size.items` features."""
    rng = np.random.default_rng([seed, 16])
    users, each, features, classes = size.users, size.rows_per_user, size.items, len(CLASSES)
    community = equal_communities(users, size.communities)
    shared = rng.random(classes) < size.overlap
    centres = rng.normal(0, CENTRE_SCALE, (size.communities, classes, features))
    centres[:, shared] = centres[0, shared]
    shares = rng.dirichlet(np.full(classes, SHARE_ALPHA), size=users)
    label = np.concatenate([rng.choice(classes, each, p=share) for share in shares])
    user = np.repeat(np.arange(users), each)
    values = centres[community[user], label] + rng.normal(0, NOISE, (users * each, features))
    present, index = np.unique(label, return_inverse=True)
    data = Labelled(
        features=tuple(f"f{n:04}" for n in range(features)),
        classes=tuple(CLASSES[n] for n in present),
        values=values,
        label_index=index.astype(np.int32),
    )
    return MadeUpData(data, user, community)


def synthetic_examples(size: MadeUpSize, seed: int) -> MadeUpData:
    """Of one community."""
    one = replace(size, communities=1)
    return replace(community_examples(one, seed), communities=None)
