from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import norm

from openfl.config import PrivacyConfig
from openfl.core.contribution import Contribution
from openfl.core.errors import ConfigError, StateError
from openfl.core.model_view import DenseModel
from openfl.learning.factorization.ratings import Ratings
from openfl.learning.rating.charter import rating_charter
from openfl.learning.rating.task import MatrixFactorization
from openfl.node.privacy_budget import Accountant, PrivacyBudget

CHARTER = rating_charter("private", (1, 5), factors=2)
MODEL = DenseModel.empty(CHARTER)


@pytest.fixture
def _extra() -> None:
    pytest.importorskip("dp_accounting")


def task() -> MatrixFactorization:
    ratings = Ratings(
        users=("ann", "bob"),
        songs=("a", "b", "c"),
        user_index=np.array([0, 0, 1, 1], dtype=np.int32),
        song_index=np.array([0, 1, 1, 2], dtype=np.int32),
        values=np.array([5, 1, 4, 2], dtype=np.float32),
        scale=(1.0, 5.0),
    )
    return MatrixFactorization.from_charter(CHARTER, ratings, public_songs=("a", "b", "c", "d"))


def budget(folder: Path, **settings: float) -> PrivacyBudget:
    config = PrivacyConfig(enabled=True, **settings)  # type: ignore[arg-type]
    return PrivacyBudget(config, folder / "privacy.state", np.random.default_rng(0).bytes)


def exact_epsilon(noise_multiplier: float, count: int, delta: float) -> float:
    """Of composed Gaussian mechanisms (Balle and Wang 2018, theorem 8)."""
    mu = math.sqrt(count) / noise_multiplier

    def excess(epsilon: float) -> float:
        tail = math.exp(epsilon) * norm.cdf(-mu / 2 - epsilon / mu)
        return float(norm.cdf(mu / 2 - epsilon / mu) - tail - delta)

    return float(brentq(excess, 0, 100))


@pytest.mark.usefixtures("_extra")
@pytest.mark.parametrize(("noise_multiplier", "count"), [(4.0, 1), (4.0, 30), (1.8, 8), (11.0, 8)])
def test_epsilon_is_never_below_the_exact_one_and_little_above(
    noise_multiplier: float, count: int
) -> None:
    found = Accountant(1e-5).epsilon(((noise_multiplier, count),))
    exact = exact_epsilon(noise_multiplier, count, 1e-5)
    assert exact <= found <= 1.15 * exact


@pytest.mark.usefixtures("_extra")
def test_the_accountant_says_what_its_library_says() -> None:
    import dp_accounting
    from dp_accounting import rdp

    direct = rdp.RdpAccountant()
    direct.compose(dp_accounting.GaussianDpEvent(2.0), 3)
    direct.compose(dp_accounting.GaussianDpEvent(5.0), 10)
    assert Accountant(1e-6).epsilon(((2.0, 3), (5.0, 10))) == direct.get_epsilon(1e-6)
    assert Accountant(1e-6).epsilon(()) == 0.0


@pytest.mark.usefixtures("_extra")
@pytest.mark.parametrize("epsilon", [1.0, 8.0])
def test_the_budget_is_for_as_many_rounds_as_were_asked_for(tmp_path: Path, epsilon: float) -> None:
    made = budget(tmp_path, epsilon=epsilon, rounds=8)
    assert made.view.releases_left == 8
    steps = [made.step(task(), MODEL) for _ in range(10)]
    assert [step.row_count for step in steps] == [4] * 8 + [0, 0]
    assert made.spent
    assert 0.98 * epsilon < made.view.epsilon_spent <= epsilon


@pytest.mark.usefixtures("_extra")
def test_what_was_spent_is_still_spent_after_a_restart(tmp_path: Path) -> None:
    first = budget(tmp_path)
    for _ in range(3):
        first.step(task(), MODEL)
    again = budget(tmp_path)
    assert again.view == first.view
    assert again.view.releases_left == 5
    # Other noise later: both count.
    other = budget(tmp_path, noise_multiplier=9.0)
    assert other.view.epsilon_spent == first.view.epsilon_spent
    other.step(task(), MODEL)
    assert other.view.releases == 4
    assert other.view.epsilon_spent > first.view.epsilon_spent
    assert budget(tmp_path, epsilon=0.5).spent


@pytest.mark.usefixtures("_extra")
def test_a_charge_is_on_disk_before_anything_is_released(tmp_path: Path) -> None:
    made = budget(tmp_path)

    class Crashing:
        charter = CHARTER

        def private_step(self, *_: object) -> Contribution:
            raise RuntimeError("the machine lost power")

    with pytest.raises(RuntimeError):
        made.step(Crashing(), MODEL)  # type: ignore[arg-type]
    assert budget(tmp_path).view.releases == 1


@pytest.mark.usefixtures("_extra")
def test_nothing_is_released_when_the_charge_cannot_be_written(tmp_path: Path) -> None:
    made = budget(tmp_path)
    (tmp_path / "privacy.state").mkdir()  # cannot be replaced by a file
    with pytest.raises(StateError, match="cannot be saved"):
        made.step(task(), MODEL)
    assert made.view.releases == 0


@pytest.mark.usefixtures("_extra")
def test_a_damaged_record_is_not_an_empty_one(tmp_path: Path) -> None:
    budget(tmp_path).step(task(), MODEL)
    path = tmp_path / "privacy.state"
    data = bytearray(path.read_bytes())
    data[-40] ^= 1
    path.write_bytes(bytes(data))
    for _ in range(2):  # it stays where it is
        with pytest.raises(StateError, match="cannot be read"):
            budget(tmp_path)


@pytest.mark.usefixtures("_extra")
def test_a_task_without_a_private_step_is_refused_in_one_line(tmp_path: Path) -> None:
    class Open:
        charter = rating_charter("x", (1, 5))

    made = budget(tmp_path)
    with pytest.raises(ConfigError, match='only "rating" can'):
        made.step(Open(), MODEL)  # type: ignore[arg-type]
    assert made.view.releases == 0


def test_without_the_extra_one_line_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "dp_accounting", None)
    with pytest.raises(ConfigError) as caught:
        budget(tmp_path)
    assert "pip install 'openfl-node[privacy]'" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_without_public_songs_nothing_can_be_released() -> None:
    made = task()
    with pytest.raises(ConfigError, match=r"songs\.csv"):
        MatrixFactorization.from_charter(CHARTER, made.ratings, public_songs=())
