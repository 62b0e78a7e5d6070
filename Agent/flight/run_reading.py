"""Read recorded runs: list them, and read the events, steps, calls and artifacts of one.

Each run has its own event files; a session's root run consists of all events outside of runs. `find_run`
resolves the names that users type.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import orjson

from Agent.errors import InputError, RunNotFound, SessionNotFound
from Agent.event.kinds import Home
from Agent.event.model import Event
from Agent.event.payloads import KINDS
from Agent.tree.default_root import trace_root
from Agent.tree.files.session import open_session
from Agent.tree.layout import (
    SessionRef,
    agents_dir,
    find_session,
    is_directory,
    readable,
    readable_sessions,
    run_dir,
    run_ids,
    session_file,
    session_id_of,
)
from Agent.tree.read.reader import TreeReader
from Agent.tree.write.artifacts import ROOT_RUN, artifact_path, read_artifact

if TYPE_CHECKING:
    from Agent.flight.checkpoints.model import CheckpointInfo, StepEvent
    from Agent.flight.run_fold import Artifact, ModelCall, RunFold, RunSummary, Step, ToolCall

_RUN_KINDS = frozenset(name for name, kind in KINDS.items() if kind.home is Home.RUN)
_SHOWN_MATCHES = 5


class RunRef(NamedTuple):
    """A run by its session and id; the root run has no id, and may be narrowed to one agent."""

    session: Path
    run_id: str | None
    agent_id: str | None = None

    @property
    def name(self) -> str:
        """Its name on a command line."""
        session_id = session_id_of(self.session)
        return self.run_id or (session_id if self.agent_id is None else f"{session_id}/{self.agent_id}")


RunName = str | os.PathLike[str] | None
"""The name of a run, as `find_run` takes it."""


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One recorded run."""

    ref: RunRef
    summary: RunSummary
    steps: tuple[Step, ...]
    model_calls: tuple[ModelCall, ...]
    tool_calls: tuple[ToolCall, ...]
    artifacts: tuple[Artifact, ...]
    children: tuple[str, ...]
    """Ids of the runs begun in this run; for a root run, of all runs without a parent."""

    def events(self) -> Iterator[Event]:
        """Its own events in order: run, step, model-call, tool-call and artifact events."""
        return _events_of(self.ref)

    def step_events(self) -> Iterator[StepEvent]:
        """The steps recorded by `recorder.record_step`, as `StepEvent`s; raises DamagedInput."""
        from Agent.event.values.values import decode_value
        from Agent.flight.checkpoints.model import STEP_EVENT, StepEvent

        saved = [event.extra for event in self.events() if event.kind == "artifact.saved"]
        types = {str(extra.get("ref")): extra.get("value_types") or {} for extra in saved}
        for step in self.steps:
            if step.step_type == STEP_EVENT and step.output_ref is not None:
                stored = orjson.loads(b"".join(self.read(step.output_ref)))
                step_fields = decode_value(stored, types.get(step.output_ref, {}))
                yield StepEvent.of({**step_fields, "step_id": step.step_id})

    def checkpoints(self) -> list[CheckpointInfo]:
        """Its checkpoints in the order in which they were saved, without those that were pruned.

        `checkpoint_store.load_checkpoint(run_id, step_id, agent_id)` returns the state of one.
        """
        from Agent.flight.checkpoints.store import LocalCheckpointStore

        with LocalCheckpointStore(self.ref.session) as store:
            try:
                infos = store.list_checkpoints(self._directory_id())
            except RunNotFound:
                return []  # the run saved no checkpoint
        return [info for info in infos if self.ref.agent_id in {None, info.agent_id}]

    def path_of(self, ref: str) -> Path:
        """The file of an artifact; raises DamagedInput if the reference is invalid."""
        return artifact_path(self.ref.session, self._directory_id(), ref)

    def read(self, ref: str) -> Iterator[bytes]:
        """The bytes of an artifact in chunks; raises DamagedInput if they do not match their digest."""
        digest = next((each.digest for each in self.artifacts if each.ref == ref), None)
        return read_artifact(self.path_of(ref), digest)

    def _directory_id(self) -> str:
        return self.ref.run_id or ROOT_RUN


def list_runs(root: str | os.PathLike[str] | None = None, session: str | None = None) -> Iterator[RunSummary]:
    """List the explicit runs under a root, or of one session, newest first.

    Raises:
        SessionNotFound: the session does not exist.
    """
    root_path = trace_root(root)
    if session is None:
        sessions = [ref.path for ref in reversed(readable_sessions(root_path))]
    else:
        sessions = [find_session(root_path, session)]
    for path in sessions:
        for run_id in reversed(run_ids(path)):
            yield _folded(RunRef(path, run_id), keeps_rows=False).summary()


def read_run(ref: RunRef) -> RunRecord:
    """Read a recorded run; RunNotFound if nothing was recorded."""
    fold = _folded(ref, keeps_rows=True)
    return RunRecord(
        ref,
        fold.summary(),
        tuple(fold.steps),
        tuple(fold.model_calls),
        tuple(fold.tool_calls),
        tuple(fold.artifacts),
        tuple(_children(ref)),
    )


