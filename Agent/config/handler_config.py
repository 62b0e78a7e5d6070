"""`LOGGING_CONFIG`: its sections are read and checked here, and nothing is built; and the effective settings.

The sections are those of the standard library's `dictConfig`. `handlers.py` builds the handlers.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, NamedTuple

from Agent.config import options
from Agent.config.load import read_settings
from Agent.config.options import MirrorForm, Options, Outputs, Setting, check_known, level_number, near_miss
from Agent.errors import ConfigurationError
from Agent.event.kinds import LEVELS, Category
from Agent.tree.layout import MIRROR_FILES
from Agent.tree.write.mirror import DEFAULT_ROTATION

# The names in `LOGGING_CONFIG`: handlers of category files, and loggers as sources of events.
JSON_FORMATTER = {"()": "Agent.config.text_mirrors.JsonLines"}
TEXT_FORMATTER = {"()": "Agent.config.text_mirrors.TextLines"}
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

_FILE_CLASS = "logging.handlers.RotatingFileHandler"
_FILE_KEYS = frozenset(
    "filename maxBytes backupCount class formatter encoding level filters mode delay".split()
)
_LOGGER_KEYS = frozenset({"level", "handlers", "filters", "propagate"})
_UTF8 = {"utf-8", "utf8", "utf_8"}


PLAIN_ROUTES = {category.value: (name,) for name, category in HANDLER_CATEGORIES.items()}


def outputs_in(
    config: Mapping[str, Mapping[str, Mapping[str, Any]]], root: Mapping[str, Any]
) -> Outputs | None:
    """Read the sections of a configuration; None if they equal the defaults.

    Args:
        config: the sections `formatters`, `filters`, `handlers` and `loggers`.
        root: the section `root`: its handlers get the events of all propagating loggers.

    Raises:
        ConfigurationError: an entry is invalid.
    """
    handlers = config["handlers"]
    forms = {}
    for name, category in HANDLER_CATEGORIES.items():
        form = _form(name, handlers.get(name, {}), config)
        if form != MirrorForm():
            forms[category.value] = form
    user_handlers = {name: entry for name, entry in handlers.items() if name not in HANDLER_CATEGORIES}
    for name, entry in user_handlers.items():
        if options.made_by(entry) is None:
            suggestion = near_miss(name, HANDLER_CATEGORIES)
            raise ConfigurationError(
                f"handler {name!r} has neither class nor (){suggestion}",
                remedy=f"give it a class; the category files are {', '.join(HANDLER_CATEGORIES)}",
            )
        _check_names(f"handler {name!r}", entry, config)
    handler_names = [*HANDLER_CATEGORIES, *user_handlers]
    shared = _names("the root logger", "handlers", root, handler_names, ())
    routes, filters = {}, {}
    for name, category in LOGGER_CATEGORIES.items():
        logger = config["loggers"].get(name, {})
        default = (f"{name}_file",)
        route = _names(f"logger {name!r}", "handlers", logger, handler_names, default)
        if logger.get("propagate", True):
            route = (*route, *shared)
        routes[category.value] = tuple(dict.fromkeys(route))
        needed = _names(f"logger {name!r}", "filters", logger, config["filters"], ())
        if needed:
            filters[category.value] = needed
    _check_distinct_paths(forms, {name for route in routes.values() for name in route})
    if routes == PLAIN_ROUTES and not forms and not filters:
        return None
    used = {name: user_handlers[name] for route in routes.values() for name in route if name in user_handlers}
    return Outputs(routes, forms, used, filters, config["formatters"], config["filters"])


def check_logger(name: str, logger: Mapping[str, Any], handlers: Mapping[str, Any]) -> None:
    """Raise ConfigurationError unless the logger exists and its settings are valid."""
    remedy = f"use one of {', '.join(handlers)}; logging.Filter('agent.creator') picks by role"
    check_known([name], handlers, "logger ", remedy, " is not a source of events")
    remedy = f"set {', '.join(sorted(_LOGGER_KEYS))}"
    check_known(logger, _LOGGER_KEYS, f"logger {name!r} has the setting ", remedy)


def _names(
    who: str, key: str, entry: Mapping[str, Any], allowed: Any, default: tuple[str, ...]
) -> tuple[str, ...]:
    """The handlers or filters that an entry names; ConfigurationError if one is not defined."""
    names = entry.get(key, default)
    if isinstance(names, str) or not isinstance(names, list | tuple):
        raise ConfigurationError(f"{key} of {who} is {names!r}", remedy="give a list of names")
    for name in names:
        # A value that is not a name is a filter object, which `dictConfig` accepts too.
        if (key == "handlers" or isinstance(name, str)) and name not in allowed:
            raise ConfigurationError(
                f"{who} names {key.removesuffix('s')} {name!r}, which is not defined"
                + near_miss(name, allowed),
                remedy=f"define it under {key!r}",
            )
    return tuple(names)


def _check_names(who: str, entry: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    """Raise ConfigurationError unless a handler's formatter, filters and level are valid."""
    formatter = entry.get("formatter")
    if formatter is not None and not (isinstance(formatter, str) and formatter in config["formatters"]):
        raise ConfigurationError(
            f"{who} names formatter {formatter!r}, which is not defined"
            f"{near_miss(formatter, config['formatters'])}",
            remedy="define it under 'formatters'",
        )
    _names(who, "filters", entry, config["filters"], ())
    if "level" in entry and not isinstance(entry["level"], int) and str(entry["level"]).upper() != "NOTSET":
        level_number(entry["level"])


