"""How agents ended compared with the record: at a clean end, or when they were gone before it.

The replayed objects are never gone, so of one that was, its last state is looked for behind its last action
and, as long as it is not found, behind each one that follows: what it shares with others may change later.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import NoReturn

from Agent.event.model import Event
from Agent.event.pointers import value_at
from Agent.event.values.opaque import OpaqueKind
from Agent.flight.checkpoints.state_fold import StateFold
from Agent.record.emit.pipeline import Pipeline
from Agent.replay.compare.comparison import NAMES, Comparison, Difference, Recorded
from Agent.replay.compare.outcome import Divergence, ReplayOutcome
from Agent.replay.drive.player import RecordedPlayer
from Agent.replay.drive.states import state_difference
from Agent.replay.judging.judge import ActionJudge
from Agent.replay.judging.snapshots import WholeStates
from Agent.replay.plan.actions import DrivenAction, Plan
from Agent.replay.plan.recording import AgentFacts


class LastStates:
    """Compares last states.

    Args:
        objects: what the factory gave, by agent.
        nearby: the agents that were seen acting, those inside others included.
        facts: what the recording says of each agent.
        whole: compares what stands at a clean end.
    """

    def __init__(
        self,
        plan: Plan,
        objects: Mapping[str, object],
        nearby: Mapping[str, object],
        facts: Mapping[str, AgentFacts],
        outcome: ReplayOutcome,
        player: RecordedPlayer,
        judge: ActionJudge,
        whole: WholeStates,
        pipeline: Pipeline,
        comparison: Comparison,
    ) -> None:
        self._plan = plan
        self._objects = objects
        self._nearby = nearby
        self._facts = facts
        self._outcome = outcome
        self._player = player
        self._judge = judge
        self._whole = whole
        self._pipeline = pipeline
        self._comparison = comparison
        self._from: dict[int, list[str]] = defaultdict(list)
        for agent_id in plan.gone:
            if agent_id in plan.acted and agent_id in facts and facts[agent_id].lives == 1:
                self._from[plan.acted[agent_id]].append(agent_id)
        self.begin = min(self._from, default=len(plan.actions) + 1)
        """The number of the first replayed action behind which there is something to look for."""
        self._sought: dict[str, set[str]] = {}
        """Agents that are gone in the recording, with the fields that differ from how they ended there."""

    def look(self, number: int) -> None:
        """Look for last states behind a replayed action."""
        for agent_id in self._from.pop(number, ()):
            self._sought[agent_id] = self._late_fields(agent_id)
        for agent_id, names in self._sought.items():
            if names:
                names -= {name for name in names if self._difference(agent_id, name) is None}

    def compare(self) -> None:
        """Compare the states at a clean end with those now, and name what nobody saw since.

        Raises:
            ReplayStopped: one differs; the outcome says in which field.
        """
        last = {action.agent_id: action for action in self._plan.actions}
        for agent_id in (*self._objects, *self._outcome.inside):
            # Those inside others have their last step where the run has its.
            action = last.get(agent_id) or (self._plan.actions[-1] if agent_id not in self._objects else None)
            obj = self._object(agent_id)
            if obj is None or action is None:
                continue
            event, facts = self._plan.exits.get(agent_id), self._facts.get(agent_id)
            if agent_id in self._sought:
                event = self._plan.gone[agent_id]
                self._conclude(agent_id, event)
            elif event is None or facts is None or facts.lives > 1:
                self._whole.note_unseen(agent_id, obj, action)
                continue
            else:
                self._whole.compare(action, event, obj)
            if agent_id in self._objects:
                self._judge.ended(agent_id, is_changed=self._is_changed(agent_id, event))

    def _object(self, agent_id: str) -> object | None:
        return self._objects.get(agent_id) or self._nearby.get(agent_id)

    def _heavy(self, agent_id: str) -> set[str]:
        known = self._pipeline.agents.find(self._object(agent_id))
        return set() if known is None or known.tracker is None else known.tracker.heavy

    def _late_fields(self, agent_id: str) -> set[str]:
        """The fields of a last state that no action shows; the others were compared there."""
        event = self._plan.gone[agent_id]
        fold = StateFold()
        fold.add(event)
        drawn, unseen = event.extra.get("adopted") or {}, event.extra.get("unseen") or ()
        names = ({*fold.sampled, *self._heavy(agent_id)} & fold.fields.keys()) - {*unseen, *drawn}
        return {name for name in names if name not in fold.unseen or _is_comparable(fold, name)}

    def _difference(self, agent_id: str, name: str) -> Difference | None:
        mark = self._comparison.mark()
        event = self._plan.gone[agent_id]
        obj = self._object(agent_id)
        found = state_difference(event, obj, self._pipeline, self._comparison, self._whole.fields, [name])
        if found is None:
            return None
        self._comparison.go_back(mark)
        return found[1]

    def _conclude(self, agent_id: str, event: Event) -> None:
        """Say what came of an agent that is gone in the recording."""
        self._outcome.counts.full_states += 1
        late, unseen = self._heavy(agent_id), event.extra.get("unseen") or ()
        for name in sorted(late - event.extra["fields"].keys() - set(unseen)):
            self._outcome.reason(
                f"how {name} of {agent_id} ended is not in the recording: {agent_id} was garbage-collected "
                "before recording ended, and what it held leads to other objects; "
                "keep it until shutdown_logging()"
            )
        shared = event.extra.get("shared") or ()
        passed = []
        for name in sorted(self._sought[agent_id]):
            if name in shared:
                passed.append(name)  # others held it, and may have changed it in the midst of an action
            elif (difference := self._difference(agent_id, name)) is not None:
                self._differs(agent_id, event, name, difference)
        if passed:
            self._outcome.unseen_at_end[agent_id] = passed

    def _differs(self, agent_id: str, event: Event, name: str, difference: Difference) -> NoReturn:
        action = self._last_action(agent_id)
        self._outcome.doubts.append(
            f"changes to {name} of {agent_id} between its last action and its garbage collection are not "
            "recorded; keep it until shutdown_logging()"
        )
        self._player.diverge(
            Divergence(
                action.number, event.id, action.call.name, agent_id, f"state.{name}",
                difference.recorded, difference.replayed, difference.path, "its last state (gone)",
            )
        )  # fmt: skip

    def _last_action(self, agent_id: str) -> DrivenAction:
        return self._plan.actions[self._plan.acted[agent_id] - 1]

    def _is_changed(self, agent_id: str, event: Event) -> bool:
        """Whether the agent ended otherwise than it began, in what its last state shows."""
        first = self._facts[agent_id].first_state
        if first is None:
            return False
        if event.extra.get("reason") != "gone":
            return first.extra.get("digest") != event.extra.get("digest") and self._differ(first, event)
        began, ended = first.extra["fields"], event.extra["fields"]
        return any(began.get(name) != ended[name] for name in self._late_fields(agent_id))

    def _differ(self, first: Event, last: Event) -> bool:
        """Whether two full states differ by more than by what has nothing to compare, such as a lock."""
        mark = self._comparison.mark()
        one, other = (
            Recorded(each.extra["fields"], each.types or {}, "/extra/fields") for each in (first, last)
        )
        found = self._comparison.difference(one, other, NAMES)
        self._comparison.go_back(mark)
        return found is not None


def _is_comparable(fold: StateFold, name: str) -> bool:
    """Whether what stands for values without a codec in a field has a digest of their content."""
    tags, value = fold.tags.get(name, {}), fold.fields[name]
    forms = [value_at(value, pointer) for pointer, tag in tags.items() if tag in {"opaque", "truncated"}]
    return all(type(form) is dict and OpaqueKind.COMPARABLE in form for form in forms)
