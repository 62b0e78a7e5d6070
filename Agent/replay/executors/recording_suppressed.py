"""What user code records while an executor runs it: nothing, where no session is recorded here."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from Agent.event.model import RedactedBytes
from Agent.record.emit.installed import active_pipeline, install_pipeline
from Agent.record.emit.memory_sink import MemorySink
from Agent.record.emit.pipeline import Pipeline
from Agent.record.encode.redaction import Redactor

_lock = threading.Lock()
_open: list[Pipeline] = []
"""The pipeline that leads nowhere, once for each replay that needs it now."""


@contextmanager
def recording_turned_away() -> Iterator[None]:
    """In the block the first event begins no session.

    A session that is recorded in this process goes on: what executors make user code do stands in it.
    """
    with _lock:
        is_mine = bool(_open) or active_pipeline() is None
        if is_mine:
            if not _open:
                made = Pipeline(_Nowhere("replay"), session_id="replay", redactor=Redactor(os.urandom(32)))
                install_pipeline(made)
            else:
                made = _open[0]
            _open.append(made)
    try:
        yield
    finally:
        if is_mine:
            with _lock:
                made = _open.pop()
                # Somebody who set up recording meanwhile keeps it.
                if not _open and active_pipeline() is made:
                    install_pipeline(None)


class _Nowhere(MemorySink):
    """Takes lines and keeps none."""

    def write(self, line: RedactedBytes) -> bool:  # noqa: ARG002 - that is its point
        """Take a line."""
        return True
