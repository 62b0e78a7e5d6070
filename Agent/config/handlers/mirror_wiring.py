"""Copies of events for people, as the options ask for them: category files, the user's handlers, stderr.

`recording.py` hangs them behind the pipeline; the record itself needs none of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from Agent.config.loading.options import Options
from Agent.config.text_mirrors import MirrorsForPeople

if TYPE_CHECKING:
    from pathlib import Path

    from Agent.config.handlers.handlers import Outlets
    from Agent.config.loading.handler_config import Outputs
    from Agent.record.emit.pipeline import MirrorSink
    from Agent.tree.write.mirror import Mirrors

__all__ = ["handler_counts", "open_copies", "open_outlets"]


def open_outlets(outputs: Outputs | None) -> Outlets | None:
    """The user's formatters and handlers, built; None, and nothing loaded, where there are none.

    Raises:
        ConfigurationError: the standard library could not build one of them.
    """
    if outputs is None:
        return None
    from Agent.config.handlers.handlers import Outlets

    return Outlets(outputs)


def open_copies(
    root: Path, options: Options, outlets: Outlets | None
) -> tuple[Mirrors | None, MirrorSink | None]:
    """The category files, and what the pipeline hands lines to; None where nobody wants any."""
    from Agent.tree.write.mirror import Mirrors

    rotation = options.rotation or None
    mirrors = None
    if options.mirrors:
        mirrors = (
            Mirrors(root, rotation=rotation) if outlets is None else outlets.open_mirrors(root, rotation)
        )
    if mirrors is not None:
        mirrors.make_directories()
    if outlets is not None:
        outlets.attach(mirrors)
    takers = mirrors if outlets is None else outlets
    copies = MirrorsForPeople(takers, console=options.console) if takers or options.console else None
    return mirrors, copies


def handler_counts(copies: MirrorSink | None) -> dict[str, int]:
    """How often the user's handlers, filters and formatters failed, by reason."""
    takers = copies.takers if isinstance(copies, MirrorsForPeople) else None
    return dict(getattr(takers, "failures", {}))
