"""CPython's `test_logging.py` with our bridge in every handler of a stream, and mirrors as the handlers of files."""

from __future__ import annotations

import logging
import logging.handlers
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from record_handlers import TextMirrorHandler, as_message, recording, replace_streams

replace_streams()
_OF_FILES = ("RotatingFileHandlerTest", "FileHandlerTest", "HandlerTest::test_race")


@pytest.fixture(autouse=True)
def recorded(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """A recording for each case, and its temporary files in a directory of its own."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    if any(f"::{name}" in request.node.nodeid for name in _OF_FILES):
        # Before the suite derives classes from them, inside its cases.
        monkeypatch.setattr(logging, "FileHandler", TextMirrorHandler)
        for name in ("RotatingFileHandler", "WatchedFileHandler"):
            monkeypatch.setattr(logging.handlers, name, TextMirrorHandler)
    monkeypatch.setenv("AGENT_TRACE_ROOT", str(tmp_path / "trace"))
    with recording(as_message):
        yield
