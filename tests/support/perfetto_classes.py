"""Perfetto's own classes of its trace format, without which a test is skipped."""

from __future__ import annotations

from typing import Any

import pytest


def perfetto_classes(*, allow_module_level: bool = False) -> Any:
    """Return the module; skip where the package is missing, or the installed protobuf is too old for it."""
    try:
        from perfetto.protos.perfetto.trace import perfetto_trace_pb2
    except Exception as error:  # protobuf's VersionError, or ImportError
        reason = f"perfetto, of the extra [perfetto], cannot be used: {error}"
        pytest.skip(reason, allow_module_level=allow_module_level)
    return perfetto_trace_pb2
