"""Every event read once for `debug`, as far as each is looked at by itself, with the step at which it is."""

# ruff: noqa: S608 - statements are put together from names of this package alone; values are parameters
from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from Agent.analysis.engine import Engine
from Agent.analysis.habits import is_number
from Agent.analysis.kept import Source, kept
from Agent.analysis.leaves import LABELS, label_of
from Agent.analysis.rows import BY_ORDER, EVENT_COLUMNS, engine_row
from Agent.analysis.series import Axis
from Agent.analysis.views import scan, whole_lines

__all__ = ["Deed", "Deeds", "Sort", "Steps", "read_deeds"]

MAX_OF_SORT: Final = 1_500
"""So many events of one name are looked at, those of the agents in question all: of more an even sample."""
FEWEST_OF_SORT: Final = 100
MAX_EVENTS: Final = 60_000
MAX_STEPS: Final = 400
STEPS_OF_TIME: Final = 120
_SILENT_KINDS: Final = (
    "code", "log.opened", "log.closed", "simulation_start", "simulation_end", "run.started", "run.finished",
    "source.read",
)  # fmt: skip


Sort = tuple[str, str, str]
"""Of which events one is one of many: role, kind, label."""


class Deed(NamedTuple):
    """One event, as far as it is looked at here."""

    id: str
    us: int
    step: int
    tick: int | None
    agent: str | None
    role: str
    """Its agent's role, the agent itself where it has none."""
    kind: str
    label: str
    message: str
    level: str
    extra: dict[str, Any]
    state: dict[str, Any] | None
    span: str | None
    parent: str | None

    @property
    def sort(self) -> Sort:
        """Of which events it is one of many."""
        return self.role, self.kind, self.label

    @property
    def failed(self) -> bool:
        """Whether it is an error or ended with one."""
        if self.kind == "error" or self.level in {"ERROR", "CRITICAL"}:
            return True
        return self.extra.get("outcome") == "error" or self.extra.get("error_id") is not None

    @property
    def began_us(self) -> int:
        """When it began: a span ends with its event."""
        duration = self.extra.get("duration_ms") if self.span else None
        return self.us - round(duration * 1000) if is_number(duration) else self.us


