"""Whether a stored event holds content: what does not leave a machine without its owner's leave."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from Agent.export.allowed import AllowList

__all__ = ["holds_content"]

_BESIDE: Final = ("message", "state", "types", "artifact_text")
_NO_CONTENT: Final = frozenset({"logger", "code"})


def holds_content(row: Mapping[str, Any]) -> bool:
    """Whether the body of a stored event holds more than the allow-list lets through."""
    body = {key: value for key, value in row["body"].items() if key not in _NO_CONTENT}
    if any(key in body for key in _BESIDE):
        return True
    allowed = AllowList()
    allowed.payload(row["kind"], body)
    return bool(allowed.dropped)
