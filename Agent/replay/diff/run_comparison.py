"""`compare_runs`: the first difference of two sessions, recorded runs or forks.

Sessions are bisected if possible; they are called alike only after everything was compared.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from Agent.record.emit.installed import flush_active
from Agent.replay.compare.comparison import Comparison
from Agent.replay.compare.outcome import ReplayOutcome
from Agent.replay.compare.python_text import differing_texts
from Agent.replay.diff.bisection import END, Bisection, Meter, Unseekable
from Agent.replay.diff.first_difference import ForkedAt, Parting, RunDivergence, SameIds, StreamWalk
from Agent.replay.diff.run_side import RunSide, StreamKey, align, open_side
from Agent.replay.drive.fields import FieldRules
from Agent.replay.plan.recording import module_names

_MOST_NAMED = 5
RunName = str | os.PathLike[str] | None


@dataclass(frozen=True)
class RunComparison:
    """The result of comparing two runs; true if they differ."""

    a: str
    b: str
    divergence: RunDivergence | None
    """The first difference, None if there is none."""
    compared: int
    """Pairs of events that were compared and agree."""
    states: int
    """Pairs of an agent's states, first, full and last ones, that do."""
    method: str
    """`bisection` or `walk`."""
    meter: Meter
    notes: tuple[str, ...] = ()
    not_compared: Mapping[str, str] = field(default_factory=dict)
    """`agent.field` to why it was not compared."""
    unseen: tuple[str, ...] = ()
    """Other values that could not be compared, and why."""

    @property
    def exit_code(self) -> int:
        """Return 1 if they differ, 0 if they are alike, 4 if nothing could be compared."""
        return 1 if self.divergence is not None else 0 if self.compared or self.states else 4

    def __bool__(self) -> bool:
        return self.divergence is not None

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "a": self.a,
            "b": self.b,
            "differ": bool(self),
            "divergence": None if self.divergence is None else self.divergence.to_dict(),
            "compared": self.compared,
            "states": self.states,
            "not_compared": dict(self.not_compared),
            "unseen": list(self.unseen),
            "method": self.method,
            "read": {
                "lines": self.meter.lines,
                "size_bytes": self.meter.size_bytes,
                "of_bytes": self.meter.total_bytes,
            }
            if self.method == "bisection"
            else None,
            "notes": list(self.notes),
        }

    def __str__(self) -> str:
        found = self.divergence
        if found is None and not (self.compared or self.states):
            lines = [f"{self.a} and {self.b} have no comparable events or states"]
        elif found is None:
            rest = " in everything that could be compared" if self.not_compared or self.unseen else ""
            lines = [f"{self.a} and {self.b} are alike{rest}"]
        else:
            is_event = found.field == "events"
            one, other = map(str, (found.a, found.b)) if is_event else differing_texts(found.a, found.b)
            lines = [
                f"{self.a} and {self.b} differ at {found}",
                f"  a: {one}" + (f" (event {found.event_a})" if found.event_a else ""),
                f"  b: {other}" + (f" (event {found.event_b})" if found.event_b else ""),
            ]
            if found.common_cause is not None:
                lines.append(f"  last in common: {found.common_cause}")
        lines += [f"  not compared: {told}" for told in _grouped(self.not_compared)]
        lines += [f"  not compared: {told}" for told in self.unseen[:_MOST_NAMED]]
        if len(self.unseen) > _MOST_NAMED:
            lines.append(f"  not compared: {len(self.unseen) - _MOST_NAMED:,} more values")
        return "\n".join([*lines, *(f"  note: {note}" for note in self.notes), f"  {self._reading}"])

    @property
    def _reading(self) -> str:
        if self.method == "walk":
            before = " before that" if self.divergence is not None else ""
            return f"{_pairs(self.compared, 'event')} and {_pairs(self.states, 'state')} agree{before}"
        return (
            f"found by bisection: {self.meter.lines:,} lines read, {self.meter.size_bytes / 1e6:.2f} of "
            f"{self.meter.total_bytes / 1e6:,.1f} MB ({self.meter.share:.2%})"
        )


def _pairs(count: int, what: str) -> str:
    return f"{count:,} pair{'s' * (count != 1)} of {what}s"


