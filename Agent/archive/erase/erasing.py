"""`erase` removes an agent, a run or a value from everything below a trace root, and proves the erasure.

A plan is on the disk before anything is removed, each step can be repeated, and the proof comes last: after
a kill, the next erasure continues. `target` defines what is erased and searches for it, `files` finds and
removes it in a session and in the mirrors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import orjson

from Agent.archive.erase.files import (
    ErasedSession,
    SessionErasure,
    erase_from_mirrors,
    remove_leftovers,
)
from Agent.archive.erase.target import AGENT, MATCH, RUN, Proof, Target, prove
from Agent.archive.recover import refuse_if_in_use
from Agent.archive.sealed.sealing import tidy
from Agent.errors import NotErased, SessionInUse, SessionNotFound, UsageError
from Agent.flight.checkpoints.graph_file import (
    erase_from_graph,
    graph_files,
    refuse_if_open,
)
from Agent.tree.files.descriptors import locked
from Agent.tree.files.lines import chunks_of
from Agent.tree.files.session import read_stored, replace_durably
from Agent.tree.layout import (
    entries_in,
    list_sessions,
    run_dirs,
)
from Agent.tree.links import refuse_links
from Agent.tree.read.reader import TreeReader
from Agent.tree.retention import (
    delete_tree,
    drop_dead_links,
    finish_removals,
)

SHORTEST_VALUE: Final = 3
"""A shorter value would match bytes in almost every file."""


@dataclass(slots=True)
class Erasure:
    """The result of an erasure, with its proof."""

    kind: str
    value: str
    dry_run: bool = False
    resumed: bool = False
    """Whether it finished an interrupted erasure."""
    sessions: list[ErasedSession] = field(default_factory=list)
    mirror_lines: int = 0
    graph_checkpoints: int = 0
    """The number of erased LangGraph checkpoints in files of `TraceSaver`."""
    proof: Proof | None = None

    @property
    def events(self) -> int:
        """The number of events to erase."""
        return sum(session.events for session in self.sessions)

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        proof = None if self.proof is None else self.proof.to_dict()
        return {**asdict(self), "events": self.events, "proof": proof}


def target_of(*, agent: str | None = None, run: str | None = None, match: str | None = None) -> Target:
    """Create the target; UsageError unless exactly one is named, or if a value is too short."""
    criteria = [
        (kind, value) for kind, value in ((AGENT, agent), (RUN, run), (MATCH, match)) if value is not None
    ]
    if len(criteria) != 1:
        raise UsageError(
            "erase needs exactly one option", remedy="give --agent ID, --run ID or --match VALUE"
        )
    kind, value = criteria[0]
    if kind == MATCH and len(value.encode("utf-8", "surrogatepass")) < SHORTEST_VALUE:
        raise UsageError(
            f"{value!r} is too short to be distinguished from other bytes",
            remedy=f"give at least {SHORTEST_VALUE} characters",
        )
    if kind == AGENT:
        return Target(AGENT, value)
    return Target(RUN, value, {value}) if kind == RUN else Target(MATCH, value)


def erase(
    root: Path,
    target: Target | None,
    *,
    dry_run: bool = False,
    progress: Callable[[str, float], None] = lambda _step, _part: None,
) -> Erasure:
    """Erase the target from everything below a trace root, then search every byte for it.

    An interrupted erasure is finished first; nothing else is done if it is the same or `target` is None.

    Args:
        root: the trace root.
        target: what to erase, from `target_of`; None finishes an interrupted erasure.
        dry_run: change nothing, only report; files other than recordings are not searched.
        progress: called with the step and how far it is, 0 to 1.

    Raises:
        SessionNotFound: the root does not exist.
        SessionInUse: a process records under it, or another one erases.
        UsageError: no erasure was interrupted, and no target is given.
        NotErased: something cannot be rewritten or removed; the next erasure continues.
        DamagedInput: an account or a part of an archive cannot be read.
    """
    if not root.is_dir():
        raise SessionNotFound("no such trace root", path=root, remedy="choose one with --root")
    with locked(root) as is_alone:
        if not is_alone:
            raise SessionInUse(
                "another process erases under this root", path=root, remedy="wait for it and try again"
            )
        _refuse_if_in_use(root, progress)
        before = pending(root)
        target_or_pending = target or before
        if target_or_pending is None:
            raise UsageError(
                "no erasure was interrupted", remedy="give --agent ID, --run ID or --match VALUE"
            )
        if dry_run:
            return _dry(root, target_or_pending, progress)
        if before is not None:
            done = _erase(root, before, progress, resumed=True)
            if (target_or_pending.kind, target_or_pending.value) == (before.kind, before.value):
                return done
        return _erase(root, target_or_pending, progress)


def _refuse_if_in_use(root: Path, progress: Callable[[str, float], None]) -> None:
    refuse_if_open(root)
    sessions = list_sessions(root)
    for number, ref in enumerate(sessions):
        progress("asking who records", number / len(sessions))
        refuse_links(ref.path)
        refuse_if_in_use(ref.path, "erase when no process records under this root", run_dirs(ref.path))


def _dry(root: Path, target: Target, progress: Callable[[str, float], None]) -> Erasure:
    sessions, target = _find(root, target, progress)
    done = _report_of(target, sessions)
    done.dry_run = True
    done.mirror_lines = erase_from_mirrors(root, target, dry_run=True)
    done.graph_checkpoints = _erase_from_graphs(root, target, dry_run=True)
    return done


def _erase_from_graphs(root: Path, target: Target, *, dry_run: bool = False) -> int:
    finds = target.forms.find_in_stream
    return sum(erase_from_graph(path, finds, chunks_of(path), dry_run=dry_run) for path in graph_files(root))


def _report_of(target: Target, plans: list[SessionErasure]) -> Erasure:
    sessions = [each.erased for each in plans if each.erased.anything]
    return Erasure(target.kind, target.value, sessions=sessions)


def _erase(
    root: Path, target: Target, progress: Callable[[str, float], None], *, resumed: bool = False
) -> Erasure:
    with _naming_failures(root):
        finish_removals(root)
        half_written = entries_in(root, ".new", f".{PLAN_NAME}.")
        for left in [*half_written, *entries_in(root, beginning=".mirrors-")]:
            delete_tree(left)
        sessions = list_sessions(root)
        for number, ref in enumerate(sessions):
            progress("tidying", number / len(sessions))
            remove_leftovers(ref.path)
            tidy(ref.path)
        plans, target = _find(root, target, progress)
        write_plan(root, target)
        for number, each in enumerate(plans):
            progress("erasing", number / len(plans))
            each.erase(resumed=resumed)
        drop_dead_links(root)
        done = _report_of(target, plans)
        done.resumed = resumed
        progress("mirrors", 0.0)
        done.mirror_lines = erase_from_mirrors(root, target)
        progress("graphs", 0.0)
        done.graph_checkpoints = _erase_from_graphs(root, target)
        done.proof = prove(root, target, [plan_file(root)], progress)
        plan_file(root).unlink(missing_ok=True)
    return done


@contextmanager
def _naming_failures(root: Path) -> Iterator[None]:
    """Convert errors of the operating system to errors that explain the consequence."""
    try:
        yield
    except OSError as error:
        remedy = getattr(error, "remedy", "make it writable, or free disk space")
        raise NotErased(
            f"a file cannot be rewritten or removed: {error.strerror or error}",
            path=error.filename or root,
            remedy=f"{remedy}, and erase again: it continues where it stopped",
        ) from error


def _find(
    root: Path, target: Target, progress: Callable[[str, float], None]
) -> tuple[list[SessionErasure], Target]:
    """Find what to erase in each session; also returns the target with the runs and artifacts found."""
    sessions = [ref.path for ref in list_sessions(root)]
    target = replace(
        target,
        runs=_runs_in(sessions, target, progress),
        artifacts=set(target.artifacts),
        sealed=set(target.sealed),
    )
    plans = []
    for number, session in enumerate(sessions):
        progress("looking", number / len(sessions))
        plans.append(SessionErasure(session, target))
    return plans, target


def _runs_in(sessions: list[Path], target: Target, progress: Callable[[str, float], None]) -> set[str]:
    """Return the runs to erase completely: those started within an erased run, or for the agent."""
    affected_runs = set(target.runs)
    for number, session in enumerate(sessions if target.kind != MATCH else ()):
        progress("looking for runs", number / len(sessions))
        reader = TreeReader(session)
        if target.kind == RUN:
            affected_runs.update(reader.begun_in(affected_runs))
            continue
        for run_id in reader.run_ids():
            began = reader.run_beginning(run_id)
            if began and began.extra.get("agent") == target.value:
                affected_runs.add(run_id)
    return affected_runs


PLAN_NAME: Final = ".erasing.json"
PLAN_VERSION: Final = 1


def plan_file(root: Path) -> Path:
    """Path of the erasure plan."""
    return root / PLAN_NAME


def pending(root: Path) -> Target | None:
    """Return the target of an interrupted erasure; None if there is none.

    Raises:
        DamagedInput: the plan cannot be read.
    """
    description = "the plan of an erasure that was interrupted"
    return read_stored(plan_file(root), _target_in, description, "remove it, and erase the same again")


def _target_in(stored: Any) -> Target:
    if stored["version"] != PLAN_VERSION:
        raise ValueError(f"it is of version {stored['version']!r}")
    return Target.from_object(stored["target"])


def write_plan(root: Path, target: Target) -> None:
    """Write the plan and sync it to the disk; OSError if that fails."""
    stored = {"version": PLAN_VERSION, "target": target.to_object()}
    replace_durably(plan_file(root), orjson.dumps(stored, option=orjson.OPT_APPEND_NEWLINE))
