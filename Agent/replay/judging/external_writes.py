"""Writes to an agent between its actions, where recording looked for them: put in where they were made.

Some of them are the replayed code's own, where one replayed agent writes to another. Those happen again by
themselves, so what is there already is looked at first; `driver.py` calls this when an action begins.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import orjson

from Agent.event.model import Event
from Agent.event.pointers import escape
from Agent.event.values.content import content_of
from Agent.event.values.opaque import Content
from Agent.record.emit.pipeline import Pipeline
from Agent.record.state.agents import agent_id_of
from Agent.record.state.introspection import read_state
from Agent.record.state.tracker import is_object
from Agent.replay.compare.comparison import ABSENT, Difference, Recorded, shown
from Agent.replay.drive.kit import ReplayKit
from Agent.replay.drive.states import remove_fields
from Agent.replay.plan.actions import DrivenAction, is_outside_write

_CHANGED = "/extra/changed"
PutBack = Callable[[str, object, Mapping[str, Any]], None]


class OutsideWrites:
    """Puts recorded writes in, and compares those that the replayed code makes itself.

    Args:
        put_back: puts fields onto an agent's object.
    """

    def __init__(self, kit: ReplayKit, put_back: PutBack) -> None:
        self._kit = kit
        self._put_back = put_back
        self._objects: dict[str, tuple[object, Content]] = {}
        """What something else than actions changes, as it was when its agent's first action began."""

    def put_last(self, action: DrivenAction, obj: object, events: Sequence[Event]) -> None:
        """Compare and write what was written to an agent behind its last action.

        Raises:
            ReplayStopped: replayed code wrote something else.
        """
        if events:
            self.compare(action, obj, events)
        for event in events:
            self.impose(action.agent_id, event, obj)

    def compare(self, action: DrivenAction, obj: object, events: Sequence[Event] | None = None) -> None:
        """Compare what replayed code wrote to an agent since its last action with the record.

        Args:
            events: the recorded writes; None for those before the action.

        Raises:
            ReplayStopped: it wrote something else.
        """
        if events is None:
            events = [event for event in action.before if is_outside_write(event)]
        if not events and not self._kit.pipeline.options.strict_state:
            return  # nobody looked; what replayed code wrote is compared when the action ends
        known = self._kit.pipeline.agents.find(obj)
        tracker = None if known is None else known.tracker
        if tracker is None or tracker.actions == 0:
            return
        before = tracker.last.copy()
        written, gone = tracker.changes(obj)
        is_shared = self._kit.pipeline.agents.holders.is_shared
        facts = self._kit.recording.agents[action.agent_id]
        for name, value in list(written.items()):
            if is_object(value, agent_id_of) and (is_shared(value) or name in facts.shared_objects):
                # As recording has it: the end of the action tells what others changed in it.
                del written[name], tracker.last[name]
                if name in before:
                    tracker.last[name] = before[name]
        recorded = {name: event for event in events for name in event.extra["changed"]}
        removed = {str(name) for event in events for name in event.extra.get("unset") or ()}
        for name in (*written, *gone):
            if name in facts.written_outside and is_object(written.get(name), agent_id_of):
                continue  # what such an object holds is not in the recording
            if name in recorded or name in removed:
                self._compare_field(action, name, written.get(name, ABSENT), recorded.get(name))
            else:
                self._differs(action, name, "<not written>", _shown_field(written, name, self._kit.pipeline))

    def impose(self, agent_id: str, event: Event, obj: object, keeps: Collection[str] = ()) -> None:
        """Write what was written there from outside, but for the fields that the caller keeps."""
        changed = {name: value for name, value in event.extra["changed"].items() if name not in keeps}
        restored = self._kit.decoder.restore(Recorded(changed, event.types or {}, _CHANGED))
        if restored.unrestored:
            self._kit.player.stop(
                f"a write to {agent_id} from outside cannot be restored: {restored.unrestored[0]}"
            )
        self._put_back(agent_id, obj, restored.value)
        names = [str(name) for name in event.extra.get("unset") or ()]
        remove_fields(obj, names)
        self._kit.outcome.imposed.update(f"{agent_id}.{name}" for name in (*restored.value, *names))
        known = self._kit.pipeline.agents.find(obj)
        if known is not None and known.tracker is not None and not self._kit.pipeline.options.strict_state:
            known.tracker.changes(obj)  # so that they do not count as what the action does

    def begin(self, agent_id: str, obj: object, names: Collection[str]) -> None:
        """An agent's first state stands.

        Args:
            names: its fields with an object that something else than its actions changes.
        """
        fields = read_state(obj).fields
        for name in fields.keys() & names:
            content = content_of(fields[name], agent_id_of)
            self._objects[f"{agent_id}.{name}"] = fields[name], content

    def end(self) -> None:
        """Say what actions changed themselves, so that nobody knows whether they changed it as before."""
        changed = [
            name
            for name, (held, content) in self._objects.items()
            if content_of(held, agent_id_of) != content
        ]
        if changed and self._kit.outcome.changed_code:
            self._kit.outcome.reason(
                f"{', '.join(changed)}: changed by the replayed actions and, in the recording, also between "
                "them; whether changed code changes it differently is unknown"
            )

    def _compare_field(self, action: DrivenAction, name: str, value: Any, event: Event | None) -> None:
        """Stop if replayed code wrote a field that has another value after this action in the recording."""
        if event is not None and value is not ABSENT:
            body, types = self._kit.pipeline.capture.user_body({name: value}, _CHANGED)
            pointer = f"{_CHANGED}/{escape(name)}"
            one = Recorded(event.extra["changed"][name], event.types or {}, pointer)
            other = Recorded(orjson.loads(b"{" + body + b"}")[name], types or {}, pointer)
            if self._kit.comparison.difference(one, other) is None:
                return
        elif event is None and value is ABSENT:
            return
        if self._kit.outcome.changed_code:
            told = None if event is None else shown(event.extra["changed"].get(name, ABSENT))
            self._differs(
                action,
                name,
                told,
                "<removed>" if value is ABSENT else _shown_field({name: value}, name, self._kit.pipeline),
            )
        # Somebody who is not replayed may have written it once more: which of the two it is, nobody knows.
        self._kit.player.stop(
            f"{name} of {action.agent_id} was written from outside before step {action.number}, and driven "
            "code writes it too, with another value"
        )

    def _differs(self, action: DrivenAction, name: str, recorded: Any, replayed: Any) -> None:
        found = Difference("", recorded, replayed)
        place = "what was written to it before the step"
        self._kit.player.differs(action, f"state.{name}", found, place=place)


def _shown_field(written: Mapping[str, Any], name: str, pipeline: Pipeline) -> Any:
    if name not in written:
        return "<removed>"
    body, _ = pipeline.capture.user_body({name: written[name]}, _CHANGED)
    return shown(orjson.loads(b"{" + body + b"}")[name])
