"""Configuration of a node: what can be set, and how it is loaded.

`settings` describes one setting and checks a value, `sections` lists them all, `load` merges
command line, environment, file and defaults, `render` writes TOML and the reference.
"""

from openfl.config.load import ENV_PREFIX, RESERVED_ENV, SECTIONS, SETTINGS, env_name, load_config
from openfl.config.render import (
    EffectiveValue,
    effective_values,
    reference_markdown,
    to_toml,
    toml_value,
    value_of,
)
from openfl.config.sections import (
    AggregationConfig,
    Config,
    DataConfig,
    GossipConfig,
    GroupConfig,
    LogConfig,
    ModelConfig,
    NetworkConfig,
    Origin,
    PrivacyConfig,
    RecommendConfig,
    TaskConfig,
    TrainingConfig,
    ViewConfig,
)
from openfl.config.settings import Setting

__all__ = [
    "ENV_PREFIX",
    "RESERVED_ENV",
    "SECTIONS",
    "SETTINGS",
    "AggregationConfig",
    "Config",
    "DataConfig",
    "EffectiveValue",
    "GossipConfig",
    "GroupConfig",
    "LogConfig",
    "ModelConfig",
    "NetworkConfig",
    "Origin",
    "PrivacyConfig",
    "RecommendConfig",
    "Setting",
    "TaskConfig",
    "TrainingConfig",
    "ViewConfig",
    "effective_values",
    "env_name",
    "load_config",
    "reference_markdown",
    "to_toml",
    "toml_value",
    "value_of",
]
