"""Compare one replayed action with its recording.

Outcome, result, changed state, calls and effects are compared in that order. The first difference ends the
replay. Agreements are counted, informative ones separately.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, NoReturn

import orjson

from Agent.event.model import Event
from Agent.event.pointers import unescape
from Agent.record.emit.pipeline import LineSink, Pipeline
from Agent.record.encode.event_template import Slot
from Agent.replay.compare.comparison import NAMES_OF_STATE, Agreement, Difference, Recorded, in_payload
from Agent.replay.compare.emitted_events import (
    ARGS_AFTER,
    UNCHANGED,
    EffectDifference,
    arguments_difference,
    as_change,
    describe,
    effect_difference,
    field_at,
    pair_difference,
    raised_difference,
    sort_key,
    state_of,
)
from Agent.replay.compare.folded_values import ABSENT, shown
from Agent.replay.compare.outcome import ReplayStopped, add_new
from Agent.replay.drive.player import ReplayContext, divergence_of
from Agent.replay.plan.actions import (
    DrivenAction,
    PlannedCall,
    calls_in,
    has_concurrent_calls,
    is_of_framework,
    names_only_objects,
)
from Agent.replay.plan.recording import codes_of, is_traced_action, method_name, parents_of, spans_around

_EXIT_CODE = "exit_code"
_NO_CHANGE: dict[str, Any] = {"set": {}, "unset": []}


class ActionJudge:
    """Compares replayed actions one by one; the outcome gets the counts and the first difference."""

    def __init__(self, context: ReplayContext) -> None:
        self._comparison = context.comparison
        self._fields = context.fields
        self._identifiers = context.identifiers
        self._outcome = context.outcome
        self._player = context.player
        self._live = context.live
        self._agents = context.recording.agents
        self._errors = context.errors
        self._is_whole = context.recording.is_complete
        """Whether the recording is complete, so that measurements are compared, too."""
        self._driven: Counter[str] = Counter()
        self._covered: Counter[str] = Counter()

    def begin(self, action: DrivenAction) -> None:
        """Note that an action is about to be replayed."""
        self._identifiers.begin(action.effects)

    def agreed(self, action: DrivenAction, ids: Sequence[str]) -> None:
        """Count an action that produced exactly the recorded events.

        Args:
            ids: the ids of its effects in the replay.
        """
        counts, effects, event = self._outcome.counts, action.effects, action.event
        for effect, identity in zip(effects, ids, strict=True):
            self._identifiers.pair(effect.id, identity)
        counts.results += 1
        counts.effects += len(effects)
        changed = self._count_fields(event.state or _NO_CHANGE)
        self._driven[action.agent_id] += 1
        self._count(action.agent_id, changed + len(effects) + (event.extra["result"] is not None))

    def compare(
        self,
        action: DrivenAction,
        events: Sequence[Event],
        missing: PlannedCall | None,
        answered_at: Sequence[int] | None = (),
    ) -> Event:
        """Compare the recorded events of an action with those of the replay; return its own replayed event.

        Args:
            missing: a recorded call that was not made.
            answered_at: number of events at the time of each call's response; None if other actions were
                replayed concurrently.

        Raises:
            ReplayStopped: they differ; the outcome says where.
        """
        replayed = _driven_event(action, events)
        if action.is_plain:
            self._identifiers.begin(action.effects)
        if replayed is None:
            self._outcome.reason(f"{action.call.name} of {action.agent_id} recorded no event in the replay")
            raise ReplayStopped
        effects = effects_of(replayed, events)
        self._identifiers.see(effects)
        self.note_code(action, str(replayed.code))
        self.note_code_inside(action, effects)
        informative = self._ending(action, replayed, events)
        # Effects happen first, and the action's own result and state depend on them.
        is_answered = missing is not None and missing.agent_id not in self._live
        if is_answered or (missing is not None and len(effects) == len(action.effects)):
            self._is_missing(action, missing)
        difference = self._effect_difference(action, effects)
        if difference is not None and difference.agent_id not in {"", action.agent_id}:
            self._differs_inside(action, difference)
        self._is_missing(action, missing)
        informative += self._result(action, replayed)
        informative += self._state(action, replayed)
        if difference is not None:
            self._differs_inside(action, difference)
        informative += len(effects)
        self._outcome.counts.effects += len(effects)
        self._order_of_answers(action, effects, events, answered_at)
        informative += self._changed_arguments(action, replayed, effects)
        informative += self._positions(action, replayed)
        self._measurements(action, replayed, events)
        self._identifiers.end()
        informative += sum(
            child.is_taken and child.agent_id not in self._live for child in action.call.children
        )
        self._driven[action.agent_id] += 1
        self._count(action.agent_id, informative)
        return replayed

    def ended(self, agent_id: str, *, is_changed: bool) -> None:
        """Note that an agent's final full state agreed; if it had changed, that covers all its actions."""
        if is_changed:
            self._count(agent_id, 1)

    def _count(self, agent_id: str, informative: int) -> None:
        if informative:
            counts = self._outcome.counts
            counts.informative += informative
            counts.covered += self._driven[agent_id] - self._covered[agent_id]
            self._covered[agent_id] = self._driven[agent_id]

    def _ending(self, action: DrivenAction, replayed: Event, events: Sequence[Event]) -> int:
        one, other = action.event.extra.get("outcome"), replayed.extra.get("outcome")
        if one != other:
            ending = _ending_of(replayed, {event.id: event for event in events})
            difference = Difference("", _ending_of(action.event, self._errors), ending)
            self._player.differs(action, "outcome", difference)
        elif one == "error":
            self._error(action, replayed, events)
        elif one is not None:
            raised = raised_difference(action.event, replayed, self._comparison)
            if raised is not None:
                self._player.differs(action, "outcome", raised)
            codes = in_payload(action.event, _EXIT_CODE), in_payload(replayed, _EXIT_CODE)
            of_codes = self._comparison.difference(*codes)
            if of_codes is not None and _EXIT_CODE in action.event.extra:
                self._player.differs(action, "exit_code", of_codes)
        return int(one is not None)

    def _is_missing(self, action: DrivenAction, missing: PlannedCall | None) -> None:
        if missing is not None:
            self._player.differs(action, "calls", Difference("", missing.whose, "<not made>"))

    def _result(self, action: DrivenAction, replayed: Event) -> int:
        if action.event.extra.get("outcome") is not None:
            return 0
        if "result" not in action.event.extra or "result" not in replayed.extra:
            self._outcome.note_uncaptured("results", f"{action.call.name} of {action.agent_id}")
            return 0
        self._outcome.counts.results += 1
        difference, agreed = self._comparison.compare(
            in_payload(action.event, "result"), in_payload(replayed, "result")
        )
        if difference is not None:
            self._player.differs(action, "result", difference)
        self._fields.note_value(
            f"step {action.number}: the result of {action.call.name} of {action.agent_id}", agreed
        )
        is_named = any("" in each for each in (agreed.references, agreed.handles, agreed.unseen))
        return int(action.event.extra["result"] is not None and not is_named)

    def _changed_arguments(self, action: DrivenAction, replayed: Event, effects: Sequence[Event]) -> int:
        """Compare the changes that the action, and replayed calls inside it, made to their arguments.

        A replayed action gets copies of the recorded arguments. Other code that held the originals, such as
        another agent, may have changed them in the recording, but does not change the copies. Such a
        difference counts only if code changed, and always in a call that makes no other calls.

        Returns:
            The number of arguments that changed in the same way.
        """
        for one, other in ((action.event, replayed), *zip(action.effects, effects, strict=False)):
            if not is_traced_action(one) or (ARGS_AFTER not in one.extra and ARGS_AFTER not in other.extra):
                continue
            mark = self._comparison.mark()
            place = "" if other is replayed else describe(one)
            note = partial(self._note_argument, action, place)
            difference = arguments_difference(one, other, self._comparison, note)
            if difference is None:
                continue
            name = unescape(difference.path[1:].partition("/")[0])
            if self._is_alone(action, one) and name in (other.extra.get(ARGS_AFTER) or {}):
                self._player.differs(action, ARGS_AFTER, difference, place=place)
            self._comparison.go_back(mark)
            self._outcome.note_argument(divergence_of(action, ARGS_AFTER, difference, place=place), name)
        return len(action.event.extra.get(ARGS_AFTER) or ())

    def _note_argument(self, action: DrivenAction, place: str, name: str, agreed: Agreement) -> None:
        of = place or f"{action.call.name} of {action.agent_id}"
        self._fields.note_value(
            f"step {action.number}: argument {name} of {of}, as the call left it,", agreed
        )

    def _is_alone(self, action: DrivenAction, event: Event) -> bool:
        """Whether no code but that of the event's call can have changed its arguments while it ran."""
        call = next((each for each in (action.call, *calls_in(action.call)) if each.event is event), None)
        if call is None or not (call is action.call or call.agent_id in self._live):
            return False
        is_concurrent = call.is_async or action.call.is_async or action.overlaps
        return not (call.children or is_concurrent or event.extra.get("args_shared"))

    def _error(self, action: DrivenAction, replayed: Event, events: Sequence[Event]) -> None:
        one = self._errors.get(str(action.event.extra.get("error_id")))
        by_id = {event.id: event for event in events if event.kind == "error"}
        other_id = str(replayed.extra.get("error_id"))
        other = by_id.get(other_id) or self._errors.get(other_id)
        if one is None or other is None:
            self._outcome.reason(f"the error event of step {action.number} is not in the recording")
            return
        for key in ("error_type", "error_message"):
            difference = self._comparison.difference(
                Recorded(one.extra.get(key), {}, ""), Recorded(other.extra.get(key), {}, "")
            )
            if difference is not None:
                self._player.differs(action, "error", difference.under(f"/{key}"))

    def _state(self, action: DrivenAction, replayed: Event) -> int:
        recorded = action.event.state or _NO_CHANGE
        sides = state_of(action.event, self._fields), state_of(replayed, self._fields), NAMES_OF_STATE
        difference, agreed = self._comparison.compare(*sides)
        self._fields.note_state(action.agent_id, agreed)
        if difference is not None:
            field, path = field_at(f"/state{difference.path}")
            name, change = field.removeprefix("state").removeprefix("."), as_change(difference)
            divergence = divergence_of(action, field, Difference(path, change.recorded, change.replayed))
            if not self._comparison.passes_code_from_here(partial(self._comparison.difference, *sides)):
                if change.replayed == UNCHANGED:
                    self._doubt_enclosing_actions(action, name)
                self._player.diverge(divergence)
            self._outcome.note_code(name, divergence)
        return self._count_fields(recorded)

    def _positions(self, action: DrivenAction, replayed: Event) -> int:
        """Compare the final positions of the agent's generators that the action drew from, and count them."""
        facts = self._agents.get(action.agent_id)
        first = None if facts is None else facts.first_state
        one, other = ((each.state or {}).get("drew") or {} for each in (action.event, replayed))
        for name in () if first is None else first.extra.get("streams") or ():
            if one.get(name) != other.get(name) and not self._fields.is_ignored(action.agent_id, name):
                positions = (
                    f"<drawn to {each[name]}>" if name in each else UNCHANGED for each in (one, other)
                )
                self._player.differs(action, f"state.{name}", Difference("", *positions))
        return len(one)

    def _doubt_enclosing_actions(self, action: DrivenAction, name: str) -> None:
        """Add a doubt about who wrote a field: in the recording, an enclosing action may have written it."""
        if action.event.extra.get("root") is not True and not self._outcome.changed_code:
            self._outcome.doubts.append(
                f"{name} of {action.agent_id} may have been written by the action of another agent around "
                "this one, which is not replayed: replay the whole session"
            )

    def _count_fields(self, state: Mapping[str, Any]) -> int:
        changed = len(state["set"]) + len(state.get("unset") or ())
        self._outcome.counts.fields += changed
        return changed

    def _effect_difference(self, action: DrivenAction, effects: Sequence[Event]) -> EffectDifference | None:
        is_free = self._comparison.overlooked.normaliser.order
        mark = self._comparison.mark() if is_free else None
        difference = effect_difference(action.effects, effects, self._comparison)
        if difference is not None and mark is not None:
            self._comparison.go_back(mark)
            differs = partial(pair_difference, comparison=self._comparison)
            if self._comparison.agree_in_any_order(action.effects, effects, differs):
                add_new(self._outcome.normalisers, "order of what actions did, as declared")
                difference = None
        elif difference is not None and has_concurrent_calls(action):
            ordered = sorted(action.effects, key=sort_key), sorted(effects, key=sort_key)
            if effect_difference(*ordered, self._comparison) is None:
                add_new(self._outcome.normalisers, "order of what concurrent calls did")
                difference = None
        return difference

    def _order_of_answers(
        self,
        action: DrivenAction,
        effects: Sequence[Event],
        events: Sequence[Event],
        answered_at: Sequence[int] | None,
    ) -> None:
        """Compare which responses precede each effect; async tasks may interleave differently."""
        is_free = self._comparison.overlooked.normaliser.order or len(effects) != len(action.behind)
        if answered_at is None or is_free or any(child.is_async for child in action.call.children):
            return
        places = {event.id: number for number, event in enumerate(events)}
        for effect, recorded in zip(effects, action.behind, strict=True):
            replayed = bisect_right(answered_at, places[effect.id])
            if recorded != replayed:
                if action.call.is_async:
                    self._outcome.doubts.append(
                        f"step {action.number} is async: its tasks may act in a different order"
                    )
                counts = [f"after {count} answered calls" for count in (recorded, replayed)]
                self._player.differs(action, "calls", Difference("", *counts), place=describe(effect))

    def _measurements(self, action: DrivenAction, replayed: Event, events: Sequence[Event]) -> None:
        if not self._is_whole:
            return  # measurements are buffered, and a killed process loses the last ones
        inside = effects_of(replayed, events, metrics=True)
        names = Counter(
            str(event.extra.get("metric_name"))
            for event in inside
            if event.agent_id is None or event.agent_id in self._live
        )
        if names != action.metrics:
            sides = dict(action.metrics - names), dict(names - action.metrics)
            difference = Difference("", *(each or shown(ABSENT) for each in sides))
            self._player.differs(action, "effects", difference, place="metrics")

    def note_code(self, action: DrivenAction, code: str) -> None:
        """Store the digests of the recorded code and of the code that ran."""
        digests = {"recorded": str(action.event.code), "replayed": code}
        self._outcome.code.setdefault(f"{action.agent_id}.{action.call.name}", digests)

    def note_code_inside(self, action: DrivenAction, effects: Sequence[Event]) -> None:
        """Store the digests for methods of other agents that ran inside the action."""
        recorded = codes_of(action.effects)
        replayed = codes_of(event for event in effects if event.agent_id in self._live)
        for name in recorded.keys() & replayed.keys():
            digests = {"recorded": recorded[name], "replayed": replayed[name]}
            self._outcome.code.setdefault(name, digests)

    def look_back(self, action: DrivenAction, effects: Sequence[Event]) -> None:
        """If a call differed, look for an earlier effect that differed too and report that instead.

        Args:
            effects: the events that the action had produced by then.
        """
        self.note_code_inside(action, effects)
        divergence = self._outcome.divergence
        is_of_call = divergence is not None and divergence.field in {"args", "calls"}
        if not is_of_call or divergence is None or divergence.step != action.number:
            return
        if has_concurrent_calls(action) or self._comparison.overlooked.normaliser.order:
            return
        self._identifiers.see(effects)
        difference = effect_difference(action.effects[: len(effects)], effects, self._comparison)
        # A different effect is a consequence of the call; a difference within an effect precedes it.
        if difference is not None and difference.field:
            self._outcome.divergence = None
            with suppress(ReplayStopped):
                self._differs_inside(action, difference)

    def _differs_inside(self, action: DrivenAction, effect: EffectDifference) -> NoReturn:
        self._player.differs(
            action,
            "effects",
            effect.difference,
            place=effect.place,
            inner_agent_id="" if effect.agent_id == action.agent_id else effect.agent_id,
            inner_field=effect.field,
        )


