"""One more run of a recorded program: the copy of the working directory it runs in, and what it recorded.

What it records tells the paths of the copy as those of the working directory.
"""

from __future__ import annotations

import shutil
import stat
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from Agent.event.clock import parse_timestamp
from Agent.event.script_names import as_original
from Agent.replay.compare.emitted_events import ARGS_AFTER
from Agent.replay.compare.normaliser import ValuesOfRun
from Agent.replay.compare.program_state import KindOtherwise
from Agent.replay.diff.first_difference import RunDivergence
from Agent.replay.diff.run_comparison import RunComparison, compare_actions
from Agent.tree.files.session import SessionInfo, session_info

COPY = "copy"
_MOST_FILES = 2_000
_MOST_BYTES = 64 << 20
"""The size limit of a working directory that is copied."""
_END_US = 1_000_000
"""How long after the end of its recording a program may still have written files."""


@dataclass(frozen=True, slots=True)
class ProgramRun:
    """Another run of the program, and its comparison with the recording."""

    session: Path
    comparison: RunComparison
    code: Mapping[str, str]
    """{`agent.method`: digest of the code that ran}."""
    classes: Mapping[str, str]
    """{agent: its first class}."""
    is_sound: bool
    """Whether its recording has no losses and no damage."""
    refused: tuple[str, ...]
    """The accesses that were refused, such as network access."""
    failure: str
    found_changed_files: tuple[str, ...]
    """Files that it asked for and that were written while the program was recorded: it got others or none."""
    other_files: str
    """The files that it read and that the recorded run may not have read so, with a remedy."""
    chance: Mapping[str, str]
    """Digests of the process's random generators at the end; equal in every run if they are seeded."""
    unseeded: tuple[str, ...]
    """Draws from entropy or without a seed, and generators made without one, each with its place."""
    drawn_by_libraries: tuple[str, ...]
    """The same for draws by installed libraries."""
    clocks: tuple[str, ...]
    """Unrecorded reads of clocks by the program's own code."""
    has_free_order: bool
    """Whether actions ran at the same time, in an order that times, files or threads may have changed."""
    is_by_form: bool
    """Whether ids and times were compared by their form."""
    reads_clock: bool
    """Whether the program or a library read a clock, or a library drew without a seed."""
    made_ids: frozenset[tuple[str, str]]
    """The (recorded, replayed) ids that agreed by their form."""
    kinds: tuple[KindOtherwise, ...]
    """How the classes of its values differ from those of the recording."""

    @property
    def divergence(self) -> RunDivergence | None:
        """The first difference from the recording."""
        return self.comparison.divergence

    @property
    def obstacle(self) -> str:
        """Why the run proves nothing, or ended earlier than the recorded one."""
        unseen = [*self.comparison.not_compared, *self.comparison.unseen]
        if unseen:
            return f"{', '.join(unseen[:3])} cannot be compared"
        if self.refused:
            failed = f", and failed: {self.failure}" if self.failure else ""
            return f"it was refused {'; '.join(self.refused[:2])}{failed}"
        return self.failure or (
            "the target has different code" if self.is_sound else "its recording lacks events"
        )

    @property
    def did_otherwise(self) -> bool:
        """Whether changed code is the cause of the difference, not refused accesses, files or another order.

        The order of actions may change which of them run, and with which arguments.
        """
        divergence = self.divergence
        if divergence is None or self.refused or self.found_changed_files:
            return False
        is_own = divergence.field in {"result", ARGS_AFTER} or divergence.field.startswith("state.")
        return not self.has_free_order or is_own

    @property
    def is_comparable(self) -> bool:
        """Whether all of it could be compared."""
        return self.is_sound and not (self.comparison.not_compared or self.comparison.unseen)