def _form(name: str, entry: Mapping[str, Any], config: Mapping[str, Any]) -> MirrorForm:
    """The settings of a category file that differ from the defaults."""
    who = f"handler {name!r}"
    remedy = f"a category file takes {', '.join(sorted(_FILE_KEYS))}; other handlers take other names"
    check_known(entry, _FILE_KEYS, f"{who} has the setting ", remedy)
    for key, allowed in (("class", {_FILE_CLASS}), ("encoding", _UTF8), ("mode", {"a"})):
        value = entry.get(key)
        text = f"{value.__module__}.{value.__qualname__}" if isinstance(value, type) else value
        if value is not None and str(text).lower() not in {word.lower() for word in allowed}:
            raise ConfigurationError(
                f"{who} has {key} {value!r}, but is a rotating file of UTF-8 lines that is appended to",
                remedy=f"leave {key} out, or add a handler under another name",
            )
    _check_names(who, entry, config)
    settings = {key: entry[key] for key in ("formatter", "level", "filters") if entry.get(key)}
    formatter = config["formatters"].get(settings.get("formatter"))
    if formatter is not None and dict(formatter) == JSON_FORMATTER:
        # JSON is the default form.
        del settings["formatter"]
    if level_of(settings.get("level", 0)) <= 10:
        settings.pop("level", None)
    return MirrorForm(_category_path(who, entry, HANDLER_CATEGORIES[name].value), settings)


def level_of(level: Any) -> int:
    """A level by number or name; `NOTSET` is 0."""
    return level if isinstance(level, int) else 0 if str(level).upper() == "NOTSET" else level_number(level)


def _category_path(who: str, entry: Mapping[str, Any], category: str) -> str | None:
    """The path of a category file; None for its default path."""
    filename = entry.get("filename")
    if filename is None:
        return None
    if not isinstance(filename, str | os.PathLike) or not os.fspath(filename):
        raise ConfigurationError(f"{who} has filename {filename!r}", remedy="give the path of a file")
    path = os.path.normpath(os.fspath(filename))
    parts = path.replace("\\", "/").split("/")
    wrong = ""
    if not path.isprintable():
        wrong = "has unprintable characters"
    elif os.path.isabs(path):  # noqa: PTH117
        pass
    elif parts[0] in {"..", "."}:
        wrong = "is outside the trace root"
    elif any(part.startswith(".") for part in parts):
        wrong = "is hidden"
    elif parts[0].startswith("session_") or parts[0] == "runs" or path == "README.md":
        wrong = "is inside a session"
    if wrong:
        raise ConfigurationError(
            f"{who} has filename {filename!r}, which {wrong}",
            remedy="choose a file below the trace root, or an absolute path",
        )
    return None if path == os.path.normpath(MIRROR_FILES[category]) else path


def _check_distinct_paths(forms: Mapping[str, MirrorForm], used: set[str]) -> None:
    """Raise ConfigurationError if two category files have the same path."""
    holders: dict[str, str] = {}
    for name, category in HANDLER_CATEGORIES.items():
        if name not in used:
            continue
        form = forms.get(category.value)
        path = form.filename if form is not None and form.filename else MIRROR_FILES[category.value]
        other = holders.setdefault(os.path.normcase(path), name)
        if other != name:
            raise ConfigurationError(
                f"handlers {other!r} and {name!r} have one filename, {path!r}",
                remedy=f"let both loggers name {other!r} in their handlers",
            )


