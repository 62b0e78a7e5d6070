"""The runs whose checkpoints a store has at hand: some with open files, more whose chains it goes on with.

The index of one that is lost or damaged is made again from its packs.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
from collections import OrderedDict
from functools import partial
from pathlib import Path
from typing import Any, Final

from Agent.errors import RunNotFound, SessionInUse
from Agent.event.clock import parse_timestamp
from Agent.flight.checkpoints.model import ABOUT, Removed
from Agent.flight.checkpoints.storage.chunks import remove_unshared
from Agent.flight.checkpoints.storage.files import (
    INDEX_NAME,
    REMOVED_FACT,
    RunFiles,
    checkpoints_dir,
    shared_chunks_dir,
)
from Agent.flight.checkpoints.storage.index import CheckpointIndex, Row
from Agent.flight.checkpoints.storage.packs import PACK_SUFFIX, frames, is_written_to
from Agent.flight.checkpoints.storage.run import RunCheckpoints
from Agent.record.health import say
from Agent.tree.layout import runs_dir

__all__ = ["OpenRuns"]


def rebuild(directory: Path) -> int:
    """Make the index of a run's checkpoints again; how many checkpoints it lists now.

    The old one is kept as `index.sqlite.damaged`. What of the packs is no checkpoint is told on stderr. A
    checkpoint that was removed while its chain was written to comes back, and whether the run failed is
    known from its checkpoints alone.

    Raises:
        SessionInUse: a process writes checkpoints of the run.
        OSError: it could not be written.
    """
    for claim in directory.glob("*.writer"):
        if is_written_to(claim):
            raise SessionInUse(
                "a process writes checkpoints of this run", path=claim, remedy="try again when it has ended"
            )
    for path in directory.glob(f"{INDEX_NAME}-*"):
        path.unlink(missing_ok=True)
    with contextlib.suppress(FileNotFoundError):
        os.replace(directory / INDEX_NAME, directory / f"{INDEX_NAME}.damaged")  # noqa: PTH105 - one call
    index = CheckpointIndex(directory / INDEX_NAME, make=True)
    try:
        with index.transaction():
            _fill(index, directory)
        return index.count()
    finally:
        index.suspend()


def _fill(index: CheckpointIndex, directory: Path) -> None:
    found: dict[int, tuple[Row, list[str]]] = {}
    for path in sorted(directory.glob(f"*{PACK_SUFFIX}")):
        index.add_pack(path.name)
        for offset, size, frame in frames(path, partial(_tell_rest, path)):
            try:
                row = _row(path, offset, size, frame)
            except (KeyError, TypeError, ValueError) as error:
                say(f"{path}: no valid checkpoint at byte {offset}: {type(error).__name__} {error}")
                continue
            known = found.get(row.number)
            # Copies of a frame are equal; a number is given twice only where the first was not committed.
            if known is None or known[0].saved_us <= row.saved_us:
                found[row.number] = row, frame.get("chunks") or []
    newest: dict[tuple[str, str | None], int] = {}
    begun = {row.chain for row, _ in found.values() if row.position == 0}
    for number, (row, digests) in sorted(found.items()):
        if row.chain not in begun:
            say(
                f"{directory}: the checkpoint of {row.step_id} is left out, because the one that "
                "it builds on is missing"
            )
            continue
        before = newest.get((row.step_id, row.agent_id))
        if before is not None:
            index.mark_removed([before])
        newest[row.step_id, row.agent_id] = number
        index.put(row)
        if digests:
            index.set_chunks(number, digests)


def _tell_rest(path: Path, size_bytes: int) -> None:
    say(f"{path}: its last {size_bytes} bytes are no whole checkpoint")


def _row(path: Path, offset: int, size: int, frame: dict[str, Any]) -> Row:
    about: dict[str, Any] = {name: frame.get(name) for name in ABOUT}
    return Row(
        number=int(frame["number"]),
        step_id=str(frame["step_id"]),
        agent_id=frame.get("agent_id"),
        saved_us=parse_timestamp(frame["timestamp"]),
        pack=path.name,
        offset=offset,
        frame_bytes=size,
        size_bytes=size,
        chain=int(frame["chain"]),
        position=int(frame["position"]),
        state_bytes=int(frame["state_bytes"]),
        digest=str(frame["digest"]),
        **about,
        opaque=int(frame.get("opaque") or 0),
        writer=path.name.partition("-")[0],
    )


_OPEN_RUNS: Final = 6
"""Runs whose files are kept open; each holds at most five."""
_KNOWN_RUNS: Final = 30
"""Runs whose chains are continued; each that is not open holds one file. What others save begins again."""
_REMOVED_SUFFIX: Final = ".removed"


class OpenRuns:
    """The runs of one session's store; callers hold `lock`.

    Args:
        session: the session's directory.
        durable: each save is on the disk itself when it returns.
    """

    def __init__(self, session: Path, *, durable: bool) -> None:
        self.session = session
        self.durable = durable
        self._abandoned: list[object] = []
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.RLock()
        self._runs: OrderedDict[str, RunCheckpoints] = OrderedDict()

    @property
    def lock(self) -> threading.RLock:
        """One thread at a time; after a fork everything is opened again."""
        if self._pid != os.getpid():
            # Kept, for SQLite would close what is the parent's.
            self._abandoned.append(self._runs)
            self._begin()
        return self._lock

    def get(self, run_id: str, *, make: bool = False) -> RunCheckpoints:
        """A run, opened if need be; RunNotFound where it has no checkpoints and none may be made."""
        run = self._runs.get(run_id)
        directory = checkpoints_dir(self.session, run_id)
        # Somebody may have removed the run with its directory meanwhile, or died while doing so.
        if run is not None and not run.files.index.path.exists():
            self.end(run)
            run = None
        if run is None and (make or (directory / INDEX_NAME).exists()):
            run = self._opened(directory, make=make, run_id=run_id)
        if run is not None and run.files.index.fact(REMOVED_FACT) is not None:
            self._take_away(run)
            run = self._opened(directory, make=True, run_id=run_id) if make else None
        if run is None:
            raise self._no_run(run_id)
        self._runs.move_to_end(run_id)
        if len(self._runs) > _OPEN_RUNS:
            list(self._runs.values())[-_OPEN_RUNS - 1].suspend()
        return run

    def _opened(self, directory: Path, *, make: bool, run_id: str | None = None) -> RunCheckpoints:
        files = RunFiles(directory, shared_chunks_dir(self.session), make=make, durable=self.durable)
        known = files.index.fact("run_id")
        if known is None and run_id is not None and make:
            with files.changing():
                files.index.note("run_id", run_id)
        if known is None:
            known = directory.parent.name if run_id is None else run_id
        run = self._runs[known] = RunCheckpoints(known, files)
        while len(self._runs) > _KNOWN_RUNS:
            self._runs.popitem(last=False)[1].close()
        return run

    def ids(self) -> list[str]:
        """The ids of the runs that have checkpoints."""
        found = []
        at_hand = {run.files.directory: run.run_id for run in self._runs.values()}
        for path in sorted(runs_dir(self.session).glob(f"*/checkpoints/{INDEX_NAME}")):
            run_id = at_hand.get(path.parent)
            if run_id is None:
                files = RunFiles(path.parent, None, make=False)
                run_id = files.index.fact("run_id") or path.parent.parent.name
                files.close()
            found.append(run_id)
        return found

    def end(self, run: RunCheckpoints) -> None:
        """Write no more into a run; what is saved afterwards begins with a snapshot."""
        self._runs.pop(run.run_id, None)
        run.close()

    def close(self) -> None:
        """The same for all."""
        for run in list(self._runs.values()):
            self.end(run)

    def rebuilt(self, run_id: str) -> int:
        """Make a run's index again; how many checkpoints it lists; RunNotFound, SessionInUse, OSError."""
        directory = checkpoints_dir(self.session, run_id)
        if not directory.is_dir():
            raise self._no_run(run_id)
        for run in [run for run in self._runs.values() if run.files.directory == directory]:
            self.end(run)
        count = rebuild(directory)
        self._opened(directory, make=True, run_id=run_id)
        return count

    def remove(self, run: RunCheckpoints) -> Removed | None:
        """Remove a run's checkpoints with their directory; None where another process writes there."""
        files = run.files
        outcome = Removed(runs=1)
        with files.changing():
            if any(files.is_live(path.stem) for path in files.directory.glob("*.writer")):
                return None
            outcome.checkpoints = files.index.count()
            # From here on nobody saves there, and whoever finds it finishes.
            files.index.note(REMOVED_FACT, "yes")
        outcome.size_bytes = self._take_away(run)
        return outcome

    def _take_away(self, run: RunCheckpoints) -> int:
        """Remove the directory of a run that is marked as removed; the bytes that are gone."""
        files = run.files
        freed = files.chunks.remove(files.chunks.names())
        freed += sum(path.stat().st_size for path in files.directory.rglob("*") if path.is_file())
        self.end(run)
        # Under another name at once, so that a kill leaves no half of it in its place.
        gone = files.directory.with_name(f"{files.directory.name}.{files.writer}{_REMOVED_SUFFIX}")
        try:
            files.directory.rename(gone)
        except FileNotFoundError:
            return 0  # another process, which found the mark, was faster
        shutil.rmtree(gone)
        return freed

    def finish_removals(self) -> None:
        """Remove what removals that were killed had set aside."""
        for path in runs_dir(self.session).glob(f"*/checkpoints.*{_REMOVED_SUFFIX}"):
            shutil.rmtree(path)

    def sweep_shared(self) -> None:
        """Remove what runs shared and none has any more."""
        remove_unshared(shared_chunks_dir(self.session))

    def _no_run(self, run_id: str) -> RunNotFound:
        return RunNotFound(
            f"no checkpoints of a run {run_id!r} in this session",
            path=self.session,
            remedy="list_checkpoints and runs() list them",
        )
