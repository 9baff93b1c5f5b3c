"""A scenario: everything that a simulated run depends on, as frozen values.

As in `openfl.config`, a field's metadata is its only description: the reader of scenario files
checks with it, and docs/simulation.md is generated from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from openfl.config import Config, with_values
from openfl.config.kinds import KINDS
from openfl.config.settings import Value, setting
from openfl.core.rule_names import RULE_NAMES
from openfl.simulation.attacks import ATTACKS

MAX_NODES = 10_000
MUSIC = "music"
"""`data.source` of the sample data."""

Engine = Literal["sessions", "shared"]
What = Literal["join", "leave", "crash", "return", "partition", "heal"]
WHATS: tuple[What, ...] = ("join", "leave", "crash", "return", "partition", "heal")


@dataclass(frozen=True, slots=True)
class RunSection:
    """How many nodes, for how long, and how they are simulated."""

    description: str = setting("", "One line for people.")
    nodes: int = setting(16, "Nodes, those that join later included.", minimum=1, maximum=MAX_NODES)
    rounds: int = setting(
        12,
        "How long the run is, in round intervals after all first members have begun.",
        minimum=1,
        maximum=10_000,
    )
    seed: int = setting(0, "Everything random follows from it.", minimum=0, maximum=2**63 - 1)
    judged: int = setting(
        0,
        "How many nodes, drawn anew each time, a record is of. 0: all.",
        minimum=0,
        maximum=MAX_NODES,
    )
    engine: str = setting(
        "sessions",
        '"sessions": every node has a replica of its own and hears every message; heartbeats, '
        'repair and snapshots are the real ones. "shared": for hundreds of nodes, or thousands in '
        "many groups; those of a group share the registers and differ in what has reached them; "
        "loss is repaired by a model of heartbeats and pulls, there are no partitions, and in a "
        "single group no leaves or returns.",
        choices=("sessions", "shared"),
    )


@dataclass(frozen=True, slots=True)
class DataSection:
    """What is learned, from whose data, and how it is cut into the shards of the nodes. A user's
    data always stays together. Beside these, the keys that the kind has in the section `data` of a
    node's configuration."""

    kind: str = setting(
        "rating",
        "What is learned, as `task.kind` of a node's configuration.",
        choices=KINDS.keys(),
    )
    source: str = setting(
        "music",
        'A CSV file, "music" (the sample data, of ratings), "synthetic" (made from the seed) or '
        '"communities" (made from the seed: people of different tastes, who rate or play the same '
        "items; or to whom the classes of examples look different).",
    )
    more_sources: tuple[str, ...] = setting(
        (), "More CSV files of the same kind, as if they were one file with `source`."
    )
    skip_bad_rows: bool = setting(
        False, "Leave out rows of a file that cannot be used, instead of refusing it."
    )
    user_column: str = setting(
        "",
        "Column of a file of examples that says whose each is; all of one user's are at one node."
        " Empty: each is on its own. Ratings and plays have user_id.",
        allowed="the name of a column",
    )
    community_column: str = setting(
        "",
        "Column of the files that names each user's community; of several names the most frequent"
        " one counts.",
        allowed="the name of a column",
    )
    communities_file: str = setting(
        "",
        "CSV file with the columns user_id and community, instead of a column of the data.",
        allowed="a path",
    )
    split: str = setting(
        "user",
        '"user": users are shared out evenly, at random. "community": users of one community (of '
        "a column, a file or made-up data, else of like favourite genre or most frequent label) go "
        'to the same nodes. "dirichlet": for each community, the nodes get shares drawn from a '
        'Dirichlet distribution. "one-user-per-node": node n gets one user. "file": node n gets '
        "the users of the nth file.",
        choices=("user", "community", "dirichlet", "one-user-per-node", "file"),
    )
    alpha: float = setting(
        0.5,
        "Of the Dirichlet distribution: small is skewed, large is even.",
        minimum=0.0,
        above_minimum=True,
        maximum=1e6,
    )
    users: int = setting(1000, "Users of made-up data.", minimum=1, maximum=100_000)
    items: int = setting(
        500,
        "Items of made-up ratings and plays; features of made-up examples.",
        minimum=2,
        maximum=100_000,
    )
    ratings_per_user: int = setting(
        40, "Ratings, plays or examples of each user in made-up data.", minimum=1, maximum=10_000
    )
    communities: int = setting(3, 'How many "communities" has.', minimum=1, maximum=100)
    overlap: float = setting(
        0.0,
        'Part of the items or classes that are the same to all of "communities".',
        minimum=0.0,
        maximum=1.0,
    )