@dataclass(frozen=True, slots=True)
class Steps:
    """How the session is cut: finer than the axis of `series`, since single events are looked for."""

    by_tick: bool
    first: int
    width: int
    count: int

    @classmethod
    def of(cls, axis: Axis) -> Steps:
        """Ticks, at most 400 steps of them, or 120 steps of time."""
        span = axis.last - axis.first + 1
        wanted = MAX_STEPS if axis.by_tick else STEPS_OF_TIME
        width = max(1, -(-span // wanted))
        return cls(axis.by_tick, axis.first, width, (span - 1) // width + 1)

    def step(self, position: int) -> int:
        """The step of a tick or a time."""
        return max(0, min(self.count - 1, (position - self.first) // self.width))


class Deeds(NamedTuple):
    """The events that are looked at, in order."""

    all: list[Deed]
    sampled: bool
    lost: frozenset[str]
    """Ids of messages that were sent and never received."""
    named: frozenset[str] = frozenset()
    """Ids of the events that name a thing of the text."""


def read_deeds(
    engine: Engine, lines: str, steps: Steps, focus: Collection[str], naming: Collection[str] = ()
) -> Deeds:
    """The events; of the agents in `focus`, of messages with them, and in `naming`, every one is there.

    Which events they are is read from a few columns first; whole lines are then read of those alone.

    Args:
        engine: over the session.
        lines: what `held_lines` gives.
        steps: how the session is cut.
        focus: ids of agents.
        naming: ids of events that name what the text is about.
    """
    with kept(engine, "debug_names", _names_of(lines)) as names:
        lost = engine.rows(
            f"SELECT message_id FROM {names.text} WHERE event_type = 'agent_message' "
            f"GROUP BY message_id HAVING NOT bool_or(direction LIKE 'rec%') LIMIT {MAX_EVENTS}",
            names.parameters,
        )
        ids = [row["message_id"] for row in lost]
        most = _choose(engine, names, focus, ids, naming)
        try:
            rows = engine.rows(
                f"SELECT {EVENT_COLUMNS} FROM {lines} SEMI JOIN debug_chosen USING (writer, seq) "
                f"ORDER BY {BY_ORDER}"
            )
        finally:
            engine.drop_table("debug_chosen")
    return Deeds(_deeds(rows, steps), most > 1, frozenset(ids), frozenset(naming))


def _choose(
    engine: Engine,
    names: Source,
    focus: Collection[str],
    lost: Sequence[str],
    naming: Collection[str],
) -> int:
    """Keep the places of the events to read as `debug_chosen`; gives of how many one is taken at most.

    The messages that nobody received are all there, unless they are so many that losing them is usual, and so
    are the events in `naming`.
    """
    engine.make_table(
        "debug_sorts",
        f"SELECT event_type, name, count(*) AS events FROM {names.text} GROUP BY ALL",
        names.parameters,
    )
    try:
        sorts = engine.row("SELECT count(*) AS n, coalesce(max(events), 0) AS most FROM debug_sorts")
        # of many names fewer each, so that the end of a session is not cut off
        of_sort = max(FEWEST_OF_SORT, min(MAX_OF_SORT, MAX_EVENTS // max(1, sorts["n"])))
        place = len(names.parameters) + 1
        engine.make_table(
            "debug_chosen",
            f"SELECT writer, seq FROM {names.text} JOIN debug_sorts USING (event_type, name) "
            f"WHERE {_SPREAD} % (events // {of_sort} + 1) = 0 OR list_contains(${place}, agent_id) OR "
            f"list_contains(${place}, recipient) OR list_contains(${place}, sender) "
            f"OR list_contains(${place + 1}, message_id) "
            f"OR list_contains(${place + 2}, concat(writer, '-', seq)) "
            f"ORDER BY {BY_ORDER} LIMIT {MAX_EVENTS}",
            [
                *names.parameters,
                sorted(focus),
                lost if len(lost) <= of_sort else [],
                sorted(naming),
            ],
        )
    finally:
        engine.drop_table("debug_sorts")
    return int(sorts["most"] // of_sort + 1)


# of every tenth event of a loop of ten all are of one sort, so numbers are mixed first (Knuth's multiplier)
_SPREAD: Final = "(seq * 2654435761 % 4294967296)"
_PARTNERS: Final = ("sender", "recipient", "message_id", "direction")


def _names_of(lines: str) -> str:
    """A sub-query for what the choice needs: from lines that are held, or from the files column by column."""
    silent = ", ".join(f"'{kind}'" for kind in _SILENT_KINDS)
    if lines == whole_lines():
        # of files that are read again every key costs less as a column than out of the whole payload
        source, values = scan(*LABELS, *_PARTNERS), {key: key for key in (*LABELS, *_PARTNERS)}
    else:
        source, values = lines, {key: f"extra->>'$.{key}'" for key in (*LABELS, *_PARTNERS)}
    name = f"coalesce({', '.join(values[key] for key in LABELS)}, '')"
    partners = ", ".join(f"{values[key]} AS {key}" for key in _PARTNERS)
    return (
        f"(SELECT ts_us, writer, seq, event_type, agent_id, {name} AS name, {partners} FROM {source} "
        f"WHERE event_type NOT IN ({silent}))"
    )


def _deeds(rows: Iterable[dict[str, Any]], steps: Steps) -> list[Deed]:
    """Rows as deeds; one without a tick stands where the one before it stands."""
    found = []
    roles: dict[str, str] = {}
    step = 0
    for raw in rows:
        row = engine_row(raw)
        agent, role = row["agent_id"], row["agent_role"]
        if agent is not None and role:
            roles[agent] = role
        at = row["tick"] if steps.by_tick else raw["ts_us"]
        step = step if at is None else steps.step(at)
        kind = row["event_type"]
        found.append(
            Deed(
                row["id"], raw["ts_us"], step, row["tick"], agent,
                role or roles.get(agent or "") or agent or "",
                kind, label_of(kind, row["extra"], row["message"] or ""), row["message"] or "", row["level"],
                row["extra"], row["state"], row["span_id"], row["parent_span_id"],
            )
        )  # fmt: skip
    return found
