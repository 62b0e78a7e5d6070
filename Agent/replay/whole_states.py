"""Full states in the record compared with the driven object: every so often, on errors and at the end.

`drive.py` calls this; `states.py` finds the first field that differs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING

from Agent.event.model import Event
from Agent.record.chance.sources import adoption_of
from Agent.record.exposure import read_class_state
from Agent.record.pipeline import Pipeline
from Agent.record.state_events import CLASS_FIELDS
from Agent.replay.comparison import Comparison, Difference
from Agent.replay.fields import FieldRules
from Agent.replay.outcome import Divergence, Outcome
from Agent.replay.plan import DrivenAction
from Agent.replay.player import RecordedPlayer
from Agent.replay.recording import AgentFacts
from Agent.replay.states import differences_of, generators_in, restorable, state_difference
from Agent.replay.values import Decoder

if TYPE_CHECKING:
    from Agent.replay.outside_writes import PutBack


class WholeStates:
    """Compares full states.

    Args:
        suspects: agents whose generators others may draw from, whose code does not run.
        put_back: puts fields onto an agent's object.
        fields: which fields take part.
        facts: what the record says of each agent.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        decoder: Decoder,
        comparison: Comparison,
        outcome: Outcome,
        player: RecordedPlayer,
        suspects: Collection[str],
        put_back: PutBack,
        fields: FieldRules,
        facts: Mapping[str, AgentFacts],
    ) -> None:
        self._facts = facts
        self._class_fields: dict[str, set[str]] = {}
        """By agent, the data of its class that was as in the record before its first action."""
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

    def compare(self, action: DrivenAction, event: Event, obj: object, *, is_behind: bool = False) -> None:
        """Compare an object with a full state that stands beside an action.

        Args:
            is_behind: it stands behind that action.

        Raises:
            ReplayStopped: they differ; the outcome says in which field.
        """
        if action.agent_id in self._suspects:
            self._put_shared(event, obj)
        found = state_difference(event, obj, self._pipeline, self._comparison, self.fields)
        self._outcome.counts.full_states += 1
        if is_behind:
            self._seen[action.agent_id] = action.number
        found = found or self._class_difference(action.agent_id, event, obj)
        if found is not None:
            name, difference = found
            self._player.diverge(
                Divergence(
                    action.number,
                    event.id,
                    action.call.name,
                    str(event.agent_id),
                    f"state.{name}",
                    difference.recorded,
                    difference.replayed,
                    difference.path,
                    f"the full state ({event.extra.get('reason')})",
                )
            )

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