def _driven_event(action: DrivenAction, events: Sequence[Event]) -> Event | None:
    """Return the event of the replayed call: the outermost action of that name and agent."""
    for event in reversed(events):
        if (
            is_traced_action(event)
            and event.code is not None
            and event.agent_id == action.agent_id
            and method_name(event) == action.call.name
        ):
            return event
    return None


def effects_of(driven: Event, events: Sequence[Event], *, metrics: bool = False) -> list[Event]:
    """Return the events inside the replayed call, in order; its measurements instead if requested."""
    parents = parents_of(events)
    return [
        event
        for event in events
        if event is not driven
        and not is_of_framework(event)
        and not names_only_objects(event)
        and (event.kind == "metric") is metrics
        and any(span_id == driven.span_id for span_id in spans_around(event, parents))
    ]


def _ending_of(event: Event, errors: dict[str, Event]) -> str:
    outcome = event.extra.get("outcome")
    if outcome is None:
        return "returned"
    error = errors.get(str(event.extra.get("error_id")))
    if error is None:
        return str(outcome)
    return f"{outcome}: {error.extra.get('error_type')}: {error.extra.get('error_message')}"


# Fast comparison: the bytes that an action is about to write against its recorded line.
#
# If both are equal, the line need not be built, decoded and compared by value, which takes longer than most
# actions. Anything that differs, or may be ambiguous, is written and compared in full by `ActionJudge`, which
# also reports where two events differ.

