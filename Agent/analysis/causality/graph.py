"""The causes and effects of one event as a graph: values, an indented tree, DOT or SVG."""

# ruff: noqa: S608 - statements are built only from names of this package; values are parameters
from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from Agent.analysis.causality import chains
from Agent.analysis.causality.event_links import TRAIL_US, Links, Row, find_event, no_event
from Agent.analysis.query.engine import Engine
from Agent.analysis.query.kept import QueryEngine
from Agent.analysis.query.views import EACH, EVENT_COLUMNS, Only, engine_row, scan, whole_lines
from Agent.errors import DamagedInput
from Agent.event.ids import split_event_id
from Agent.event.model import Event
from Agent.record.encode.safe_text import cut
from Agent.tree.read.reader import TreeReader

if TYPE_CHECKING:
    from Agent.analysis.query.trees import ChosenEvents

MAX_MISSING = 20
_MAX_FORWARD = 2_000


@dataclass(frozen=True, slots=True)
class Missing:
    """A cause that an event names but the session does not have; `why` gives the known reason."""

    id: str
    effect_id: str
    why: str

    def to_dict(self) -> dict[str, str]:
        """The missing event as a plain dict."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class CausalGraph:
    """An event with its causes and effects; rows are those of `chains.chain`, nearest first."""

    event: Row
    causes: tuple[Row, ...]
    effects: tuple[Row, ...]
    missing: tuple[Missing, ...]
    lookback_s: float

    def to_dict(self) -> dict[str, Any]:
        """The graph as plain values, ready for JSON."""
        return {
            "event": self.event,
            "lookback_seconds": self.lookback_s if self.lookback_s != float("inf") else None,
            "causes": list(self.causes),
            "effects": list(self.effects),
            "missing": [each.to_dict() for each in self.missing],
        }

    def nodes(self) -> list[Row]:
        """The event, its causes and its effects."""
        return [self.event, *self.causes, *self.effects]

    def to_text(self, limit: int | None = None) -> str:
        """Return an indented tree, two lines per event with the reason; at most `limit` causes."""
        causes = self.causes[:limit]
        lines = [event_line(self.event)]
        lines += _tree(self.event["id"], causes, "effect_id", "cause_id", self.missing)
        if not causes and not self.missing:
            lines.append("  no recorded cause")
        shown = self.effects[:limit]
        if shown:
            lines += ["", "led to", *_tree(self.event["id"], shown, "cause_id", "effect_id", ())]
        hidden = len(self.causes) - len(causes) + len(self.effects) - len(shown)
        if hidden:
            lines.append(f"... and {hidden} more distant")
        return "\n".join(lines)

    def to_svg(self) -> str:
        """Return the graph as SVG: recorded edges solid, inferred ones dashed, the requested event framed.

        It shows the 40 nearest events; hovering over an edge shows its reason.
        """
        return _drawn(self)

    def to_dot(self) -> str:
        """Return the graph in Graphviz's DOT language, causes above their effects."""
        lines = ["digraph causes {", "  rankdir=TB;", "  node [shape=box, fontname=Helvetica, fontsize=10];"]
        lines.append("  edge [fontname=Helvetica, fontsize=9];")
        for row in self.nodes():
            looks = [f"label={_dot(_label(row))}"]
            if row["id"] == self.event["id"]:
                looks.append("penwidth=2")
            if chains.is_failure(row):
                looks.append('color="#b3261e"')
            lines.append(f"  {_dot(row['id'])} [{', '.join(looks)}];")
        for each in self.missing:
            label = _dot("\n".join((each.id, each.why)))
            lines.append(f"  {_dot(each.id)} [label={label}, style=dotted];")
        for edge in self.edges():
            style = "dashed" if edge["basis"] == chains.INFERRED else "solid"
            looks = [f"style={style}", f"label={_dot(edge['rule'])}", f"tooltip={_dot(edge['reason'])}"]
            lines.append(f"  {_dot(edge['cause_id'])} -> {_dot(edge['effect_id'])} [{', '.join(looks)}];")
        return "\n".join([*lines, "}"]) + "\n"

    def edges(self) -> Iterator[dict[str, str]]:
        """Yield every edge, including those from missing events."""
        for row in (*self.causes, *self.effects):
            yield row["edge"]
        for each in self.missing:
            yield {
                "cause_id": each.id, "effect_id": each.effect_id, "basis": "recorded", "rule": "cause",
                "reason": f"named as a cause, but {each.why}",
            }  # fmt: skip


