"""From the sections of `LOGGING_CONFIG` to options.

Levels and sizes here, all else by `handler_config.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from Agent.config.loading.checks import level_number, near_miss
from Agent.config.loading.handler_config import (
    HANDLER_CATEGORIES,
    LOGGER_CATEGORIES,
    check_logger,
    outputs_in,
)
from Agent.config.loading.options import Options
from Agent.errors import ConfigurationError
from Agent.event.kinds import LEVELS

_SECTIONS = ("formatters", "filters", "handlers", "loggers")
_KEYS = frozenset({"version", "disable_existing_loggers", "incremental", "root", *_SECTIONS})
_START = "start from a copy of Agent.config.logging_config.LOGGING_CONFIG"


def read_sections(config: Any) -> Options:
    """The options in a value shaped like `LOGGING_CONFIG`; ConfigurationError names what it cannot mean."""
    if not isinstance(config, Mapping) or config.get("version", 1) != 1:
        raise ConfigurationError("the logging configuration is not a mapping with version 1", remedy=_START)
    unknown = sorted(set(map(str, config)) - _KEYS)
    if unknown:
        raise ConfigurationError(
            f"the logging configuration has {unknown[0]!r}, which is not a section"
            f"{near_miss(unknown[0], _KEYS)}",
            remedy=_START,
        )
    if config.get("incremental"):
        raise ConfigurationError(
            "incremental logging configurations are not supported", remedy="leave that out"
        )
    sections = {name: _section(config, name) for name in _SECTIONS}
    root = config.get("root", {})
    if not isinstance(root, Mapping):
        raise ConfigurationError("'root' of the logging configuration is not a mapping", remedy=_START)
    check_logger("root", root, {"root": None})
    if root.get("filters"):
        raise ConfigurationError(
            "the root logger has filters, but no events",
            remedy="set filters at loggers or handlers",
        )
    rotation = _rotation_in(sections["handlers"])
    return Options(
        levels=_levels_in(sections["loggers"], root.get("level", "DEBUG")),
        rotation=rotation,
        outputs=outputs_in(sections, root),
    )


def _rotation_in(handlers: Mapping[str, Mapping[str, Any]]) -> dict[str, tuple[int, int]]:
    """Category to the sizes of its file, where they are not the usual ones."""
    from Agent.tree.write.mirror import DEFAULT_ROTATION

    rotation = {}
    for name, category in HANDLER_CATEGORIES.items():
        handler, default = handlers.get(name, {}), DEFAULT_ROTATION[category.value]
        size, backups = handler.get("maxBytes", default[0]), handler.get("backupCount", default[1])
        whole = all(isinstance(number, int) and not isinstance(number, bool) for number in (size, backups))
        if not whole or size < 1 or backups < 0:
            raise ConfigurationError(
                f"handler {name!r} has maxBytes {size!r} and backupCount {backups!r}",
                remedy="use whole numbers, at least 1 byte and 0 backups",
            )
        if (size, backups) != default:
            rotation[category.value] = (size, backups)
    return rotation


def _levels_in(loggers: Mapping[str, Mapping[str, Any]], inherited: Any) -> dict[str, str]:
    """Category to its level, where that is above DEBUG; a logger without one has that of the root."""
    for name, logger in loggers.items():
        check_logger(name, logger, LOGGER_CATEGORIES)
    levels = {}
    for name, category in LOGGER_CATEGORIES.items():
        level = loggers.get(name, {}).get("level", inherited)
        text = _level_name(level)
        if level_number(text) > LEVELS["DEBUG"]:
            levels[category.value] = text
    return levels


def _level_name(level: Any) -> str:
    """A level as `dictConfig` takes it, by name or by number."""
    if isinstance(level, int) and not isinstance(level, bool):
        above = [name for name, number in LEVELS.items() if number >= level]
        return above[0] if above else "OFF"
    return "DEBUG" if str(level).upper() == "NOTSET" else str(level)


def _section(config: Mapping[str, Any], name: str) -> dict[str, Mapping[str, Any]]:
    """One section as it is now; what its owner changes later does not change it."""
    section = config.get(name, {})
    if not isinstance(section, Mapping) or not all(isinstance(entry, Mapping) for entry in section.values()):
        raise ConfigurationError(
            f"{name!r} of the logging configuration is not a mapping of mappings", remedy=_START
        )
    return {str(key): _copied(entry) for key, entry in section.items()}


def _copied(value: Any) -> Any:
    """Mappings and lists again, what they hold as it is: streams and classes are not to be copied."""
    if isinstance(value, Mapping):
        return {key: _copied(entry) for key, entry in value.items()}
    return [_copied(entry) for entry in value] if isinstance(value, list) else value
