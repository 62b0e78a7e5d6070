"""What all worlds share: the kinds of fault, the plan of a case, and the record of its truth.

A case is a world, a kind of fault and a seed. It is played twice with the same random draws, with the fault and without
it (the healthy twin). Only the act at which the fault begins asks `Case.strikes`; whether the symptom is there is decided
by the same code in both, so a twin without the symptom proves that the fault is its cause.
"""

from __future__ import annotations

import importlib
import itertools
import json
import math
import pkgutil
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from Agent import setup_logging, shutdown_logging

KINDS: Mapping[str, str] = {
    "config_change": "a setting is changed to a harmful value, among harmless changes of settings",
    "dead_letter": "a message ends among the undeliverable ones, and nobody fetches it",
    "deadlock": "two agents each hold what the other waits for, because one took its things in another order",
    "doubled_act": "an act that belongs once is done twice for the same thing",
    "expired_permission": "a permission ends before it is used, because it was given for too short a time",
    "false_belief": "an agent adopts a belief from one false message, and acts on it later",
    "forgotten_undo": "a temporary measure is not taken back",
    "leaked_resource": "something that is held is not given back, until none is left",
    "lost_update": "a value is written back that was read before another change, which is lost",
    "misrouted_thing": "a thing is brought to the wrong place",
    "off_by_one": "something is scheduled one place too early or too late",
    "omitted_message": "a message that belongs to an act is not sent",
    "omitted_step": "a step of a procedure is left out",
    "out_of_order": "two changes of the same thing are applied in the wrong order",
    "race": "two agents take the same thing, because both looked before either acted",
    "retry_storm": "retries without a limit or a pause use up what others need",
    "rounding_leak": "amounts are rounded the same way each time, and the rest adds up",
    "slow_drift": "a value moves away from the truth by a little each time",
    "stale_cache": "a copy is used after the original changed",
    "starved_queue": "one class of work is served last from some moment on, and never reached",
    "swallowed_failure": "a failure is reported as a success",
    "swapped_fields": "two values of the same form are exchanged",
    "trusted_tool": "a tool answers wrongly, and the answer is used",
    "wrong_credit": "a reward is booked for something that did not earn it",
    "wrong_merge": "two things are taken for one",
    "wrong_recipient": "a message goes to the wrong agent",
    "wrong_unit": "a number is recorded in another unit than its readers expect",
}

SETTINGS = {
    "change_plan",
    "set_display",
    "set_threshold",
    "set_weight",
    "store_plan",
}  # actions that change settings


@dataclass(frozen=True)
class Call:
    """A recorded call or action, named by what is recorded of it: for events whose id the program never sees.

    Args:
        agent_id: the agent that acted.
        name: its action type, message type or metric.
        where: values among its arguments, data or result that it must have.
    """

    agent_id: str
    name: str
    where: Mapping[str, Any]


def call(agent_id: str, name: str, **where: Any) -> Call:
    """Name a recorded call by its agent, its action and some of its values."""
    return Call(agent_id, name, where)


Ref = str | Call


@dataclass(frozen=True)
class World:
    """One world: its name, the evidence that it records, the kinds of fault it can have, and how it is played.

    Args:
        evidence: `edges` (causes are recorded), `spans` (calls nest) or `bare` (actions only).
        play: plays a case from the first to the last event.
        author: 1 to 7, or 9 to 30; authors did not see each other's worlds.
    """

    name: str
    evidence: str
    kinds: Sequence[str]
    play: Callable[[Case], None]
    author: int = 1