def causal_graph(
    reader: TreeReader,
    engine: Engine,
    event: str | Row | Event,
    lookback_seconds: float = 60,
    *,
    with_effects: bool = False,
) -> CausalGraph:
    """Build the graph of an event's causes, their causes, and so on; optionally with its effects.

    Args:
        reader: of the session.
        engine: over the session.
        event: as for `chains.causality_chain`.
        lookback_seconds: how far back to look for causes, and how far ahead for effects.
        with_effects: whether to look for effects.

    Raises:
        EventNotFound, UsageError: as for `chains.causality_chain`.
    """
    row, at, span = chains.event_asked(reader, engine, event, lookback_seconds)
    links = Links(reader, engine, at - span, at)
    causes = chains.with_passed_value(row, links)
    absent = _absent(reader, engine, [row, *causes], links)
    later: list[dict[str, Any]] = []
    if with_effects:
        ahead = min(span, 10 * 365 * 86_400_000_000)
        forward = partial(_linked_later, engine, at, at + ahead)
        later = chains.effects(
            row, Links(reader, engine, at, at + ahead), until_us=at + ahead, forward=forward
        )
    return CausalGraph(row, tuple(causes), tuple(later), tuple(absent), lookback_seconds)


def around_event(
    engine: QueryEngine, event_id: str, lookback_seconds: float = 60, *, with_effects: bool = False
) -> ChosenEvents:
    """The events of many sessions that `causal_graph` searches: those near in time, and those that they name.

    Raises:
        EventNotFound: no session has this event.
        UsageError: the seconds are negative.
    """
    from Agent.analysis.query.trees import ChosenEvents

    chains.checked_lookback_us(lookback_seconds, 0)
    times = engine.rows(f"SELECT ts_us FROM {scan()} WHERE id = ? LIMIT 1", [event_id])
    if not times:
        raise no_event(event_id, "these sessions")
    at = times[0]["ts_us"]
    span = chains.checked_lookback_us(lookback_seconds, at)
    near = f"ts_us BETWEEN {at - span} AND {at + span * with_effects + TRAIL_US}"
    named = (
        f"SELECT {EACH}(causes) FROM {scan()} WHERE {near}",
        f"SELECT error_id FROM {scan('error_id')} WHERE {near} AND error_id IS NOT NULL",
    )
    where = " OR ".join((near, *(f"id IN ({each})" for each in named)))
    return ChosenEvents(
        where, [], f"within {lookback_seconds:g} s of {event_id}", "give a shorter --lookback"
    )


def _linked_later(engine: Engine, since_us: int, until_us: int, causes: list[Row]) -> list[Row]:
    """The events that name some events as causes or share their messages, and spans around failures."""
    ids = [cause["id"] for cause in causes]
    messages = [str(m) for cause in causes if (m := cause["extra"].get("message_id")) is not None]
    spans = [
        cause["parent_span_id"] for cause in causes if cause["parent_span_id"] and chains.is_failure(cause)
    ]
    rows = engine.rows(
        f"SELECT {EVENT_COLUMNS} FROM {whole_lines(Only(since_us=since_us, until_us=until_us))} "
        "WHERE ts_us BETWEEN $1 AND $2 AND "
        "(list_has_any(causes, $3) OR list_contains($3, extra->>'$.error_id') OR "
        "list_contains($4, span_id) OR "
        "(event_type = 'agent_message' AND list_contains($5, extra->>'$.message_id'))) LIMIT $6",
        [since_us, until_us, ids, spans or [""], messages or [""], _MAX_FORWARD],
    )
    return [engine_row(row) for row in rows]


