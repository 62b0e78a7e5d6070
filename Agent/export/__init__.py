"""Public names of the export: the wire format, and the allow-list of values that may be sent."""

from typing import TYPE_CHECKING

from Agent.lazy_names import lazy_names as _lazy_names

if TYPE_CHECKING:
    from Agent.export.allow_list import AllowList
    from Agent.export.failure_classes import classify, classify_exception
    from Agent.export.messages import (
        Batch,
        Dropped,
        EventMessage,
        FailureMessage,
        Refused,
        RunMessage,
        StepMessage,
        WireError,
    )
    from Agent.export.wire import encode_body, event_to_wire, read_batch, read_run, session_to_wire

__all__ = [
    "AllowList",
    "Batch",
    "classify",
    "classify_exception",
    "Dropped",
    "encode_body",
    "event_to_wire",
    "EventMessage",
    "FailureMessage",
    "read_batch",
    "read_run",
    "Refused",
    "RunMessage",
    "session_to_wire",
    "StepMessage",
    "WireError",
]

_HOMES = {
    "allow_list": "AllowList",
    "failure_classes": "classify classify_exception",
    "messages": "Batch Dropped EventMessage FailureMessage Refused RunMessage StepMessage WireError",
    "wire": "encode_body event_to_wire read_batch read_run session_to_wire",
}

__getattr__ = _lazy_names(__name__, _HOMES)