@dataclass(frozen=True, slots=True)
class TrainingSection:
    """Pace, and what is published."""

    interval_seconds: float = setting(
        2.0, "Between a node's rounds.", unit="s", minimum=0.0, above_minimum=True, maximum=86_400.0
    )
    rounds: int = setting(
        0, "A node stops after so many rounds of its own; 0: never.", minimum=0, maximum=10_000
    )
    lockstep: bool = setting(
        False,
        "All nodes train at the same moments, from what had arrived by then: the pessimistic case.",
    )
    step_seconds: float = setting(
        0.05, "Virtual time that one round's training takes.", unit="s", minimum=0.0, maximum=3600.0
    )
    row_fraction: float = setting(
        0.5,
        "Part of its rows that a node sends each round: those that changed most. 1 sends all.",
        minimum=0.0,
        above_minimum=True,
        maximum=1.0,
    )
    refresh_fraction: float = setting(
        0.1, "Part of its rows that it sends again each round.", minimum=0.0, maximum=1.0
    )
    target_publishers: int = setting(
        48,
        "About how many members of a large group publish in each round: they take turns. 0: all.",
        minimum=0,
        maximum=65_536,
    )
    rule: str = setting(
        "screened-mean",
        "How contributions become one model, as `aggregation.rule` of a node's configuration. The"
        ' engine "shared" always takes the plain mean.',
        choices=RULE_NAMES,
    )
    min_row_evidence: int = setting(
        1, "Rows with fewer training ratings are not published.", minimum=1, maximum=1_000_000
    )


@dataclass(frozen=True, slots=True)
class TaskSection:
    """Hyperparameters of the charter: the keys that the kind has in the section `task` of a node's
    configuration."""

    seed: int = setting(0, "Of the seeded rows.", minimum=0, maximum=2**63 - 1)


@dataclass(frozen=True, slots=True)
class NetworkSection:
    """What happens to messages. A published message goes to every member on its own: one sampled
    path each, without mesh or relays; requests are never lost, only slow."""

    latency_seconds: float = setting(
        0.05, "Median delay of one hop.", unit="s", minimum=0.0, maximum=3600.0
    )
    latency_spread: float = setting(
        0.5, "Standard deviation of its logarithm; 0: always the same.", minimum=0.0, maximum=3.0
    )
    hops: int = setting(2, "Hops of a published message; requests take one.", minimum=1, maximum=20)
    delay_rounds: float = setting(
        0.0,
        "Published messages take up to this many round intervals longer (uniform).",
        minimum=0.0,
        maximum=1000.0,
    )
    loss: float = setting(
        0.0, "Part of published messages that never arrive, by receiver.", minimum=0.0, maximum=1.0
    )
    duplicate: float = setting(
        0.0, "Part that arrives twice, by receiver.", minimum=0.0, maximum=1.0
    )
    reorder: float = setting(0.0, "Part that is held back, by receiver.", minimum=0.0, maximum=1.0)
    reorder_seconds: float = setting(
        2.0, "Held back for up to so long.", unit="s", minimum=0.0, maximum=3600.0
    )
    bandwidth_bytes_per_second: float = setting(
        0.0,
        "Adds size / bandwidth to every message; 0: unlimited. Messages do not queue.",
        unit="B/s",
        minimum=0.0,
        maximum=1e12,
    )
    contacts: int = setting(
        8, "Members that a node is connected to, for requests.", minimum=1, maximum=1000
    )
    heartbeat_seconds: float = setting(
        2.0, "Shortest interval of heartbeats.", unit="s", minimum=0.1, maximum=3600.0
    )
    member_ttl_seconds: float = setting(
        600.0, "Silence after which a member's influence ends.", unit="s", minimum=0.3, maximum=1e9
    )
    wire: str = setting(
        "each",
        '"each": every receiver opens, decodes and checks every message itself. "once": the first '
        "receiver does, the others share the result; the model is the same.",
        choices=("each", "once"),
    )