def _absent(reader: TreeReader, engine: Engine, rows: Sequence[Row], links: Links) -> list[Missing]:
    """The causes that events name but the session does not have; causes outside the range are not missing."""
    named: dict[str, str] = {}
    for row in rows:
        for cause_id in [*row["causes"], row["extra"].get("error_id")]:
            if isinstance(cause_id, str) and cause_id in links.absent:
                named.setdefault(cause_id, row["id"])
    looked_for = list(named.items())[:MAX_MISSING]
    gone = [(c, e) for c, e in looked_for if find_event(reader, engine, c) is None]
    if not gone:
        return []
    whys = _whys(reader, [cause_id for cause_id, _ in gone])
    return [Missing(cause_id, effect_id, whys[cause_id]) for cause_id, effect_id in gone]


def _whys(reader: TreeReader, ids: list[str]) -> dict[str, str]:
    """{id: the reason why its event is missing, from the loss accounting}."""
    try:
        writers = {writer.writer: writer for writer in reader.losses().writers}
    except DamagedInput as error:
        return dict.fromkeys(ids, f"unknown, because the account of losses cannot be read: {error}")
    whys = {}
    for event_id in ids:
        try:
            name, seq = split_event_id(event_id)
        except ValueError:
            whys[event_id] = "it is not an event id"
            continue
        writer = writers.get(name)
        verdicts = {
            gap.verdict for gap in (writer.gaps if writer else ()) if gap.first_seq <= seq <= gap.last_seq
        }
        if writer is None:
            whys[event_id] = "of another session, or lost: no such writer here"
        elif verdicts:
            whys[event_id] = f"not in the recording: {min(verdicts)}"
        else:
            whys[event_id] = "not in the recording"
    return whys


def event_line(row: Row) -> str:
    """An event on one line: start time, agent, message, id."""
    began = row.get("started_at") or row["timestamp"]
    tick = f"tick {row['tick']}  " if row["tick"] is not None else ""
    return f"{began[11:23]}  {tick}{row['agent_id'] or '-'}  {_what(row)}  [{row['id']}]"


def _what(row: Row) -> str:
    message = " ".join(str(row["message"] or row["event_type"]).split())
    failed = " (failed)" if row["event_type"] != "error" and row["extra"].get("outcome") == "error" else ""
    return cut(message, 80) + failed


def _tree(root: str, rows: Sequence[Row], near: str, far: str, missing: Sequence[Missing]) -> list[str]:
    beneath: defaultdict[str, list[Row | Missing]] = defaultdict(list)
    for row in rows:
        beneath[row["edge"][near]].append(row)
    for each in missing:
        beneath[each.effect_id].append(each)
    return list(_branches(beneath, root, far, ""))


def _branches(
    beneath: Mapping[str, Sequence[Row | Missing]], node: str, far: str, indent: str
) -> Iterator[str]:
    """The lines of the tree below an event, depth first."""
    children = beneath.get(node, ())
    for n, child in enumerate(children):
        is_last = n == len(children) - 1
        mark, rest = ("└─ ", "   ") if is_last else ("├─ ", "│  ")
        if isinstance(child, Missing):
            yield f"{indent}{mark}{child.id}: {child.why}"
            continue
        edge = child["edge"]
        rule = "recorded" if edge["basis"] != chains.INFERRED else f"inferred({edge['rule']})"
        yield f"{indent}{mark}{event_line(child)}"
        yield f"{indent}{rest}{rule}: {' '.join(edge['reason'].split())}"
        yield from _branches(beneath, edge[far], far, indent + rest)


def _label(row: Row) -> str:
    return f"{row['agent_id'] or '-'}  {row['timestamp'][11:23]}\n{_what(row)}\n{row['id']}"


def _dot(text: str) -> str:
    """Quote a string for DOT."""
    clean = "".join(char if char.isprintable() or char == "\n" else "?" for char in text)
    escaped = clean.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


