"""Detect changes in how often each agent does each thing, how often it fails, and how long it takes."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Final

from Agent.analysis.debug.root_causes.acts import Act, Log
from Agent.analysis.debug.root_causes.scan import (
    Finding,
    Observation,
    scan_counts,
    scan_novel,
    scan_numbers,
    scan_rare,
)
from Agent.event.kinds import SNAPSHOT

MIN_ACTS: Final = 8
MAX_SLICES: Final = 120
MIN_PEERS: Final = 5
SHORT_MS: Final = 0.5
"""Shorter durations are noise of the machine."""


def find(log: Log) -> Iterator[Finding]:
    """Yield changes of rates, failures and durations."""
    yield from _counts(log)
    yield from _never(log)
    yield from _failures(log)
    yield from _durations(log)


def _counts(log: Log) -> Iterator[Finding]:
    width = max(1, -(-log.steps // MAX_SLICES))
    slices = -(-log.steps // width)
    first: dict[str, int] = {}
    by_slice: dict[int, Act] = {}
    for act in log.acts:
        first[act.agent] = min(first.get(act.agent, act.step), act.step)  # ticks may begin again
        by_slice.setdefault(act.step // width, act)
    for sort, acts in log.by_sort.items():
        # The recorder decides when a state is recorded, such as at the end.
        if len(acts) < MIN_ACTS or acts[0].kind in {"error", SNAPSHOT}:
            continue
        begins = min(act.step for act in acts) // width
        agents = (log.peers.get(sort[0]) if sort[0] else None) or dict.fromkeys(act.agent for act in acts)
        starts = {agent: max(first.get(agent, 0) // width, begins) for agent in agents}
        series = {agent: [0] * (slices - start) for agent, start in starts.items()}
        total = [0] * (slices - begins)
        at: dict[tuple[str, int], Act] = {}
        for act in acts:
            part = act.step // width
            total[part - begins] += 1
            if act.agent in series:
                series[act.agent][part - starts[act.agent]] += 1
                at.setdefault((act.agent, part), act)
        at_slice = partial(_act_at, by_slice, acts[0])
        for each in scan_counts("rate changes", sort[2] or sort[1], series, partial(at_slice, starts, at)):
            owner = dict(each.group).get("agent", "")
            own = [act for act in each.acts if act.agent == owner and act.sort == sort]
            last = [act for act in acts if act.agent == owner and act.place < each.first.place]
            each.extras = tuple(own[:3] or last[-1:])
            yield _per_step(each, width)
        if len(series) > 2:
            found = scan_counts(
                "rate changes", sort[2] or sort[1], {"": total}, partial(at_slice, {"": begins}, {})
            )
            yield from (_per_step(each, width) for each in found)


def _per_step(change: Finding, width: int) -> Finding:
    """Convert counts per slice of `width` steps to counts per step."""
    return replace(change, usual=change.usual / width, found=change.found / width)


def _act_at(
    by_slice: Mapping[int, Act], otherwise: Act, starts: Mapping[str, int],
    own: Mapping[tuple[str, int], Act], agent: str, place: int,
) -> Act:  # fmt: skip
    """Return the first act that an agent's count counts, or the first of anybody in that slice."""
    part = starts[agent] + place
    return own.get((agent, part)) or by_slice.get(part) or otherwise


def _failures(log: Log) -> Iterator[Finding]:
    by_name: dict[tuple[str, str], list[Act]] = defaultdict(list)
    for sort, acts in log.by_sort.items():
        if acts[0].kind != "error":
            by_name[sort[0], sort[2]] += acts
    for (role, name), acts in by_name.items():
        acts.sort(key=lambda act: act.place)
        if any(act.failed for act in acts):
            seen = [Observation(act, act.failed) for act in acts]
            yield from scan_rare("fails", f"{name or role}", seen, most=0.9, base=0.5)
    errors = [act for act in log.acts if act.is_error]
    if errors:
        seen = [Observation(act, (act.name, act.message.split(":")[0][:40])) for act in errors]
        yield from scan_novel("new error", "error", seen, least=4)
        sorts = dict.fromkeys((act.role, act.name) for act in errors)
        for role, name in sorts:
            beside = [act for act in log.acts if act.role == role]
            rows = [Observation(act, act.is_error and act.name == name) for act in beside]
            onsets = scan_rare("error comes up", name, rows, most=0.9, base=0.5)
            # A failure that never recurs was dealt with.
            yield from (each for each in onsets if len(each.acts) > 1)


def _durations(log: Log) -> Iterator[Finding]:
    for sort, acts in log.by_sort.items():
        timed = [act for act in acts if act.duration_ms is not None and act.duration_ms > 0]
        if len(timed) < 20:
            continue
        series: dict[str, list[Observation]] = defaultdict(list)
        for act in timed:
            series[act.agent].append(Observation(act, math.log(act.duration_ms or 1e-3)))
        for each in scan_numbers("duration shifts", sort[2] or sort[1], series):
            if abs(each.found - each.usual) > math.log(2) and max(each.found, each.usual) > math.log(
                SHORT_MS
            ):
                each.usual, each.found = math.exp(each.usual), math.exp(each.found)
                yield each


def _never(log: Log) -> Iterator[Finding]:
    """Yield what all peers of an agent do repeatedly and the agent never does."""
    done: dict[str, dict[tuple[str, str], Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
    firsts: dict[str, Act] = {}
    for act in log.acts:
        firsts.setdefault(act.agent, act)
        if act.agent and act.kind != "error":
            done[act.role][act.kind, act.name][act.agent] += 1
    for role, sorts in done.items():
        members = [agent for agent in log.peers.get(role, ()) if agent in firsts]
        for (_, name), counts in sorts.items():
            lacking = [agent for agent in members if not counts[agent]]
            if len(members) < MIN_PEERS or len(lacking) != 1 or min(counts.values()) < 3:
                continue
            usual = sorted(counts.values())[len(counts) // 2]
            nats = min(20.0, usual * math.log(len(members)) / 2)
            yield Finding(
                "never done", name, [firsts[lacking[0]]], nats, (("agent", lacking[0]),),
                usual=usual, found=0, of=len(counts),
            )  # fmt: skip
