"""Full states in the recording compared with the replayed object: every so often, on errors and at the end.

`drive.py` calls this; `states.py` finds the first field that differs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING

from Agent.event.model import Event
from Agent.record.emit.pipeline import Pipeline
from Agent.record.sources.sources import adoption_of
from Agent.record.state.introspection import Sort, read_class_state, read_state, sort_of
from Agent.record.tracing.state_events import CLASS_FIELDS
from Agent.replay.compare.comparison import Comparison, Difference
from Agent.replay.compare.outcome import Divergence, ReplayOutcome
from Agent.replay.drive.fields import FieldRules
from Agent.replay.drive.player import RecordedPlayer
from Agent.replay.drive.states import differences_of, generators_in, restorable, state_difference
from Agent.replay.plan.actions import DrivenAction
from Agent.replay.plan.recording import AgentFacts
from Agent.replay.plan.values import Decoder

if TYPE_CHECKING:
    from Agent.replay.judging.external_writes import PutBack


_MOST_NAMED = 4
_PLACE = "the full state"


class WholeStates:
    """Compares full states.

    Args:
        suspects: agents whose generators others may draw from, whose code does not run.
        put_back: puts fields onto an agent's object.
        fields: which fields take part.
        facts: what the recording says of each agent.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        decoder: Decoder,
        comparison: Comparison,
        outcome: ReplayOutcome,
        player: RecordedPlayer,
        suspects: Collection[str],
        put_back: PutBack,
        fields: FieldRules,
        facts: Mapping[str, AgentFacts],
    ) -> None:
        self._facts = facts
        self._class_fields: dict[str, set[str]] = {}
        """By agent, the data of its class that was as in the recording before its first action."""
        self.fields = fields
        self._pipeline = pipeline
        self._decoder = decoder
        self._comparison = comparison
        self._outcome = outcome
        self._player = player
        self._suspects = suspects
        self._put_back = put_back
        self._seen: dict[str, int] = {}
        """The step behind which an agent's whole state was compared last."""
        self._acted: dict[str, tuple[DrivenAction, int]] = {}
        """By agent its action that ended last, and how many have ended since a full state was compared."""

    def compare(self, action: DrivenAction, event: Event, obj: object) -> None:
        """Compare an object with a full state that stands beside an action.

        Raises:
            ReplayStopped: they differ; the outcome says in which field.
        """
        if action.agent_id in self._suspects:
            self._put_shared(event, obj)
        found = state_difference(event, obj, self._pipeline, self._comparison, self.fields)
        self._outcome.counts.full_states += 1
        found = found or self._class_difference(action.agent_id, event, obj)
        agent_id = str(event.agent_id)
        last, count = self._acted.get(agent_id, (None, 0))
        if found is None:
            if last is not None:
                self._seen[agent_id] = last.number
                self._acted[agent_id] = last, 0
            return
        name, difference = found
        since = None
        if last is not None and name in self._large(obj):
            action = last  # one of those since the last full state changed it
            since = self._seen.get(agent_id, 0) if count > 1 else None
        self._player.diverge(
            Divergence(
                action.number,
                event.id,
                action.call.name,
                agent_id,
                f"state.{name}",
                difference.recorded,
                difference.replayed,
                difference.path,
                f"{_PLACE} ({event.extra.get('reason')})",
                tick=action.event.tick,
                since=since,
            )
        )

    def ended(self, action: DrivenAction) -> None:
        """An action ended and agreed."""
        known = self._acted.get(action.agent_id)
        self._acted[action.agent_id] = action, 1 if known is None else known[1] + 1

    def told_of_large(self, found: Divergence, obj: object) -> str:
        """Which fields may have differed before a difference, since few states show them; "" for none."""
        fields = read_state(obj).fields
        names = sorted(
            name
            for name in self._large(obj)
            if name in fields and sort_of(type(fields[name])) is not Sort.GENERATOR
        )
        _, count = self._acted.get(found.agent_id, (None, 0))
        if found.place.startswith(_PLACE) or not names or not count:
            return ""
        named = ", ".join(names[:_MOST_NAMED]) + (" and more" if len(names) > _MOST_NAMED else "")
        seen = self._seen.get(found.agent_id)
        place = "before its first action" if seen is None else f"behind step {seen:,}"
        return (
            f"fields over 4 KiB of {found.agent_id} ({named}) were compared last {place}: a change there may "
            "have begun before the first difference"
        )

    def _large(self, obj: object) -> Collection[str]:
        """The fields that are compared at full states only."""
        known = self._pipeline.agents.find(obj)
        return () if known is None or known.tracker is None else known.tracker.heavy

    def begin(self, agent_id: str, event: Event, obj: object) -> None:
        """Take in what the agent's class held before its first action; what differs then is not compared."""
        if not event.extra.get("class_fields") or not self._is_class_live(obj):
            return
        differing = {name for name, _ in self._class_differences(event, obj)}
        self._class_fields[agent_id] = set(event.extra["class_fields"]) - differing

    def _class_difference(self, agent_id: str, event: Event, obj: object) -> tuple[str, Difference] | None:
        names = self._class_fields.get(agent_id)
        if not names:
            return None
        return next((found for found in self._class_differences(event, obj) if found[0] in names), None)

    def _class_differences(self, event: Event, obj: object) -> Iterator[tuple[str, Difference]]:
        recorded = event.extra.get("class_fields")
        present = read_class_state(type(obj))
        yield from differences_of(
            str(event.agent_id), recorded, event.types or {}, present, CLASS_FIELDS, self._pipeline,
            self._comparison, self.fields,
        )  # fmt: skip

    def _is_class_live(self, obj: object) -> bool:
        """Whether no agent of that class runs elsewhere, whose code could write to it as well."""
        cls = type(obj)
        name = f"{cls.__module__}.{cls.__qualname__}"
        return not any(
            facts.first_state is not None
            and str(facts.first_state.extra.get("class")).rpartition(".")[2] == name.rpartition(".")[2]
            for agent_id, facts in self._facts.items()
            if agent_id not in self._player.live
        )

    def note_unseen(self, agent_id: str, obj: object, last: DrivenAction) -> None:
        """Name the fields that only full states hold, of an agent that has none behind its last action."""
        if self._seen.get(agent_id) == last.number:
            return
        known = self._pipeline.agents.find(obj)
        if known is not None and known.tracker is not None and known.tracker.heavy:
            self._outcome.unseen_at_end[agent_id] = sorted(known.tracker.heavy)

    def _put_shared(self, event: Event, obj: object) -> None:
        """Put adopted generators that others draw from where they stood then: their draws are compared."""
        fields = restorable(event, self._decoder).fields
        names = {name for name, generator in generators_in(obj) if adoption_of(generator) is not None}
        self._put_back(str(event.agent_id), obj, {name: fields[name] for name in fields.keys() & names})