_SECTIONS = ("formatters", "filters", "handlers", "loggers")
_KEYS = frozenset({"version", "disable_existing_loggers", "incremental", "root", *_SECTIONS})
_START = "start from a copy of Agent.config.logging_config.LOGGING_CONFIG"


def options_in(config: Any) -> Options:
    """Read the options of a mapping like `LOGGING_CONFIG`; ConfigurationError if it is invalid."""
    if not isinstance(config, Mapping) or config.get("version", 1) != 1:
        raise ConfigurationError("the logging configuration is not a mapping with version 1", remedy=_START)
    check_known(config, _KEYS, "the logging configuration has ", _START, ", which is not a section")
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
    return Options(
        rotation=_rotation_in(sections["handlers"]),
        levels=_levels_in(sections["loggers"], root.get("level", "DEBUG")),
        outputs=outputs_in(sections, root),
    )


def _rotation_in(handlers: Mapping[str, Mapping[str, Any]]) -> dict[str, tuple[int, int]]:
    """The sizes of category files that differ from the defaults, by category."""
    rotation = {}
    for name, category in HANDLER_CATEGORIES.items():
        handler, default = handlers.get(name, {}), DEFAULT_ROTATION[category.value]
        size, backups = handler.get("maxBytes", default[0]), handler.get("backupCount", default[1])
        if not options.is_rotation((size, backups)):
            raise ConfigurationError(
                f"handler {name!r} has maxBytes {size!r} and backupCount {backups!r}",
                remedy="use whole numbers, at least 1 byte and 0 backups",
            )
        if (size, backups) != default:
            rotation[category.value] = (size, backups)
    return rotation


def _levels_in(loggers: Mapping[str, Mapping[str, Any]], inherited: Any) -> dict[str, str]:
    """The levels above DEBUG, by category; a logger without a level has the root's."""
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
    """The name of a level that is given as name or number."""
    if isinstance(level, int) and not isinstance(level, bool):
        above = [name for name, number in LEVELS.items() if number >= level]
        return above[0] if above else "OFF"
    return "DEBUG" if str(level).upper() == "NOTSET" else str(level)


def _section(config: Mapping[str, Any], name: str) -> dict[str, Mapping[str, Any]]:
    """A copy of one section, which later changes by its owner do not affect."""
    section = config.get(name, {})
    if not isinstance(section, Mapping) or not all(isinstance(entry, Mapping) for entry in section.values()):
        raise ConfigurationError(
            f"{name!r} of the logging configuration is not a mapping of mappings", remedy=_START
        )
    return {str(key): _copied(entry) for key, entry in section.items()}


def _copied(value: Any) -> Any:
    """Copy mappings and lists; their items are kept, since streams and classes cannot be copied."""
    if isinstance(value, Mapping):
        return {key: _copied(entry) for key, entry in value.items()}
    return [_copied(entry) for entry in value] if isinstance(value, list) else value


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


class EffectiveSettings(NamedTuple):
    """The settings that would apply to a recording started here."""

    settings: options.Settings
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
    settings = {name: loaded[name] for name in options.SETTABLE if name not in options.TABLES}
    root = settings["trace_root"]
    settings["trace_root"] = root._replace(value=type(base.trace_root)(root.value).absolute())
    overall = settings["level"]
    for category in sorted(Category):
        value = loaded.get(f"levels.{category}", overall)
        decides = value if level_number(value.value) > level_number(overall.value) else overall
        settings[f"levels.{category}"] = decides._replace(value=str(decides.value).upper())
    for category in sorted(Category):
        usual = Setting(list(DEFAULT_ROTATION[category.value]), options.DEFAULT)
        value = loaded.get(f"rotation.{category}", usual)
        settings[f"rotation.{category}"] = value._replace(value=list(value.value))
    for category in sorted(Category):
        settings[f"captures.{category}"] = loaded.get(f"captures.{category}", settings["capture"])
    settings.update({name: each for name, each in loaded.items() if name.startswith("captures.")})
    return EffectiveSettings(settings, preset, base.outputs.described() if base.outputs is not None else None)
