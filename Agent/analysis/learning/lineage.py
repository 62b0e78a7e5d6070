"""Which experience led to which update, and which later action used it: one agent's learning as chains.

Each edge says where it comes from: `recorded` where an event names the other, as a cause or by its id in the
payload; `inferred` by a named rule where nothing was recorded.
"""

from __future__ import annotations

import re
from collections import OrderedDict, deque
from collections.abc import Iterator
from typing import Any, Final

from Agent.analysis.journeys.journey import event_name
from Agent.analysis.session.lookup import agent_events
from Agent.event.model import Event
from Agent.tree.read.reader import TreeReader

__all__ = ["learning_lineage"]

UPDATES: Final = frozenset({"learning_update", "policy_update", "strategy_update", "training_step"})
EXPERIENCES: Final = frozenset({"reward", "exploration", "interaction", "agent_message"})
KEPT_UPDATES: Final = 100
_REMEMBERED: Final = 4096
_FOLLOWED: Final = 4096
_MAX_NAMED: Final = 64
_EVENT_ID: Final = re.compile(r"\b[a-z2-7]{8}-[1-9][0-9]{0,11}\b")

RULE_SPAN: Final = "a reward in the span of the update"
RULE_EXPERIENCE: Final = "rewards since the update before"
RULE_USE: Final = "the first choice or action after it"


def learning_lineage(reader: TreeReader, agent_id: str, limit: int = KEPT_UPDATES) -> dict[str, Any]:
    """The chains experience -> update -> use of one agent, from its files alone; memory is flat.

    Args:
        reader: of the session.
        agent_id: who learned.
        limit: how many of the last updates are told; all are counted.

    Returns:
        `updates`: the last ones, oldest first, dicts with id, timestamp, tick, event_type, name, `experience`
        and `used_by` (lists of edges: id, event_type, name, tick, reward where it is one, `source`: recorded
        or inferred, `rule`: causes, payload, or the rule's name; an id that is none of this agent's events
        has no event_type), `experience_count` (a list holds at most 64). Of all: `count`,
        `with_recorded_experience`, `with_recorded_use`, `rewards_used`: how many rewards led to an update by
        recorded edges.

    Raises:
        AgentNotFound: the session knows no such agent.
    """
    lineage = _Lineage(limit)
    for event in agent_events(reader, agent_id):
        lineage.add(event)
    return {"agent_id": agent_id} | lineage.told()


class _Update:
    """One update under way: what is known of it so far."""

    __slots__ = ("experience", "experience_count", "row", "since", "since_count", "used_by", "used_recorded")

    def __init__(self, event: Event, since: list[dict[str, Any]], since_count: int) -> None:
        self.since, self.since_count = since, since_count
        self.row = _row(event)
        self.experience: list[dict[str, Any]] = []
        self.experience_count = 0
        self.used_by: list[dict[str, Any]] = []
        self.used_recorded = False


