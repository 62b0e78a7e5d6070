"""The lines that one report asks for again and again, read from the files once."""

# ruff: noqa: S608 - statements are put together from names of this package alone; values are parameters
from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from Agent.analysis.query.engine import Engine
from Agent.analysis.query.event_dict import EVENT_COLUMNS
from Agent.analysis.query.temp_tables import kept
from Agent.analysis.query.views import whole_lines

__all__ = ["held_lines"]

MAX_EVENTS: Final = 400_000
"""Payloads are large: of more events the files are read each time."""


@contextmanager
def held_lines(engine: Engine, events: int) -> Iterator[str]:
    """What stands behind FROM for the columns of `EVENT_COLUMNS`, for as long as this is open.

    Args:
        engine: over the session.
        events: about how many it has.
    """
    if events > MAX_EVENTS:
        yield whole_lines()
        return
    with kept(engine, "debug_lines", f"(SELECT {EVENT_COLUMNS} FROM {whole_lines()})") as source:
        yield source.text
