"""What runs of a whole program left or recorded otherwise, where their actions recorded the same.

The contents of objects at the end, the state of the program outside of agents, and what was recorded between
actions.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from Agent.archive.sealed.reader import open_reader
from Agent.event.model import Event
from Agent.event.ordering import order_key
from Agent.event.values.digest import leaves_out_secrets
from Agent.replay.compare.emitted_events import describe
from Agent.replay.compare.outcome import OF_PROGRAM, ReplayOutcome, listed
from Agent.replay.compare.program_state import (
    KindOtherwise,
    code_otherwise,
    left_otherwise,
    program_state_of,
    redacted_in_all,
)
from Agent.replay.diff.first_difference import PASSED_OVER, RunDivergence
from Agent.replay.diff.run_comparison import RunComparison
from Agent.replay.plan.actions import is_outside_write
from Agent.replay.plan.recording import Recording, ends_of, is_traced_action, method_name

_MOST_NAMED = 4


class EndDifference(NamedTuple):
    """A difference that the actions of the runs do not show."""

    why: str
    divergence: RunDivergence | None = None
    """The first value that is the same in all runs and differs from the recording."""
    is_of_program: bool = False
    """Whether no other check has compared it."""


class _End(NamedTuple):
    """The final content of an object that a field refers to."""

    event_id: str
    """The event of the agent's final state."""
    digest: str | None
    """None if the recording predates such digests, or the content could not be read."""


def _ends_of(events: Iterable[Event]) -> dict[tuple[str, str], _End]:
    """Return the final contents of objects that fields refer to, by agent and field."""
    last_states: dict[tuple[str, str], _End] = {}
    for event in events:
        if event.kind != "state" or event.agent_id is None:
            continue
        ends = ends_of(event)
        last_states |= {(event.agent_id, name): _End(event.id, digest) for name, digest in ends.items()}
    return last_states


def end_difference_of(
    recording: Recording, sessions: Sequence[Path], *, may_differ: bool
) -> EndDifference | None:
    """Return the first referenced object that ended differently; None if all ended as recorded.

    Args:
        recording: the recording.
        sessions: those of the runs, which recorded the same events.
        may_differ: whether code changed. If not, a content that varies between runs is ignored as random.
    """
    unknown = None
    others = [_ends_of(open_reader(each).events()) for each in sessions]
    for (agent_id, name), end in _ends_of(recording.events).items():
        digests = {ends[agent_id, name].digest if (agent_id, name) in ends else None for ends in others}
        if digests == {end.digest} and end.digest is not None:
            continue
        if end.digest is None or None in digests:
            unknown = unknown or EndDifference(
                f"code changed, and part of what {agent_id}.{name} holds cannot be compared"
            )
        elif len(digests) == 1:
            (other,) = digests
            values = f"content {end.digest}", f"content {other}"
            return EndDifference(
                f"what {agent_id}.{name} holds did not end as in the recording",
                RunDivergence(None, agent_id, "state", f"state.{name}", "", *values, end.event_id, None, 0),
            )
        else:
            unknown = unknown or EndDifference(
                f"code changed, and what {agent_id}.{name} holds ends differently in each run"
            )
    return unknown if may_differ else None


def redacted_at_end(recording: Recording, sessions: Sequence[Path], *, has_changed: bool) -> int:
    """Return the number of final contents that agree in all runs except for secrets, which may differ."""
    ends = _ends_of(recording.events).values()
    hidden = sum(end.digest is not None and leaves_out_secrets(end.digest) for end in ends)
    if has_changed:
        states = [program_state_of(open_reader(each).events()) for each in sessions]
        hidden += redacted_in_all(program_state_of(recording.events), states)
    return hidden


def compare_beyond_agents(proved: ReplayOutcome, recording: Recording, sessions: Sequence[Path]) -> None:
    """Note differences of changed code that no single agent shows: the order of agents, and new globals."""
    events = [list(open_reader(each).events()) for each in sessions]
    orders = [_order(each) for each in events]
    if len(set(orders)) == 1 and orders[0] != _order(recording.events):
        proved.normalisers.append("the order in which agents act and events are recorded")
    recorded, *others = (program_state_of(each) for each in (recording.events, *events))
    new = dict.fromkeys(
        name
        for other in others
        if recorded is not None and other is not None
        for name in other.changed
        if recorded.at(name) is None
    )
    if new:
        proved.remark(
            f"the program now changes {', '.join(list(new)[:_MOST_NAMED])}, which the recording does not "
            "have, so they cannot be compared"
        )


def _order(events: Iterable[Event]) -> tuple[tuple[str | None, str], ...]:
    """Return agent and description of each event that is compared, in order."""
    return tuple((event.agent_id, describe(event)) for event in _compared_in_order(events))


def _compared_in_order(events: Iterable[Event]) -> list[Event]:
    compared = [
        event
        for event in events
        if event.kind not in PASSED_OVER and event.kind != "state" and not is_outside_write(event)
    ]
    return sorted(compared, key=order_key)


def order_difference(recording: Recording, sessions: Sequence[Path]) -> EndDifference | None:
    """Return the first action in which runs of changed code did the same in another order; None if none did.

    Actions with async calls inside are left out, since these may run at the same time.
    """
    recorded = _inside_actions(recording.events)
    others = [_inside_actions(open_reader(each).events()) for each in sessions]
    for action, inside in recorded.items():
        own = [describe(event) for event in inside]
        orders = [[describe(event) for event in other.get(action, ())] for other in others]
        if any(order != orders[0] or sorted(order) != sorted(own) for order in orders) or orders[0] == own:
            continue
        if not any("loop_turns" in event.extra for event in inside):
            event, one, other = next(
                each for each in zip(inside, own, orders[0], strict=True) if each[1] != each[2]
            )
            return EndDifference(
                f"{one} came before {other} inside of an action of {action[0]}",
                RunDivergence(None, event.agent_id, event.kind, "order", "", one, other, event.id, None, 0),
            )
    return None


