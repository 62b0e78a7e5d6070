"""All options with their defaults, as one frozen value; `load.py` finds out their values."""

from __future__ import annotations

# pathlib is imported where it is used: it takes 5 % of the package's import time.
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from os import PathLike
from typing import TYPE_CHECKING, Any, NamedTuple

from Agent.errors import ConfigurationError
from Agent.event.kinds import LEVEL_OFF, LEVELS, Category

if TYPE_CHECKING:
    from pathlib import Path


CAPTURES = ("full", "redacted", "metadata")


def _path(text: str | PathLike[str]) -> Path:
    from pathlib import Path

    return Path(text)


class MirrorForm(NamedTuple):
    """The properties of a category file besides its sizes."""

    filename: str | None = None
    """Its path, relative to the trace root unless absolute; None for the default path."""
    settings: Mapping[str, Any] = {}
    """`formatter`, `level` and `filters`, as `dictConfig` takes them."""


class Outputs(NamedTuple):
    """The receivers of each category's events, if they differ from the defaults."""

    routes: Mapping[str, tuple[str, ...]]
    """Category to the names of its handlers, in order."""
    forms: Mapping[str, MirrorForm]
    """Category to the properties of its file that differ from the defaults."""
    handlers: Mapping[str, Mapping[str, Any]]
    """Additional handlers that a logger names."""
    logger_filters: Mapping[str, tuple[str, ...]]
    """Category to the names of its logger's filters."""
    formatters: Mapping[str, Mapping[str, Any]]
    filters: Mapping[str, Mapping[str, Any]]

    def described(self) -> dict[str, Any]:
        """For `session.json` and `config show`: names and classes, without arguments of handlers."""
        return {
            "routes": {category: list(names) for category, names in self.routes.items()},
            "handlers": {name: str(made_by(entry)) for name, entry in self.handlers.items()},
            "files": {
                category: {
                    "filename": form.filename,
                    **{key: str(value) for key, value in form.settings.items()},
                }
                for category, form in self.forms.items()
            },
        }


def made_by(entry: Mapping[str, Any]) -> Any:
    """The class or factory of a handler, formatter or filter; None if it names none."""
    return entry.get("()", entry.get("class"))


@dataclass(frozen=True, slots=True)
class Options:
    """All options of recording."""

    trace_root: Path = field(default_factory=lambda: _path("trace"))
    """The root of all traces; by default `./trace` in the directory where recording began."""
    level: str = "DEBUG"
    """The lowest recorded level: DEBUG, INFO, WARNING, ERROR, CRITICAL or OFF."""
    levels: Mapping[str, str] = field(default_factory=dict)
    """Levels of single categories."""
    segment_size_bytes: int = field(default=64 * 1024 * 1024, metadata={"least": 4096})
    """The size of a session file, in bytes; it is rolled before it would become larger."""
    max_open_files: int = field(default=1024, metadata={"least": 4})
    """The number of file descriptors shared by all agents."""
    mirrors: bool = True
    """Whether to write the category files across sessions."""
    rotation: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """Category to (size in bytes, number of old files) of its mirror, if it differs from the default."""
    buffer_entries: int = field(default=100, metadata={"least": 0})
    """The most performance metrics that are buffered; 0 writes each at once."""
    redact: bool = True
    """Whether to replace secrets before they reach the disk."""
    capture: str = "redacted"
    """How values are recorded: `full`, `redacted` (without secrets) or `metadata` (only their shapes)."""
    captures: Mapping[str, str] = field(default_factory=dict)
    """The same for single categories, and for `tool:PATTERN` and `field:PATTERN`."""
    console: bool = False
    """Whether to show each event on stderr too."""
    state: str = field(default="exit", metadata={"words": ("exit", "strict")})
    """`strict` also captures an agent's state at the start of every action, not only of its first ones."""
    large_arguments: str = field(default="bounded", metadata={"words": ("bounded", "always")})
    """How often arguments with over 4 KiB of content are read.

    `always` reads them in every call; `bounded` reads 1 MB for each function, then 1 KiB a call on average.
    """
    board: bool = True
    """Whether to store open spans so that they can be read after a kill."""
    durability: str = field(default="kernel", metadata={"words": ("kernel", "disk", "queued")})
    """What a recorded event survives: under `kernel` a kill, under `disk` also a power failure.

    `queued` passes events to a thread that writes them: calls never wait for the disk, but a kill may lose
    the queue.
    """
    sync_errors: bool = True
    """Whether to sync errors to disk under `kernel` too; a burst of them shares one sync."""
    queue_size: int = field(default=10_000, metadata={"least": 1})
    """The most events in the queue under `queued`."""
    queue_full: str = field(default="block", metadata={"words": ("block", "drop_new")})
    """What a call does when the queue is full: `block` waits, `drop_new` drops its event and counts it."""
    max_session_bytes: int = field(default=0, metadata={"least": 0})
    """The size of a session's files above which its oldest segments are retired; 0 for no limit."""
    keep_sessions: int = field(default=0, metadata={"least": 0})
    """The number of sessions to keep under the root; 0 keeps all."""
    seal_at_end: bool = False
    """Whether to seal the session into Parquet when it ends; its JSON lines stay."""
    control: bool = False
    """Whether `agent-trace control` may pause the program at a tick and change fields of its agents."""
    outputs: Outputs | None = None
    """Formatters, filters and handlers of `LOGGING_CONFIG`; None for the defaults.

    They contain code, so only code can set them: no argument, variable or file does.
    """


