"""Configuration of a node: what can be set, and how it is loaded.

`settings` describes one setting and checks a value, `*_section(s)` list them, `kinds` those of
single kinds of learning, `sections` puts them together, `load` merges command line, environment,
file and defaults, `render` writes TOML and the reference.
"""

from openfl.config.group_sections import AggregationConfig, GroupConfig
from openfl.config.learning_sections import DataConfig, TaskConfig, TrainingConfig
from openfl.config.load import (
    ENV_PREFIX,
    RESERVED_ENV,
    SECTIONS,
    all_settings,
    env_name,
    load_config,
    parse_value,
    require_setting,
    value_of,
    with_values,
)
from openfl.config.network_sections import GossipConfig, NetworkConfig
from openfl.config.output_sections import (
    HttpConfig,
    LogConfig,
    ModelConfig,
    RecommendConfig,
    ViewConfig,
)
from openfl.config.privacy_section import PrivacyConfig
from openfl.config.render import (
    EffectiveValue,
    effective_values,
    reference_markdown,
    to_toml,
    toml_value,
)
from openfl.config.sections import Config, Origin
from openfl.config.settings import Setting

__all__ = [
    "ENV_PREFIX",
    "RESERVED_ENV",
    "SECTIONS",
    "AggregationConfig",
    "Config",
    "DataConfig",
    "EffectiveValue",
    "GossipConfig",
    "GroupConfig",
    "HttpConfig",
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
    "all_settings",
    "effective_values",
    "env_name",
    "load_config",
    "parse_value",
    "reference_markdown",
    "require_setting",
    "to_toml",
    "toml_value",
    "value_of",
    "with_values",
]