class _Lineage:
    """The fold over an agent's events."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._followed: OrderedDict[str, _Update] = OrderedDict()
        self._unused: deque[_Update] = deque(maxlen=_FOLLOWED)
        self._seen: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self._since: deque[dict[str, Any]] = deque(maxlen=_MAX_NAMED)
        self._since_count = 0
        self._by_span: OrderedDict[str, list[str]] = OrderedDict()
        self._waiting: dict[str, list[_Update]] = {}
        self._rewards_used: set[str] = set()
        self.count = self.with_experience = self.with_use = self.rewards_used = 0

    def add(self, event: Event) -> None:
        """Take the next event of the agent."""
        self._note_use(event)
        if event.kind in EXPERIENCES or event.kind in UPDATES or event.kind == "agent_action":
            self._remember(event)
        if event.kind == "reward":
            self._since.append(self._seen[event.id])
            self._since_count += 1
            self._give_late(event)
        if event.kind in UPDATES:
            self._add_update(event)

    def _remember(self, event: Event) -> None:
        self._seen[event.id] = _row(event)
        if len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)
        if event.kind == "reward" and event.parent_span_id is not None:
            self._by_span.setdefault(event.parent_span_id, []).append(event.id)
            if len(self._by_span) > _REMEMBERED:
                self._by_span.popitem(last=False)

    def _add_update(self, event: Event) -> None:
        update = _Update(event, list(self._since), self._since_count)
        self._since.clear()
        self._since_count = 0
        self.count += 1
        named = dict.fromkeys(event.causes, "causes")
        for event_id in _ids_in(event):
            named.setdefault(event_id, "payload")
        for event_id, rule in named.items():
            # an id in a payload is one of an event only if there was such an event
            if rule != "payload" or event_id in self._seen:
                self._add_experience(update, self._seen.get(event_id, {"id": event_id}), "recorded", rule)
        self.with_experience += bool(update.experience)
        if not update.experience:
            self._infer(event, update)
        self._followed[event.id] = update
        self._unused.append(update)
        if len(self._followed) > max(_FOLLOWED, self._limit):
            self._followed.popitem(last=False)

    def _add_experience(self, update: _Update, row: dict[str, Any], source: str, rule: str) -> None:
        update.experience_count += 1
        if len(update.experience) < _MAX_NAMED:
            update.experience.append(row | {"source": source, "rule": rule})
        if source == "recorded" and row.get("event_type") == "reward":
            # ids of the rewards named lately, so that one that two updates name counts once
            if row["id"] not in self._rewards_used:
                self.rewards_used += 1
                self._rewards_used.add(row["id"])
            if len(self._rewards_used) > 4 * _REMEMBERED:
                self._rewards_used.intersection_update(self._seen)

    def _infer(self, event: Event, update: _Update) -> None:
        span = event.parent_span_id
        for event_id in self._by_span.get(span or "", ()):
            if event_id in self._seen:
                self._add_experience(update, self._seen[event_id], "inferred", RULE_SPAN)
        if span is None:
            self._infer_from_before(update)
        elif not update.experience:
            # its reward may be told after it, in the same span: it is waited for until that span ends
            self._waiting.setdefault(span, []).append(update)
            if len(self._waiting) > _REMEMBERED:
                for waiting in self._waiting.pop(next(iter(self._waiting))):
                    self._infer_from_before(waiting)

    def _infer_from_before(self, update: _Update) -> None:
        if not update.experience:
            for row in update.since:
                self._add_experience(update, row, "inferred", RULE_EXPERIENCE)
            update.experience_count = max(update.experience_count, update.since_count)

    def _give_late(self, reward: Event) -> None:
        for update in self._waiting.get(reward.parent_span_id or "", ()):
            self._add_experience(update, self._seen[reward.id], "inferred", RULE_SPAN)

    def _note_use(self, event: Event) -> None:
        """Note who this event says it was led by, and what comes first after an update."""
        if event.span_id is not None:
            for waiting in self._waiting.pop(event.span_id, ()):
                self._infer_from_before(waiting)
        named = dict.fromkeys(event.causes, "causes")
        if event.kind in UPDATES or event.kind in {"agent_action", "decision", "exploration"}:
            for event_id in _ids_in(event):
                named.setdefault(event_id, "payload")
        for event_id, rule in named.items():
            update = self._followed.get(event_id)
            if update is not None:
                self.with_use += not update.used_recorded
                update.used_recorded = True
                if len(update.used_by) < _MAX_NAMED:
                    update.used_by.append(_row(event) | {"source": "recorded", "rule": rule})
        is_choice = event.kind in {"exploration", "decision"}
        if is_choice or (event.kind == "agent_action" and event.extra.get("root")):
            for update in self._unused:
                if not update.used_by and event.span_id != update.row["parent_span_id"]:
                    update.used_by.append(_row(event) | {"source": "inferred", "rule": RULE_USE})
            # the action that an update stands in ends after it, and did not use it
            self._unused = deque((each for each in self._unused if not each.used_by), maxlen=_FOLLOWED)

    def told(self) -> dict[str, Any]:
        """What `learning_lineage` gives, but for the agent."""
        for waiting in self._waiting.values():
            for update in waiting:
                self._infer_from_before(update)
        last = list(self._followed.values())[-self._limit :]
        return {
            "count": self.count,
            "with_recorded_experience": self.with_experience,
            "with_recorded_use": self.with_use,
            "rewards_used": self.rewards_used,
            "updates": [_told(update) for update in last],
        }


def _told(update: _Update) -> dict[str, Any]:
    used = [edge for edge in update.used_by if edge["source"] == "recorded"] or update.used_by
    return update.row | {
        "experience_count": update.experience_count,
        "experience": [_edge(edge) for edge in update.experience],
        "used_by": [_edge(edge) for edge in used],
    }


def _edge(row: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key not in {"span_id", "parent_span_id"}}


def _row(event: Event) -> dict[str, Any]:
    row: dict[str, Any] = {
        "id": event.id,
        "timestamp": event.timestamp,
        "tick": event.tick,
        "event_type": event.kind,
        "name": event_name(event),
        "span_id": event.span_id,
        "parent_span_id": event.parent_span_id,
    }
    if event.kind == "reward":
        row |= {"reward": event.extra.get("reward"), "action_id": event.extra.get("action_id")}
    return row


def _ids_in(event: Event) -> Iterator[str]:
    """The event ids that stand in a payload, at most 64 of them."""
    found = 0
    pending: deque[Any] = deque(event.extra.values())
    looked = 0
    while pending and found < _MAX_NAMED and looked < 1000:
        value = pending.popleft()
        looked += 1
        if isinstance(value, str):
            for match in _EVENT_ID.findall(value[:200]):
                found += 1
                yield match
        elif isinstance(value, dict):
            pending.extend(value.values())
        elif isinstance(value, list):
            pending.extend(value)