@dataclass(frozen=True, slots=True)
class MembersSection:
    """What members are like. Each kind is drawn among all nodes."""

    straggler_fraction: float = setting(
        0.0, "Part of the nodes whose training is slow.", minimum=0.0, maximum=1.0
    )
    straggler_rounds: float = setting(
        2.0, "How many intervals their training takes.", minimum=0.0, maximum=1000.0
    )
    active: float = setting(
        1.0,
        "Chance that a node takes part in a round; otherwise it sits it out.",
        minimum=0.0,
        above_minimum=True,
        maximum=1.0,
    )
    hostile_fraction: float = setting(
        0.0, "Part of the nodes that attack.", minimum=0.0, maximum=1.0
    )
    attack: str = setting(
        "sign-flip", "What they do.", choices=tuple(ATTACKS), allowed=", ".join(ATTACKS)
    )
    attack_strength: float = setting(
        0.0, "Its factor; 0: the attack's own default.", minimum=0.0, maximum=1e6
    )
    attack_from_round: int = setting(
        0, "They are honest before this round of theirs.", minimum=0, maximum=10_000
    )


@dataclass(frozen=True, slots=True)
class GroupsSection:
    """Which groups the nodes begin in, and whether they move. See docs/switching.md."""

    count: int = setting(1, "Groups at the beginning.", minimum=1, maximum=1_000)
    assignment: str = setting(
        "random",
        'Who begins where. "random": equal shares of the nodes. "zipf": the second group has half '
        'as many as the first, the third a third, and so on. "single": all in one group. "oracle": '
        "one group for each community, whatever `count` says.",
        choices=("random", "zipf", "single", "oracle"),
    )
    switching: bool = setting(False, "Nodes look around, move, and let groups merge.")
    founding: bool = setting(True, "Nodes that many members do harm found groups, if they switch.")
    founding_after_rounds: int = setting(
        8, "Nobody founds a group before this round of its own.", minimum=0, maximum=10_000
    )

    @property
    def several(self) -> bool:
        """Whether there may ever be more than one group."""
        return self.switching or self.count > 1 or self.assignment == "oracle"