def _children(ref: RunRef) -> Iterator[str]:
    """Ids of the runs begun in a run, according to the first event of each."""
    reader = TreeReader(ref.session)
    for run_id in run_ids(ref.session):
        began = next(reader.run_events(run_id), None)
        if began is None or run_id == ref.run_id or began.extra.get("parent_run_id") != ref.run_id:
            continue
        if ref.agent_id in {None, began.agent_id}:
            yield run_id


def find_run(run: RunName = None, root: str | os.PathLike[str] | None = None) -> RunRef:
    """Find a run by name.

    Args:
        run: a run's id or a unique prefix, a run's directory, or a session or one agent of it, named as for
            `find_session_run`.
        root: the trace root; default: the configured one, then ./trace.

    Raises:
        RunNotFound, SessionNotFound: no run, or more than one, has that name.
    """
    ref = find_explicit_run(run, root)
    if ref is not None:
        return ref
    try:
        return find_session_run(run, root)
    except SessionNotFound:
        if run is None or run == "last":
            raise
        raise RunNotFound(
            f"no run or session {os.fspath(run)!r}",
            path=trace_root(root),
            remedy="`agent-trace runs` lists all runs",
        ) from None


def find_explicit_run(run: RunName, root: str | os.PathLike[str] | None = None) -> RunRef | None:
    """Find a run by its directory, its id or a unique prefix of that; None if there is none.

    Raises:
        RunNotFound: the prefix is ambiguous.
    """
    if run is None or run == "last":
        return None
    text = os.fspath(run)
    path = Path(text)
    if os.sep in text and is_directory(path):
        path = path.resolve()
        is_run = path.parent.name == "runs" and path.parent.parent.name.startswith("session_")
        return RunRef(path.parent.parent, path.name if path.name != ROOT_RUN else None) if is_run else None
    root_path = trace_root(root)
    matches = _matching(readable_sessions(root_path), text)
    if len(matches) > 1:
        names = ", ".join(str(found.run_id) for found in matches[:_SHOWN_MATCHES])
        raise RunNotFound(
            f"{text!r} is the beginning of {len(matches)} runs: {names}",
            path=root_path,
            remedy="give more of the id",
        )
    return matches[0] if matches else None


def find_session_run(
    run: RunName = None, root: str | os.PathLike[str] | None = None, agent_id: str | None = None
) -> RunRef:
    """Find a session's root run, or one agent's part of it, by name.

    Args:
        run: "last" or None for the newest session that a program recorded, "last-fork" for the newest that
            was forked or resumed, a session's id, a unique prefix of it or its path; each may be followed by
            `/agent_id`, and an agent's id may contain slashes, or be empty.
        root: the trace root; default: the configured one, then ./trace.
        agent_id: one agent of the session, if `run` does not name one.

    Raises:
        SessionNotFound: no session or more than one has this name.
    """
    root_path = trace_root(root)
    if not isinstance(run, str) or run == "last":
        return RunRef(find_session(root_path, run), None, agent_id)
    cuts = [at for at, letter in enumerate(run) if letter == os.sep and at]
    for cut in (len(run), *reversed(cuts)) if cuts else ():
        path = Path(run[:cut])
        if is_directory(path) and _is_session(path):
            return RunRef(readable(path), None, run[cut + 1 :] or agent_id)
    session, slash, agent = run.partition("/")
    try:
        return RunRef(find_session(root_path, run), None, agent_id)
    except SessionNotFound:
        if not slash:
            raise
    return RunRef(find_session(root_path, session), None, agent if agent_id is None else agent or agent_id)


def _is_session(path: Path) -> bool:
    """Whether a directory is one session: a trace root also has an `agents` directory."""
    if path.name.startswith("session_") or session_file(path).is_file():
        return True
    return agents_dir(path).is_dir() and not readable_sessions(path)


def _matching(sessions: list[SessionRef], text: str) -> list[RunRef]:
    """The runs whose id starts with the text, newest session first; if one has exactly that id, only that."""
    refs = []
    for session in reversed(sessions):
        names = run_ids(session.path)
        if text in names:
            return [RunRef(session.path, text)]
        if _is_root_run(session.path, text):
            return [RunRef(session.path, None)]
        refs += [RunRef(session.path, name) for name in names if text and name.startswith(text)]
    return refs


def _is_root_run(session: Path, text: str) -> bool:
    """Whether the text is the id of a session's root run; False if the root run has no directory."""
    return run_dir(session, ROOT_RUN).is_dir() and _root_id(session) == text


def _folded(ref: RunRef, *, keeps_rows: bool) -> RunFold:
    from Agent.flight.run_fold import fold_run  # not for those who only name a run, such as each replay

    run_id = ref.run_id or _root_id(ref.session)
    return fold_run(run_id, ref.session, _events_of(ref), keeps_rows=keeps_rows)


def _events_of(ref: RunRef) -> Iterator[Event]:
    reader = TreeReader(ref.session)
    if ref.run_id is not None:
        return reader.run_events(ref.run_id)
    events = reader.events(ref.agent_id, kinds=_RUN_KINDS)
    return (event for event in events if event.run_id is None)


def _root_id(session: Path) -> str:
    try:
        return open_session(session).session_uid
    except InputError:
        # `session.json` is missing or damaged; the runs can still be read, so use the directory's name.
        return session_id_of(session)
