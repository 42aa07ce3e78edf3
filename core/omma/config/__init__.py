"""Configs: YAML text → composed values with their origin → a checked plan → objects."""

from omma.config.check import check
from omma.config.compose import Config
from omma.config.locate import config_root, find_config, list_configs
from omma.config.plan import Plan
from omma.config.source import ConfigError, Mark, Problem, dotted, mark_of
from omma.config.write import in_line, to_yaml, yaml_lines

__all__ = [
    "Config",
    "ConfigError",
    "Mark",
    "Plan",
    "Problem",
    "check",
    "config_root",
    "dotted",
    "find_config",
    "in_line",
    "list_configs",
    "mark_of",
    "to_yaml",
    "yaml_lines",
]