def _inside_actions(events: Iterable[Event]) -> dict[tuple[str | None, int], list[Event]]:
    """Return {(agent, number of its action): the compared events directly inside, in order}."""
    ordered = _compared_in_order(events)
    numbers: dict[str | None, int] = {}
    by_span: dict[str, tuple[str | None, int]] = {}
    for event in ordered:
        if is_traced_action(event) and event.span_id is not None:
            numbers[event.agent_id] = number = numbers.get(event.agent_id, 0) + 1
            by_span[event.span_id] = event.agent_id, number
    inside: dict[tuple[str | None, int], list[Event]] = {}
    for event in ordered:
        if event.parent_span_id in by_span:
            inside.setdefault(by_span[event.parent_span_id], []).append(event)
    return inside


def program_state_difference(recording: Recording, sessions: Sequence[Path]) -> EndDifference | None:
    """Return the first global, closure or the like that ended differently in runs of changed code."""
    recorded = program_state_of(recording.events)
    states = [program_state_of(open_reader(each).events()) for each in sessions]
    differing = left_otherwise(recorded, states)
    if not differing or recorded is None or states[0] is None:
        return None
    first = differing[0]
    if not first.is_steady:
        return EndDifference(
            f"code changed, and {first.name} ended differently than in the recording, and varies between runs"
            ": keep clocks, ids and unseeded draws out of it, or keep it in a field",
            is_of_program=True,
        )
    one, other = recorded.shown(first.name), states[0].shown(first.name)
    divergence = RunDivergence(None, None, "", f"{OF_PROGRAM}{first.name}", "", one, other, None, None, 0)
    return EndDifference(f"{first.name} did not end as in the recording", divergence)


def kind_difference(
    first: Collection[KindOtherwise], last: Collection[KindOtherwise]
) -> EndDifference | None:
    """Return the first difference in the class of values that both runs have and unchanged code can tell."""
    for kind in first:
        if kind.is_sure and kind in last:
            where = f"{OF_PROGRAM}{kind.what}"
            sides = kind.recorded, kind.replayed
            return EndDifference(str(kind), RunDivergence(None, None, "", where, "", *sides, None, None, 0))
    return None


def changed_code_in_program(recording: Recording, sessions: Sequence[Path]) -> list[str]:
    """Return the globals, closures or the like in which runs of changed code left other code alone."""
    states = [program_state_of(open_reader(each).events()) for each in sessions]
    return code_otherwise(program_state_of(recording.events), states)


def difference_between_actions(
    recording: Recording, sessions: Sequence[Path], compare: Callable[[Path, Path], RunComparison]
) -> EndDifference | None:
    """Return the first difference in what was recorded between actions; None if all runs recorded the same.

    Args:
        recording: the recording.
        sessions: those of the runs of changed code, whose actions recorded the same.
        compare: compares two sessions with what was recorded between actions.
    """
    found = [compare(recording.session, each).divergence for each in sessions]
    if not any(found):
        return None
    first, *others = sessions
    if found[0] is None or any(compare(first, each) for each in others):
        (parted, *_) = filter(None, found)
        return EndDifference(
            f"code changed, and what is recorded between actions varies between runs: {parted}",
            is_of_program=True,
        )
    why = f"what is recorded between actions differs: {found[0]}"
    return EndDifference(why, found[0], is_of_program=True)


def has_same_script(recording: Recording, sessions: Sequence[Path]) -> bool:
    """Whether the main script of all runs is the recorded one but for comments, docstrings and formatting."""
    events = [recording.events, *(open_reader(each).events() for each in sessions)]
    scripts = {
        program.get("script") if isinstance(program := event.extra.get("program"), dict) else None
        for each in events
        for event in each
        if event.kind == "log.closed"
    }
    return len(scripts) == 1 and None not in scripts


def unrecorded_ends(recording: Recording, changed_code: Collection[str], changed_script: str) -> list[str]:
    """Return why changed code may have written to agents that were gone before recording ended.

    Args:
        recording: the recording.
        changed_code: the changed methods, as `agent.action`.
        changed_script: the name of the program's script if it changed, and no method in it did; else empty.
    """
    actions = sorted(filter(is_traced_action, recording.events), key=order_key)
    last = {event.agent_id: order_key(event) for event in actions}
    ends = {
        event.agent_id: bool(event.extra.get("unchecked"))
        for event in recording.events
        if event.kind == "state" and event.extra.get("reason") == "gone" and event.agent_id in last
        if order_key(event) > order_key(actions[-1])
    }
    begun: dict[str, Event] = {}
    changed: set[str] = set()
    for event in actions:
        call = str(event.extra.get("call"))
        begun.setdefault(call, event)
        if f"{event.agent_id}.{method_name(event)}" in changed_code:
            changed.add(call)
    unknown = {changed_script: sorted(map(str, ends))} if changed_script else {}
    for call in sorted(changed):  # what it wrote in earlier calls was seen at the agents' later actions
        late = (
            each
            for each, is_unchecked in ends.items()
            if is_unchecked and last[each] < order_key(begun[call])
        )
        unknown[call] = sorted(map(str, late))
    return [
        f"{what} changed, and what it wrote after the last actions of {listed(agents)} is not recorded: they "
        "were gone when recording ended; call shutdown_logging() before that"
        for what, agents in unknown.items()
        if agents
    ]
