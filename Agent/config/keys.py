"""The two secret keys: that of redaction tokens, made at first use, and that of encrypted sessions."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from Agent.config.load import config_home
from Agent.errors import ConfigurationError
from Agent.record.health import note, say
from Agent.tree.layout import make_private, open_private


def redaction_key(
    environment: Mapping[str, str] | None = None, lacking: Callable[[str], None] = note
) -> bytes:
    """The secret key for redaction tokens, kept in the user's configuration directory.

    It is created at first use. If it cannot be stored, a key for this process is used, so tokens of one
    secret match only within the process; `lacking` is called with that message. If an existing key is
    unusable, a message on stderr says so.
    """
    environment = os.environ if environment is None else environment
    home = config_home(environment)
    key = os.urandom(32)
    if home is None:
        lacking("the home directory for the redaction key is missing; tokens match within this process only")
        return key
    path = Path(home) / "agent-trace" / "redaction.key"
    try:
        return _read_key(path)
    except (FileNotFoundError, NotADirectoryError):
        pass  # created below
    except OSError as error:
        reason = error.strerror or error
        lacking(f"the redaction key could not be read ({reason}); tokens match within this process only")
        say(f"the redaction key {path} cannot be used ({reason}); this process uses a temporary one")
        return key
    try:
        return _store_key(key, path)
    except OSError as error:
        reason = error.strerror or error
        lacking(f"the redaction key could not be saved ({reason}); tokens match within this process only")
        return key


# named so that redaction takes the value for a secret wherever a program records its environment
KEY_FILE_VARIABLE = "AGENT_TRACE_ENCRYPTION_KEY_FILE"
KEY_VARIABLE = "AGENT_TRACE_ENCRYPTION_KEY"


def session_key(root: Path, environment: Mapping[str, str] | None = None) -> bytes | None:
    """The key of encrypted sessions, from a file that a variable names or from another variable.

    Args:
        root: the trace root, below which no key may be.
        environment: the variables; default: those of the process.

    Returns:
        32 bytes; None if neither variable is set.

    Raises:
        ConfigurationError: the file cannot be read, others can read it, or it is below the root.
        UsageError: what is there is no key.
    """
    from Agent.archive.encrypted import key_of

    variables = os.environ if environment is None else environment
    name, value = variables.get(KEY_FILE_VARIABLE), variables.get(KEY_VARIABLE)
    if not name:
        return key_of(value.encode(), KEY_VARIABLE) if value else None
    path = Path(name).expanduser()
    try:
        data, status = path.read_bytes(), path.stat()
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"the key file cannot be read: {getattr(error, 'strerror', None) or error}",
            path=path,
            remedy=f"correct {KEY_FILE_VARIABLE}",
        ) from None
    if path.resolve().is_relative_to(root.resolve()):
        raise ConfigurationError(
            "the key is below the trace root, beside what it protects", path=path, remedy="move it elsewhere"
        )
    if os.name == "posix" and status.st_mode & 0o077:
        raise ConfigurationError("others can read the key file", path=path, remedy=f"chmod 600 {path}")
    return key_of(data, str(path))


def _store_key(key: bytes, path: Path) -> bytes:
    """Store a new key; if another process was faster, return its key."""
    make_private(path.parent, parents=True, exist_ok=True)
    # Written aside and then linked, so that two processes that start together agree on one key.
    aside = path.with_name(f"redaction.key.{os.getpid()}")
    fd = open_private(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC)
    try:
        with open(fd, "wb") as file:
            file.write(key)
        with contextlib.suppress(FileExistsError):  # the other process's key is read now
            os.link(aside, path)
    finally:
        aside.unlink()
    return _read_key(path)


def _read_key(path: Path) -> bytes:
    key = path.read_bytes()
    if len(key) < 16:
        raise OSError("it does not contain a key")
    return key
