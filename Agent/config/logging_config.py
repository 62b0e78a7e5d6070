"""`setup_logging()`, and `LOGGING_CONFIG` to customise it.

Change `LOGGING_CONFIG` before the first event, or pass a changed copy to `setup_logging`. It has the form of
the standard library's `dictConfig`: seven handlers are the category files across sessions, and others can be
added; loggers are the sources of events, and a logger's level decides what is recorded. `handler_config.py`
reads it; `recording.py` then connects the parts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from Agent.config.handler_config import (
    HANDLER_CATEGORIES,
    JSON_FORMATTER,
    LOGGER_CATEGORIES,
    TEXT_FORMATTER,
    read_sections,
)
from Agent.config.load import found_settings, options_from, preset_values
from Agent.config.options import (
    DEFAULT,
    SETTABLE,
    TABLES,
    Options,
    Setting,
    Settings,
    level_number,
    with_changes,
)
from Agent.config.process import wiring_lock
from Agent.config.recording import (
    RecordingSession,
    begin,
    current_session,
    health,
    options_of_removed,
    placed,
    set_levels,
    shutdown_logging,
)
from Agent.event.kinds import Category
from Agent.tree.layout import MIRROR_FILES
from Agent.tree.write.mirror import DEFAULT_ROTATION

if TYPE_CHECKING:
    from Agent.config.handlers import OutputRouter

__all__ = [
    "effective_settings",
    "HANDLER_CATEGORIES",
    "health",
    "LOGGING_CONFIG",
    "options_in",
    "setup_logging",
    "shutdown_logging",
]

LOGGING_CONFIG: dict[str, Any] = {
    "version": 1,
    # `json` is the recorded line, `text` is for people; add your own: format, datefmt, style, class.
    "formatters": {"json": dict(JSON_FORMATTER), "text": dict(TEXT_FORMATTER)},
    "filters": {},
    # `agent_file`, `learning_file`, ...: category files with their sizes, each named by the logger of its
    # events. Any other handler needs a class, and a logger that names it.
    "handlers": {
        name: {
            "filename": MIRROR_FILES[category],
            "maxBytes": DEFAULT_ROTATION[category][0],
            "backupCount": DEFAULT_ROTATION[category][1],
        }
        for name, category in HANDLER_CATEGORIES.items()
    },
    "loggers": {name: {"handlers": [f"{name}_file"], "level": "DEBUG"} for name in LOGGER_CATEGORIES},
    # Its handlers get the events of every logger.
    "root": {"handlers": []},
}


def setup_logging(config: Mapping[str, Any] | None = None, **options: Any) -> RecordingSession:
    """Start recording, or change what is recorded; return the session that events go to.

    During a session only levels can change; any other change ends the session and starts a new one.

    Args:
        config: a mapping like `LOGGING_CONFIG`; default: `LOGGING_CONFIG` itself.
        options: fields of `Options` by name, such as `trace_root`, `level`, `console`, and `preset`. They
            override the environment (AGENT_TRACE_ROOT, AGENT_TRACE_LEVEL, ...), which overrides configuration
            files, which override the preset, which overrides `config`.

    Raises:
        ConfigurationError: a setting is invalid, or the trace root cannot be written.
    """
    with wiring_lock():
        session = current_session()
        if session is None:
            wanted = options_from(options, base=options_in(LOGGING_CONFIG if config is None else config))
            return _begin(wanted)
        # Options without a new value stay unchanged.
        base = session.options
        given = {name: value for name, value in options.items() if value is not None}
        if config is not None:
            told = options_in(config)
            given = {"levels": told.levels, "rotation": told.rotation, **given}
            base = replace(base, outputs=told.outputs)
        if "preset" in given:
            given = {**preset_values(given.pop("preset")), **given}
        wanted = placed(with_changes(base, given))
        if wanted == replace(session.options, level=wanted.level, levels=wanted.levels):
            return set_levels(wanted)
        from Agent.config.handlers import open_outlets

        # Built first: if that fails, the running session continues.
        outlets = open_outlets(wanted.outputs)
        shutdown_logging()
        return _begin(wanted, outlets)


def begin_again() -> RecordingSession:
    """Start with the options of the session whose directory was removed, else with the configured ones."""
    options = options_of_removed()
    with wiring_lock():
        return setup_logging() if options is None else _begin(options)


def _begin(options: Options, outlets: OutputRouter | None = None) -> RecordingSession:
    if outlets is None:
        from Agent.config.handlers import open_outlets

        outlets = open_outlets(options.outputs)
    try:
        return begin(options, outlets)
    except BaseException:
        if outlets is not None:
            outlets.close()
        raise


def options_in(config: Mapping[str, Any]) -> Options:
    """Read the options of a mapping like `LOGGING_CONFIG`; ConfigurationError if it is invalid."""
    return read_sections(config)


class EffectiveSettings(NamedTuple):
    """The settings that would apply to a recording started here."""

    settings: Settings
    """Every setting, by option, and by `option.category` for tables."""
    preset: Setting | None
    outputs: dict[str, Any] | None
    """Formatters and handlers of `LOGGING_CONFIG`; None if they are the defaults."""


def effective_settings() -> EffectiveSettings:
    """Every option as it applies here; a category's level is at least the overall level.

    Raises:
        ConfigurationError: a file or variable has an invalid setting.
    """
    base = options_in(LOGGING_CONFIG)
    found, preset = found_settings({}, base=base)
    settings = {name: found[name] for name in SETTABLE if name not in TABLES}
    root = settings["trace_root"]
    settings["trace_root"] = root._replace(value=type(base.trace_root)(root.value).absolute())
    overall = settings["level"]
    for category in sorted(Category):
        own = found.get(f"levels.{category}", overall)
        decides = own if level_number(own.value) > level_number(overall.value) else overall
        settings[f"levels.{category}"] = decides._replace(value=str(decides.value).upper())
    for category in sorted(Category):
        usual = Setting(list(DEFAULT_ROTATION[category.value]), DEFAULT)
        own = found.get(f"rotation.{category}", usual)
        settings[f"rotation.{category}"] = own._replace(value=list(own.value))
    for category in sorted(Category):
        settings[f"captures.{category}"] = found.get(f"captures.{category}", settings["capture"])
    settings.update({name: each for name, each in found.items() if name.startswith("captures.")})
    return EffectiveSettings(settings, preset, base.outputs.described() if base.outputs is not None else None)
