"""The exception tree of everything that reads, explains and replays; recording itself never raises.

AgentTraceError                     exit code 70
├── UsageError                      2   a wrong argument or option
│   └── ConfigurationError          2   a wrong setting in code, file or environment
├── InputError                      3   something named cannot be read
│   ├── SessionNotFound             3
│   ├── SessionInUse                3   a process writes to it
│   ├── RunNotFound                 3
│   ├── AgentNotFound               3
│   ├── EventNotFound               3
│   ├── DamagedInput                3   a file that is not what it should be
│   ├── NotErased                   3   something that has to go cannot be removed or rewritten
│   ├── TargetNotFound              3   code that is named cannot be imported
│   ├── NotDelivered                3   a service could not be reached, or took nothing
│   └── MissingExtra                3   an optional part is not installed
└── ReplayError                     4   a replay could not prove anything
    ├── TargetNotGiven              4   no code to drive
    └── RecordingMiss               4   a recorded answer was needed and is not there
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
    "SessionInUse",
    "SessionNotFound",
    "TargetNotFound",
    "TargetNotGiven",
    "UsageError",
]


class AgentTraceError(Exception):
    """One mistake, told in one line: what, where, and what to do about it.

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
    """Something that was named cannot be read."""

    exit_code = 3


class SessionNotFound(InputError):
    """No session of that name under the trace root."""


class SessionInUse(InputError):
    """A process still writes to the session, so nobody else may change it."""


class RunNotFound(InputError):
    """No run of that name under the trace root."""


class AgentNotFound(InputError):
    """The session holds no event of that agent."""


class EventNotFound(InputError):
    """The session holds no event of that id."""


class DamagedInput(InputError):
    """A file is not what its place in the tree says it is."""


class NotErased(InputError):
    """Something that has to be erased cannot be removed or rewritten; what was erased before is gone."""


class NotDelivered(InputError):
    """A service could not be reached, or took nothing of what was sent; it stays in the record."""


class TargetNotFound(InputError):
    """The code that is named cannot be imported."""


class MissingExtra(InputError):
    """An optional part of the package is needed and not installed."""


class ReplayError(AgentTraceError):
    """A replay could not be carried out, so it proved nothing."""

    exit_code = 4


class TargetNotGiven(ReplayError):
    """No code was named to drive, and the record remembers none."""


class RecordingMiss(ReplayError):
    """A recorded answer was needed and is not in the record."""