@dataclass
class Case:
    """A world, a kind of fault and a seed, with the plan that both twins follow and the truth as it is found.

    Args:
        faulty: whether the fault happens; the healthy twin follows the same plan without it.
    """

    world: str
    kind: str
    seed: int
    faulty: bool
    begin: int = 0
    end: int = 0
    decoy_at: int = -1
    roots: list[Ref] = field(default_factory=list)
    chain: list[Ref] = field(default_factory=list)
    triggers: list[Ref] = field(default_factory=list)
    symptom_ref: Ref | None = None
    complaint: str = ""
    wordings: tuple[str, ...] = ()

    def rng(self, topic: str) -> random.Random:
        """Return the generator of one topic; the same in both twins, and independent of other topics."""
        return random.Random(f"{self.world}/{self.kind}/{self.seed}/{topic}")

    def window(self, steps: int, shortest: int = 1) -> tuple[int, int]:
        """Choose when the fault begins and when its symptom is due, in steps of the world.

        The lag is log-uniform from `shortest` steps to 60 % of the session. A harmless coincidence is
        planned for one to three steps before the symptom in half of the cases (`decoy_at`, else -1).
        """
        rng = self.rng("window")
        longest = max(shortest, math.floor(0.6 * steps))
        lag = round(math.exp(rng.uniform(math.log(shortest), math.log(longest))))
        self.begin = rng.randint(max(3, steps // 10), max(3, steps // 10, math.floor(0.95 * steps) - lag - 1))
        self.end = self.begin + lag
        self.decoy_at = self.end - rng.randint(1, 3) if rng.random() < 0.5 else -1
        return self.begin, self.end

    def has(self, kind: str) -> bool:
        """Tell whether the plan is for this kind; true in both twins, so that they have the same actors."""
        return self.kind == kind

    def strikes(self, kind: str, now: int | None = None) -> bool:
        """Tell whether the fault of this kind happens, at the step at which it begins if `now` is given."""
        return self.faulty and self.kind == kind and (now is None or now == self.begin)

    def root(self, *refs: Ref) -> None:
        """Note the events that record how the fault began: each is accepted as the true cause."""
        self.roots.extend(refs)

    def hop(self, *refs: Ref) -> None:
        """Note events on the way from the cause to the symptom; after the symptom, nothing is added."""
        if self.symptom_ref is None:
            self.chain.extend(refs)

    def trigger(self, ref: Ref) -> None:
        """Note an event that makes the symptom appear and would be harmless without the fault."""
        if self.symptom_ref is None:
            self.triggers.append(ref)

    def symptom(self, ref: Ref, *texts: str) -> None:
        """Note the first event that shows the symptom, and what a user then writes (one of these texts)."""
        if self.symptom_ref is None:
            self.symptom_ref = ref
            self.wordings = texts
            self.complaint = self.rng("wording").choice(texts)


@dataclass(frozen=True)
class Truth:
    """What is known about a played case, measured on its recording.

    Args:
        accepted: ids of the events that count as the true cause.
        symptom: whether the symptom occurred.
        wordings: what users wrote about it; `complaint` is one of them.
        lag: events between cause and symptom, as a share of all events.
        hops: how often the chain from the cause to the symptom passes from one agent to another.
        guilty_named: whether the complaint names the agent of the cause.
        healthy_named: whether it names another agent.
    """

    accepted: tuple[str, ...]
    symptom: bool
    symptom_id: str
    complaint: str
    wordings: tuple[str, ...]
    events: int
    lag: float
    lag_events: int
    hops: int
    trigger: bool
    decoy: bool
    error_at_cause: bool
    guilty_named: bool
    healthy_named: bool


def worlds() -> dict[str, World]:
    """Return all worlds by name: every module of `benchmarks.fault_worlds.worlds` that defines `WORLD`."""
    package = importlib.import_module("benchmarks.fault_worlds.worlds")
    found = {}
    for module in pkgutil.iter_modules(package.__path__):
        world = getattr(importlib.import_module(f"{package.__name__}.{module.name}"), "WORLD", None)
        if world is not None:
            found[world.name] = world
    return found


def recorded_events(root: Path) -> list[dict[str, Any]]:
    """Return all events of the sessions below a trace root in the order in which they were recorded."""
    events: list[dict[str, Any]] = []
    for path in sorted(root.glob("session_*/**/*.log")):
        with path.open(encoding="utf-8") as lines:
            events.extend(json.loads(line) for line in lines)
    events.sort(key=lambda event: int(event["id"].rpartition("-")[2]))
    return events


def play(world: World, case: Case, root: Path) -> tuple[Truth, list[dict[str, Any]]]:
    """Play a case into a trace root; return its truth and its events.

    Raises:
        LookupError: an event that the world named was not recorded.
    """
    setup_logging(trace_root=str(root), console=False)
    world.play(case)
    shutdown_logging()
    events = recorded_events(root)
    return _truth(case, events), events


def name_of(event: Mapping[str, Any]) -> str:
    """Return the action, message, metric or setting that an event records."""
    extra = event.get("extra", {})
    for key in (
        "action_type",
        "decision_type",
        "interaction_type",
        "metric_name",
        "learning_stage",
        "direction",
        "name",
    ):
        if key in extra:
            return str(extra[key])
    return str(extra.get("event_type") or event.get("message"))


def _values(event: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield what an event holds, name by name, at its first two levels."""
    for key, value in event.get("extra", {}).items():
        yield key, value
        if isinstance(value, Mapping):
            yield from value.items()


class _Finder:
    """Finds events by id or by what they record, in the order of recording."""

    def __init__(self, events: Sequence[dict[str, Any]]) -> None:
        self.position = {event["id"]: number for number, event in enumerate(events)}
        self.events = events
        self.spans = {event["span_id"]: event["id"] for event in events if "span_id" in event}
        self.by_name: dict[tuple[str, str], list[int]] = {}
        for number, event in enumerate(events):
            self.by_name.setdefault((event.get("extra", {}).get("agent_id", ""), name_of(event)), []).append(
                number
            )

    def find(self, ref: Ref) -> int:
        """Return the position of the event; the first one if several match."""
        if isinstance(ref, str):
            if ref not in self.position:
                raise LookupError(f"event {ref!r} was not recorded")
            return self.position[ref]
        for number in self.by_name.get((ref.agent_id, ref.name), ()):
            values = list(_values(self.events[number]))
            if all((key, value) in values for key, value in ref.where.items()):
                return number
        raise LookupError(f"no event matches {ref}")

    def around(self, number: int) -> str | None:
        """Return the call of the same agent in which the event happened, if there is one."""
        event = self.events[number]
        parent = self.spans.get(event.get("parent_span_id", ""))
        if parent is None:
            return None
        outer = self.events[self.position[parent]]
        same = outer.get("extra", {}).get("agent_id") == event.get("extra", {}).get("agent_id")
        return parent if same else None


def _truth(case: Case, events: Sequence[dict[str, Any]]) -> Truth:
    """Resolve what the world noted to recorded events, and measure lag, hops and names."""
    finder = _Finder(events)
    roots = [finder.find(ref) for ref in case.roots]
    accepted = [events[number]["id"] for number in roots]
    accepted += [outer for number in roots if (outer := finder.around(number)) is not None]
    path = sorted([*roots[:1], *(finder.find(ref) for ref in case.chain)])
    end = finder.find(case.symptom_ref) if case.symptom_ref is not None else len(events)
    agents = [events[number].get("extra", {}).get("agent_id") for number in path]
    if case.symptom_ref is not None:
        agents.append(events[end].get("extra", {}).get("agent_id"))
    guilty = {events[number].get("extra", {}).get("agent_id") for number in roots[:1]} - {None}
    everyone = {event.get("extra", {}).get("agent_id") for event in events} - {None}
    named = {agent for agent in everyone if agent in case.complaint}
    lag_events = end - roots[0] if roots else 0
    return Truth(
        accepted=tuple(dict.fromkeys(accepted)),
        symptom=case.symptom_ref is not None,
        symptom_id=events[end]["id"] if case.symptom_ref is not None else "",
        complaint=case.complaint,
        wordings=case.wordings,
        events=len(events),
        lag=lag_events / len(events),
        lag_events=lag_events,
        hops=sum(1 for one, other in itertools.pairwise(agents) if one != other),
        trigger=bool(case.triggers),
        decoy=case.decoy_at >= 0,
        error_at_cause=any(is_error(events[number]) for number in roots),
        guilty_named=bool(named & guilty),
        healthy_named=bool(named - guilty),
    )


def is_error(event: Mapping[str, Any]) -> bool:
    """Tell whether an event records an error or a warning."""
    return event.get("level") in {"WARNING", "ERROR", "CRITICAL"} or "error" in event.get("extra", {})


def is_setting(event: Mapping[str, Any]) -> bool:
    """Tell whether an event records a change of settings."""
    kind = event.get("extra", {}).get("event_type", "")
    return kind in {"system.config", "strategy_update"} or name_of(event) in SETTINGS


def sort_of(event: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the sort of an event: its type, the role of its agent and what it is named."""
    extra = event.get("extra", {})
    return str(extra.get("event_type")), str(extra.get("agent_role")), name_of(event), str(event.get("level"))


def baselines(events: Sequence[dict[str, Any]], symptom_id: str) -> dict[str, list[str]]:
    """Return the first three answers of simple rules, which know when the symptom appeared.

    `oddest` takes the events of the rarest sorts, `settings` the last changes of settings, `errors` the last errors and
    warnings, and `nearest` the last events before the symptom.
    """
    own = {"log.opened", "log.closed", "code", "state", "source.read"}
    until = next((number for number, event in enumerate(events) if event["id"] == symptom_id), len(events))
    before = [event for event in events[:until] if event.get("extra", {}).get("event_type") not in own]
    counts = Counter(sort_of(event) for event in before)
    newest = list(reversed(before))
    return {
        "oddest": [event["id"] for event in sorted(newest, key=lambda event: counts[sort_of(event)])[:3]],
        "settings": [event["id"] for event in newest if is_setting(event)][:3],
        "errors": [event["id"] for event in newest if is_error(event)][:3],
        "nearest": [event["id"] for event in newest[:3]],
    }
