"""Configuration files and presets: which are looked for, and what one says; `tomllib` is loaded for one.

`load.py` comes before it; what is read here are plain settings, each with its line.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from Agent.config.options import (
    SETTABLE,
    Setting,
    Settings,
    check_each,
    misplaced,
    near_miss,
    taken_apart,
)
from Agent.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

# Only messages and `config show --origin` ask; a key in an unusual way of writing has the line of its
# table.

_PART = r"""(?:[A-Za-z0-9_-]+|"[^"\n]*"|'[^'\n]*')"""
_NAME = rf"{_PART}(?:\s*\.\s*{_PART})*"
_HEADER = re.compile(rf"\s*\[\s*({_NAME})\s*\]\s*(?:#.*)?$")
_KEY = re.compile(rf"\s*({_NAME})\s*=")
_PARTS = re.compile(_PART)


def line_of(text: str, name: tuple[str, ...]) -> int | None:
    """The line, counted from 1, of a key or of what surrounds it nearest; None where neither was found."""
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
_FOREIGN = "ignored: it belongs to another user, in a world-writable directory"


@dataclass(frozen=True, slots=True)
class ConfigurationFile:
    """A file that was read."""

    path: str
    settings: Settings = field(default_factory=dict)
    preset: Setting | None = None
    """The preset that it chooses."""


def project_file(directory: str | None = None) -> ConfigurationFile | None:
    """The nearest `agent-trace.toml`, or `pyproject.toml` with our table, from a directory upwards.

    Raises:
        ConfigurationError: it cannot be read, or says something that cannot be.
    """
    for path in project_paths(directory):
        if _state(path) != "":
            continue
        if path.endswith(OWN_NAME):
            return read_file(path)
        # Nearly every project has one, and few of them mean us: the parser is not loaded for those.
        if b"agent-trace" not in _read_bytes(path):
            continue
        found = read_file(path, TABLE)
        if found is not None:
            return found
    return None


def user_file(environment: Mapping[str, str]) -> ConfigurationFile | None:
    """The user's own file, None if there is none."""
    path = user_path(environment)
    return None if path is None or _state(path) != "" else read_file(path)


def project_paths(directory: str | None = None) -> Iterator[str]:
    """Where the project's file may stand, nearest first."""
    try:
        place = os.path.abspath(directory) if directory is not None else os.getcwd()  # noqa: PTH100, PTH109
    except OSError:  # the working directory was removed
        return
    while True:
        yield os.path.join(place, OWN_NAME)  # noqa: PTH118
        yield os.path.join(place, PROJECT_NAME)  # noqa: PTH118
        above = os.path.dirname(place)  # noqa: PTH120
        if above == place:
            return
        place = above


def user_path(environment: Mapping[str, str]) -> str | None:
    """Where the user's own file may stand, by XDG; None where no home is known."""
    home = environment.get("XDG_CONFIG_HOME", "")
    if not os.path.isabs(home):  # noqa: PTH117 - a relative one is to be ignored, says XDG
        home = os.path.join(environment.get("HOME", ""), ".config")  # noqa: PTH118
    return os.path.join(home, "agent-trace", "config.toml") if os.path.isabs(home) else None  # noqa: PTH117, PTH118


def state_of(path: str) -> str:
    """How a file that is looked for stands: `read`, `not there`, or why it is passed over."""
    state = _state(path)
    if state:
        return state
    found = read_file(path, TABLE if path.endswith(PROJECT_NAME) else ())
    return "read" if found is not None else "has no [tool.agent-trace]"


def _state(path: str) -> str:
    """Empty where the file is to be read."""
    try:
        status = os.stat(path)  # noqa: PTH116
    except (FileNotFoundError, NotADirectoryError):
        return "not there"
    except PermissionError:  # a daemon that gave up its rights keeps the home of whom it was
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
    return ConfigurationError(
        f"the configuration cannot be read: {error.strerror or error}", path=path, remedy="change its rights"
    )


def read_file(path: str, table: tuple[str, ...] = ()) -> ConfigurationFile | None:
    """What a file says, in one of its tables; None where it has no such table.

    Raises:
        ConfigurationError: with path and line, for what is no TOML, no option, or no value of one.
    """
    import tomllib

    try:
        text = _read_bytes(path).decode()
        document: Any = tomllib.loads(text)
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ConfigurationError(
            "this is not UTF-8", path=path, line=line, remedy="save it as UTF-8"
        ) from None
    except tomllib.TOMLDecodeError as error:
        raise _no_toml(path, text, str(error)) from None
    for key in table:
        if not isinstance(document, Mapping) or key not in document:
            return None
        document = document[key]
    if not isinstance(document, Mapping):
        raise ConfigurationError(f"[{'.'.join(table)}] is not a table", path=path, remedy="make it a table")
    return _told(path, text, table, document)


def _no_toml(path: str, text: str, message: str) -> ConfigurationError:
    where = re.search(r" \(at (?:line (\d+), column \d+|end of document)\)$", message)
    what = message[: where.start()] if where else message
    line = int(where[1]) if where and where[1] else text.rstrip("\n").count("\n") + 1
    return ConfigurationError(
        f"this is not TOML: {what[:1].lower()}{what[1:]}", path=path, line=line, remedy="correct that line"
    )


def _told(path: str, text: str, table: tuple[str, ...], document: Mapping[str, Any]) -> ConfigurationFile:
    for name in document:
        if name not in SETTABLE and name != "preset":
            raise ConfigurationError(
                f"unknown option {name!r}{near_miss(name, SETTABLE)}",
                path=path,
                line=line_of(text, (*table, name)),
                remedy=f"options are {', '.join(SETTABLE)}",
            )
    found = {
        name: setting._replace(line=line_of(text, (*table, *name.split("."))))
        for name, setting in taken_apart(document, path).items()
    }
    preset = found.pop("preset", None)
    root = found.get("trace_root")
    if root is not None and isinstance(root.value, str) and root.value:
        place = os.path.join(os.path.dirname(path), os.path.expanduser(root.value))  # noqa: PTH111, PTH118, PTH120
        found["trace_root"] = root._replace(value=os.path.normpath(place))
    check_each(found)
    return ConfigurationFile(path, found, preset)


def _directory() -> Path:
    """Where the presets are; the build copies them into `Agent/config/presets`."""
    from pathlib import Path

    here = Path(__file__).parent
    for place in (here / "presets", here.parent.parent / "config"):
        if place.is_dir():
            return place
    raise ConfigurationError("the preset files are missing", path=here, remedy="reinstall agent-trace")


def preset_names() -> list[str]:
    """The names of all presets."""
    return sorted(path.stem for path in _directory().glob("*.toml"))


def preset_path(name: str) -> Path:
    """The file of a preset; ConfigurationError if there is none of that name."""
    names = preset_names()
    if name not in names:
        raise ConfigurationError(
            f"unknown preset {name!r}{near_miss(name, names)}", remedy=f"use one of {', '.join(names)}"
        )
    return _directory() / f"{name}.toml"


def read_preset(chosen: Setting) -> ConfigurationFile:
    """What the chosen preset says; ConfigurationError, with the place of the choice, where it is none."""
    try:
        path = preset_path(chosen.value)
    except ConfigurationError as error:
        raise misplaced(error.message, chosen, error.remedy) from None
    found = read_file(str(path))
    assert found is not None  # noqa: S101 - the whole file was asked for
    return found
