"""The key of encrypted sessions, which a variable names."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from Agent.errors import ConfigurationError
from Agent.tree.layout import open_file

# named so that redaction takes the value for a secret wherever a program records its environment
KEY_FILE_VARIABLE = "AGENT_TRACE_ENCRYPTION_KEY_FILE"
KEY_VARIABLE = "AGENT_TRACE_ENCRYPTION_KEY"
_MOST_BYTES = 4096
"""A key has at most 64 characters, so that what is left of a larger file is not one either."""


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
        fd, status = open_file(os.path.realpath(path))  # it may be a link, as secrets of containers are
        with os.fdopen(fd, "rb") as file:
            data = file.read(_MOST_BYTES)
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
