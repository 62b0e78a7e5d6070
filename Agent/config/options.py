"""What can be set, with its defaults, as one frozen value; how it is found out is `load.py`'s business."""

from __future__ import annotations

# Imported where it is used: it is a twentieth of what importing the package costs.
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


@dataclass(frozen=True, slots=True)
class MirrorForm:
    """What a category file has beyond its sizes."""

    filename: str | None = None
    """Its place, relative to the trace root unless absolute; None for the usual one."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """`formatter`, `level` and `filters`, as `dictConfig` takes them."""


@dataclass(frozen=True, slots=True)
class Outputs:
    """Who gets the events of each category, where that is not what comes by default."""

    routes: Mapping[str, tuple[str, ...]]
    """Category to the names of its handlers, in order."""
    forms: Mapping[str, MirrorForm]
    """Category to what is particular about its file."""
    handlers: Mapping[str, Mapping[str, Any]]
    """Additional handlers that some logger names."""
    logger_filters: Mapping[str, tuple[str, ...]]
    """Category to the names of its logger's filters."""
    formatters: Mapping[str, Mapping[str, Any]]
    filters: Mapping[str, Mapping[str, Any]]

    def described(self) -> dict[str, Any]:
        """For `session.json` and `config show`: names and classes, and no argument of a handler."""
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
    """The class or factory of a handler, formatter or filter, None where it names none."""
    return entry.get("()", entry.get("class"))


@dataclass(frozen=True, slots=True)
class Options:
    """Everything that recording obeys."""

    trace_root: Path = field(default_factory=lambda: _path("trace"))
    """Where the tree is; `./trace` of the directory in which recording began."""
    level: str = "DEBUG"
    """The lowest level that is recorded: DEBUG, INFO, WARNING, ERROR, CRITICAL or OFF."""
    levels: Mapping[str, str] = field(default_factory=dict)
    """The same by category, where it differs."""
    segment_size_bytes: int = field(default=64 * 1024 * 1024, metadata={"least": 4096})
    """A session file that would grow beyond is rolled first."""
    max_open_files: int = field(default=1024, metadata={"least": 4})
    """How many descriptors serve all agents."""
    mirrors: bool = True
    """Whether the category files across sessions are written."""
    rotation: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """Category to (size in bytes, number of old files) of its mirror, where it differs from the default."""
    buffer_entries: int = field(default=100, metadata={"least": 0})
    """How many performance metrics are held back at most; 0 writes each at once."""
    redact: bool = True
    """Whether secrets are replaced before they reach the disk."""
    capture: str = "redacted"
    """What is kept of values: `full`, `redacted` (without secrets) or `metadata` (their shapes alone)."""
    captures: Mapping[str, str] = field(default_factory=dict)
    """The same by category, by `tool:PATTERN` and by `field:PATTERN`, where it differs."""
    console: bool = False
    """Whether each event is shown on stderr, too."""
    state: str = field(default="exit", metadata={"words": ("exit", "strict")})
    """`strict` looks at an agent's state when each action begins, too, not only when its first ones do."""
    board: bool = True
    """Whether open spans are kept where a kill leaves them readable."""
    durability: str = field(default="kernel", metadata={"words": ("kernel", "disk", "queued")})
    """What holds when a call returns: `kernel` survives a kill of the process, `disk` a power cut as well.

    `queued` hands events to a thread that writes them: the call waits for no disk, a kill may lose the queue.
    """
    sync_errors: bool = True
    """Whether errors are brought to the disk under `kernel`, too; a burst of them shares one sync."""
    queue_size: int = field(default=10_000, metadata={"least": 1})
    """How many events wait at most under `queued`."""
    queue_full: str = field(default="block", metadata={"words": ("block", "drop_new")})
    """What a call does when they are that many: `block` waits, `drop_new` drops its event and counts it."""
    max_session_bytes: int = field(default=0, metadata={"least": 0})
    """What a session's files may come to before its oldest segments are retired; 0 keeps all."""
    keep_sessions: int = field(default=0, metadata={"least": 0})
    """How many sessions stay under the root; 0 keeps all."""
    seal_at_end: bool = False
    """Whether the session is sealed into Parquet when it ends; its JSON lines stay."""
    outputs: Outputs | None = None
    """Formatters, filters and handlers of `LOGGING_CONFIG`, where they are not as they come.

    They name code, so they are set in code alone: by no argument, variable or file.
    """


SETTABLE = tuple(name for name in Options.__dataclass_fields__ if name != "outputs")
"""The options that can be set by name."""


def checked(options: Options) -> Options:
    """The same options; ConfigurationError names the first that cannot be."""
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
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                remedy = f"use a whole number of at least {least}"
        elif value not in option.metadata.get("words", (value,)):
            remedy = f"use {' or '.join(option.metadata['words'])}"
        if remedy is not None:
            raise ConfigurationError(f"{name} is {value!r}", remedy=remedy)
    _check_rotation(options.rotation)
    return options


def _check_captures(options: Options) -> None:
    """Nothing where each name is a category or a pattern, and each level one."""
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
            what = f"the capture of {name}" if name else "capture"
            raise ConfigurationError(f"{what} is {level!r}", remedy=f"use {', '.join(CAPTURES)}")


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
                f"the rotation of {category} is {sizes!r}",
                remedy="give (size in bytes, number of old files), both whole numbers, the first at least 1",
            )


def is_rotation(sizes: Any) -> bool:
    """Whether that is the size of a file in bytes, and how many old ones are kept."""
    if not isinstance(sizes, tuple | list) or len(sizes) != 2:
        return False
    whole = all(isinstance(number, int) and not isinstance(number, bool) for number in sizes)
    return whole and sizes[0] >= 1 and sizes[1] >= 0


def with_changes(options: Options, changes: Mapping[str, Any]) -> Options:
    """The options with some of them set; ConfigurationError for a name that is none."""
    unknown = sorted(map(str, set(changes) - set(SETTABLE)))
    if unknown:
        raise ConfigurationError(
            f"unknown option {unknown[0]!r}{near_miss(unknown[0], SETTABLE)}",
            remedy=f"options are {', '.join(SETTABLE)}",
        )
    changes = dict(changes)
    if "trace_root" in changes:
        root = changes["trace_root"]
        if not isinstance(root, str | PathLike) or not str(root):
            raise ConfigurationError(f"trace_root is {root!r}", remedy="give the path of a directory")
        changes["trace_root"] = _path(root)
    return checked(replace(options, **changes))


def near_miss(name: object, names: Iterable[str]) -> str:
    """` (did you mean ...?)` where one of the names is near, else nothing."""
    import difflib

    near = difflib.get_close_matches(str(name).lower(), list(map(str, names)), n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""


def level_number(name: str) -> int:
    """The number of a level's name; ConfigurationError for any other word."""
    upper = str(name).upper()
    if upper == "OFF":
        return LEVEL_OFF
    if upper not in LEVELS:
        raise ConfigurationError(f"unknown level {name!r}", remedy=f"use one of {', '.join(LEVELS)} or OFF")
    return LEVELS[upper]


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