SETTABLE = tuple(name for name in Options.__dataclass_fields__ if name != "outputs")
"""The options that can be set by name."""


_LARGEST = 2**63 - 1
"""The largest number that JSON and the system take."""


def _shown(value: Any) -> str:
    """A value as a message shows it; an integer may be too long for that."""
    try:
        return repr(value)
    except ValueError:
        return "a number of thousands of digits"


def checked(options: Options) -> Options:
    """The options, unchanged; ConfigurationError names the first invalid one."""
    level_number(options.level)
    if not isinstance(options.levels, Mapping):
        raise ConfigurationError("levels is not a mapping", remedy='use {"learning": "INFO"}')
    for category, level in options.levels.items():
        _check_category(category)
        level_number(level)
    _check_captures(options)
    for name, option in Options.__dataclass_fields__.items():
        value, remedy = getattr(options, name), None
        if isinstance(option.default, bool):
            remedy = None if isinstance(value, bool) else "use true or false"
        elif isinstance(option.default, int):
            least = option.metadata["least"]
            if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= _LARGEST:
                remedy = f"use a whole number of at least {least}, and below 2^63"
        elif value not in option.metadata.get("words", (value,)):
            remedy = f"use {' or '.join(option.metadata['words'])}"
        if remedy is not None:
            raise ConfigurationError(f"{name} is {_shown(value)}", remedy=remedy)
    _check_rotation(options.rotation)
    return options


def _check_captures(options: Options) -> None:
    """Raise ConfigurationError unless each name is a category or pattern and each value a capture level."""
    if not isinstance(options.captures, Mapping):
        raise ConfigurationError("captures is not a mapping", remedy='use {"field:prompt": "metadata"}')
    for name in options.captures:
        sort, colon, pattern = str(name).partition(":")
        if not colon:
            _check_category(name)
        elif sort not in {"tool", "field"} or not pattern:
            raise ConfigurationError(
                f"captures has {name!r}", remedy="name a category, tool:PATTERN or field:PATTERN"
            )
    for name, level in {"": options.capture, **options.captures}.items():
        if level not in CAPTURES:
            subject = f"the capture of {name}" if name else "capture"
            raise ConfigurationError(f"{subject} is {level!r}", remedy=f"use {', '.join(CAPTURES)}")


def _check_category(category: Any) -> None:
    if category not in set(Category):
        raise ConfigurationError(
            f"unknown category {category!r}{near_miss(category, Category)}",
            remedy=f"use one of {', '.join(sorted(Category))}",
        )


def _check_rotation(rotation: Any) -> None:
    if not isinstance(rotation, Mapping):
        raise ConfigurationError("rotation is not a mapping", remedy='use {"agents": (200_000_000, 10)}')
    for category, sizes in rotation.items():
        _check_category(category)
        if not is_rotation(sizes):
            raise ConfigurationError(
                f"the rotation of {category} is {_shown(sizes)}",
                remedy="give (size in bytes, number of old files), both whole numbers, the first at least 1",
            )


