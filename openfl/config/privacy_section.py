"""Settings of what a node tells, and of differential privacy."""

from __future__ import annotations

from dataclasses import dataclass

from openfl.config.settings import setting


@dataclass(frozen=True, slots=True)
class PrivacyConfig:
    """What is told of names, and user-level differential privacy (extra `privacy`, rating only):
    docs/privacy.md says what it covers and what it costs."""

    tell_labels: bool = setting(
        True,
        "In groups whose items have names (`task.items`): tell others what the items are called"
        " that this node has published rows of. Off: it tells only names that it heard from"
        " others.",
    )
    enabled: bool = setting(
        False,
        "Teach the group only through a mechanism that hides whether any one user is on this node:"
        " every user's part is clipped and noise is added. Needs a catalogue and a fixed"
        " `data.rating_scale`.",
    )
    epsilon: float = setting(
        8.0,
        "The budget: at most this much is ever spent, over all runs and groups. Smaller is more"
        " private and less exact.",
        minimum=0,
        above_minimum=True,
        maximum=100,
    )
    delta: float = setting(
        1e-5,
        "How likely the promise of `epsilon` may fail. Well below one in the number of users.",
        minimum=0,
        above_minimum=True,
        maximum=0.01,
    )
    rounds: int = setting(
        8,
        "Over how many published rounds the budget is spread. When it is spent the node goes on"
        " without publishing.",
        unit="rounds",
        minimum=1,
        maximum=100_000,
    )
    noise_multiplier: float = setting(
        0.0,
        "Standard deviation of the noise, in clips. 0: as little as lets `rounds` rounds fit into"
        " `epsilon`.",
        minimum=0,
        maximum=1e6,
    )
    clip: float = setting(
        3.0,
        "The most that one user's ratings together may add to a round (L2 norm of the errors, on a"
        " scale 4.5 wide). Smaller is less noise, and less learned from users with many ratings.",
        minimum=0,
        above_minimum=True,
        maximum=1_000,
    )
    users: int = setting(
        50,
        "About how many users this node has, rounded: it sizes the steps, and everybody can read it"
        " from them.",
        unit="users",
        minimum=1,
        maximum=1_000_000,
    )
