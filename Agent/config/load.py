"""Load options: the only module that orders the sources, and reads files and presets.

Priority: arguments, environment, project file, user file, preset, `LOGGING_CONFIG`, defaults. A file gives
plain settings, each with its line; `tomllib` is imported only if there is a file.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from Agent.config import options
from Agent.config.options import Options, Setting, Settings, near_miss
from Agent.errors import ConfigurationError
from Agent.record.user_key import config_home

if TYPE_CHECKING:
    from pathlib import Path


PREFIX = "AGENT_TRACE_"
ENVIRONMENT = {"ROOT" if name == "trace_root" else name.upper(): name for name in options.SETTABLE}
"""The part of a variable's name after AGENT_TRACE_, and the option that it sets."""
PRESET_VARIABLE = "AGENT_TRACE_PRESET"

_EXAMPLES = {
    "levels": "learning=INFO,agents=WARNING",
    "captures": "learning=metadata,tool:search=full,field:prompt=metadata",
}
"""An example of how a variable holds each table."""
_TRUE, _FALSE = {"1", "true", "yes", "on"}, {"0", "false", "no", "off"}


class LoadedOptions(NamedTuple):
    """The result of reading all sources."""

    settings: Settings
    """Every option, with the source that decided it."""
    preset: Setting | None
    """The chosen preset."""


def options_from(
    arguments: Mapping[str, Any], environment: Mapping[str, str] | None = None, base: Options | None = None
) -> Options:
    """The effective options: arguments, environment, files, preset, then `base`, then defaults.

    Args:
        arguments: options by name, and `preset`; None means not set.
        environment: the variables; default: those of the process.
        base: the options of `LOGGING_CONFIG`.

    Raises:
        ConfigurationError: a setting is invalid; names the first one and its source.
    """
    loaded = read_settings(arguments, environment, base)
    outputs = base.outputs if base is not None else None
    chosen = options.with_changes(Options(), options.values_of(loaded.settings))
    return chosen if outputs is None else replace(chosen, outputs=outputs)


def read_settings(
    arguments: Mapping[str, Any], environment: Mapping[str, str] | None = None, base: Options | None = None
) -> LoadedOptions:
    """Every option with its source; see `options_from`."""
    environment = os.environ if environment is None else environment
    from_arguments = options.settings_from(
        {name: value for name, value in arguments.items() if value is not None}, "argument"
    )
    variables = _variables(environment)
    project, user = project_file(), user_file(environment)
    named = environment.get(PRESET_VARIABLE)
    preset = (
        from_arguments.pop("preset", None)
        or (Setting(named, PRESET_VARIABLE) if named else None)
        or (project and project.preset)
        or (user and user.preset)
        or None
    )
    plain = Options()
    settings = {
        name: Setting(getattr(plain, name), options.DEFAULT)
        for name in options.SETTABLE
        if name not in options.TABLES
    }
    settings.update(options.settings_from(options.differing(base or plain), "LOGGING_CONFIG"))
    if preset is not None:
        settings.update(read_preset(preset).settings)
    for file in (user, project):
        if file is not None:
            settings.update(file.settings)
    return LoadedOptions({**settings, **variables, **from_arguments}, preset)


def preset_values(name: str) -> dict[str, Any]:
    """The options that a preset sets; ConfigurationError if it does not exist."""
    return options.values_of(read_preset(Setting(name, "argument")).settings)


def configured_root() -> Path:
    """The trace root from the environment, a file or the default; used by commands and analysis.

    If the variable is set, no file is opened.
    """
    from pathlib import Path

    named = os.environ.get(PREFIX + "ROOT")
    return Path(named) if named else options_from({}).trace_root


def _variables(environment: Mapping[str, str]) -> Settings:
    settings: Settings = {}
    for suffix, name in ENVIRONMENT.items():
        variable = PREFIX + suffix
        text = environment.get(variable)
        if text:
            settings.update(options.settings_from({name: _parse(variable, name, text)}, variable))
    options.check_each(settings)
    return settings


def _parse(variable: str, name: str, text: str) -> Any:
    if name in options.TABLES:
        return dict(_entry(variable, name, part) for part in text.split(",") if part.strip())
    kind = type(getattr(Options(), name))
    if kind is bool:
        lower = text.strip().lower()
        if lower in _TRUE | _FALSE:
            return lower in _TRUE
        raise ConfigurationError(f"{variable} is {text!r}", remedy="use 1 or 0")
    return _whole_number(variable, text, text) if kind is int else text


