"""Where options come from: arguments over the environment over defaults; the only place that reads either."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from Agent.config.options import Options, with_changes
from Agent.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

PREFIX = "AGENT_TRACE_"
ENVIRONMENT = {
    "ROOT": "trace_root",
    "LEVEL": "level",
    "SEGMENT_SIZE_BYTES": "segment_size_bytes",
    "MAX_OPEN_FILES": "max_open_files",
    "MIRRORS": "mirrors",
    "BUFFER_ENTRIES": "buffer_entries",
    "REDACT": "redact",
    "CONSOLE": "console",
    "STATE": "state",
    "BOARD": "board",
    "DURABILITY": "durability",
    "SYNC_ERRORS": "sync_errors",
}
"""What stands behind AGENT_TRACE_ in a variable's name, and the option that it sets."""

_TRUE, _FALSE = {"1", "true", "yes", "on"}, {"0", "false", "no", "off"}


def options_from(
    arguments: Mapping[str, Any], environment: Mapping[str, str] | None = None, base: Options | None = None
) -> Options:
    """The options that hold: arguments, then the environment, then `base`, then defaults."""
    environment = os.environ if environment is None else environment
    found = {}
    for suffix, name in ENVIRONMENT.items():
        text = environment.get(PREFIX + suffix)
        if text:
            found[name] = _parse(PREFIX + suffix, name, text)
    given = {name: value for name, value in arguments.items() if value is not None}
    return with_changes(base or Options(), {**found, **given})


def _parse(variable: str, name: str, text: str) -> Any:
    kind = type(getattr(Options(), name))
    if kind is bool:
        lower = text.strip().lower()
        if lower in _TRUE | _FALSE:
            return lower in _TRUE
        raise ConfigurationError(f"{variable} is {text!r}", remedy="use 1 or 0")
    if kind is int:
        try:
            return int(text)
        except ValueError:
            raise ConfigurationError(f"{variable} is {text!r}", remedy="use a whole number") from None
    return text


def redaction_key(environment: Mapping[str, str] | None = None) -> bytes:
    """The secret by which redaction tokens are made, kept in the user's configuration directory.

    It is made at first use. Where it cannot be kept, one for this process alone serves: tokens then match
    within the session only.
    """
    environment = os.environ if environment is None else environment
    home = environment.get("XDG_CONFIG_HOME") or os.path.join(environment.get("HOME", ""), ".config")  # noqa: PTH118
    from pathlib import Path

    if not Path(home).is_absolute():
        return os.urandom(32)
    path = Path(home) / "agent-trace" / "redaction.key"
    try:
        return _read_key(path)
    except OSError:
        pass
    key = os.urandom(32)
    try:
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
            pass
        finally:
            aside.unlink()
        return _read_key(path)
    except OSError:
        return key


def _read_key(path: Path) -> bytes:
    key = path.read_bytes()
    if len(key) < 16:
        raise OSError(f"{path} holds no key")
    return key