def compare_runs(
    a: RunName,
    b: RunName,
    root: str | os.PathLike[str] | None = None,
    *,
    exhaustive: bool = False,
    progress: Callable[[float], None] = lambda _: None,
) -> RunComparison:
    """Find the first difference of two runs: tick, agent and field with both values.

    Also finds the last event that both have in common. Events are paired by agent, order and place; ids,
    times and measured numbers are ignored. A fork is compared with its origin from the point where it
    continues.

    Args:
        a, b: each a run's id or a unique prefix, a session, `SESSION/agent_id`, or `last`.
        root: the trace root; default: the configured one, then ./trace.
        exhaustive: compare every event from the beginning instead of bisecting.
        progress: receives the share of agents compared, if all are.

    Raises:
        RunNotFound, SessionNotFound, AgentNotFound: a run does not exist.
    """
    flush_active()
    one, other = open_side(a, root), open_side(b, root)
    notes = align(one, other)
    is_aligned = one.since is not None or other.since is not None
    run_ids = (*one.reader.run_ids(), *other.reader.run_ids())
    same_ids = SameIds((*one.writers(), *other.writers()), run_ids)
    if not exhaustive and not is_aligned:
        try:
            found = _bisected(one, other, same_ids, notes)
        except Unseekable as why:
            notes.append(f"compared every event: {why}")
        else:
            if found is not None:
                return found
            notes.append("compared every event, since the ends are alike")
    return _walked(one, other, same_ids, notes, progress=progress)


def _bisected(one: RunSide, other: RunSide, same_ids: SameIds, notes: list[str]) -> RunComparison | None:
    bisection = Bisection(one, other, same_ids)
    window = bisection.window()
    if window is None:
        return None
    comparison = Comparison(None, same_ids, scripts=module_names(one.session, other.session))
    walk = StreamWalk(comparison, same_ids)
    best: Parting | None = None
    for key in bisection.streams():
        best = _earlier(best, walk.first_parting(*bisection.events(key, window), limit=best))
    if best is None:
        raise Unseekable("what differs at the end could not be narrowed down by blocks")
    grounds = (
        *window.notes,
        *(
            [
                f"events before {window.unit} {window.first:.0f} were sampled and found alike; "
                "--exhaustive compares all of them"
            ]
            if window.first != -END
            else []
        ),
    )
    return RunComparison(
        one.name, other.name, best.divergence, walk.compared, walk.states, "bisection", bisection.meter,
        (*notes, *grounds),
    )  # fmt: skip


def _walked(
    one: RunSide,
    other: RunSide,
    same_ids: SameIds,
    notes: list[str],
    *,
    progress: Callable[[float], None],
) -> RunComparison:
    seen = ReplayOutcome()
    scripts = module_names(one.session, other.session)
    comparison = Comparison(None, same_ids, scripts=scripts, fields=FieldRules(seen))
    walk = StreamWalk(comparison, same_ids, (one.counts, other.counts))
    best: Parting | None = None
    keys: dict[StreamKey, None] = dict.fromkeys((*one.streams(), *other.streams()))
    for number, key in enumerate(keys, start=1):
        lineage = one.forked if key.kind == "agent" else None
        forked = None if lineage is None else ForkedAt.of(lineage, key.name)
        best = _earlier(best, walk.first_parting(one.events(key), other.events(key), best, forked))
        progress(number / len(keys))
    agreement = comparison.agreement
    if walk.reordered:
        notes.append(f"{walk.reordered:,} events of concurrent calls agree in another order")
    if agreement.redacted:
        notes.append(f"{agreement.redacted:,} values are redacted in both runs")
    for side in (one, other):
        damaged = side.reader.damaged_lines
        if damaged:
            notes.append(f"{side.name} has {damaged:,} damaged lines, which were skipped")
    found = None if best is None else best.divergence
    return RunComparison(
        one.name, other.name, found, walk.compared, walk.states, "walk", Meter(), tuple(notes),
        {**walk.not_compared, **seen.unseen_fields}, tuple(seen.reasons),
    )  # fmt: skip


def _grouped(not_compared: Mapping[str, str]) -> list[str]:
    """Fields and why, a line for each reason."""
    whys: dict[str, list[str]] = {}
    for name, why in not_compared.items():
        whys.setdefault(why, []).append(name)
    return [
        f"{', '.join(names[:_MOST_NAMED])}"
        + (f" and {len(names) - _MOST_NAMED:,} more" if len(names) > _MOST_NAMED else "")
        + f": {why}"
        for why, names in whys.items()
    ]


def _earlier(one: Parting | None, other: Parting | None) -> Parting | None:
    if one is None or (other is not None and other.order < one.order):
        return other
    return one
