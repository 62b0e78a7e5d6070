"""Full states in the record compared with the driven object: every so often, on errors and at the end.

`drive.py` calls this; `states.py` finds the first field that differs.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from Agent.event.model import Event
from Agent.record.chance.sources import adoption_of
from Agent.record.pipeline import Pipeline
from Agent.replay.comparison import Comparison
from Agent.replay.fields import FieldRules
from Agent.replay.outcome import Divergence, Outcome
from Agent.replay.plan import DrivenAction
from Agent.replay.player import RecordedPlayer
from Agent.replay.states import generators_in, restorable, state_difference
from Agent.replay.values import Decoder

if TYPE_CHECKING:
    from Agent.replay.outside_writes import PutBack


class WholeStates:
    """Compares full states.

    Args:
        suspects: agents whose generators others may draw from, whose code does not run.
        put_back: puts fields onto an agent's object.
        fields: which fields take part.
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
    ) -> None:
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
