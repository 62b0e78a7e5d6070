"""`setup_logging()` and the one place to customise what it does.

Change `LOGGING_CONFIG` before the first event, or hand a changed copy to `setup_logging`. It has the shape
of the standard library's `dictConfig`: seven handlers are the category files across sessions, others may be
added; loggers are the sources of events, and a logger's level decides what is recorded at all.
`handler_config.py` reads it; how the parts then meet is in `recording.py`.
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
    options_to_go_on_with,
    set_levels,
    shutdown_logging,
)
from Agent.event.kinds import Category
from Agent.tree.layout import MIRROR_FILES
from Agent.tree.write.mirror import DEFAULT_ROTATION

if TYPE_CHECKING:
    from Agent.config.handlers import Outlets

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
    # `json` is a line of the recording, `text` what people read; add your own: format, datefmt, style, class.
    "formatters": {"json": dict(JSON_FORMATTER), "text": dict(TEXT_FORMATTER)},
    "filters": {},
    # `agent_file`, `learning_file` ...: the category files with their sizes, each named by the logger of its
    # events. A handler of any other name needs a class, and a logger that names it.
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
    """Begin to record, or change what is recorded; the session that events go to.

    While a session runs only levels can be changed in it; any other change ends it and begins another.

    Args:
        config: a value shaped like `LOGGING_CONFIG`, which holds without it.
        options: fields of `Options` by name, such as `trace_root`, `level`, `console`, and `preset`; they go
            over the environment (AGENT_TRACE_ROOT, AGENT_TRACE_LEVEL, ...), which goes over the configuration
            files, which go over the preset, which goes over `config`.

    Raises:
        ConfigurationError: a setting that cannot be, or a trace root that cannot be written.
    """
    with wiring_lock():
        session = current_session()
        if session is None:
            wanted = options_from(options, base=options_in(LOGGING_CONFIG if config is None else config))
            return _begin(wanted)
        # What is not named stays as it is.
        base = session.options
        given = {name: value for name, value in options.items() if value is not None}
        if config is not None:
            told = options_in(config)
            given = {"levels": told.levels, "rotation": told.rotation, **given}
            base = replace(base, outputs=told.outputs)
        if "preset" in given:
            given = {**preset_values(given.pop("preset")), **given}
        wanted = with_changes(base, given)
        if wanted == replace(session.options, level=wanted.level, levels=wanted.levels):
            return set_levels(wanted)
        from Agent.config.handlers import open_outlets

        # Built first: what cannot be is no reason to end what runs.
        outlets = open_outlets(wanted.outputs)
        shutdown_logging()
        return _begin(wanted, outlets)


def begin_again() -> RecordingSession:
    """Begin with the options of the session whose directory was removed, else with the configured ones."""
    options = options_to_go_on_with()
    with wiring_lock():
        return setup_logging() if options is None else _begin(options)


def _begin(options: Options, outlets: Outlets | None = None) -> RecordingSession:
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
    """The options in a value shaped like `LOGGING_CONFIG`; ConfigurationError names what it cannot mean."""
    return read_sections(config)


class EffectiveSettings(NamedTuple):
    """The settings that a program would record with if it began here."""

    settings: Settings
    """By option, by `option.category` for the tables; all of them."""
    preset: Setting | None
    outputs: dict[str, Any] | None
    """Formatters and handlers of `LOGGING_CONFIG`, where they are not as they come."""


def effective_settings() -> EffectiveSettings:
    """Every option as it holds here; a category's level is never below the overall one.

    Raises:
        ConfigurationError: a file or variable says something that cannot be.
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