_TOKEN = b"[redacted:"
_NUMBER = b"0123456789.e+-"
_SPAN, _STAMP, _ID = b',"span_id":"', b'{"timestamp":"', b'","id":"'
_NO_IDS: list[str] = []
_LABELS = ("action_type", "learning_stage")


class ExpectedLine:
    """Intercepts lines before the sink of a replay and holds back a line that equals the recorded one.

    Args:
        pipeline: the pipeline that records the replay.
        sink: the sink that it writes to.
    """

    def __init__(self, pipeline: Pipeline, sink: LineSink) -> None:
        self._sink = sink
        self._write = pipeline.put
        self._heads: dict[tuple[str, str], tuple[bytes, bytes]] = {}
        self._agent_id: str | None = None
        self._before = self._behind = b""
        self._held: tuple[Slot, bytes, bytes, bytes, bytes] | None = None
        self._place = 0
        """Number of lines before the one that is held back."""
        pipeline.put = self._put
        if pipeline.lane is not None:
            pipeline.lane.hold(self._put)

    def learn(self, action: DrivenAction, code: str | None) -> None:
        """Note an action that agreed: later ones of the same agent and method may use the fast comparison.

        Args:
            code: the digest of the code that ran here.
        """
        if not action.is_plain:
            return
        extra = action.event.extra
        call = extra["call"]
        named = {name: extra[name] for name in _LABELS if name in extra}
        head = orjson.dumps({**named, "call": call, "root": True})[1:-1]
        self._heads[action.agent_id, call] = head, b'},"code":"%s"' % str(code).encode()

    def expect(self, action: DrivenAction) -> None:
        """Set the action that is replayed next.

        Only plain actions are expected: with type tags or redacted values, equal bytes may hide a difference.
        """
        self._held = self._agent_id = None
        if not action.is_plain:
            return
        event, extra = action.event, action.event.extra
        known = self._heads.get((action.agent_id, extra["call"]))
        if known is None:
            return
        try:
            parts = known[0], orjson.dumps(extra["args"]), orjson.dumps(extra["result"])
            self._before = before = b'%s,"args":%s,"result":%s,"duration_ms":' % parts
            self._behind = behind = b'%s,"state":%s}\n' % (known[1], orjson.dumps(event.state))
        except orjson.JSONEncodeError:  # text that is not valid Unicode
            return
        if _TOKEN not in before and _TOKEN not in behind:
            self._agent_id = action.agent_id

    def came(self, action: DrivenAction) -> list[str] | None:
        """Return the ids of the effects if only the expected lines were left; else write all to the sink."""
        held, self._held, self._agent_id = self._held, None, None
        if held is None:
            return None  # compared in full
        lines = self._sink.lines
        if not action.effects:
            if not lines:
                return _NO_IDS
        elif len(lines) == len(action.effects) == self._place:
            links = held[2]
            pairs = zip(action.effects, lines, strict=True)
            ids = [same for pair in pairs if (same := _id_if_same(*pair, links)) is not None]
            if len(ids) == len(lines):
                return ids
        later = lines[self._place :]
        del lines[self._place :]
        self._write(*held)
        lines.extend(later)
        return None

    def _put(self, slot: Slot, head: bytes, links: bytes, extra: bytes, rest: bytes) -> str:
        """Replace `Pipeline.put`: hold back the expected line, and write any other."""
        if (
            self._agent_id is not None
            and rest.startswith(self._before)
            and rest.endswith(self._behind)
            and (duration := rest[len(self._before) : -len(self._behind)])
            and not duration.strip(_NUMBER)
            and slot.binding.agent_id == self._agent_id
        ):
            self._held, self._agent_id = (slot, head, links, extra, rest), None
            self._place = len(self._sink.lines)
            return ""
        return self._write(slot, head, links, extra, rest)


def _id_if_same(recorded: Event, line: bytes, links: bytes) -> str | None:
    """Return the id of an effect if its line equals the recorded one, in the span that `links` names."""
    if not links.startswith(_SPAN):
        return None
    parent = links[len(_SPAN) : links.index(b'"', len(_SPAN))]
    tick = b"" if recorded.tick is None else b',"tick":%d' % recorded.tick
    try:
        parts = [orjson.dumps(part) for part in (recorded.level, recorded.logger, recorded.message)]
        extra = orjson.dumps(recorded.extra)
    except orjson.JSONEncodeError:
        return None
    end = b',"level":%s,"logger":%s,"message":%s,"parent_span_id":"%s"%s,"extra":%s}\n' % (
        *parts, parent, tick, extra,
    )  # fmt: skip
    if _TOKEN in extra or not line.endswith(end) or not line.startswith(_STAMP):
        return None
    begin = line.index(_ID) + len(_ID)
    return line[begin : line.index(b'"', begin)].decode()
