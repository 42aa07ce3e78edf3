"""A checked config, ready to be built as a whole or in part."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from omma.config.source import ConfigError, ConfigPath, Problem, dotted, mark_of
from omma.registry import source_of

if TYPE_CHECKING:
    from omma.config.compose import Config


@dataclass(frozen=True)
class Part:
    """A class or function and its checked arguments, which may be parts themselves."""

    target: Callable[..., Any]
    arguments: dict[str, Any]
    path: ConfigPath


@dataclass(frozen=True)
class Plan:
    """What a config says is to be built. ``plan["model"]`` is the plan of that part alone."""

    value: Any
    config: Config

    def __getitem__(self, key: str | int) -> Plan:
        inner: Any = self.value.arguments if isinstance(self.value, Part) else self.value
        return Plan(inner[key], self.config)

    def __contains__(self, key: str) -> bool:
        """Whether the config gives ``key``, and not as null."""
        inner = self.value.arguments if isinstance(self.value, Part) else self.value
        return isinstance(inner, dict) and inner.get(key) is not None

    def build(self) -> Any:
        """Construct it, innermost parts first.

        Raises:
            ConfigError: a constructor refused its arguments; the message stands at the part's line.
        """
        return self._make(self.value)

    def _make(self, value: Any) -> Any:
        if isinstance(value, list | tuple):
            return type(value)(self._make(item) for item in value)
        if isinstance(value, dict):
            return {key: self._make(item) for key, item in value.items()}
        if not isinstance(value, Part):
            return value
        arguments = {key: self._make(item) for key, item in value.arguments.items()}
        try:
            return value.target(**arguments)
        except (ValueError, TypeError) as error:
            mark = mark_of(self.config.marks, value.path)
            text = f"{getattr(value.target, '__name__', dotted(value.path))} refuses its arguments: {error}"
            raise ConfigError([Problem(value.path, mark, text, source_of(value.target))]) from error
