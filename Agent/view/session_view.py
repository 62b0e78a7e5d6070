"""`SessionView`: answers the requests of the pages of one session from its index.

A separate thread builds the index and publishes it as it grows; each request is answered from the current
index and never waits for the rest. `gathering` reads the files, `columns` holds the index, `snapshot` has the
answers that need only the index.
"""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from math import isfinite
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from Agent.archive.sealed.reader import open_reader
from Agent.errors import AgentTraceError, InputError, UsageError
from Agent.event.codec import event_to_object
from Agent.event.model import Event
from Agent.event.pointers import escape
from Agent.flight.checkpoints.state_fold import change_of, settle_from_store
from Agent.flight.checkpoints.store import LocalCheckpointStore
from Agent.tree.files.session import session_info
from Agent.tree.layout import session_id_of
from Agent.view.background import MOST_CHARS, Background
from Agent.view.history import History, Moment, as_text, causes_and_effects, value_in
from Agent.view.index.columns import FULL_STATE, NOBODY, STATE, Index, Tables
from Agent.view.index.gathering import FilesMovedError, Gatherer, Lines
from Agent.view.index.merging import merged
from Agent.view.index.stored import load, remove, store
from Agent.view.snapshot import (
    MOST_LISTED,
    MOST_PX,
    PENDING,
    Rows,
    Snapshot,
    by_trouble,
    edge,
    edge_rows,
    lane_rows,
    program_of,
    replay_of,
    status_of,
    window,
)

MOST_CHANGES: Final = 50
MOST_POINTS: Final = 2_000
MOST_ARROWS: Final = 10_000
MOST_FOUND: Final = 50
MOST_US: Final = 2**60
_CHECK_INTERVAL_S: Final = 1.0
"""How long an index counts as current without checking the files, in seconds."""
_COST: Final = 5
"""The minimum pause between checks of the files, as a multiple of the duration of the last one."""
_FIRST_SHOWN_S: Final = 0.3
_EXPLAIN_S: Final = 0.2
_STORE_GROWTH: Final = 10
"""The index is stored again after it has grown by this fraction (1/N)."""
_WATCHED_S: Final = 0.05
"""The interval between checks of the files while a page follows, in seconds."""
_WATCHED_COST: Final = 1
_COST_OF_LOST: Final = 20
_KEPT_HISTORIES: Final = 16