@dataclass(frozen=True, slots=True)
class SwitchingSection:
    """How nodes choose their group, with `groups.switching`; rounds are the node's own. The first
    five are those of the section `switching` of a node's configuration, the others are constants
    of a node (see docs/switching.md)."""

    found_min_members: int = setting(
        6, "Members that a group must have before a node founds another.", minimum=2, maximum=65_536
    )
    look_probability: float = setting(
        0.5, "Chance of a look at other groups after a round.", minimum=0.0, maximum=1.0
    )
    dwell_rounds: float = setting(
        2.0,
        "Rounds that a node stays after its first move; each further move adds half of that.",
        minimum=0.0,
        maximum=1_000.0,
    )
    max_candidates: int = setting(8, "Groups probed in one look.", minimum=1, maximum=64)
    warm_up_rounds: int = setting(
        2, "Nobody looks around before this round.", minimum=0, maximum=10_000
    )
    patient_looks: int = setting(
        4, "Looks that end in staying before looks become rarer.", minimum=1, maximum=1_000
    )
    rarest_look: float = setting(
        1 / 16, "The least that looks become, as a part of their chance.", minimum=0.0, maximum=1.0
    )
    usual_spread: float = setting(
        0.015, "Spread of true gains between groups of like people.", minimum=0.0, maximum=10.0
    )
    rare_spread: float = setting(
        0.3, "Spread of true gains between groups of other data.", minimum=0.0, maximum=100.0
    )
    rare_part: float = setting(
        0.01, "How many groups are of other data, before a node sees any.", minimum=0.0, maximum=1.0
    )
    rare_count: float = setting(
        10.0, "As if seen in so many members.", minimum=0.0, maximum=1_000_000.0
    )
    size_gain: float = setting(
        0.02, "What a group e times as large is usually better by.", minimum=0.0, maximum=1.0
    )
    smaller_margin: float = setting(
        0.005, "What a smaller group must be expected to be better by.", minimum=0.0, maximum=1.0
    )
    found_probability: float = setting(
        0.1, "Chance that a node founds a group when it has reason to.", minimum=0.0, maximum=1.0
    )
    found_harmful_part: float = setting(
        0.25,
        "A node founds a group when such a part of the members harm its predictions.",
        minimum=0.0,
        maximum=1.0,
    )
    found_circle: int = setting(
        2, "Other members that must remain without those.", minimum=1, maximum=65_536
    )
    found_gain: float = setting(
        0.03,
        "By which part their model must be better than that of all.",
        minimum=0.0,
        maximum=1.0,
    )
    found_z: float = setting(
        1.0, "How sure of that it must be, in standard errors.", minimum=0.0, maximum=100.0
    )
    found_examples: int = setting(
        5, "On how many held-out examples at least.", minimum=1, maximum=1_000_000
    )
    broken_promise: float = setting(
        0.02,
        "By which part worse than in the group left for it a group must be to be distrusted.",
        minimum=0.0,
        maximum=10.0,
    )
    sure: float = setting(
        2.0, "And by how many standard errors at least.", minimum=0.0, maximum=100.0
    )
    distrust_rounds: int = setting(
        16,
        "Before such a group is looked at again; twice as many each further time.",
        minimum=0,
        maximum=10_000,
    )


@dataclass(frozen=True, slots=True)
class Fault:
    """One entry of the timetable, `at_round` intervals after the beginning.

    join, leave, crash, return: `count` nodes, or that `fraction` of all nodes. Who joins was not
    there before; who returns had crashed. partition: in `parts` equal parts that cannot hear each
    other, until heal.
    """

    at_round: float
    what: What
    count: int = 0
    fraction: float = 0.0
    parts: int = 2

    def how_many(self, nodes: int) -> int:
        """`count`, else that fraction of `nodes`, at least one; 0 when neither is given."""
        return self.count or (max(1, round(self.fraction * nodes)) if self.fraction else 1)


@dataclass(frozen=True, slots=True)
class Scenario:
    """See the module's text. `name` is that of the file. of_kind: the settings of the kind, by the
    keys that they have in a node's configuration ("task.factors")."""

    name: str = "custom"
    run: RunSection = field(default_factory=RunSection)
    data: DataSection = field(default_factory=DataSection)
    training: TrainingSection = field(default_factory=TrainingSection)
    task: TaskSection = field(default_factory=TaskSection)
    network: NetworkSection = field(default_factory=NetworkSection)
    members: MembersSection = field(default_factory=MembersSection)
    groups: GroupsSection = field(default_factory=GroupsSection)
    switching: SwitchingSection = field(default_factory=SwitchingSection)
    events: tuple[Fault, ...] = ()
    of_kind: Mapping[str, Value] = field(default_factory=dict, hash=False)

    @property
    def joiners(self) -> int:
        """How many nodes are not there from the beginning."""
        return sum(e.how_many(self.run.nodes) for e in self.events if e.what == "join")


def node_config(scenario: Scenario) -> Config:
    """The configuration of a node of the scenario, as far as its learning goes."""
    return with_values(
        Config(),
        {
            **scenario.of_kind,
            "task.kind": scenario.data.kind,
            "task.seed": scenario.task.seed,
            "data.skip_bad_rows": scenario.data.skip_bad_rows,
            "training.min_row_evidence": scenario.training.min_row_evidence,
        },
    )
