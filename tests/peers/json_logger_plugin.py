"""python-json-logger's suite with our bridge in every handler of a stream, which then has the fields of the event."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from record_handlers import as_fields, recording, replace_streams

replace_streams()


@pytest.fixture(autouse=True)
def recorded() -> Iterator[None]:
    """A recording for each case."""
    with recording(as_fields):
        yield