def compare_runs(
    one: Path,
    other: Path,
    *,
    by_form: bool,
    measured: list[str] | None = None,
    is_whole: bool = False,
    not_made: Collection[tuple[str, str]] = (),
    made_ids: set[tuple[str, str]] | None = None,
) -> RunComparison:
    """Compare two recordings of the program.

    Args:
        by_form: whether ids and times agree by their form.
        measured: gets the other's durations that differ, which then agree, too; None compares them.
        is_whole: whether what was recorded between actions is compared, too.
        not_made: (recorded, other) ids that do not agree by their form.
        made_ids: gets those that do.
    """
    infos = [session_info(each) for each in (one, other)] if by_form else []
    began_s = [parse_timestamp(info.started_at) / 1e6 for info in infos if info is not None]
    if len(began_s) < 2:
        return compare_actions(one, other, None, is_whole=is_whole)
    values = ValuesOfRun((began_s[0], began_s[1]), durations=measured, not_made=not_made)
    comparison = compare_actions(one, other, values, is_whole=is_whole)
    if made_ids is not None:
        made_ids |= values.made_ids
    return comparison


def session_for(recorded: Path, sessions: Sequence[Path]) -> Path | None:
    """Return the session of a run that corresponds to the recorded one; None if it cannot be determined.

    A program that records several in turn has to make as many as the recorded process did.
    """
    if len(sessions) == 1:
        return sessions[0]
    infos = {each: session_info(each) for each in recorded.parent.glob("session_*")}
    process = _process_of(infos.get(recorded))
    recorded_then = {each: info for each, info in infos.items() if _process_of(info) == process}
    if process is None or len(recorded_then) != len(sessions):
        return None
    recorded_now = {each: session_info(each) for each in sessions}
    return _in_turn(recorded_now)[_in_turn(recorded_then).index(recorded)]


def _process_of(info: SessionInfo | None) -> tuple[object, ...] | None:
    if info is None or info.process_start_ticks is None:
        return None
    return info.host, info.boot_id, info.pid, info.process_start_ticks


def _in_turn(infos: Mapping[Path, SessionInfo | None]) -> list[Path]:
    return sorted(infos, key=lambda each: (info.started_at if (info := infos[each]) else "", each))


def recorded_until_us(info: SessionInfo) -> int:
    """Return the time after which the recorded program wrote no more files, in microseconds since 1970."""
    return parse_timestamp(info.ended_at or info.started_at) + _END_US


def copied(source: Path, copy: Path, session: Path, info: SessionInfo) -> list[Path] | None:
    """Copy the working directory without files written during the recording; None if it is too large.

    The trace root is left out too. Symbolic links are copied as links.

    Returns:
        The files written during the recording, such as redirected output, by their paths in the copy.
    """
    left_out = {session.parent.resolve(), session.resolve()}
    written_us = range(parse_timestamp(info.started_at), recorded_until_us(info))
    files, size_bytes = 0, 0
    lacking: list[Path] = []

    def names(place: str, listing: list[str]) -> list[str]:
        nonlocal files, size_bytes
        left = []
        for name in listing:
            path = Path(place) / name
            status = path.lstat()
            is_new = status.st_mtime_ns // 1000 in written_us and stat.S_ISREG(status.st_mode)
            is_tool = name.startswith(".") and stat.S_ISDIR(status.st_mode)  # such as .git and .venv
            if is_tool or name == "__pycache__" or path.resolve() in left_out:
                left.append(name)
            elif is_new and path.suffix != ".py":
                left.append(name)
                lacking.append(copy / path.relative_to(source))
            else:
                files += 1
                size_bytes += status.st_size
        if files > _MOST_FILES or size_bytes > _MOST_BYTES:
            raise OverflowError
        return left

    try:
        shutil.copytree(source, copy, symlinks=True, ignore=names)
    except (OSError, shutil.Error, OverflowError):
        return None
    return lacking


def tell_as_original(session: Path, copy: Path, original: Path) -> None:
    """Replace paths of a copied directory by those of the original in what the program recorded there."""
    for path in session.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            original_data = as_original(data, str(copy), str(original))
            if original_data != data:
                path.write_bytes(original_data)
