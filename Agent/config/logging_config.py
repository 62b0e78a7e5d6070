"""`setup_logging()` and the one place to customise what it does.

Change `LOGGING_CONFIG` before the first event, or hand a changed copy to `setup_logging`. Handlers are the
category files across sessions, loggers the sources of events; a logger's level decides what is recorded at
all. How the parts then meet is in `recording.py`.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from Agent.config.load import options_from
from Agent.config.options import Options, level_number, with_changes
from Agent.config.recording import (
    RecordingSession,
    begin,
    current_session,
    has_ended,
    health,
    note_obstacle,
    set_levels,
    shutdown_logging,
    wiring_lock,
)
from Agent.errors import ConfigurationError
from Agent.event.kinds import LEVEL_OFF, LEVELS, Category
from Agent.record.health import say
from Agent.record.levels import LIMITS

__all__ = [
    "HANDLER_CATEGORIES",
    "LOGGER_CATEGORIES",
    "LOGGING_CONFIG",
    "begin_by_default",
    "health",
    "options_in",
    "setup_logging",
    "shutdown_logging",
]

_MEGABYTE = 1024 * 1024

LOGGING_CONFIG: dict[str, Any] = {
    "version": 1,
    "handlers": {
        "agent_file": {"filename": "agents/agents.log", "maxBytes": 200 * _MEGABYTE, "backupCount": 10},
        "learning_file": {
            "filename": "learning/learning.log",
            "maxBytes": 100 * _MEGABYTE,
            "backupCount": 10,
        },
        "interaction_file": {
            "filename": "interactions/interactions.log",
            "maxBytes": 100 * _MEGABYTE,
            "backupCount": 10,
        },
        "performance_file": {
            "filename": "performance/performance.log",
            "maxBytes": 50 * _MEGABYTE,
            "backupCount": 5,
        },
        "system_file": {"filename": "system/system.jsonl", "maxBytes": 50 * _MEGABYTE, "backupCount": 5},
        "error_file": {"filename": "errors/errors.jsonl", "maxBytes": 50 * _MEGABYTE, "backupCount": 5},
        "event_file": {"filename": "events/events.log", "maxBytes": 100 * _MEGABYTE, "backupCount": 10},
    },
    "loggers": {
        "agent": {"handlers": ["agent_file"], "level": "DEBUG"},
        "learning": {"handlers": ["learning_file"], "level": "DEBUG"},
        "interaction": {"handlers": ["interaction_file"], "level": "DEBUG"},
        "performance": {"handlers": ["performance_file"], "level": "DEBUG"},
        "system": {"handlers": ["system_file"], "level": "DEBUG"},
        "error": {"handlers": ["error_file"], "level": "DEBUG"},
        "event": {"handlers": ["event_file"], "level": "DEBUG"},
    },
}

# As it came: what a user changes in place is compared with this.
_DEFAULTS = copy.deepcopy(LOGGING_CONFIG)
_SECTIONS = {"version", "disable_existing_loggers", "handlers", "loggers"}

HANDLER_CATEGORIES = {
    "agent_file": Category.AGENTS,
    "learning_file": Category.LEARNING,
    "interaction_file": Category.INTERACTIONS,
    "performance_file": Category.PERFORMANCE,
    "system_file": Category.SYSTEM,
    "error_file": Category.ERRORS,
    "event_file": Category.EVENTS,
}
LOGGER_CATEGORIES = {name.removesuffix("_file"): category for name, category in HANDLER_CATEGORIES.items()}
_HANDLER_KEYS = {"filename", "maxBytes", "backupCount", "class", "formatter", "encoding"}
_FIXED_KEYS = {"class", "formatter", "encoding", "filename"}


def setup_logging(config: Mapping[str, Any] | None = None, **options: Any) -> RecordingSession:
    """Begin to record, or change what is recorded; the session that events go to.

    While a session runs only levels can be changed in it; any other change ends it and begins another.

    Args:
        config: a value shaped like `LOGGING_CONFIG`, which holds without it.
        options: fields of `Options` by name, such as `trace_root`, `level`, `console`; they go over the
            environment (AGENT_TRACE_ROOT, AGENT_TRACE_LEVEL, ...), which goes over the configuration.

    Raises:
        ConfigurationError: a setting that cannot be, or a trace root that cannot be written.
    """
    with wiring_lock():
        session = current_session()
        if session is None:
            wanted = options_from(options, base=options_in(LOGGING_CONFIG if config is None else config))
            return begin(wanted)
        # What is not named stays as it is.
        given = {name: value for name, value in options.items() if value is not None}
        if config is not None:
            told = options_in(config)
            given = {"levels": told.levels, "rotation": told.rotation, **given}
        wanted = with_changes(session.options, given)
        if wanted == replace(session.options, level=wanted.level, levels=wanted.levels):
            return set_levels(wanted)
        shutdown_logging()
        return begin(wanted)


def options_in(config: Mapping[str, Any]) -> Options:
    """The options in a value shaped like `LOGGING_CONFIG`; ConfigurationError names what it cannot mean."""
    start = "start from a copy of Agent.config.logging_config.LOGGING_CONFIG"
    if not isinstance(config, Mapping) or config.get("version", 1) != 1:
        raise ConfigurationError("the logging configuration is not a mapping with version 1", remedy=start)
    unknown = sorted(set(map(str, config)) - _SECTIONS)
    if unknown:
        raise ConfigurationError(
            f"the logging configuration has {unknown[0]!r}, which is not supported yet", remedy=start
        )
    rotation: dict[str, tuple[int, int]] = {}
    for name, handler in _section(config, "handlers").items():
        if name not in HANDLER_CATEGORIES:
            raise ConfigurationError(
                f"handler {name!r} is none of the category files; additional handlers are not supported yet",
                remedy=f"use {', '.join(HANDLER_CATEGORIES)}",
            )
        unknown = sorted(set(handler) - _HANDLER_KEYS)
        if unknown:
            raise ConfigurationError(
                f"handler {name!r} has the setting {unknown[0]!r}, which is not supported",
                remedy="set maxBytes and backupCount; levels belong to loggers",
            )
        default = _DEFAULTS["handlers"][name]
        if any(handler.get(key, default.get(key)) != default.get(key) for key in _FIXED_KEYS):
            raise ConfigurationError(
                f"handler {name!r} changes its file or format, which is not supported yet",
                remedy="leave filename, class and formatter as they are",
            )
        size = handler.get("maxBytes", default["maxBytes"])
        backups = handler.get("backupCount", default["backupCount"])
        if not (isinstance(size, int) and size > 0 and isinstance(backups, int) and backups >= 0):
            raise ConfigurationError(
                f"handler {name!r} has maxBytes {size!r} and backupCount {backups!r}",
                remedy="use whole numbers, at least 1 byte and 0 backups",
            )
        if (size, backups) != (default["maxBytes"], default["backupCount"]):
            rotation[HANDLER_CATEGORIES[name].value] = (size, backups)
    return Options(levels=_levels_in(config), rotation=rotation)


def _levels_in(config: Mapping[str, Any]) -> dict[str, str]:
    levels: dict[str, str] = {}
    for name, logger in _section(config, "loggers").items():
        category = LOGGER_CATEGORIES.get(name)
        if category is None:
            raise ConfigurationError(
                f"logger {name!r} is unknown", remedy=f"use one of {', '.join(LOGGER_CATEGORIES)}"
            )
        default = _DEFAULTS["loggers"][name]
        unknown = sorted(set(logger) - {"level", "handlers", "propagate"})
        if unknown or logger.get("handlers", default["handlers"]) != default["handlers"]:
            raise ConfigurationError(
                f"logger {name!r} sets its {unknown[0] if unknown else 'handlers'}, which is not supported",
                remedy="set its level; mirrors=False writes no category files",
            )
        level = logger.get("level", "DEBUG")
        if level_number(level) > LEVELS["DEBUG"]:
            levels[category.value] = level
    return levels


def _section(config: Mapping[str, Any], name: str) -> dict[str, Mapping[str, Any]]:
    section = config.get(name, {})
    if not isinstance(section, Mapping) or not all(isinstance(entry, Mapping) for entry in section.values()):
        raise ConfigurationError(
            f"{name!r} of the logging configuration is no mapping of mappings",
            remedy="start from a copy of Agent.config.logging_config.LOGGING_CONFIG",
        )
    return dict(section)


def begin_by_default() -> None:
    """Set up what nobody set up: called by the first event.

    A root that cannot be written is told once on stderr; the program goes on unrecorded. So it does with
    events that come after recording ended with the process.
    """
    if has_ended():
        say("events that come after the end of recording, when the interpreter shuts down, are not recorded")
    else:
        try:
            setup_logging()
        except Exception as error:  # noqa: BLE001 - the program is not to fail because it cannot be recorded
            what = "" if isinstance(error, ConfigurationError) else f"{type(error).__name__}: "
            note_obstacle(f"{what}{error}")
            say(f"nothing is recorded: {what}{error}")
        else:
            return
    for limit in LIMITS.values():
        limit.value = LEVEL_OFF
