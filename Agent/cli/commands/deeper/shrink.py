"""What `golden shrink` is given: a golden trace, or a run, which becomes one for as long as it takes."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from Agent.errors import RunNotFound

if TYPE_CHECKING:
    from Agent.replay.compare.normaliser import Normaliser
    from Agent.replay.golden.shrinking import ShrunkGolden
    from Agent.replay.worker.parallel import Progress

__all__ = ["shrunk"]


def shrunk(
    trace: str,
    target: str | None,
    name: str | None,
    directory: Path,
    progress: Progress,
    *,
    normaliser: Normaliser,
    timeout: float | None,
    root: Path,
) -> ShrunkGolden:
    """The smallest golden trace that fails as the golden trace, or the run, of that name does.

    Raises:
        RunNotFound, SessionNotFound: there is neither.
        UsageError: it does not fail.
    """
    from Agent.replay.golden.adding import add_golden
    from Agent.replay.golden.shrinking import shrink_golden
    from Agent.replay.golden.trace import find_golden

    try:
        golden = find_golden(trace, directory)
    except RunNotFound as no_golden:
        with tempfile.TemporaryDirectory(prefix="agent-trace-golden-") as place:
            try:
                added = add_golden(
                    trace,
                    target,
                    root,
                    directory=place,
                    normaliser=normaliser,
                    timeout_seconds=timeout,
                    failing=True,
                )
            except RunNotFound:
                raise no_golden from None
            if not added.is_kept:
                from Agent.errors import ReplayError

                why = (*added.report.report.reasons, "it contains nothing that can be replayed")[0]
                raise ReplayError(f"{trace} cannot be made smaller: {why}") from None
            new = name or f"{added.golden.name}-shrunk"
            return shrink_golden(added.golden, name=new, directory=directory, progress=progress)
    return shrink_golden(golden, target, name=name, progress=progress)