class SessionView:
    """The index of one session, and the answers for its pages.

    Safe to use from several threads. Times are microseconds since the first event. Every method raises
    UsageError for a wrong argument, and InputError if the session cannot be read.

    Args:
        session: the session's directory.
    """

    def __init__(self, session: Path) -> None:
        self.session_id = session_id_of(session)
        self._session = session
        self._histories: OrderedDict[int, History] = OrderedDict()
        self._lock = threading.Lock()
        self._ready = threading.Event()
        self._wake = threading.Event()
        self._closed = threading.Event()
        self._failure: AgentTraceError | None = None
        self._watching = 0
        """The number of pages that follow the session."""
        self._checked_s = 0.0
        self._next_count_s = 0.0
        """The time of the next count of lost events while a page follows."""
        self._must_rebuild = False
        self._moved = threading.Event()
        """Set when a request finds that a file has moved."""
        self._stored = 0
        """The number of events in the stored index."""
        nothing = merged(None, [], Tables())[0]
        self._snapshot = Snapshot(
            nothing, by_trouble(nothing, {}), Lines(Gatherer(session)), [], progress=0.0
        )
        self._background = Background(session)
        self._thread = threading.Thread(target=self._run, name=f"view {self.session_id}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop the threads; requests are still answered from the last index."""
        self._closed.set()
        self._wake.set()
        self._background.close()
        self._thread.join(timeout=5.0)

    def wait(self, timeout_s: float) -> bool:
        """Wait until the index is complete; return whether it is."""
        return self._ready.wait(timeout_s)

    # Building the index.

    def _run(self) -> None:
        while not self._closed.is_set():
            is_first, began = not self._ready.is_set(), time.monotonic()
            try:
                self._read_new_lines()
                self._failure = None
            except AgentTraceError as error:
                self._failure = error
            except OSError as error:
                self._failure = InputError(
                    f"the session cannot be read: {error.strerror}", path=error.filename
                )
            except Exception as error:  # noqa: BLE001 - without it, every page would wait for this thread forever
                self._failure = InputError(f"the index cannot be made: {error!r}", path=self._session)
            self._ready.set()
            if self._watching:
                self._snapshot.index.memory.let_go()
            self._checked_s = time.monotonic()
            self._wake.clear()
            if not self._closed.is_set():  # set before the wake-up that was just cleared
                # missing numbers may be in files that were read too early: check again
                is_explained = self._snapshot.lines.gatherer.is_explained
                self._wake.wait(_WATCHED_S if self._watching else None if is_explained else _EXPLAIN_S)
            if not is_first:
                cost = _WATCHED_COST if self._watching else _COST
                self._closed.wait(max(0.0, began + cost * (self._checked_s - began) - time.monotonic()))
        if not self._must_rebuild and self._stored != self._snapshot.index.count:
            self._store()

    def _read_new_lines(self) -> None:
        """Read and publish new lines; read everything again if files were removed."""
        # until the end of this pass: lines read but not published would be missing from the next index
        must_rebuild, self._must_rebuild = self._must_rebuild or self._moved.is_set(), True
        self._moved.clear()
        is_first = not self._ready.is_set()
        earlier, lines = self._snapshot.index, self._snapshot.lines
        is_new = is_first or must_rebuild or lines.gatherer.is_outdated()
        if is_new:
            gatherer = Gatherer(self._session)
            # if lines have moved since the index was built, the stored index is outdated, too
            stored = None if must_rebuild else load(self._session)
            is_resumed = stored is not None and gatherer.resume(stored)
            indexed, lines = stored.index if stored is not None and is_resumed else None, Lines(gatherer)
            self._stored = 0 if indexed is None else indexed.count
        else:
            indexed = earlier
        index = self._gathered(lines.gatherer, indexed)
        if index is None and is_new:
            index = indexed
        if self._closed.is_set():
            return
        if index is None:
            self._must_rebuild = False
            if not lines.gatherer.is_explained:
                self._snapshot = replace(self._snapshot, lost=lines.gatherer.lost(earlier))
            return
        self._publish(index, lines, keep=not is_new)
        self._must_rebuild = False
        is_grown = index.count - self._stored > index.count // _STORE_GROWTH
        if is_grown and self._store() and is_first and (stored := load(self._session)) is not None:
            # the same index, mapped into memory instead of held in it
            with self._lock:
                self._snapshot = replace(self._snapshot, index=stored.index)

    def _store(self) -> bool:
        """Store the index; return whether that was possible and the index still matches the files."""
        index, gatherer = self._snapshot.index, self._snapshot.lines.gatherer
        is_stored = store(self._session, index, gatherer.state())
        index.memory.let_go()
        if not is_stored:
            return False
        self._stored = index.count
        if gatherer.is_outdated():
            # erased in the meantime: the index must not keep any of it
            remove(self._session)
            return False
        return True

    def _gathered(self, gatherer: Gatherer, earlier: Index | None) -> Index | None:
        """Return the index with new events, None without any; the first time, publish it as it grows."""
        began = shown_s = time.monotonic()
        index = earlier
        for _ in gatherer.read_on():
            if self._closed.is_set():
                return None
            now = time.monotonic()
            # double the interval each time, so that all sorts together take about twice as long as the last
            if not self._ready.is_set() and now - shown_s > max(_FIRST_SHOWN_S, (shown_s - began)):
                index, shown_s = gatherer.merged(index), now
                lanes = by_trouble(index, {})
                rows = lane_rows(index, lanes, None, {})
                self._snapshot = Snapshot(index, lanes, Lines(gatherer), rows, progress=gatherer.progress)
                index.memory.let_go()
        return (
            gatherer.merged(index) if index is not earlier or earlier is None or gatherer.has_news else None
        )

    def _publish(self, index: Index, lines: Lines, *, keep: bool) -> None:
        """Publish a complete index; with `keep`, existing lanes keep their numbers."""
        left: defaultdict[str, list[str]] = defaultdict(list)
        for span in open_reader(self._session).in_flight():
            if not span.alive and span.agent_id is not None:
                left[span.agent_id].append(span.name)
        was = self._snapshot
        lanes = by_trouble(index, left, was.lanes.agents.tolist() if keep else ())
        rows = lane_rows(index, lanes, lines, left)
        snapshot = Snapshot(index, lanes, lines, rows, self._lost(index, lines, was.lost, keep=keep))
        with self._lock:
            self._keep_histories(was, snapshot)
            self._snapshot = snapshot

    def _lost(self, index: Index, lines: Lines, earlier_lost: int, *, keep: bool) -> int:
        """Count missing events; at intervals only while a page follows, since it examines every number."""
        began = time.monotonic()
        if keep and self._watching and began < self._next_count_s:
            lines.gatherer.is_explained = False  # count again at the next check without news
            return earlier_lost
        lost = lines.gatherer.lost(index)
        ended = time.monotonic()
        self._next_count_s = ended + max(_CHECK_INTERVAL_S, _COST_OF_LOST * (ended - began))
        return lost

    def _keep_histories(self, was: Snapshot, snapshot: Snapshot) -> None:
        """Extend the histories to which events were only appended, and drop the others."""
        for agent, history in list(self._histories.items()):
            # rows before `head` are unchanged; later ones may be other events
            kept_count = bisect_left(history.rows, snapshot.index.head)
            rows = np.append(history.rows[:kept_count], _changing(snapshot.index, agent, snapshot.index.head))
            if was.lines is snapshot.lines and _line_locations(
                was.index, history.rows[kept_count:]
            ) == _line_locations(snapshot.index, rows[kept_count : len(history.rows)]):
                history.extend(rows, partial(snapshot.lines.events, snapshot.index))
            else:
                del self._histories[agent]

    @property
    def snapshot(self) -> Snapshot:
        """Return the current index, and request an update."""
        if time.monotonic() - self._checked_s > _CHECK_INTERVAL_S and self._ready.is_set():
            self._wake.set()
        if self._failure is not None:
            raise self._failure
        return self._snapshot

    def _reading(self, answer: Callable[[Snapshot], dict[str, Any]]) -> dict[str, Any]:
        """Return an answer that reads lines; if files have moved, rebuild the index."""
        try:
            return answer(self.snapshot)
        except FilesMovedError:
            self._moved.set()
            self._wake.set()
            raise

    def watch(self, more: int) -> None:
        """Change the number of pages that follow the session."""
        with self._lock:
            self._watching += more
        self._wake.set()

    @property
    def version(self) -> object:
        """Return an object that is replaced when the session grows."""
        return self._snapshot if self._ready.is_set() else None

    # The whole session.

    def overview(self) -> dict[str, Any]:
        """Return the description of the session, its ticks and its lanes, those with errors first."""
        is_ready = self._ready.is_set()  # before getting the index, which may be complete a moment later
        snapshot = self.snapshot
        index, info = snapshot.index, session_info(self._session)
        lanes = snapshot.lane_rows
        return {
            "state": "ready" if is_ready else "building",
            "progress": snapshot.progress,
            "session_id": self.session_id,
            "program": program_of(info),
            "first_us": index.first_us,
            "length_us": index.length_us,
            "status": status_of(self._session, info),
            "events": index.count,
            "agents": len(lanes) - int(NOBODY in snapshot.lanes.agents),
            "errors": len(index.errors),
            "lost": snapshot.lost,
            "replay": replay_of(index, info),
            "kinds": list(index.tables.kinds.texts),
            "ticks": snapshot.ticks,
            "lanes": lanes,
        }

    def window(
        self,
        *,
        t0: float,
        t1: float,
        px: int,
        lanes: Sequence[int] | None = None,
        first: int = 0,
        last: int | None = None,
        axis: str = "time",
        sum_lanes: bool = False,
    ) -> bytes:
        """Return the window of a time range (`snapshot.window`; ui/README.md describes the format).

        Args:
            t0: the start; with `axis="tick"`, a tick.
            t1: the end, inclusive.
            px: the number of bins, 1 to 4,000.
            lanes: the lanes, in this order; None for those from `first` to before `last`.
            first: the first lane.
            last: the lane after the last; None for all.
            axis: `time` or `tick`, in which bins are equally wide.
            sum_lanes: whether to add up all of these lanes.
        """
        _check_range(t0, t1)
        if not 1 <= px <= MOST_PX:
            raise UsageError(f"{px} is not a valid width of a window", remedy=f"give 1 to {MOST_PX} pixels")
        if axis not in ("time", "tick"):
            raise UsageError(f"{axis!r} is not an axis", remedy="give time or tick")
        snapshot = self.snapshot
        if axis == "tick" and not snapshot.axis:
            raise UsageError("the session has no ticks", remedy="give axis=time")
        agents = snapshot.agents_of(lanes, first, last)
        edges = edge_rows(snapshot.index, t0, t1, px, snapshot.axis if axis == "tick" else None)
        begin = 0 if lanes is not None or sum_lanes else first
        head = {"px": px, "from": begin, "to": begin + (1 if sum_lanes else len(agents)), "t0": t0, "t1": t1}
        return window(snapshot.index, agents, edges, head, sum_lanes=sum_lanes)

    def arrows(self, *, t0: float, t1: float, limit: int = 400) -> dict[str, Any]:
        """Return messages in transit between t0 and t1: at most `limit`, evenly sampled."""
        _check_range(t0, t1)
        _check_limit(limit, MOST_ARROWS)
        snapshot = self.snapshot
        index = snapshot.index
        pairs = index.arrows
        times = index.t_us[pairs] - index.first_us
        inside = np.flatnonzero((times.min(axis=1) <= t1) & (times.max(axis=1) >= t0))
        total = len(inside)
        if total > limit:
            inside = inside[np.linspace(0, total - 1, limit).round().astype(np.int64)]
        arrows = []
        for pair in pairs[inside]:
            start, end = index.lane_ends(pair)
            arrows.append(
                {
                    "from": int(snapshot.lanes.lane_of[start]),
                    "to": int(snapshot.lanes.lane_of[end]),
                    "t0": index.time(pair[0]),
                    "t1": index.time(pair[1]),
                    "id0": index.id_of(pair[0]),
                    "id1": index.id_of(pair[1]),
                }
            )
        return {"arrows": arrows, "total": total}

    def counters(self, *, t: float) -> dict[str, Any]:
        """Count events, errors and messages up to a time, and return the tick of that time."""
        _check_time(t)
        snapshot = self.snapshot
        index = snapshot.index
        row_after = snapshot.place_after(t)
        return {
            "events": row_after,
            "errors": int(np.searchsorted(index.errors, row_after)),
            "messages": index.messages_before(row_after),
            "tick": index.tick_at(row_after - 1),
        }

    # Events.

    def events(
        self,
        *,
        lanes: Sequence[int] | None = None,
        t0: float | None = None,
        t1: float | None = None,
        limit: int = 200,
        order: str = "asc",
        kind: str | None = None,
        errors: bool = False,
        q: str | None = None,
    ) -> dict[str, Any]:
        """List the events of some lanes from t0 to t1, both inclusive, in order of time.

        Args:
            lanes: the lanes; None for all.
            t0: the earliest time; None for the first event.
            t1: the latest time; None for the last event.
            limit: the maximum number, 1 to 1,000; `more` tells whether there are others.
            order: `asc`, or `desc` for the latest first.
            kind: only this kind.
            errors: only errors.
            q: only events whose line contains this text, ignoring case.
        """
        for t in (t0, t1):
            _check_time(0.0 if t is None else t)
        _check_limit(limit, MOST_LISTED)
        if order not in ("asc", "desc"):
            raise UsageError(f"{order!r} is not an order", remedy="give asc or desc")

        def answer(snapshot: Snapshot) -> dict[str, Any]:
            rows = snapshot.rows(None if lanes is None else snapshot.agents_of(lanes), t0, t1)
            number = None if kind is None else snapshot.index.tables.kinds.get(kind, -1)
            chosen = snapshot.chosen(rows if order == "asc" else rows[::-1], kind=number, errors=errors, q=q)
            some = list(islice(chosen, limit + 1))
            return {"events": snapshot.listed(some[:limit]), "more": len(some) > limit}

        return self._reading(answer)

    def event(self, event_id: str, *, links: bool = True) -> dict[str, Any]:
        """Return one event with its causes and effects; without `links`, only the event, immediately.

        `code` is the location of its function, or of its error: `function`, `file`, `line`, and `place` (file
        and line as text); None if it is not recorded.

        Raises:
            EventNotFound: the session does not have this event.
        """

        def answer(snapshot: Snapshot) -> dict[str, Any]:
            row = snapshot.row_of(event_id)
            (event,) = snapshot.lines.events(snapshot.index, [row])
            node = snapshot.node(row, event)
            described = {"event": event_to_object(event), **{key: node[key] for key in ("t", "lane", "text")}}
            described["code"] = snapshot.code_of(event)
            if not links:
                return {**described, "causes": [], "effects": [], "edges": []}
            causes, effects = causes_and_effects(snapshot.index, snapshot.lines, row, event)
            return {
                **described,
                "causes": snapshot.nodes([each["id"] for each in causes]),
                "effects": snapshot.nodes([each["id"] for each in effects]),
                "edges": [edge(each["edge"]) for each in (*causes, *effects)],
            }

        return self._reading(answer)

    def step(
        self, *, t: float, lanes: Sequence[int] | None = None, by: str = "event", direction: int = 1
    ) -> dict[str, Any]:
        """Return the next event, error or start of a tick after a time; with -1, the last one before it."""
        _check_time(t)
        if by not in ("event", "tick", "error"):
            raise UsageError(f"{by!r} is not a unit to step by", remedy="give event, tick or error")
        if direction not in (1, -1):
            raise UsageError(f"{direction} is not a direction", remedy="give 1 or -1")
        snapshot = self.snapshot
        index = snapshot.index
        if by == "tick":
            rows: Rows = np.unique(index.ticks[1])
        else:
            rows = snapshot.rows(None if lanes is None else snapshot.agents_of(lanes))
            rows = snapshot.error_rows(rows) if by == "error" else rows
        row = snapshot.next_to(rows, t, direction)
        if row is None:
            return {"t": None}
        return {
            "t": index.time(row),
            "row": row,
            "id": index.id_of(row),
            "lane": int(snapshot.lanes.lane_of[int(index.agent[row])]),
            "tick": index.own_tick(row),
        }

    def search(self, *, q: str) -> dict[str, Any]:
        """Find agents by name or role, and at most 50 events whose line contains a text, ignoring case."""
        if not q.strip():
            return {"agents": [], "events": []}

        def answer(snapshot: Snapshot) -> dict[str, Any]:
            small = q.strip().lower()
            agents = [
                lane
                for lane, each in enumerate(snapshot.lane_rows)
                if small in each["agent"].lower() or small in each["role"].lower()
            ]
            rows = list(islice(snapshot.chosen(range(snapshot.index.count), q=q.strip()), MOST_FOUND))
            return {"agents": agents, "events": snapshot.listed(rows)}

        return self._reading(answer)

    # State.

    def state(self, *, agent: str, t: float) -> dict[str, Any]:
        """Return an agent's recorded state at a time, and when each field last changed.

        Raises:
            AgentNotFound: the session has no such agent.
        """
        _check_time(t)

        def answer(snapshot: Snapshot) -> dict[str, Any]:
            index, number = snapshot.index, snapshot.agent_number(agent)
            if number is None:
                return {"agent": agent, "t": t, "tick": None, "fields": [], "handles": []}
            history = self._history(snapshot, number)
            position = bisect_left(history.rows, snapshot.place_after(t))
            moment = history.at(position)
            if moment.fold.checkpoint is not None:
                before = dict(moment.fold.fields)
                with LocalCheckpointStore(self._session) as store:
                    settle_from_store(moment.fold, store)
                row = snapshot.row_of(moment.fold.checkpoint.id)
                moment.settled(before, bisect_left(history.rows, row))
            agent_rows = index.rows_of(number)
            last = int(np.searchsorted(agent_rows, snapshot.place_after(t))) - 1
            return {
                "agent": agent,
                "t": t,
                "tick": None if last < 0 else index.tick_at(last, agent_rows),
                "fields": [
                    _field(snapshot, moment, history.rows, name, value)
                    for name, value in moment.values().items()
                ],
                "handles": moment.handles,
            }

        return self._reading(answer)

    def why(self, *, agent: str, field: str, t: float) -> dict[str, Any]:
        """List the last 50 changes of a field of an agent's state up to a time, the newest first.

        Raises:
            AgentNotFound: the session has no such agent.
        """
        _check_time(t)

        def answer(snapshot: Snapshot) -> dict[str, Any]:
            changes = self._changes(snapshot, agent, field, snapshot.place_after(t), MOST_CHANGES + 1)
            listed = []
            for position, (row, event, after) in enumerate(changes):
                if position or len(changes) <= MOST_CHANGES:
                    before = changes[position - 1][2] if position else None
                    change = {"id": event.id, "t": snapshot.index.time(row), "tick": event.tick}
                    listed.append(change | {"action": change_of(event), "before": before, "after": after})
            return {"changes": listed[::-1]}

        return self._reading(answer)

    def series(self, *, agent: str, field: str) -> dict[str, Any]:
        """Return the numbers that a field had over the whole session, at most 2,000, evenly sampled.

        Raises:
            AgentNotFound: the session has no such agent.
        """

        def answer(snapshot: Snapshot) -> dict[str, Any]:
            number = snapshot.agent_number(agent)
            if number is None:
                return {"points": []}
            history = self._history(snapshot, number)
            rows = history.rows[history.changes(field, len(history.rows))].tolist()
            if len(rows) > MOST_POINTS:
                some = np.linspace(0, len(rows) - 1, MOST_POINTS).round().astype(np.int64)
                rows = [rows[place] for place in some.tolist()]
            values = [value_in(event, field)[1] for event in snapshot.lines.events(snapshot.index, rows)]
            return {
                "points": [
                    [snapshot.index.time(row), value]
                    for row, value in zip(rows, values, strict=True)
                    if isinstance(value, int | float) and not isinstance(value, bool)
                ]
            }

        return self._reading(answer)

    def _changes(
        self, snapshot: Snapshot, agent: str, field: str, end: int, most: int
    ) -> list[tuple[int, Event, str | None]]:
        """Return the last changes of a field before a row: row, event, and the new value as text."""
        number = snapshot.agent_number(agent)
        if number is None:
            return []
        history = self._history(snapshot, number)
        positions = history.changes(field, bisect_left(history.rows, end))[-most:]
        rows = history.rows[positions].tolist()
        changes = []
        for row, event in zip(rows, snapshot.lines.events(snapshot.index, rows), strict=True):
            is_set, value = value_in(event, field)
            changes.append((row, event, as_text(value)[0] if is_set else None))
        return changes

    def _history(self, snapshot: Snapshot, agent: int) -> History:
        with self._lock:
            cached = self._histories.get(agent)
            if cached is not None and snapshot is self._snapshot:
                self._histories.move_to_end(agent)
                return cached
        history = History(_changing(snapshot.index, agent), partial(snapshot.lines.events, snapshot.index))
        with self._lock:
            if snapshot is self._snapshot:
                self._histories[agent] = history
                while len(self._histories) > _KEPT_HISTORIES:
                    self._histories.popitem(last=False)
        return history

    # Answers that take seconds.

    def findings(self, *, q: str | None = None, is_tested: bool = False) -> dict[str, Any]:
        """Return the findings of `debug`, without a text or for a complaint; `pending` until they are ready.

        Args:
            q: the complaint; empty for none.
            is_tested: whether to test the leading causes by forks of the run, which executes the program's
                code.
        """
        text = (q or "").strip()
        if len(text) > MOST_CHARS:
            raise UsageError(f"{len(text)} characters are too many", remedy=f"describe it in {MOST_CHARS}")
        answer = self._in_background("explain", {"text": text} | ({"is_tested": True} if is_tested else {}))
        if answer is None:
            return {**PENDING, "status": "", "causes": [], "tests": []}
        return self._reading(lambda snapshot: snapshot.findings(answer))

    def comparison(self, other: SessionView) -> dict[str, Any]:
        """Return where another session of the same root differs from this one, as found by `diff`."""
        answer = self._in_background("compare", {"other": other.session_id})
        if answer is None or not other.is_ready:
            return {**PENDING}
        return self._reading(lambda snapshot: snapshot.comparison(other.snapshot, answer))

    def differences(self, other: SessionView, *, agent: str) -> dict[str, Any]:
        """Return the events of an agent in which another session differs from this one."""
        answer = self._in_background("differences", {"other": other.session_id, "agent": agent})
        if answer is None or not other.is_ready:
            return {**PENDING}
        return self._reading(lambda snapshot: snapshot.differences(other.snapshot, answer))

    def provenance(self, *, agent: str, field: str, at: str) -> dict[str, Any]:
        """Return where the value of a field came from, as of an event of the agent.

        Raises:
            AgentNotFound: the session has no such agent.
            EventNotFound: it has no such event.
        """
        snapshot = self.snapshot
        snapshot.agent_number(agent)
        snapshot.row_of(at)
        answer = self._in_background("provenance", {"agent": agent, "field": field, "at": at})
        return {**PENDING} if answer is None else self._reading(lambda now: now.provenance(answer))

    def fork(
        self,
        *,
        number: int,
        agent: str,
        at: str,
        values: Mapping[str, str],
        seed: int | None = None,
        live: Sequence[str] = (),
        outcome: str | None = None,
        vary: Sequence[str] = (),
        seeds: int = 0,
    ) -> dict[str, Any]:
        """Fork an agent's run after one of its events, in child processes; `pending` until it has ended.

        Args:
            number: distinguishes otherwise equal forks.
            agent: the agent whose state is changed.
            at: the event after which the fork begins.
            values: {field: its new value as JSON text}.
            seed: the seed of the generators that the agent exposes.
            live: names of tools, models and agents that may be called live.
            outcome: searches the point of no return: the last point at which the change alters this outcome,
                such as `followers>1000`.
            vary: `FIELD=VALUE,VALUE` each; with `vary` or `seeds`, one fork per combination shows the
                distribution of the outcome (default: the first error).
            seeds: the number of seeds to try with each combination.

        Returns:
            `session` of the fork (None with an outcome); `text`, the report of the command `fork`; `stopped`,
            why it stopped early; `last`, the event of the last point at which the change still has an effect;
            and for many forks `bars`, each outcome with its number of forks.

        Raises:
            AgentNotFound, EventNotFound: the session has no such agent or event.
            UsageError: a value is not JSON, or nothing is changed.
        """
        snapshot = self.snapshot
        if snapshot.agent_number(agent) is None:
            raise UsageError("only an agent can be forked", remedy="choose one")
        snapshot.row_of(at)
        patch = []
        for name, text in values.items():
            try:
                patch.append({"op": "add", "path": f"/{escape(name)}", "value": orjson.loads(text)})
            except orjson.JSONDecodeError:
                raise UsageError(
                    f"the value of {name[:80]} is not JSON", remedy="texts need quotes"
                ) from None
        request: dict[str, Any] = {"agent": agent, "at": at, "patch": patch, "live": list(live)}
        request["is_inside"] = snapshot.acts_inside(agent)
        if not (patch or seed is not None or outcome or vary or seeds):
            raise UsageError("the fork changes nothing", remedy="change a field, or give a seed")
        request["outcome"] = snapshot.outcome_of(agent, outcome) if outcome else None
        request |= {"seed": seed, "vary": list(vary), "seeds": seeds}
        answer = self._background.answer("fork", request, number=number)
        return {**PENDING} if answer is None else {"state": "ready", **answer}

    def _in_background(self, kind: str, request: dict[str, Any]) -> dict[str, Any] | None:
        snapshot = self.snapshot
        return self._background.answer(kind, request, snapshot.index.count) if self.is_ready else None

    @property
    def is_ready(self) -> bool:
        """Return whether the first index is complete."""
        return self._ready.is_set()


def _line_locations(index: Index, rows: NDArray[Any]) -> tuple[list[int], list[int]]:
    """Return the locations of the lines of some rows, which identify events across two indexes."""
    file, offset = (index.columns[name][rows].tolist() for name in ("file", "offset"))
    return file, offset


def _changing(index: Index, agent: int, first: int = 0) -> NDArray[Any]:
    """Return the rows from `first` on of events that may change an agent's state."""
    rows = index.rows_between(agent, first, index.count)
    rows_changing: NDArray[Any] = rows[(index.flags[rows] & (STATE | FULL_STATE)) != 0]
    return rows_changing


def _field(snapshot: Snapshot, moment: Moment, rows: NDArray[Any], name: str, value: Any) -> dict[str, Any]:
    text, is_cut = as_text(value)
    position = moment.changed.get(name)
    row = None if position is None else int(rows[position])
    return {
        "name": name,
        "value": text,
        "is_cut": is_cut,
        "changed": None if row is None else snapshot.index.time(row),
        "changed_id": None if row is None else snapshot.index.id_of(row),
        "before": as_text(moment.before[name])[0] if name in moment.before else None,
    }


def _check_time(t: float) -> None:
    if not isfinite(t) or abs(t) >= MOST_US:
        raise UsageError(f"{t} is not a time", remedy="give microseconds since the first event")


def _check_range(t0: float, t1: float) -> None:
    _check_time(t0)
    _check_time(t1)
    if t1 < t0:
        raise UsageError(f"the range ends at {t1}, before it begins", remedy="give t0 up to t1")


def _check_limit(limit: int, most: int) -> None:
    if not 1 <= limit <= most:
        raise UsageError(f"{limit} is not a valid limit", remedy=f"give 1 to {most}")
