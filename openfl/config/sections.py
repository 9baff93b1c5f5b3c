"""`Config`: every setting there is, one frozen dataclass a section, and those of single kinds.

A field's metadata is its only description: the loader checks with it, `openfl-node init` writes it
into the commented file, and docs/configuration.md is generated from it. Figures that are guesses
say so; the others come from the measurements behind the design.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from openfl.config.group_sections import AggregationConfig, GroupConfig, SwitchingConfig
from openfl.config.learning_sections import DataConfig, TaskConfig, TrainingConfig
from openfl.config.network_sections import GossipConfig, NetworkConfig
from openfl.config.output_sections import (
    HttpConfig,
    LogConfig,
    ModelConfig,
    RecommendConfig,
    ViewConfig,
)
from openfl.config.privacy_section import PrivacyConfig

S = TypeVar("S")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value comes from. `where`: the file or the variable; empty for the other kinds."""

    kind: Literal["default", "file", "environment", "command line"] = "default"
    where: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.where}".rstrip()


@dataclass(frozen=True, slots=True)
class Config:
    """The effective configuration. `Config()` is all defaults.

    `provenance` maps every key ("section.key") that is not at its default's origin to where it was
    set; use `origin`. It takes no part in equality. `of_kinds`: dataclass -> its instance, of the
    settings of single kinds that are not all at their defaults; use `own`.
    """

    network: NetworkConfig = field(default_factory=NetworkConfig)
    group: GroupConfig = field(default_factory=GroupConfig)
    data: DataConfig = field(default_factory=DataConfig)
    task: TaskConfig = field(default_factory=TaskConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    gossip: GossipConfig = field(default_factory=GossipConfig)
    aggregation: AggregationConfig = field(default_factory=AggregationConfig)
    privacy: PrivacyConfig = field(default_factory=PrivacyConfig)
    switching: SwitchingConfig = field(default_factory=SwitchingConfig)
    recommend: RecommendConfig = field(default_factory=RecommendConfig)
    http: HttpConfig = field(default_factory=HttpConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    log: LogConfig = field(default_factory=LogConfig)
    view: ViewConfig = field(default_factory=ViewConfig)
    of_kinds: Mapping[type[Any], Any] = field(default_factory=dict, hash=False)
    provenance: Mapping[str, Origin] = field(default_factory=dict, compare=False, repr=False)

    def origin(self, key: str) -> Origin:
        """Where the value of "section.key" comes from."""
        return self.provenance.get(key, Origin())

    def own(self, settings: type[S]) -> S:
        """What is set of a kind's own `settings`, one of the dataclasses in its description."""
        found: S = self.of_kinds.get(settings) or settings()
        return found
