"""What runs of a whole program left or recorded otherwise, where their actions recorded the same.

The contents of objects at the end, the state of the program outside of agents, and what was recorded between
actions.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from Agent.archive.sealed.reader import open_reader
from Agent.event.model import Event
from Agent.event.ordering import order_key
from Agent.event.values.digest import leaves_out_secrets
from Agent.record.tracing.program_state import OF_AGENT
from Agent.replay.compare.emitted_events import describe
from Agent.replay.compare.outcome import OF_PROGRAM, ReplayOutcome, listed
from Agent.replay.compare.program_state import (
    UNCHANGED,
    KindOtherwise,
    LeftInProgram,
    code_otherwise,
    draws_otherwise,
    left_otherwise,
    moments_otherwise,
    program_state_of,
    redacted_in_all,
    unknown_in,
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


@dataclass(frozen=True)
class ProgramEnds:
    """How runs of a program that recorded the same in their actions ended, beside the recording."""

    recording: Recording
    sessions: Sequence[Path]
    """Those of the runs."""

    @cached_property
    def runs(self) -> list[list[Event]]:
        """The events of each run."""
        return [list(open_reader(each).events()) for each in self.sessions]

    @cached_property
    def _recorded(self) -> LeftInProgram | None:
        return program_state_of(self.recording.events)

    @cached_property
    def _left(self) -> list[LeftInProgram | None]:
        return [program_state_of(each) for each in self.runs]

    def content_difference(self, *, may_differ: bool) -> EndDifference | None:
        """Return the first referenced object that ended differently; None if all ended as recorded.

        Args:
            may_differ: whether code changed. If not, a content that varies between runs is ignored as random.
        """
        unknown = None
        others = [_ends_of(each) for each in self.runs]
        for (agent_id, name), (event_id, digest) in _ends_of(self.recording.events).items():
            digests = {ends.get((agent_id, name), (None, None))[1] for ends in others}
            if digests == {digest} and digest is not None:
                continue
            if digest is None or None in digests:
                unknown = unknown or EndDifference(
                    f"code changed, and part of what {agent_id}.{name} holds cannot be compared"
                )
            elif len(digests) == 1:
                (other,) = digests
                values = f"content {digest}", f"content {other}"
                return EndDifference(
                    f"what {agent_id}.{name} holds did not end as in the recording",
                    RunDivergence(None, agent_id, "state", f"state.{name}", "", *values, event_id),
                )
            else:
                unknown = unknown or EndDifference(
                    f"code changed, and what {agent_id}.{name} holds ends differently in each run"
                )
        return unknown if may_differ else None

    def class_difference(self) -> EndDifference | None:
        """Return the first agent to which its actions gave another class than in the recording, or None.

        An agent of a renamed class is no difference.
        """
        runs = [_classes_given(each) for each in self.runs]
        for agent_id, (event_id, recorded) in _classes_given(self.recording.events).items():
            given = {each[agent_id][1] for each in runs if agent_id in each}
            if given and given != {recorded}:
                other = given.pop()
                why = f"{agent_id} ended with another class than in the recording"
                if given:
                    return EndDifference(f"code changed, and {why}, and another one in each run")
                divergence = RunDivergence(None, agent_id, "state", "class", "", recorded, other, event_id)
                return EndDifference(why, divergence)
        return None

    def redacted(self, *, has_changed: bool) -> int:
        """Return the number of final contents that agree in all runs except for secrets, which may differ."""
        ends = _ends_of(self.recording.events).values()
        hidden = sum(digest is not None and leaves_out_secrets(digest) for _, digest in ends)
        return hidden + (redacted_in_all(self._recorded, self._left) if has_changed else 0)

    def compare_beyond_agents(self, proved: ReplayOutcome) -> None:
        """Note differences of changed code that no agent alone shows: the order of agents, new globals."""
        orders = {_order(each) for each in self.runs}
        if len(orders) == 1 and orders != {_order(self.recording.events)}:
            proved.normalisers.append("the order in which agents act and events are recorded")
        recorded = self._recorded
        new = dict.fromkeys(
            name
            for other in self._left
            if recorded is not None and other is not None
            for name in other.changed
            if recorded.at(name) is None
        )
        if any(side is not None and side.is_cut for side in (recorded, *self._left)):
            proved.remark("methods reach more of the program than is looked at: the rest is not compared")
        if new:
            proved.remark(
                f"the program now changes {', '.join(list(new)[:_MOST_NAMED])}, which the recording does not "
                "have, so they cannot be compared"
            )

    def order_difference(self) -> EndDifference | None:
        """Return the first action in which runs of changed code did the same in another order, or None.

        Actions with async calls inside are left out, since these may run at the same time.
        """
        others = [_inside_actions(each) for each in self.runs]
        for action, inside in _inside_actions(self.recording.events).items():
            own = [describe(event) for event in inside]
            orders = [[describe(event) for event in other.get(action, ())] for other in others]
            if (
                any(order != orders[0] or sorted(order) != sorted(own) for order in orders)
                or orders[0] == own
            ):
                continue
            if not any("loop_turns" in event.extra for event in inside):
                event, one, other = next(
                    each for each in zip(inside, own, orders[0], strict=True) if each[1] != each[2]
                )
                return EndDifference(
                    f"{one} came before {other} inside of an action of {action[0]}",
                    RunDivergence(None, event.agent_id, event.kind, "order", "", one, other, event.id),
                )
        return None

    def program_state_difference(self, *, with_moments: bool) -> EndDifference | None:
        """Return the first global, closure or the like that ended differently in runs of changed code.

        Args:
            with_moments: whether ids and moments in them count, as no run makes any or reads a clock.
        """
        recorded, replayed = self._recorded, self._left[0]
        differing = left_otherwise(recorded, self._left) or draws_otherwise(recorded, self._left)
        if not differing and (unknown := unknown_in(recorded, self._left)):
            return EndDifference(f"code changed, and {_why_unknown(unknown)}", is_of_program=True)
        by_moment = [] if differing else moments_otherwise(recorded, self._left)
        if not (differing or by_moment) or recorded is None or replayed is None:
            return None
        first = (differing or by_moment)[0]
        if by_moment and not (with_moments and first.is_steady):
            return EndDifference(
                f"code changed, and ids or times in {first.name} agree by their form alone: keep them out "
                "of it, or keep it in a field",
                is_of_program=True,
            )
        if not first.is_steady:
            return EndDifference(
                f"code changed, and {first.name} ended differently than in the recording, and varies between "
                "runs: keep clocks, ids and unseeded draws out of it, or keep it in a field",
                is_of_program=True,
            )
        one, other = recorded.shown(first.name), replayed.shown(first.name)
        if one == other:  # but for the moments in it
            one, other = (f"content {each}" for each in (first.recorded, first.runs[0]))
        divergence = RunDivergence(None, None, "", f"{OF_PROGRAM}{first.name}", "", one, other)
        return EndDifference(f"{first.name} did not end as in the recording", divergence)

    def agreeing_globals(self) -> int:
        """Return how many globals, closures or the like changed in the recording, and end so in all runs."""
        recorded = self._recorded
        return sum(
            all(run is not None and run.at(name) == digest for run in self._left)
            for name, digest in ({} if recorded is None else recorded.changed).items()
        )

    def changed_code(self) -> list[str]:
        """Return the globals, closures or the like in which runs of changed code left other code alone."""
        return code_otherwise(self._recorded, self._left)

    def difference_between_actions(
        self, compare: Callable[[Path, Path], RunComparison]
    ) -> EndDifference | None:
        """Return the first difference in what runs of changed code recorded between actions, or None.

        Args:
            compare: compares two sessions with what was recorded between actions.
        """
        found = [compare(self.recording.session, each).divergence for each in self.sessions]
        if not any(found):
            return None
        first, *others = self.sessions
        if found[0] is None or any(compare(first, each) for each in others):
            (parted, *_) = filter(None, found)
            return EndDifference(
                f"code changed, and what is recorded between actions varies between runs: {parted}",
                is_of_program=True,
            )
        why = f"what is recorded between actions differs: {found[0]}"
        return EndDifference(why, found[0], is_of_program=True)

    def has_same_script(self) -> bool:
        """Whether all runs have the recorded main script but for comments, docstrings and formatting."""
        scripts = {
            program.get("script") if isinstance(program := event.extra.get("program"), dict) else None
            for each in (self.recording.events, *self.runs)
            for event in each
            if event.kind == "log.closed"
        }
        return len(scripts) == 1 and None not in scripts


def _why_unknown(names: Collection[str]) -> str:
    gone = [name for name in names if name.startswith(OF_AGENT)]
    if len(gone) < len(names):
        return f"{listed([name for name in names if name not in gone])} cannot be read: keep it in a field"
    return f"{listed(gone)}, which never acted, were gone at the end: call shutdown_logging() before that"


def _ends_of(events: Iterable[Event]) -> dict[tuple[str, str], tuple[str, str | None]]:
    """Return the final contents of objects that fields refer to, by agent and field.

    Each is the event of the agent's final state with the digest, which is None if the recording predates such
    digests, or the content could not be read.
    """
    return {
        (event.agent_id, name): (event.id, digest)
        for event in events
        if event.kind == "state" and event.agent_id is not None
        for name, digest in ends_of(event).items()
    }


def _classes_given(events: Iterable[Event]) -> dict[str, tuple[str, str]]:
    """Return {agent: (its last state, the class that it has there)}; the class is `UNCHANGED` as a rule."""
    states: dict[str, list[Event]] = {}
    for event in events:
        if event.kind == "state" and event.agent_id is not None and "class" in event.extra:
            states.setdefault(event.agent_id, []).append(event)
    given: dict[str, tuple[str, str]] = {}
    for agent_id, found in states.items():
        first, last = (str(each.extra["class"]) for each in (found[0], found[-1]))
        given[agent_id] = found[-1].id, UNCHANGED if first == last else last.rpartition(".")[2]
    return given


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


def kind_difference(
    first: Collection[KindOtherwise], last: Collection[KindOtherwise]
) -> EndDifference | None:
    """Return the first difference in the class of values that both runs have and unchanged code can tell."""
    for kind in first:
        if kind.is_sure and kind in last:
            where = f"{OF_PROGRAM}{kind.what}"
            sides = kind.recorded, kind.replayed
            return EndDifference(str(kind), RunDivergence(None, None, "", where, "", *sides))
    return None


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
