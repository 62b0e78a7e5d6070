"""Draws a causal graph as one self-contained SVG: time goes to the right, each step behind is one column."""

from __future__ import annotations

from collections import defaultdict
from xml.sax.saxutils import escape, quoteattr

from Agent.analysis.causality.chains import INFERRED, is_failure
from Agent.analysis.causality.event_links import Row
from Agent.analysis.causality.graph import CausalGraph

WIDTH, HEIGHT = 250, 62
_GAP_X, _GAP_Y, _MARGIN, _TOP = 150, 22, 24, 64
MAX_NODES = 40
_CHARS = {"who": 36, "what": 30, "id": 38}

_STYLE = """
  .page { fill: #ffffff; }
  text { font-family: system-ui, -apple-system, "Segoe UI", sans-serif; fill: #1d1d1f; }
  .title { font-size: 15px; font-weight: 600; }
  .aside, .rule { font-size: 11px; fill: #6b6b70; }
  .node { fill: #f4f6fb; stroke: #9aa7c7; }
  .failed { fill: #fdecea; stroke: #c5483d; }
  .asked { stroke-width: 2.5; stroke: #2f5bd7; }
  .absent { fill: #ffffff; stroke: #9a9a9f; stroke-dasharray: 3 3; }
  .who { font-size: 11px; fill: #4a5470; }
  .what { font-size: 12px; font-weight: 600; }
  .id { font-size: 10px; fill: #6b6b70; }
  .edge { fill: none; stroke: #55607d; stroke-width: 1.4; }
  .inferred { stroke-dasharray: 5 4; stroke: #8a6d1a; }
  .rule { paint-order: stroke; stroke: #ffffff; stroke-width: 4px; }
  @media (prefers-color-scheme: dark) {
    .page, .absent { fill: #17181c; }
    text { fill: #e8e8ec; }
    .node { fill: #23262f; }
    .failed { fill: #3a1f1d; }
    .aside, .rule, .who, .id { fill: #a9aebb; }
    .rule { stroke: #17181c; }
    .edge { stroke: #8f9bb8; }
    .inferred { stroke: #d0ac4a; }
  }
"""


def to_svg(graph: CausalGraph) -> str:
    """The graph as SVG text: recorded edges are drawn, inferred ones dashed, the event asked about framed.

    At most 40 events are drawn, the nearest; hovering over an edge shows its reason.
    """
    causes = graph.causes[: MAX_NODES // 2 if graph.effects else MAX_NODES]
    effects = graph.effects[: MAX_NODES - len(causes)]
    rows = {row["id"]: row for row in (graph.event, *causes, *effects)}
    layer = {graph.event["id"]: 0}
    layer |= {row["id"]: -row["hops"] for row in causes} | {row["id"]: row["hops"] for row in effects}
    absent = [each for each in graph.missing if each.effect_id in layer]
    layer |= {each.id: layer[each.effect_id] - 1 for each in absent}
    edges = [e for e in graph.edges() if e["cause_id"] in layer and e["effect_id"] in layer]
    places = _places(layer, edges)
    width = max((x for x, _ in places.values()), default=0) + WIDTH + _MARGIN
    height = max((y for _, y in places.values()), default=0) + HEIGHT + _MARGIN
    title = f"What led to {graph.event['id']}"
    hidden = len(graph.nodes()) - len(rows)
    aside = "solid: recorded, dashed: inferred" + (f"; {hidden} more events are not drawn" if hidden else "")
    width = max(width, 420)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" role="img" aria-label={quoteattr(_clean(title))}>',
        f"<style>{_STYLE}</style>",
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7.5" refY="4" markerWidth="8" markerHeight="8" '
        'orient="auto"><path d="M0 0.5 L8 4 L0 7.5 z" fill="#6d7894"/></marker></defs>',
        f'<rect class="page" width="{width}" height="{height}"/>',
        f'<text class="title" x="{_MARGIN}" y="28">{_text(title, 80)}</text>',
        f'<text class="aside" x="{_MARGIN}" y="46">{escape(aside)}</text>',
        *(_edge(edge, places) for edge in edges),
        *(_node(row, places[row["id"]], asked=row is graph.event) for row in rows.values()),
        *(_absent(each.id, each.why, places[each.id]) for each in absent),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


_Place = tuple[int, int]


def _places(layer: dict[str, int], edges: list[dict[str, str]]) -> dict[str, _Place]:
    """Columns by step; within one, nodes stand near what they are connected with in the column before."""
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


def _node(row: Row, place: _Place, *, asked: bool) -> str:
    looks = "node" + (" failed" if is_failure(row) else "") + (" asked" if asked else "")
    tick = f"  tick {row['tick']}" if row["tick"] is not None else ""
    lines = (f"{row['agent_id'] or 'no agent'}{tick}", str(row["message"] or row["event_type"]))
    return _box(looks, place, (*lines, f"{row['timestamp'][11:23]}  {row['id']}"))


def _absent(event_id: str, why: str, place: _Place) -> str:
    return _box("absent", place, ("not in the recording", why, event_id))


def _box(looks: str, place: _Place, lines: tuple[str, str, str]) -> str:
    x, y = place
    texts = "".join(
        f'<text class="{name}" x="{x + 10}" y="{y + down}">{_text(line, _CHARS[name])}</text>'
        for name, down, line in zip(("who", "what", "id"), (17, 35, 52), lines, strict=True)
    )
    hint = escape(_clean("\n".join(lines)))
    return (
        f'<g><title>{hint}</title><rect class="{looks}" x="{x}" y="{y}" width="{WIDTH}" '
        f'height="{HEIGHT}" rx="8"/>{texts}</g>'
    )


def _edge(edge: dict[str, str], places: dict[str, _Place]) -> str:
    (x1, y1), (x2, y2) = places[edge["cause_id"]], places[edge["effect_id"]]
    x1, y1, y2 = x1 + WIDTH, y1 + HEIGHT // 2, y2 + HEIGHT // 2
    bend = max(30, (x2 - x1) // 2)
    looks = "edge inferred" if edge["basis"] == INFERRED else "edge"
    label = edge["rule"].replace("_", " ")
    x, y = (x1 + x2) // 2, (y1 + y2) // 2 - 4
    return (
        f"<g><title>{escape(_clean(edge['reason']))}</title>"
        f'<path class="{looks}" marker-end="url(#tip)" '
        f'd="M{x1} {y1} C{x1 + bend} {y1} {x2 - bend} {y2} {x2} {y2}"/>'
        f'<text class="rule" text-anchor="middle" x="{x}" y="{y}">{_text(label, 24)}</text></g>'
    )


def _text(text: str, width: int) -> str:
    line = " ".join(_clean(text).split())
    return escape(line if len(line) <= width else line[: width - 1] + "…")


def _clean(text: str) -> str:
    """Text that XML can hold."""
    return "".join(char if char.isprintable() or char == "\n" else "\ufffd" for char in text)
