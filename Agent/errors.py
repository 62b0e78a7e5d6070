"""The exceptions of reading, analysis and replay, with exit codes; recording itself never raises.

AgentTraceError                     exit code 70
├── UsageError                      2   a wrong argument or option
│   └── ConfigurationError          2   a wrong setting in code, file or environment
├── InputError                      3   something named cannot be read
│   ├── SessionNotFound             3
│   ├── SessionInUse                3   a process writes to it
│   ├── SessionEncrypted            3   its key is not given
│   ├── RunNotFound                 3
│   ├── AgentNotFound               3
│   ├── EventNotFound               3
│   ├── DamagedInput                3   a file that is damaged
│   ├── NotErased                   3   something to be erased cannot be removed or rewritten
│   ├── TargetNotFound              3   the target cannot be imported
│   ├── NotDelivered                3   a service could not be reached, or accepted nothing
│   └── MissingExtra                3   an optional part is not installed
└── ReplayError                     4   a replay could not prove anything
    ├── TargetNotGiven              4   no target to replay
    └── RecordingMiss               4   a needed response was not recorded
"""

from __future__ import annotations

from os import PathLike

__all__ = [
    "AgentNotFound",
    "AgentTraceError",
    "ConfigurationError",
    "DamagedInput",
    "EventNotFound",
    "InputError",
    "MissingExtra",
    "NotDelivered",
    "NotErased",
    "RecordingMiss",
    "ReplayError",
    "RunNotFound",
    "SessionEncrypted",
    "SessionInUse",
    "SessionNotFound",
    "TargetNotFound",
    "TargetNotGiven",
    "UsageError",
]


class AgentTraceError(Exception):
    """Base of all errors: what is wrong, where, and what to do about it, in one line.

    Args:
        message: what is wrong, a clause without a full stop.
        path: the file or directory that it is about.
        line: the line in that file, counted from 1.
        remedy: what the reader can do, a clause without a full stop.
    """

    exit_code = 70

    def __init__(
        self,
        message: str,
        *,
        path: str | PathLike[str] | None = None,
        line: int | None = None,
        remedy: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.path = None if path is None else str(path)
        self.line = line
        self.remedy = remedy

    def __str__(self) -> str:
        place = ""
        if self.path is not None:
            place = f" ({self.path}:{self.line})" if self.line is not None else f" ({self.path})"
        remedy = f"; {self.remedy}" if self.remedy else ""
        return f"{self.message}{place}{remedy}"


class UsageError(AgentTraceError):
    """A wrong argument or option."""

    exit_code = 2


class ConfigurationError(UsageError):
    """A wrong setting in code, in a file or in the environment."""


class InputError(AgentTraceError):
    """A named input cannot be read."""

    exit_code = 3


class SessionNotFound(InputError):
    """The trace root has no session of that name."""


class SessionInUse(InputError):
    """A process still writes to the session, so no other process may change it."""


class SessionEncrypted(InputError):
    """Raised if a session is encrypted, and no key or another one is given."""


class RunNotFound(InputError):
    """The trace root has no run of that name."""


class AgentNotFound(InputError):
    """The session has no event of that agent."""


class EventNotFound(InputError):
    """The session has no event with that id."""


class DamagedInput(InputError):
    """A file is damaged, or is not the file that its place says."""


class NotErased(InputError):
    """Something to be erased cannot be removed or rewritten; earlier removals are done."""


class NotDelivered(InputError):
    """A service could not be reached, or accepted nothing; the events stay on this machine."""


class TargetNotFound(InputError):
    """The target cannot be imported."""


class MissingExtra(InputError):
    """A required optional part of the package is not installed."""


class ReplayError(AgentTraceError):
    """A replay could not be carried out, so it proved nothing."""

    exit_code = 4


class TargetNotGiven(ReplayError):
    """No target was given, and the session remembers none."""


class RecordingMiss(ReplayError):
    """A response that a replay needs was not recorded."""
