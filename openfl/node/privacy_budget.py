"""`PrivacyBudget`: what a node has spent of its users' privacy, and whether it may spend more.

Every release is written down *before* it is made, and the file is on disk by then, so that no crash
and no restart can forget one. The record is of the home folder, not of a group: all groups a node
teaches are taught from the same users. What the releases spend together is computed by the
accountant of dp-accounting (Renyi differential privacy of composed Gaussian mechanisms), an extra.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from openfl.config import PrivacyConfig
from openfl.config.kinds import KINDS
from openfl.core.contribution import Contribution, ModelView
from openfl.core.errors import ConfigError, StateError
from openfl.core.telemetry import PrivacyView
from openfl.learning.differential_privacy import RandomBytes, Release, plan_release
from openfl.learning.task import LearningTask, PrivateLearner
from openfl.storage.state_files import peek_state, write_state

LEDGER_KIND = "privacy"
LEDGER_VERSION = 1
MOST_COUNTED = 1_000_000
"""More releases than this are not counted ahead."""

Ledger = tuple[tuple[float, int], ...]
"""(noise multiplier, how many releases were made with it), in the order of their first."""


class Accountant:
    """Epsilon of a ledger, by dp-accounting. ConfigError when the extra is not installed."""

    def __init__(self, delta: float) -> None:
        try:
            # Here, not above: importing it takes a second, and only nodes that need it have it.
            import dp_accounting
            from dp_accounting import rdp
        except ImportError as error:
            raise ConfigError(
                f'privacy.enabled needs the extra "privacy" ({error}): pip install'
                " 'openfl-node[privacy]'"
            ) from None
        self.delta = delta
        self._library: Any = dp_accounting
        self._rdp: Any = rdp

    def epsilon(self, ledger: Ledger) -> float:
        """What these releases spend together, at this delta; 0 for none."""
        if not ledger:
            return 0.0
        accountant = self._rdp.RdpAccountant()
        for noise_multiplier, count in ledger:
            accountant.compose(self._library.GaussianDpEvent(noise_multiplier), count)
        return float(accountant.get_epsilon(self.delta))

    def noise_multiplier(self, epsilon: float, releases: int) -> float:
        """The least noise with which so many releases spend at most `epsilon`."""

        def event(noise_multiplier: float) -> Any:
            gaussian = self._library.GaussianDpEvent(noise_multiplier)
            return self._library.SelfComposedDpEvent(gaussian, releases)

        return float(
            self._library.calibrate_dp_mechanism(
                self._rdp.RdpAccountant, event, epsilon, self.delta
            )
        )


class PrivacyBudget:
    """See the module's text. One thread at a time may `step`; `view` is safe to read from any."""

    def __init__(
        self, config: PrivacyConfig, path: Path, random_bytes: RandomBytes = os.urandom
    ) -> None:
        """Takes up the record at `path`. ConfigError: the extra is missing. StateError: the record
        is damaged, or of a newer version; what was spent is then unknown, and nothing may be."""
        self._path = path
        self._random_bytes = random_bytes
        self._epsilon = config.epsilon
        self._accountant = Accountant(config.delta)
        multiplier = config.noise_multiplier or self._accountant.noise_multiplier(
            config.epsilon, config.rounds
        )
        self.release: Release = plan_release(config.clip, multiplier, config.rounds, config.users)
        self._ledger = _load(path)
        self.view: PrivacyView = self._look()

    @property
    def spent(self) -> bool:
        """Whether not even one more release fits."""
        return self.view.releases_left == 0

    def step(self, task: LearningTask, model: ModelView) -> Contribution:
        """One private step of `task`, charged for; nothing when the budget is spent.

        ConfigError: the task offers none. StateError: the charge could not be written down, and so
        nothing was released.
        """
        if not isinstance(task, PrivateLearner):
            raise ConfigError(no_private_step(task.charter.task))
        if self.spent:
            return Contribution(())
        charged = _with_one_more(self._ledger, self.release.noise_multiplier)
        write_state(
            self._path, LEDGER_KIND, LEDGER_VERSION, {"spent": [list(entry) for entry in charged]}
        )
        self._ledger = charged
        self.view = self._look()
        return task.private_step(model, self.release, self._random_bytes)

    def _look(self) -> PrivacyView:
        made = sum(count for _, count in self._ledger)
        return PrivacyView(
            epsilon_spent=self._accountant.epsilon(self._ledger),
            epsilon=self._epsilon,
            delta=self._accountant.delta,
            noise_multiplier=self.release.noise_multiplier,
            clip=self.release.clip,
            releases=made,
            releases_left=self._releases_left(),
        )

    def _releases_left(self) -> int:
        """How many more fit (by bisection: epsilon grows with every release)."""

        def fits(more: int) -> bool:
            ledger = _with_one_more(self._ledger, self.release.noise_multiplier, more)
            return self._accountant.epsilon(ledger) <= self._epsilon

        if not fits(1):
            return 0
        low, high = 1, 2
        while high <= MOST_COUNTED and fits(high):
            low, high = high, 2 * high
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if fits(middle) else (low, middle)
        return low


def no_private_step(kind: str) -> str:
    """The line for an owner whose task cannot be private."""
    able = " or ".join(f'"{known.name}"' for known in KINDS.values() if known.private)
    return (
        f'privacy.enabled: a group that learns "{kind}" cannot be taught under differential'
        f" privacy; only {able} can"
    )


def _with_one_more(ledger: Ledger, noise_multiplier: float, more: int = 1) -> Ledger:
    counts = dict(ledger)
    counts[noise_multiplier] = counts.get(noise_multiplier, 0) + more
    return tuple(counts.items())


def _load(path: Path) -> Ledger:
    if not path.exists():
        return ()
    content = peek_state(path, LEDGER_KIND, LEDGER_VERSION)
    spent = content.get("spent") if isinstance(content, dict) else None
    if not isinstance(spent, list) or not all(_is_entry(entry) for entry in spent):
        raise StateError(
            f"{path}: the record of what was spent of the privacy budget cannot be read; this node"
            " cannot go on teaching under its budget"
        )
    return tuple((float(multiplier), int(count)) for multiplier, count in spent)


def _is_entry(entry: object) -> bool:
    if not isinstance(entry, Sequence) or len(entry) != 2:
        return False
    multiplier, count = entry
    return isinstance(multiplier, float) and multiplier > 0 and type(count) is int and count > 0