def is_rotation(sizes: Any) -> bool:
    """Whether a value is a file size in bytes (at least 1) and a number of old files."""
    if not isinstance(sizes, tuple | list) or len(sizes) != 2:
        return False
    are_integers = all(isinstance(number, int) and not isinstance(number, bool) for number in sizes)
    return are_integers and 1 <= sizes[0] <= _LARGEST and 0 <= sizes[1] <= _LARGEST


def with_changes(options: Options, changes: Mapping[str, Any]) -> Options:
    """The options with some of them changed; ConfigurationError for an unknown name."""
    check_known(changes, SETTABLE, "unknown option ", f"options are {', '.join(SETTABLE)}")
    changes = dict(changes)
    if "trace_root" in changes:
        root = changes["trace_root"]
        if not isinstance(root, str | PathLike) or not str(root) or "\0" in str(root):
            raise ConfigurationError(f"trace_root is {_shown(root)}", remedy="give the path of a directory")
        changes["trace_root"] = _path(root)
    return checked(replace(options, **changes))


def near_miss(name: object, names: Iterable[str]) -> str:
    """` (did you mean ...?)` if one of the names is similar, else ""."""
    import difflib

    matches = difflib.get_close_matches(str(name).lower(), list(map(str, names)), n=1)
    return f" (did you mean {matches[0]!r}?)" if matches else ""


def check_known(
    names: Iterable[object], known: Iterable[str], problem: str, remedy: str, rest: str = ""
) -> None:
    """Raise ConfigurationError for the first unknown name: the problem, the name, the rest."""
    known_names = list(known)
    for name in sorted(set(map(str, names)).difference(known_names)):
        raise ConfigurationError(f"{problem}{name!r}{rest}{near_miss(name, known_names)}", remedy=remedy)


def level_number(name: str) -> int:
    """The number of a level by its name; ConfigurationError for an unknown name."""
    upper = str(name).upper()
    if upper == "OFF":
        return LEVEL_OFF
    if upper not in LEVELS:
        raise ConfigurationError(f"unknown level {name!r}", remedy=f"use one of {', '.join(LEVELS)} or OFF")
    return LEVELS[upper]


TABLES = ("levels", "rotation", "captures")
DEFAULT = "default"


class Setting(NamedTuple):
    """A value with its source."""

    value: Any
    origin: str
    """`default`, `argument`, `LOGGING_CONFIG`, the name of a variable, or the path of a file."""
    line: int | None = None
    """The line in that file, counted from 1, if it was found."""

    def __str__(self) -> str:
        return f"{self.origin}:{self.line}" if self.line is not None else self.origin


Settings = dict[str, Setting]
"""Settings by name: `level`, `levels.learning`, `rotation.agents`, ..."""


def settings_from(values: Mapping[str, Any], origin: str) -> Settings:
    """The settings in some values; a table gives one setting per category."""
    settings: Settings = {}
    for name, value in values.items():
        if name in TABLES and isinstance(value, Mapping):
            settings.update({f"{name}.{key}": Setting(entry, origin) for key, entry in value.items()})
        else:
            settings[name] = Setting(value, origin)
    return settings


def values_of(settings: Mapping[str, Setting]) -> dict[str, Any]:
    """The values of options from settings; the inverse of `settings_from`."""
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
    """The options that differ from the defaults."""
    plain = Options()
    return {
        name: getattr(options, name) for name in SETTABLE if getattr(options, name) != getattr(plain, name)
    }


def check_each(settings: Mapping[str, Setting]) -> None:
    """Raise ConfigurationError, with its source, for the first invalid setting."""
    for name, setting in settings.items():
        try:
            with_changes(Options(), values_of({name: setting}))
        except ConfigurationError as error:
            raise misplaced(error.message, setting, error.remedy) from None


def misplaced(message: str, setting: Setting, remedy: str | None) -> ConfigurationError:
    """The error about a setting with its source: path and line, or the variable before the message."""
    if setting.origin.startswith("AGENT_TRACE_"):
        return ConfigurationError(f"{setting.origin}: {message}", remedy=remedy)
    if "/" in setting.origin or "\\" in setting.origin:
        return ConfigurationError(message, path=setting.origin, line=setting.line, remedy=remedy)
    return ConfigurationError(message, remedy=remedy)
