"""The player of a trial: notices the moment when it comes again, and does there what is to be tried.

Up to the moment everything is as recorded; from there on chance may be another one, with and without.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from Agent.event.codec import decode_line
from Agent.event.model import Event, RedactedBytes
from Agent.flight.matching.recorded_calls import CALL_KINDS
from Agent.record.emit.context import current_scope
from Agent.record.emit.player import Answer, TracedCall
from Agent.replay.compare.outcome import ReplayStopped
from Agent.replay.experiments.locate import PlannedPlace
from Agent.replay.experiments.message_drop import DroppedMessage
from Agent.replay.experiments.metrics import MetricTally
from Agent.replay.forks.drive import ForkTrigger
from Agent.replay.forks.player import ForkPlayer
from Agent.replay.plan.recording import ACTION_KINDS, method_name
from Agent.replay.sweeps.sweep_child import NoSink


class InterventionMoment:
    """The moment of a trial: whether it has come, and what came behind it.

    Args:
        place: where it is; None for the very beginning.
        tally: counts from there on.
        begin: called when it comes, with and without the intervention: sets chance.
        instead: what stands for a call that is the moment; None where its body runs.
        behind: called when that call has ended.
    """

    def __init__(
        self,
        place: PlannedPlace | None,
        tally: MetricTally,
        begin: Callable[[], None],
        instead: Callable[[TracedCall], Answer | None],
        behind: Callable[[], None],
    ) -> None:
        self.place = place
        self.tally = tally
        self.has_come = False
        self.is_counting = False
        self._begin = begin
        self.instead = instead
        self._behind = behind
        self._is_inside = False
        self._left = 0 if place is None else place.ordinal

    def enter_action(self) -> None:
        """The action that the place stands in begins."""
        self._is_inside = True

    def begin(self) -> None:
        """It has come."""
        self.has_come = True
        self._begin()

    def end(self) -> None:
        """It has passed: what comes from here on counts."""
        self._behind()
        self.is_counting = True

    def is_here(self, call: TracedCall) -> bool:
        """Whether a call that begins is the one."""
        place = self.place
        if self.has_come or place is None or place.sort not in {"call", "tool"}:
            return False
        if self._is_inside:
            self._is_inside = call.kind not in ACTION_KINDS  # the action itself is entered first
            return False
        if place.sort == "tool":
            key = CALL_KINDS[place.event.kind]
            fits = call.kind == place.event.kind and call.action_type == place.event.extra.get(key)
        else:
            own = (place.event.agent_id, method_name(place.event))
            fits = call.kind in ACTION_KINDS and (call.agent_id, call.qualname.rpartition(".")[2]) == own
        self._left -= fits
        return fits and self._left < 0

    def note_answer(self, call: TracedCall, answer: Answer) -> None:
        """Count a call that was answered."""
        if not self.is_counting:
            return
        scope = current_scope.get()
        asker = scope.agent.agent_id if scope is not None and scope.agent is not None else None
        if call.kind == "model.call":
            series, agent_id = "model.call", asker
        elif call.kind in CALL_KINDS:
            series, agent_id = f"tool:{call.action_type}", asker
        else:
            series, agent_id = f"action:{call.action_type}", call.agent_id
        self.tally.see_answer(series, agent_id, failed=answer.error is not None)


class TrialPlayer(ForkPlayer):
    """Answers as in a fork, but for the moment."""

    moment: InterventionMoment | None = None
    dropping: DroppedMessage | None = None
    _open: TracedCall | None = None

    @property
    def is_needed(self) -> bool:
        """Always: it has to see every call."""
        return True

    def enter(self, call: TracedCall) -> Answer | None:
        """The recorded response, or what is tried instead."""
        moment = self.moment
        if moment is None:
            return super().enter(call)
        self.look_for_message()
        is_here = moment.is_here(call)
        answer = super().enter(call)
        if not is_here:
            if answer is not None:
                moment.note_answer(call, answer)
            return answer
        moment.begin()
        other = moment.instead(call) or answer
        if other is None:
            self._open = call
            return None
        super().leave(call, None, None)  # should it have been taken for one that runs
        moment.end()
        return other

    def leave(self, call: TracedCall, result: Any, error: BaseException | None) -> None:
        """A body ran to its end."""
        super().leave(call, result, error)
        if self.moment is not None and call is self._open:
            self._open = None
            self.moment.end()
        self.look_for_message()

    def look_for_message(self) -> None:
        """Take away the message that is to be dropped, should it wait somewhere by now."""
        if self.dropping is not None:
            self.dropping.take_away()

    def called_with(self, call: TracedCall, args: Mapping[str, Any]) -> Answer:
        """Call the function that is entered with other arguments, and give what it gives."""
        method = getattr(call.target, call.qualname.rpartition(".")[2], None)
        if method is None or inspect.iscoroutinefunction(inspect.unwrap(method)) or call.is_generator:
            self.stop(f"{call.qualname} is not a plain method, so it cannot be called with other arguments")
        assert method is not None  # noqa: S101 - the other way out has raised
        try:
            return Answer(method(**args))
        except ReplayStopped:
            raise
        except Exception as error:  # noqa: BLE001 - the caller gets it, as it would without the trial
            return Answer(error=error)


class CountingSink(NoSink):
    """Counts what comes behind the moment, and notices a message that is sent."""

    def __init__(self) -> None:
        super().__init__()
        self.moment: InterventionMoment | None = None
        self.trigger: ForkTrigger | None = None
        """Hears a message being sent that is the moment."""
        self.player: TrialPlayer | None = None
        self.too_late = False
        """The message that was to be dropped was received."""

    def write(self, line: RedactedBytes) -> bool:
        """A line was recorded."""
        if self.moment is None:
            return True
        event = decode_line(line)
        if self.moment.is_counting:
            self.moment.tally.see(event)
        is_awaited = self.trigger is not None and not self.moment.has_come
        if self.trigger is not None and is_awaited:
            self.trigger.hear(line)  # that begins the moment
        if is_awaited and self.moment.has_come:
            self._sent(event)
        elif self.player is not None and self.player.dropping is not None:
            self._notice_receipt(event, self.player.dropping)
        return True

    def _sent(self, event: Event) -> None:
        assert self.moment is not None  # noqa: S101 - the caller looked
        self.moment.end()
        if self.player is not None and self.player.dropping is not None:
            self.player.dropping = DroppedMessage(str(event.extra.get("message_id")))

    def _notice_receipt(self, event: Event, dropping: DroppedMessage) -> None:
        is_it = event.extra.get("message_id") == dropping.message_id
        if is_it and event.extra.get("direction") == "received":
            self.too_late = True
