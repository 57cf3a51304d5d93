"""A node's configuration: its sections, the table of its settings, and how it is loaded and written (design 11)."""

from bflcd.config.loading import CONFIG_FILE, MAX_CONFIG_BYTES, LoadedConfig, load_config
from bflcd.config.sections import (
    ApiSection,
    AttackSection,
    ComputeSection,
    Config,
    DataSection,
    LogSection,
    NetSection,
    NodeSection,
    PrivacySection,
    StoreSection,
    TasksSection,
    announced,
    dial_rule,
)
from bflcd.config.settings import FLAGS, SETTINGS, Setting, value_of
from bflcd.config.writing import config_text, set_values, write_config

__all__ = [
    "CONFIG_FILE",
    "FLAGS",
    "MAX_CONFIG_BYTES",
    "SETTINGS",
    "ApiSection",
    "AttackSection",
    "ComputeSection",
    "Config",
    "DataSection",
    "LoadedConfig",
    "LogSection",
    "NetSection",
    "NodeSection",
    "PrivacySection",
    "Setting",
    "StoreSection",
    "TasksSection",
    "announced",
    "config_text",
    "dial_rule",
    "load_config",
    "set_values",
    "value_of",
    "write_config",
]
