"""Beginnings and ends: which `started` belongs to which `finished`, and what has only one of the two."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from Agent.event.model import Event
from Agent.event.ordering.order import in_order

__all__ = ["Pair", "pair_events"]

_STARTS = {
    "run.started": "run",
    "step.started": "step",
    "context_entry": "context",
    "simulation_start": "simulation",
}
_ENDS = {
    "run.finished": "run",
    "step.finished": "step",
    "context_exit": "context",
    "simulation_end": "simulation",
}


@dataclass(frozen=True, slots=True)
class Pair:
    """A stretch of time with its two events; one of them may be missing, never both."""

    what: str
    """`run`, `step`, `context` or `simulation`."""
    start: Event | None
    """None for an end whose beginning is not in the recording."""
    end: Event | None
    """None for what never ended: its process died, or it is still running."""

    @property
    def duration_us(self) -> int | None:
        """Microseconds from start to end, None where one is missing or has no readable timestamp."""
        if self.start is None or self.end is None:
            return None
        try:
            return self.end.timestamp_us - self.start.timestamp_us
        except ValueError:
            return None


def pair_events(events: Iterable[Event]) -> list[Pair]:
    """The pairs among the events, in order of their first event; other kinds are passed over.

    Runs pair by run id, steps by run and step id, contexts by span, simulations by session and run. Where one
    key begins again before it ended, an end belongs to the latest beginning that is still open.
    """
    pairs: list[Pair] = []
    open_starts: dict[tuple[str, ...], list[int]] = {}
    for event in in_order(events):
        if event.kind in _STARTS:
            what = _STARTS[event.kind]
            key = _key(what, event)
            if key is not None:
                open_starts.setdefault(key, []).append(len(pairs))
            pairs.append(Pair(what, event, None))
        elif event.kind in _ENDS:
            what = _ENDS[event.kind]
            waiting = open_starts.get(_key(what, event) or ())
            if waiting:
                place = waiting.pop()
                pairs[place] = Pair(what, pairs[place].start, event)
            else:
                pairs.append(Pair(what, None, event))
    return pairs


def _key(what: str, event: Event) -> tuple[str, ...] | None:
    """What both ends of a pair have in common, None where the event does not say it."""
    parts: tuple[object, ...]
    if what == "run":
        parts = (event.run_id,)
    elif what == "step":
        parts = (event.run_id or "", event.extra.get("step_id"))
    elif what == "context":
        is_entry = event.kind == "context_entry"
        parts = (event.extra.get("context_span") if is_entry else event.span_id,)
    else:
        parts = (event.session_id, event.run_id or "")
    texts = [part for part in parts if isinstance(part, str)]
    return (what, *texts) if len(texts) == len(parts) else None
