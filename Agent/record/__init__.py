"""Record events of the program: loggers, decorators, blocks, state, redaction.

Also records the sources of randomness and time.

Users call `loggers` and `tracing`; these pass events to the pipeline in `emit`. Only `encode` converts values
to redacted bytes. `sources` records clocks, random draws and the environment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

on_load: Callable[[], None] | None = None
"""Called when the code of loggers and decorators is loaded; `config/seams.py` sets it."""