WIDTH, HEIGHT = 250, 62
_GAP_X, _GAP_Y, _MARGIN, _TOP = 150, 22, 24, 64
_LEAST_WIDTH = 420
MAX_NODES = 40
_Place = tuple[int, int]


def _drawn(graph: CausalGraph) -> str:
    """Draw time from left to right, with one column for each step."""
    causes = graph.causes[: MAX_NODES // 2 if graph.effects else MAX_NODES]
    effects = graph.effects[: MAX_NODES - len(causes)]
    rows = {row["id"]: row for row in (graph.event, *causes, *effects)}
    layer = {graph.event["id"]: 0}
    layer |= {row["id"]: -row["hops"] for row in causes} | {row["id"]: row["hops"] for row in effects}
    absent = [each for each in graph.missing if each.effect_id in layer]
    layer |= {each.id: layer[each.effect_id] - 1 for each in absent}
    edges = [edge for edge in graph.edges() if edge["cause_id"] in layer and edge["effect_id"] in layer]
    places = _places(layer, edges)
    nodes = [_node(row, places[row["id"]], asked=row is graph.event) for row in rows.values()]
    nodes += [
        {"look": "absent", "place": places[each.id], "lines": ("not in the recording", each.why, each.id)}
        for each in absent
    ]
    from Agent.render.html import template

    return template("graph.svg", line=_line).render(
        title=f"What led to {graph.event['id']}",
        hidden=len(graph.nodes()) - len(rows),
        width=max(max(x for x, _ in places.values()) + WIDTH + _MARGIN, _LEAST_WIDTH),
        height=max(y for _, y in places.values()) + HEIGHT + _MARGIN,
        margin=_MARGIN,
        box=(WIDTH, HEIGHT),
        nodes=nodes,
        edges=[
            {
                "start": places[edge["cause_id"]],
                "end": places[edge["effect_id"]],
                "look": "edge inferred" if edge["basis"] == chains.INFERRED else "edge",
                "label": edge["rule"].replace("_", " "),
                "reason": edge["reason"],
            }
            for edge in edges
        ],
    )


def _node(row: Row, place: _Place, *, asked: bool) -> dict[str, Any]:
    look = "node" + (" failed" if chains.is_failure(row) else "") + (" asked" if asked else "")
    tick = f"  tick {row['tick']}" if row["tick"] is not None else ""
    lines = (
        f"{row['agent_id'] or 'no agent'}{tick}",
        row["message"] or row["event_type"],
        f"{row['timestamp'][11:23]}  {row['id']}",
    )
    return {"look": look, "place": place, "lines": lines}


def _line(text: object, width: int) -> str:
    from Agent.render.html import shown

    return shown(" ".join(str(text).split()), width)


def _places(layer: dict[str, int], edges: list[dict[str, str]]) -> dict[str, _Place]:
    """Place each step in a column; within a column, sort nodes by the mean height of their neighbours."""
    columns: defaultdict[int, list[str]] = defaultdict(list)
    for node, at in layer.items():
        columns[at].append(node)
    linked: defaultdict[str, list[str]] = defaultdict(list)
    for edge in edges:
        linked[edge["cause_id"]].append(edge["effect_id"])
        linked[edge["effect_id"]].append(edge["cause_id"])
    first = min(columns)
    tallest = max(map(len, columns.values()))
    y: dict[str, float] = {}
    for at in sorted(columns, key=lambda at: (abs(at), at)):
        nodes = columns[at]
        wanted = {n: _mean([y[o] for o in linked[n] if o in y]) for n in nodes}
        offset = (tallest - len(nodes)) / 2
        for n, node in enumerate(sorted(nodes, key=lambda node: wanted[node])):
            y[node] = offset + n
    return {
        node: (
            _MARGIN + (at - first) * (WIDTH + _GAP_X),
            _TOP + round(y[node] * (HEIGHT + _GAP_Y)),
        )
        for node, at in layer.items()
    }


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else 0.0