def _entry(variable: str, name: str, part: str) -> tuple[str, Any]:
    """Parse `learning=INFO` in a table of levels, or `agents=200000000:10` in one of rotations."""
    category, equals, value = (piece.strip() for piece in part.partition("="))
    if name in _EXAMPLES and equals and value:
        return category, value
    size, colon, backups = value.partition(":")
    if name == "rotation" and colon:
        return category, (_whole_number(variable, part, size), _whole_number(variable, part, backups))
    example = _EXAMPLES.get(name, "agents=200000000:10,errors=50000000:5")
    raise ConfigurationError(f"{variable} holds {part.strip()!r}", remedy=f"write it as {example}")


def _whole_number(variable: str, number: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ConfigurationError(f"{variable} is {number!r}", remedy="use a whole number") from None


# Only used for messages and `config show --origin`; a key in unusual notation gets its table's line.

_PART = r"""(?:[A-Za-z0-9_-]+|"[^"\n]*"|'[^'\n]*')"""
_NAME = rf"{_PART}(?:\s*\.\s*{_PART})*"
_HEADER = re.compile(rf"\s*\[{{1,2}}\s*({_NAME})\s*\]{{1,2}}\s*(?:#.*)?$")
_KEY = re.compile(rf"\s*({_NAME})\s*=")
_PARTS = re.compile(_PART)


def line_of(text: str, name: tuple[str, ...]) -> int | None:
    """The line, counted from 1, of a key, else of its nearest enclosing table or key; None without either."""
    table: tuple[str, ...] = ()
    nearest, depth = None, 0
    for number, line in enumerate(text.split("\n"), start=1):
        header, key = _HEADER.match(line), _KEY.match(line)
        if header:
            full = table = _split(header[1])
        elif key:
            full = table + _split(key[1])
        else:
            continue
        if len(full) > depth and name[: len(full)] == full:
            nearest, depth = number, len(full)
    return nearest


def _split(name: str) -> tuple[str, ...]:
    return tuple(part.strip("\"'") for part in _PARTS.findall(name))


OWN_NAME = "agent-trace.toml"
PROJECT_NAME = "pyproject.toml"
TABLE = ("tool", "agent-trace")
INSTRUMENT = "instrument"
_FOREIGN = "ignored: it belongs to another user, in a world-writable directory"


class InstrumentEntry(NamedTuple):
    """One class to trace, with the file and line that names it."""

    module: str
    name: str
    """The class, or a class within one: `Market.Trader`."""
    methods: tuple[str, ...]
    agent_id: str | None = None
    """The attribute that names the agent; default: `agent_id`, `unique_id`, `id` or `name`."""
    agent_role: str | None = None
    ignore: tuple[str, ...] = ()
    level: str = "INFO"
    path: str = ""
    line: int | None = None


class ConfigurationFile(NamedTuple):
    """The settings of a configuration file."""

    path: str
    settings: Settings
    preset: Setting | None
    """The preset that the file chooses."""
    instrument: tuple[InstrumentEntry, ...]
    """The classes that `agent-trace run` traces."""


def project_file(directory: str | None = None) -> ConfigurationFile | None:
    """Read the nearest `agent-trace.toml`, or `pyproject.toml` with our table, upwards from a directory.

    Raises:
        ConfigurationError: the file cannot be read, or a setting is invalid.
    """
    for path in project_paths(directory):
        if _state(path) != "":
            continue
        if path.endswith(OWN_NAME):
            return read_file(path)
        # Most pyproject.toml files do not mention us; then the TOML parser is not imported.
        if b"agent-trace" not in _read_bytes(path):
            continue
        configuration = read_file(path, TABLE)
        if configuration is not None:
            return configuration
    return None


def user_file(environment: Mapping[str, str]) -> ConfigurationFile | None:
    """Read the user's own file; None if it does not exist."""
    path = user_path(environment)
    return None if path is None or _state(path) != "" else read_file(path)


def classes_to_instrument() -> tuple[InstrumentEntry, ...]:
    """The classes that the project's file and the user's name; ConfigurationError if one is invalid."""
    files = (project_file(), user_file(os.environ))
    return tuple(entry for file in files if file is not None for entry in file.instrument)


def project_paths(directory: str | None = None) -> Iterator[str]:
    """The possible paths of the project's file, nearest first."""
    try:
        path = os.path.abspath(directory) if directory is not None else os.getcwd()  # noqa: PTH100, PTH109
    except OSError:  # the working directory was removed
        return
    while True:
        yield os.path.join(path, OWN_NAME)  # noqa: PTH118
        yield os.path.join(path, PROJECT_NAME)  # noqa: PTH118
        above = os.path.dirname(path)  # noqa: PTH120
        if above == path:
            return
        path = above


def user_path(environment: Mapping[str, str]) -> str | None:
    """The path of the user's own file; None if there is no home directory."""
    home = config_home(environment)
    return None if home is None else os.path.join(home, "agent-trace", "config.toml")  # noqa: PTH118


def state_of(path: str) -> str:
    """The state of a configuration file: `read`, `not there`, or why it is skipped."""
    state = _state(path)
    if state:
        return state
    configuration = read_file(path, TABLE if path.endswith(PROJECT_NAME) else ())
    return "read" if configuration is not None else "has no [tool.agent-trace]"


def _state(path: str) -> str:
    """The reason not to read a file; empty if it is to be read."""
    try:
        status = os.stat(path)  # noqa: PTH116
    except (FileNotFoundError, NotADirectoryError):
        return "not there"
    except PermissionError:  # a daemon that dropped privileges still has its former user's HOME
        return "in a directory without access"
    except OSError as error:
        raise _unreadable(path, error) from error
    if not stat.S_ISREG(status.st_mode):
        raise ConfigurationError("this is not a file", path=path, remedy="remove it or put a file there")
    if hasattr(os, "geteuid") and status.st_uid not in {0, os.geteuid()}:
        around = os.stat(os.path.dirname(path))  # noqa: PTH116, PTH120
        if around.st_mode & stat.S_IWOTH:
            return _FOREIGN
    return ""


def _read_bytes(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: str, error: OSError) -> ConfigurationError:
    remedy = "change its rights" if isinstance(error, PermissionError) else "remove it or put a file there"
    return ConfigurationError(
        f"the configuration cannot be read: {error.strerror or error}", path=path, remedy=remedy
    )


_lacking: dict[str, tuple[str, tuple[str, ...]]] = {}
"""The last file that lacks a table, with its text: the sessions of a process mostly find the same."""


def read_file(path: str, table: tuple[str, ...] = ()) -> ConfigurationFile | None:
    """Read one table of a file; None if the file does not have it.

    Raises:
        ConfigurationError: invalid TOML, or an unknown or invalid option; with path and line.
    """
    import tomllib

    try:
        text = _read_bytes(path).decode()
        if _lacking.get(path) == (text, table):
            return None
        document: Any = tomllib.loads(text)
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ConfigurationError(
            "this is not UTF-8", path=path, line=line, remedy="save it as UTF-8"
        ) from None
    except (ValueError, RecursionError) as error:  # a plain ValueError for a number of thousands of digits
        raise _no_toml(path, text, str(error)) from None
    for key in table:
        if not isinstance(document, Mapping) or key not in document:
            _lacking.clear()
            _lacking[path] = text, table
            return None
        document = document[key]
    if not isinstance(document, Mapping):
        raise ConfigurationError(f"[{'.'.join(table)}] is not a table", path=path, remedy="make it a table")
    return _configuration_of(path, text, table, document)


def _no_toml(path: str, text: str, message: str) -> ConfigurationError:
    where = re.search(r" \(at (?:line (\d+), column \d+|end of document)\)$", message)
    problem = message[: where.start()] if where else message
    number = re.search(r"[0-9_]{4000}", text)
    before = text[: number.start()] if number else text.rstrip("\n")
    line = int(where[1]) if where and where[1] else before.count("\n") + 1
    return ConfigurationError(
        f"this is not TOML: {problem[:1].lower()}{problem[1:]}",
        path=path,
        line=line,
        remedy="correct that line",
    )


def _configuration_of(
    path: str, text: str, table: tuple[str, ...], document: Mapping[str, Any]
) -> ConfigurationFile:
    for name in document:
        if name not in options.SETTABLE and name not in {"preset", INSTRUMENT}:
            raise ConfigurationError(
                f"unknown option {name!r}{near_miss(name, options.SETTABLE)}",
                path=path,
                line=line_of(text, (*table, name)),
                remedy=f"options are {', '.join(options.SETTABLE)}",
            )
    entries: tuple[InstrumentEntry, ...] = ()
    if INSTRUMENT in document:
        entries = _instrument_entries(document[INSTRUMENT], path, line_of(text, (*table, INSTRUMENT)))
        document = {name: value for name, value in document.items() if name != INSTRUMENT}
    settings = {
        name: setting._replace(line=line_of(text, (*table, *name.split("."))))
        for name, setting in options.settings_from(document, path).items()
    }
    preset = settings.pop("preset", None)
    root = settings.get("trace_root")
    if root is not None and isinstance(root.value, str) and root.value:
        root_path = os.path.join(os.path.dirname(path), os.path.expanduser(root.value))  # noqa: PTH111, PTH118, PTH120
        settings["trace_root"] = root._replace(value=os.path.normpath(root_path))
    options.check_each(settings)
    return ConfigurationFile(path, settings, preset, entries)


_ENTRY_KEYS = ("target", "methods", "agent_id", "agent_role", "ignore", "level")


def _instrument_entries(value: Any, path: str, line: int | None) -> tuple[InstrumentEntry, ...]:
    """Read the tables `[[instrument]]` of a file; ConfigurationError for the first invalid one."""

    def wrong(problem: str, remedy: str) -> ConfigurationError:
        return ConfigurationError(f"instrument: {problem}", path=path, line=line, remedy=remedy)

    if not isinstance(value, list) or not all(isinstance(each, Mapping) for each in value):
        raise wrong("it is not a list of tables", "write [[instrument]] before each")
    entries = []
    for each in value:
        for key in each:
            if key not in _ENTRY_KEYS:
                raise wrong(
                    f"unknown key {key!r}{near_miss(key, _ENTRY_KEYS)}",
                    f"keys are {', '.join(_ENTRY_KEYS)}",
                )
        module, colon, name = str(each.get("target", "")).partition(":")
        if not (colon and module and name) or not all(
            part.isidentifier() for text in (module, name) for part in text.split(".")
        ):
            raise wrong(f"target is {each.get('target')!r}", 'name a class as "module:Class"')
        lists = {key: each.get(key, []) for key in ("methods", "ignore")}
        for key, names in lists.items():
            if not isinstance(names, list) or not all(isinstance(one, str) and one for one in names):
                raise wrong(f"{key} is {names!r}", 'use a list of names, ["step"]')
        if not lists["methods"]:
            raise wrong(f"{module}:{name} has no methods", 'name them, methods = ["step"]')
        texts = {key: each.get(key) for key in ("agent_id", "agent_role")}
        for key, text in texts.items():
            if text is not None and not (isinstance(text, str) and text):
                raise wrong(f"{key} is {text!r}", "use a text")
        level = each.get("level", "INFO")
        try:
            options.level_number(level)
        except ConfigurationError as error:
            raise wrong(error.message, error.remedy or "") from None
        methods, ignore = tuple(lists["methods"]), tuple(lists["ignore"])
        entry = InstrumentEntry(module, name, methods, **texts, ignore=ignore, level=level)
        entries.append(entry._replace(path=path, line=line))
    return tuple(entries)


def _directory() -> Path:
    """The directory of the presets; the build copies them into `Agent/config/presets`."""
    from pathlib import Path

    package_dir = Path(__file__).parent
    for directory in (package_dir / "presets", package_dir.parent.parent / "config"):
        if directory.is_dir():
            return directory
    raise ConfigurationError("the preset files are missing", path=package_dir, remedy="reinstall agent-trace")


def preset_names() -> list[str]:
    """The names of all presets."""
    return sorted(path.stem for path in _directory().glob("*.toml"))


def preset_path(name: str) -> Path:
    """The file of a preset; ConfigurationError if it does not exist."""
    names = preset_names()
    if name not in names:
        raise ConfigurationError(
            f"unknown preset {name!r}{near_miss(name, names)}", remedy=f"use one of {', '.join(names)}"
        )
    return _directory() / f"{name}.toml"


def read_preset(chosen: Setting) -> ConfigurationFile:
    """Read the chosen preset; ConfigurationError with the source of the choice if it does not exist."""
    try:
        path = preset_path(chosen.value)
    except ConfigurationError as error:
        raise options.misplaced(error.message, chosen, error.remedy) from None
    preset = read_file(str(path))
    assert preset is not None  # noqa: S101 - the whole file was asked for
    return preset
