"""What one source says, option by option, with its place; `load.py` lays the sources in order.

The tables `levels` and `rotation` are taken apart by category: a nearer source says only what differs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from Agent.config.loading.options import SETTABLE, Options, with_changes
from Agent.errors import ConfigurationError

TABLES = ("levels", "rotation", "captures")
DEFAULT = "default"


class Setting(NamedTuple):
    """A value and where it comes from."""

    value: Any
    origin: str
    """`default`, `argument`, `LOGGING_CONFIG`, the name of a variable, or the path of a file."""
    line: int | None = None
    """The line in that file, counted from 1, where it could be found."""

    def __str__(self) -> str:
        return f"{self.origin}:{self.line}" if self.line is not None else self.origin


Settings = dict[str, Setting]
"""`level`, `levels.learning`, `rotation.agents` ... to what is set there."""


def taken_apart(values: Mapping[str, Any], origin: str) -> Settings:
    """The settings that some values make; tables become one a category."""
    found: Settings = {}
    for name, value in values.items():
        if name in TABLES and isinstance(value, Mapping):
            found.update({f"{name}.{key}": Setting(entry, origin) for key, entry in value.items()})
        else:
            found[name] = Setting(value, origin)
    return found


def put_together(settings: Mapping[str, Setting]) -> dict[str, Any]:
    """The values of options that settings make; the reverse of `taken_apart`."""
    values: dict[str, Any] = {}
    for name, setting in settings.items():
        option, dot, category = name.partition(".")
        value = setting.value
        if dot:
            entry = tuple(value) if isinstance(value, list) else value
            values.setdefault(option, {})[category] = entry
        else:
            values[name] = value
    return values


def differing(options: Options) -> dict[str, Any]:
    """What some options say beyond the defaults."""
    plain = Options()
    return {
        name: getattr(options, name) for name in SETTABLE if getattr(options, name) != getattr(plain, name)
    }


def check_each(settings: Mapping[str, Setting]) -> None:
    """Nothing where each setting can be; otherwise one error that says where the first wrong one stands."""
    for name, setting in settings.items():
        try:
            with_changes(Options(), put_together({name: setting}))
        except ConfigurationError as error:
            raise misplaced(error.message, setting, error.remedy) from None


def misplaced(message: str, setting: Setting, remedy: str | None) -> ConfigurationError:
    """The error about a setting, with its place: a file and its line, or a variable before the message."""
    if setting.origin.startswith("AGENT_TRACE_"):
        return ConfigurationError(f"{setting.origin}: {message}", remedy=remedy)
    if "/" in setting.origin or "\\" in setting.origin:
        return ConfigurationError(message, path=setting.origin, line=setting.line, remedy=remedy)
    return ConfigurationError(message, remedy=remedy)
