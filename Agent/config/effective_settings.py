"""`LOGGING_CONFIG`, and the effective settings, without importing the modules that record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from Agent.config.handler_config import (
    HANDLER_CATEGORIES,
    JSON_FORMATTER,
    LOGGER_CATEGORIES,
    TEXT_FORMATTER,
    read_sections,
)
from Agent.config.load import read_settings
from Agent.config.options import DEFAULT, SETTABLE, TABLES, Options, Setting, Settings, level_number
from Agent.event.kinds import Category
from Agent.tree.layout import MIRROR_FILES
from Agent.tree.write.mirror import DEFAULT_ROTATION

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
    loaded, preset = read_settings({}, base=base)
    settings = {name: loaded[name] for name in SETTABLE if name not in TABLES}
    root = settings["trace_root"]
    settings["trace_root"] = root._replace(value=type(base.trace_root)(root.value).absolute())
    overall = settings["level"]
    for category in sorted(Category):
        value = loaded.get(f"levels.{category}", overall)
        decides = value if level_number(value.value) > level_number(overall.value) else overall
        settings[f"levels.{category}"] = decides._replace(value=str(decides.value).upper())
    for category in sorted(Category):
        usual = Setting(list(DEFAULT_ROTATION[category.value]), DEFAULT)
        value = loaded.get(f"rotation.{category}", usual)
        settings[f"rotation.{category}"] = value._replace(value=list(value.value))
    for category in sorted(Category):
        settings[f"captures.{category}"] = loaded.get(f"captures.{category}", settings["capture"])
    settings.update({name: each for name, each in loaded.items() if name.startswith("captures.")})
    return EffectiveSettings(settings, preset, base.outputs.described() if base.outputs is not None else None)
