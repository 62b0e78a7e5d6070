"""Where options come from; the only place that puts the sources in order.

The nearest comes first: arguments, environment, project file, user file, preset, `LOGGING_CONFIG`, defaults.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from Agent.config.options import (
    DEFAULT,
    SETTABLE,
    TABLES,
    Options,
    Setting,
    Settings,
    check_each,
    differing,
    put_together,
    taken_apart,
    with_changes,
)
from Agent.errors import ConfigurationError
from Agent.record.health import note, say

if TYPE_CHECKING:
    from pathlib import Path

PREFIX = "AGENT_TRACE_"
ENVIRONMENT = {"ROOT" if name == "trace_root" else name.upper(): name for name in SETTABLE}
"""What stands behind AGENT_TRACE_ in a variable's name, and the option that it sets."""
PRESET_VARIABLE = "AGENT_TRACE_PRESET"

_EXAMPLES = {
    "levels": "learning=INFO,agents=WARNING",
    "captures": "learning=metadata,tool:search=full,field:prompt=metadata",
}
"""How a variable holds a table of words."""
_TRUE, _FALSE = {"1", "true", "yes", "on"}, {"0", "false", "no", "off"}


class LoadedOptions(NamedTuple):
    """What all sources together say."""

    settings: Settings
    """Every option, with the source whose word holds."""
    preset: Setting | None
    """The preset that was chosen."""


def options_from(
    arguments: Mapping[str, Any], environment: Mapping[str, str] | None = None, base: Options | None = None
) -> Options:
    """The options that hold: arguments, environment, files, preset, then `base`, then defaults.

    Args:
        arguments: options by name, and `preset`; None says nothing.
        environment: the variables, those of the process by default.
        base: what `LOGGING_CONFIG` says.

    Raises:
        ConfigurationError: the first setting that cannot be, with its place.
    """
    found = found_settings(arguments, environment, base)
    outputs = base.outputs if base is not None else None
    options = with_changes(Options(), put_together(found.settings))
    return options if outputs is None else replace(options, outputs=outputs)


def found_settings(
    arguments: Mapping[str, Any], environment: Mapping[str, str] | None = None, base: Options | None = None
) -> LoadedOptions:
    """Every option with its source; see `options_from`."""
    from Agent.config.toml_files import project_file, user_file

    environment = os.environ if environment is None else environment
    given = taken_apart({name: value for name, value in arguments.items() if value is not None}, "argument")
    variables = _variables(environment)
    project, user = project_file(), user_file(environment)
    choices = (
        given.pop("preset", None),
        _chosen_by_variable(environment),
        project.preset if project else None,
        user.preset if user else None,
    )
    preset = next((choice for choice in choices if choice is not None), None)
    plain = Options()
    settings = {name: Setting(getattr(plain, name), DEFAULT) for name in SETTABLE if name not in TABLES}
    settings.update(taken_apart(differing(base or plain), "LOGGING_CONFIG"))
    if preset is not None:
        settings.update(_settings_of(preset))
    for file in (user, project):
        if file is not None:
            settings.update(file.settings)
    settings.update(variables)
    settings.update(given)
    return LoadedOptions(settings, preset)


def preset_values(name: str) -> dict[str, Any]:
    """The options that a preset sets; ConfigurationError if there is none of that name."""
    return put_together(_settings_of(Setting(name, "argument")))


def _settings_of(preset: Setting) -> Settings:
    from Agent.config.toml_files import read_preset

    return read_preset(preset).settings


def _chosen_by_variable(environment: Mapping[str, str]) -> Setting | None:
    name = environment.get(PRESET_VARIABLE)
    return Setting(name, PRESET_VARIABLE) if name else None


def configured_root() -> Path:
    """The trace root that the environment, a file or the default names; commands and analysis begin there.

    A variable that names it is obeyed before any file is opened.
    """
    from pathlib import Path

    named = os.environ.get(PREFIX + "ROOT")
    return Path(named) if named else options_from({}).trace_root


def _variables(environment: Mapping[str, str]) -> Settings:
    found: Settings = {}
    for suffix, name in ENVIRONMENT.items():
        variable = PREFIX + suffix
        text = environment.get(variable)
        if text:
            found.update(taken_apart({name: _parse(variable, name, text)}, variable))
    check_each(found)
    return found


def _parse(variable: str, name: str, text: str) -> Any:
    if name in TABLES:
        return dict(_entry(variable, name, part) for part in text.split(",") if part.strip())
    kind = type(getattr(Options(), name))
    if kind is bool:
        lower = text.strip().lower()
        if lower in _TRUE | _FALSE:
            return lower in _TRUE
        raise ConfigurationError(f"{variable} is {text!r}", remedy="use 1 or 0")
    return _whole(variable, text, text) if kind is int else text


def _entry(variable: str, name: str, part: str) -> tuple[str, Any]:
    """`learning=INFO` of a table of levels, `agents=200000000:10` of one of rotations."""
    category, equals, value = (piece.strip() for piece in part.partition("="))
    if name in _EXAMPLES and equals and value:
        return category, value
    size, colon, backups = value.partition(":")
    if name == "rotation" and colon:
        return category, (_whole(variable, part, size), _whole(variable, part, backups))
    example = _EXAMPLES.get(name, "agents=200000000:10,errors=50000000:5")
    raise ConfigurationError(f"{variable} holds {part.strip()!r}", remedy=f"write it as {example}")


def _whole(variable: str, whole: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ConfigurationError(f"{variable} is {whole!r}", remedy="use a whole number") from None


def redaction_key(
    environment: Mapping[str, str] | None = None, lacking: Callable[[str], None] = note
) -> bytes:
    """The secret by which redaction tokens are made, kept in the user's configuration directory.

    It is made at first use. Where it cannot be kept, one for this process alone serves: the tokens of one
    secret then match within the process only. `lacking` is told so; of a key that is there and cannot be
    used, stderr is told, too.
    """
    environment = os.environ if environment is None else environment
    home = environment.get("XDG_CONFIG_HOME") or os.path.join(environment.get("HOME", ""), ".config")  # noqa: PTH118
    from pathlib import Path

    key = os.urandom(32)
    if not Path(home).is_absolute():
        lacking("there is no home directory for the redaction key; tokens match within this process only")
        return key
    path = Path(home) / "agent-trace" / "redaction.key"
    try:
        return _read_key(path)
    except (FileNotFoundError, NotADirectoryError):
        pass  # it is made below
    except OSError as error:
        lacking("the redaction key could not be read; tokens match within this process only")
        say(
            f"the redaction key {path} cannot be used ({error.strerror or error}); "
            "this process uses a temporary one"
        )
        return key
    try:
        return _kept(key, path)
    except OSError:
        lacking("the redaction key could not be saved; tokens match within this process only")
        return key


def _kept(key: bytes, path: Path) -> bytes:
    """Keep a new key; the one of another process that was faster is taken instead."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Written aside and linked, so that two processes that come first agree on one key.
    aside = path.with_name(f"redaction.key.{os.getpid()}")
    fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, key)
    finally:
        os.close(fd)
    try:
        os.link(aside, path)
    except FileExistsError:
        pass  # that is read now
    finally:
        aside.unlink()
    return _read_key(path)


def _read_key(path: Path) -> bytes:
    key = path.read_bytes()
    if len(key) < 16:
        raise OSError("it holds no key")
    return key
